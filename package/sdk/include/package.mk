# SPDX-License-Identifier: GPL-2.0-or-later

# BuildPackage: stage a package, write what its control file is made of, and pack it.

PKG_BUILD_DIR := $(BUILD_DIR)/$(PKG_NAME)-$(PKG_VERSION)

all:

.PHONY: all prepared
prepared:
	rm -rf $(PKG_BUILD_DIR)
	$(Build/Prepare)

# A conditional dependency (+CONDITION:package) is one of some architectures; a package for all
# of them cannot have it.
_depends = $(patsubst +%,%,$(foreach dep,$(DEPENDS),$(if $(findstring :,$(dep)),,$(dep))))

define _clear
  SECTION :=
  CATEGORY :=
  SUBMENU :=
  TITLE :=
  DEPENDS :=
endef

define _control
Package: $(1)
Version: $(PKG_VERSION)-r$(PKG_RELEASE)
Depends: $(subst $(space),$(comma)$(space),$(strip libc $(_depends)))
License: $(PKG_LICENSE)
Section: $(SECTION)
Maintainer: $(PKG_MAINTAINER)
Architecture: all
Installed-Size: 0
Description: $(TITLE)
$(Package/$(1)/description)
endef

define _recipe
  $(eval $(_clear))
  $(eval $(call Package/$(1)))
  $(eval _ignored := $(shell mkdir -p $(BUILD_DIR)/ipk/$(1)))
  $(file >$(BUILD_DIR)/ipk/$(1)/control,$(call _control,$(1)))
  $(file >$(BUILD_DIR)/ipk/$(1)/conffiles,$(Package/$(1)/conffiles))
  $(file >$(BUILD_DIR)/ipk/$(1)/postinst-pkg,$(Package/$(1)/postinst))
  $(file >$(BUILD_DIR)/ipk/$(1)/prerm-pkg,$(Package/$(1)/prerm))

  .PHONY: ipk-$(1)
  all: ipk-$(1)
  ipk-$(1): prepared
	rm -rf $(BUILD_DIR)/ipk/$(1)/data
	mkdir -p $(BUILD_DIR)/ipk/$(1)/data
	$$(call Package/$(1)/install,$(BUILD_DIR)/ipk/$(1)/data)
	@python3 $(IPK_TOOL) $(BUILD_DIR)/ipk/$(1) $(IPK_DIST)
endef

# Sources are in the package itself.
BuildPackage = $(if $(filter %-src,$(1)),,$(eval $(call _recipe,$(1))))
