# SPDX-License-Identifier: GPL-2.0-or-later

# Two Makefiles in one: inside an OpenWrt buildroot or SDK this is the package, anywhere else
# it gives a developer's targets (`make help`).
ifneq ($(TOPDIR),)

# --- OpenWrt package --------------------------------------------------------------------------
# Clone the repository to package/mptcp-agent; luci-app-mptcp-proxy/ and python3-iptables/ are
# packages of their own. `make ipk` runs these recipes without an SDK (package/sdk).

include $(TOPDIR)/rules.mk

PKG_NAME:=mptcp-agent
PKG_VERSION:=$(shell sed -n 's/^__version__ = "\(.*\)"$$/\1/p' src/mptcp_agent/__init__.py)
PKG_RELEASE:=1
PKG_LICENSE:=GPL-2.0-or-later
PKG_MAINTAINER:=mptcp-agent contributors

# Nothing to compile but byte code: no wheel, no download.
PYTHON3_PKG_BUILD:=0

include $(INCLUDE_DIR)/package.mk
include $(TOPDIR)/feeds/packages/lang/python/python3-package.mk

define Package/mptcp-agent/Default
  SECTION:=net
  CATEGORY:=Network
  SUBMENU:=Web Servers/Proxies
  TITLE:=TCP over all WAN links with Multipath TCP
endef

# Split packages of the standard library: tests/package/test_dependencies.py. Architectures of
# jsonschema: those of rust-values.mk.
define Package/mptcp-agent
  $(call Package/mptcp-agent/Default)
  DEPENDS:= \
	+python3-light \
	+python3-asyncio \
	+python3-ctypes \
	+python3-logging \
	+python3-urllib \
	+python3-pyroute2 \
	+python3-ubus \
	+(aarch64||arm||i386||loongarch64||mips||mips64||mips64el||mipsel||powerpc||powerpc64||riscv64||x86_64):python3-jsonschema \
	+rpcd \
	+nftables-json \
	+kmod-nft-core \
	+kmod-nft-fib \
	+kmod-nft-nat \
	+kmod-inet-diag \
	+kmod-inet-mptcp-diag
endef

define Package/mptcp-agent/description
  Redirects the TCP connections of the LAN into a Shadowsocks client whose
  connections are Multipath TCP, so that one stream of one client uses all
  WAN links at once, and serves other routers that do so. Watches the links,
  keeps routes, rules, MPTCP endpoints and the redirect as they should be,
  and tells why, over ubus. Needs a proxy engine: sing-box, shadowsocks-rust
  or shadowsocks-libev.
endef

define Package/mptcp-agent/conffiles
/etc/config/mptcp-proxy
endef

# An engine is a choice, so no dependency of the agent: these packages make it.
define Package/mptcp-agent-sing-box
  $(call Package/mptcp-agent/Default)
  TITLE+= (sing-box)
  DEPENDS:=+mptcp-agent +sing-box
endef

define Package/mptcp-agent-sing-box/description
  mptcp-agent with the engine sing-box, which is in OpenWrt's own feeds.
endef

define Package/mptcp-agent-shadowsocks-rust
  $(call Package/mptcp-agent/Default)
  TITLE+= (shadowsocks-rust)
  DEPENDS:=+mptcp-agent +shadowsocks-rust-sslocal +shadowsocks-rust-ssserver
endef

define Package/mptcp-agent-shadowsocks-rust/description
  mptcp-agent with the engine shadowsocks-rust, from a feed that has it.
endef

define Package/mptcp-agent-shadowsocks-libev
  $(call Package/mptcp-agent/Default)
  TITLE+= (shadowsocks-libev)
  DEPENDS:=+mptcp-agent +shadowsocks-libev-ss-redir +shadowsocks-libev-ss-server +mptcpize
endef

define Package/mptcp-agent-shadowsocks-libev/description
  mptcp-agent with the engine shadowsocks-libev, from a feed that has it.
endef

define Build/Prepare
	$(INSTALL_DIR) $(PKG_BUILD_DIR)
	$(CP) ./src ./schema ./files $(PKG_BUILD_DIR)/
	find $(PKG_BUILD_DIR) -name __pycache__ -prune -exec rm -rf {} +
	chmod -R u=rwX,go=rX $(PKG_BUILD_DIR)
endef

define Build/Configure
endef

define Build/Compile
endef

# An application, not a library: nothing goes into site-packages.
Py3Package/mptcp-agent/filespec=

define Py3Package/mptcp-agent/install
	$(INSTALL_DIR) $(1)/etc/capabilities $(1)/etc/config $(1)/etc/init.d $(1)/etc/uci-defaults
	$(INSTALL_DIR) $(1)/lib/upgrade/keep.d $(1)/usr/bin $(1)/usr/lib/mptcp-agent
	$(INSTALL_DIR) $(1)/usr/share/mptcp-agent $(1)/usr/share/rpcd/acl.d
	$(INSTALL_DATA) $(PKG_BUILD_DIR)/files/mptcp-agent.acl.json $(1)/usr/share/rpcd/acl.d/mptcp-agent.json
	$(INSTALL_DATA) $(PKG_BUILD_DIR)/files/mptcp-proxy.capabilities $(1)/etc/capabilities/mptcp-proxy.json
	$(INSTALL_CONF) $(PKG_BUILD_DIR)/files/mptcp-proxy.config $(1)/etc/config/mptcp-proxy
	$(INSTALL_BIN) $(PKG_BUILD_DIR)/files/mptcp-proxy.init $(1)/etc/init.d/mptcp-proxy
	$(INSTALL_BIN) $(PKG_BUILD_DIR)/files/mptcp-proxy.defaults $(1)/etc/uci-defaults/80_mptcp-proxy
	$(INSTALL_DATA) $(PKG_BUILD_DIR)/files/mptcp-proxy.keep $(1)/lib/upgrade/keep.d/mptcp-agent
	$(INSTALL_BIN) $(PKG_BUILD_DIR)/files/mptcp-agent $(1)/usr/bin/mptcp-agent
	$(CP) $(PKG_BUILD_DIR)/src/mptcp_agent $(1)/usr/lib/mptcp-agent/
	$(CP) $(PKG_BUILD_DIR)/schema $(1)/usr/share/mptcp-agent/
endef

define Package/mptcp-agent-sing-box/install
	:
endef

Package/mptcp-agent-shadowsocks-rust/install=$(Package/mptcp-agent-sing-box/install)
Package/mptcp-agent-shadowsocks-libev/install=$(Package/mptcp-agent-sing-box/install)

$(eval $(call Py3Package,mptcp-agent))
$(eval $(call BuildPackage,mptcp-agent))
$(eval $(call BuildPackage,mptcp-agent-src))
$(eval $(call BuildPackage,mptcp-agent-sing-box))
$(eval $(call BuildPackage,mptcp-agent-shadowsocks-rust))
$(eval $(call BuildPackage,mptcp-agent-shadowsocks-libev))

else

# --- Developer --------------------------------------------------------------------------------

PY := .venv/bin/python
OLDEST := build/venv-oldest
export PYTHONPATH := $(CURDIR)/src:$(CURDIR)/tests
MAKEFLAGS += --no-print-directory

.PHONY: help setup packages unit demo test bench soak lint clean distclean docs ipk
.NOTPARALLEL:

help:
	@echo 'make demo    two routers, two links, one TCP stream over both (ENGINE= REDIRECT= TOPOLOGY= LINKS= HOLD=1)'
	@echo 'make unit    the tests that need no root, no Debian packages and no namespaces, in seconds (ARGS= for pytest)'
	@echo 'make test    every test, on the newest and on the oldest libraries (ARGS= for pytest)'
	@echo "make docs    what is made from the schema: the README's reference, LuCI's options and ciphers"
	@echo 'make ipk     installable packages for OpenWrt in dist/, without an SDK'
	@echo 'make lint    ruff and mypy --strict (needs no root)'
	@echo "make bench   measured figures, against peers (BENCH='failover heal' REPEATS=3 QUICK=1; all: an hour)"
	@echo 'make soak    random faults (MINUTES= SEED=)'
	@echo 'make setup   only install what the others need'
	@echo 'make clean   what a crashed run left in the kernel, and build products (distclean: the venvs too)'

setup: packages .venv/.ready $(OLDEST)/.ready build/bin/.ready

packages:
	@tests/setup.sh check
	@tests/setup.sh packages

# Enough for `make unit` and `make lint`, without root.
.venv/.unit: tests/requirements-unit.txt
	@tests/setup.sh venv .venv $<
	@touch $@

# The order matters: python-iptables compiles against the headers that `packages` brings.
.venv/.ready: tests/requirements.txt .venv/.unit | packages
	@tests/setup.sh add .venv $<
	@touch $@

$(OLDEST)/.ready: tests/requirements-oldest.txt | packages
	@tests/setup.sh venv $(OLDEST) tests/requirements-oldest.txt
	@touch $@

build/bin/.ready: tests/requirements-singbox.txt | .venv/.ready
	@tests/setup.sh sing-box build/bin
	@touch $@

demo: setup
	@$(PY) -m lab.demo $(if $(ENGINE),--engine $(ENGINE)) $(if $(REDIRECT),--redirect $(REDIRECT)) \
		$(if $(TOPOLOGY),--topology $(TOPOLOGY)) $(if $(LINKS),--links $(LINKS)) $(if $(HOLD),--hold)

# The hash seed gives sets in the names of tests one order. What fails runs once more, alone, and
# is reported as flaky where it passes then: tests/flaky.py.
PYTEST := PYTHONHASHSEED=0 $(PY) -m pytest -p flaky

unit: .venv/.unit
	@$(PYTEST) -n auto $(ARGS) tests/unit

# Most tests wait for kernels and proxies rather than compute, so two files run at a time; the
# labs have names of their own. What depends on library versions runs on the oldest ones too, as
# one of the tests (tests/oldest).
test: setup
	@tests/luci/setup.sh
	@$(PYTEST) -n 2 --dist loadfile $(ARGS) tests

docs: setup
	@$(PY) -m reference

# The OpenWrt half above and luci-app-mptcp-proxy/Makefile, run by package/sdk. The same commit
# makes the same bytes.
IPK = $(MAKE) -s TOPDIR=$(CURDIR)/package/sdk IPK_BUILD=$(CURDIR)/build/package \
	IPK_DIST=$(CURDIR)/dist IPK_TOOL=$(CURDIR)/package/ipk.py LMO_TOOL=$(CURDIR)/package/lmo.py

ipk: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || stat -c %Y Makefile)
ipk:
	@rm -rf build/package dist
	@$(IPK)
	@$(IPK) -C luci-app-mptcp-proxy

lint: .venv/.unit
	@$(PY) -m ruff check --output-format concise .
	@$(PY) -m mypy

# Peers that no test needs: what manages endpoints elsewhere.
bench: setup
	@tests/setup.sh packages mptcpd mptcpd-plugins
	@$(PY) -m bench $(BENCH) $(if $(REPEATS),--repeats $(REPEATS)) $(if $(QUICK),--quick)

soak: setup
	@$(PY) -m soak --minutes $(or $(MINUTES),5) $(if $(SEED),--seed $(SEED))

clean:
	@$(firstword $(wildcard $(PY)) python3) -m lab.clean
	@rm -rf build/*.json build/logs build/package dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find src tests -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean
	@rm -rf .venv build

endif
