# SPDX-License-Identifier: GPL-2.0-or-later

# The least of OpenWrt's build system that runs this repository's package Makefiles: what
# `make ipk` builds comes from the very recipes a buildroot runs. Names are OpenWrt's.

INCLUDE_DIR := $(TOPDIR)/include
BUILD_DIR := $(IPK_BUILD)

INSTALL_DIR := install -d -m0755
INSTALL_BIN := install -m0755
INSTALL_DATA := install -m0644
INSTALL_CONF := install -m0600
CP := cp -fpR
FIND := find

empty :=
space := $(empty) $(empty)
comma := ,
