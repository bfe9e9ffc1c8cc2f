# SPDX-License-Identifier: GPL-2.0-or-later

# A LuCI application: htdocs to /www, root to /, each translation a package of its own.

PKG_NAME := $(notdir $(CURDIR))
LUCI_BASENAME := $(patsubst luci-app-%,%,$(PKG_NAME))
LUCI_LANGUAGES := $(filter-out templates,$(notdir $(wildcard po/*)))
LUCI_LANG.de := Deutsch (German)
LUCI_LIBRARYDIR := /usr/lib/lua/luci

include $(INCLUDE_DIR)/package.mk

define Build/Prepare
	$(INSTALL_DIR) $(PKG_BUILD_DIR)
	$(CP) ./htdocs ./root $(PKG_BUILD_DIR)/
	chmod -R u=rwX,go=rX $(PKG_BUILD_DIR)
endef

define Package/$(PKG_NAME)
  SECTION := luci
  TITLE := $(LUCI_TITLE)
  DEPENDS := $(LUCI_DEPENDS)
endef

define Package/$(PKG_NAME)/description
  $(LUCI_TITLE).
endef

define Package/$(PKG_NAME)/install
	$(INSTALL_DIR) $(1)/www
	$(CP) $(PKG_BUILD_DIR)/htdocs/* $(1)/www/
	$(CP) $(PKG_BUILD_DIR)/root/* $(1)/
endef

define Package/$(PKG_NAME)/postinst
[ -n "$${IPKG_INSTROOT}" ] || {
	rm -f /tmp/luci-indexcache.*
	rm -rf /tmp/luci-modulecache/
	/etc/init.d/rpcd reload 2> /dev/null
	exit 0
}
endef

define _translation
  define Package/luci-i18n-$(LUCI_BASENAME)-$(1)
    SECTION := luci
    TITLE := $(PKG_NAME) - $(1) translation
    DEPENDS := $(PKG_NAME)
  endef

  define Package/luci-i18n-$(LUCI_BASENAME)-$(1)/description
  Translation for $(PKG_NAME) - $(LUCI_LANG.$(1)).
  endef

  define Package/luci-i18n-$(LUCI_BASENAME)-$(1)/install
	$$(INSTALL_DIR) $$(1)/etc/uci-defaults $$(1)$(LUCI_LIBRARYDIR)/i18n
	echo "uci set luci.languages.$(1)='$(LUCI_LANG.$(1))'; uci commit luci" \
		> $$(1)/etc/uci-defaults/luci-i18n-$(LUCI_BASENAME)-$(1)
	python3 $(LMO_TOOL) po/$(1)/$(LUCI_BASENAME).po \
		$$(1)$(LUCI_LIBRARYDIR)/i18n/$(LUCI_BASENAME).$(1).lmo
  endef

  $$(eval $$(call BuildPackage,luci-i18n-$(LUCI_BASENAME)-$(1)))
endef

$(eval $(call BuildPackage,$(PKG_NAME)))
$(foreach lang,$(LUCI_LANGUAGES),$(if $(wildcard po/$(lang)/*.po),$(eval $(call _translation,$(lang)))))
