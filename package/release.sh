#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later

# What the release workflow does, so that it can be tried and tested without it.
#
#   release.sh check TAG             is TAG the version, and has the changelog an entry for it?
#   release.sh notes                 that entry
#   release.sh assets IPK SDK OUT    the files of a release in OUT: packages of `make ipk` from IPK as
#                                    they are; for each folder of SDK (one per release and architecture,
#                                    whose packages have equal names) an archive; SHA256SUMS of all
set -eu

die() {
	echo "release: $*" >&2
	exit 1
}

notes() {
	awk -v version="$VERSION" '
		/^## \[/ { wanted = index($0, "## [" version "]") == 1; next }
		/^\[.*\]: / { next }
		wanted { text = text $0 "\n" }
		END { gsub(/^\n+|\n+$/, "", text); if (text != "") print text }
	' "$TOP/CHANGELOG.md"
}

check() {
	[ "$1" = "v$VERSION" ] || die "the tag is $1, the version is $VERSION (src/mptcp_agent/__init__.py)"
	[ -n "$(notes)" ] || die "CHANGELOG.md says nothing about $VERSION"
	echo "$VERSION"
}

assets() {
	ipk=$1 sdk=$2 out=$3
	rm -rf "$out"
	mkdir -p "$out"
	cp "$ipk"/*.ipk "$out/"
	for folder in "$sdk"/*/; do
		name=$(basename "$folder")
		[ -d "$folder" ] || die "nothing in $sdk"
		# upload-artifact keeps the folders below bin/packages.
		find "$folder" -type f \( -name '*.ipk' -o -name '*.apk' \) -printf '%h\n' | sort -u > "$out/.folders"
		[ "$(wc -l < "$out/.folders")" = 1 ] || die "$name: expected one folder of packages, found: $(cat "$out/.folders")"
		packages=$(cat "$out/.folders")
		tar -czf "$out/mptcp-agent-$VERSION-$name.tar.gz" --sort=name --owner=0 --group=0 \
			--transform "s,^\.,mptcp-agent-$VERSION-$name," -C "$packages" .
	done
	rm -f "$out/.folders"
	(cd "$out" && sha256sum -- * > SHA256SUMS)
}

TOP=$(cd "$(dirname "$0")/.." && pwd)
VERSION=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$TOP/src/mptcp_agent/__init__.py")
[ -n "$VERSION" ] || die "no version in src/mptcp_agent/__init__.py"

step=${1:-}
[ $# = 0 ] || shift
case $step in
check | notes | assets) "$step" "$@" ;;
*) die "unknown step: $step" ;;
esac
