#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later

# What the tests of the LuCI app need: node, npm and Chromium of Debian, and the pinned packages of
# package-lock.json below node_modules. Called again it finds everything in place and says nothing.
set -eu
cd "$(dirname "$0")"

missing=
command -v node >/dev/null || missing="$missing nodejs"
command -v npm >/dev/null || missing="$missing npm"
[ -x "${CHROMIUM:-/usr/bin/chromium}" ] || missing="$missing chromium"

if [ -n "$missing" ]; then
	echo "setup: installing Debian packages:$missing"
	export DEBIAN_FRONTEND=noninteractive
	apt-get -qq -o DPkg::Lock::Timeout=300 update || echo "setup: apt-get update failed, trying with the lists that are there"
	# shellcheck disable=SC2086  # a list of words
	apt-get -qqy -o DPkg::Lock::Timeout=300 install --no-install-recommends $missing >/dev/null
fi

# npm leaves a copy of what it installed
if ! cmp -s package-lock.json node_modules/.installed; then
	npm ci --silent --no-audit --no-fund
	cp package-lock.json node_modules/.installed
fi
