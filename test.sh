#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later

# Run by OpenWrt's package CI after installation: test.sh PACKAGE VERSION

case "$1" in
mptcp-agent)
	mptcp-agent --version | grep -F "$2"
	;;
mptcp-agent-*)
	mptcp-agent --version
	;;
esac
