#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# pyroute2's MPTCP class tells of an endpoint's device in a form of its own: where IPRoute has an
# interface's index as a number, here it goes in as the four bytes of a C int and comes back as text, one hexadecimal
# pair per byte in the machine's own order. `flags`, next to it, is a number both ways: the kernel's bits without names.
# Needs root, for a network namespace of its own.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pyroute2==0.9.7

cat >"$folder/ask.py" <<'END'
import struct
import sys
from importlib.metadata import version

from pyroute2 import MPTCP, IPRoute

SUBFLOW = 1 << 1  # MPTCP_PM_ADDR_FLAG_SUBFLOW of linux/mptcp.h

with IPRoute() as route:
    (index,) = route.link_lookup(ifname="lo")
    route.link("set", index=index, state="up")
    link = route.link("get", index=index)[0]["index"]
with MPTCP() as mptcp:
    mptcp.endpoint("add", addr="127.0.0.2", if_idx=struct.pack("=i", index), flags=SUBFLOW)
    (shown,) = mptcp.endpoint("show")
address = shown.get_attr("MPTCP_PM_ATTR_ADDR")
device = address.get_attr("MPTCP_PM_ADDR_ATTR_IF_IDX")
flags = address.get_attr("MPTCP_PM_ADDR_ATTR_FLAGS")

print("pyroute2", version("pyroute2"))
print(f"IPRoute gives the index of lo as {link!r}")
print(f"MPTCP, told {struct.pack('=i', index)!r}, gives it back as {device!r}, and the flag subflow as {flags!r}")
seen = (link, device, flags)
sys.exit("this has changed" if seen != (index, struct.pack("=i", index).hex(":"), SUBFLOW) else 0)
END
unshare -n "$folder/venv/bin/python" "$folder/ask.py"
