# SPDX-License-Identifier: GPL-2.0-or-later
"""What OpenWrt's `jsonfilter` command does with the one kind of path our scripts have.

`-e "@['NAME'].instances.agent.pid"` prints that value of the JSON on stdin (or after -s), and exits
with 1 where there is none. Wildcards, filters and slices are left out, and refused.
"""

from __future__ import annotations

import getopt
import json
import re
import sys

_STEP = re.compile(r"\.(\w+)|\[['\"]([^'\"]+)['\"]\]")


def steps(path: str) -> list[str]:
    """Raises ValueError for a path of another kind."""
    rest = path.removeprefix("@").removeprefix("$")
    found = _STEP.findall(rest)
    if _STEP.sub("", rest) or not found:
        raise ValueError(f"not in the lab's jsonfilter: {path}")
    return [name or quoted for name, quoted in found]


def main(argv: list[str]) -> int:
    given = dict(getopt.getopt(argv[1:], "s:e:")[0])
    try:
        value = json.loads(given["-s"] if "-s" in given else sys.stdin.read())
        for step in steps(given["-e"]):
            value = value[step]
    except (json.JSONDecodeError, KeyError, TypeError):
        return 1
    print(value if isinstance(value, str) else json.dumps(value))
    return 0
