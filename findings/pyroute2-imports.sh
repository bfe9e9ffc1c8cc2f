#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Importing pyroute2's IPRoute imports unittest.mock, multiprocessing and ssl, which talking to rtnetlink has no use for.
# Where Python's standard library comes in parts (OpenWrt, minimal images) all three have to be installed, and who leaves
# one out hears ModuleNotFoundError from deep inside. The message classes alone (netlink.rtnl.rtmsg and its like) want
# none of them, but only load without the rest if the package's own __init__ has not run.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pyroute2==0.9.7

cat >"$folder/ask.py" <<'END'
import importlib
import importlib.util
import sys
from importlib.metadata import version

wanted, missing = sys.argv[1], sys.argv[2]


class Missing:
    """The part of the standard library that is not installed."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Missing())
if wanted == "messages":
    sys.modules["pyroute2"] = importlib.util.module_from_spec(importlib.util.find_spec("pyroute2"))
    name = "pyroute2.netlink.rtnl.rtmsg"
else:
    name = "pyroute2.iproute"
try:
    importlib.import_module(name)
    found = "loads"
except ModuleNotFoundError as error:
    found = str(error)
print(f"pyroute2 {version('pyroute2')}, without {missing}: {name} {found}")
sys.exit((found == "loads") != (wanted == "messages"))
END
for part in unittest multiprocessing ssl; do
	"$folder/venv/bin/python" "$folder/ask.py" messages "$part"
	"$folder/venv/bin/python" "$folder/ask.py" sockets "$part"
done
