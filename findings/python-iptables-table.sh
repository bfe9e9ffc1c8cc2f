#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# python-iptables: to look is to touch. A Table object looks like a handle for later use, yet making one, with no rule
# read, added or committed, has the kernel set up that legacy table in the network namespace, where it stays when the
# object is closed. On a host whose firewall is nftables, a program that only asks leaves a second NAT beside it.
# Needs root, for a network namespace of its own, and a kernel with the legacy ip_tables.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check python-iptables==1.2.0

cat >"$folder/ask.py" <<'END'
import sys
from importlib.metadata import version
from pathlib import Path

import iptc


def tables():
    """The legacy tables of this network namespace, by the kernel's own list."""
    return Path("/proc/net/ip_tables_names").read_text().split()


seen = [tables()]
table = iptc.Table(iptc.Table.NAT)
seen.append(tables())
table.close()
seen.append(tables())
print("python-iptables", version("python-iptables"))
for when, names in zip(("imported", "Table made", "Table closed"), seen):
    print(f"{when}: {names}")
sys.exit("this has changed" if seen != [[], ["nat"], ["nat"]] else 0)
END
unshare -n "$folder/venv/bin/python" "$folder/ask.py"
