# SPDX-License-Identifier: GPL-2.0-or-later

# Py3Package: files as the recipe installs them. A buildroot puts byte code in place of the
# sources, which fits one release's Python. A package for all releases carries the sources, and
# has its byte code made once, when it is installed: five times faster to start.

define Py3Package
  Package/$(1)/install = $$(Py3Package/$(1)/install)

  define Package/$(1)/postinst
[ -n "$$$${IPKG_INSTROOT}" ] || python3 -m compileall -q /usr/lib/$(1)
exit 0
  endef

  define Package/$(1)/prerm
find "$$$${IPKG_INSTROOT}/usr/lib/$(1)" -name __pycache__ -prune -exec rm -rf {} +
exit 0
  endef
endef
