# Py3Package: files as the recipe installs them. The byte code a buildroot makes of them belongs
# to one release's Python; a package for all releases carries the sources.

define Py3Package
  Package/$(1)/install = $$(Py3Package/$(1)/install)
endef
