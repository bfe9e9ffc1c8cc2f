# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything the agent could leave behind on a router, and the difference of two looks at it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from lab.router import Router

Snapshot = dict[str, list[str]]
"""What was looked at -> its lines, in a stable form without counters and clocks."""

DIRECTORIES = ("/var/run/mptcp-proxy", "/var/etc/mptcp-proxy")

_SYSCTLS = ("mptcp", "ipv4", "ipv6", "core")
_VOLATILE_SYSCTL = re.compile(r"stable_secret|fastopen_key|ipv[46]\.route\.flush|\.tcp_mem$")
_VOLATILE_ROUTE = re.compile(r" expires \w+| used \d+| users \d+")


def snapshot(router: Router) -> Snapshot:
    """Look at rules, routes, chains, endpoints, sysctls, processes and files of a router."""
    return {name: look(router) for name, look in _LOOKS.items()}


def leftovers(before: Snapshot, after: Snapshot) -> list[str]:
    """Return what `after` has more (+) or less (-) than `before`, one line each."""
    found = []
    for name in before | after:
        old, new = list(before.get(name, [])), []
        for line in after.get(name, []):
            if line in old:
                old.remove(line)
            else:
                new.append(line)
        found += [f"{name}: + {line}" for line in new] + [f"{name}: - {line}" for line in old]
    return found


def _ip(*argv: str) -> Callable[[Router], list[str]]:
    def look(router: Router) -> list[str]:
        lines = router.run("ip", *argv, check=False).stdout.splitlines()
        return [_VOLATILE_ROUTE.sub("", line.strip()) for line in lines]

    return look


def _nft(router: Router) -> list[str]:
    """Every chain as one line, so that a left-over rule is shown with the chain it is in."""
    lines = router.run("nft", "-s", "list", "ruleset", check=False).stdout.splitlines()
    return [line.strip() for line in lines if line.strip() not in ("", "}")]


def _iptables(program: str) -> Callable[[Router], list[str]]:
    def look(router: Router) -> list[str]:
        # Merely looking at a legacy table makes it exist, so an empty one counts as absent.
        lines = router.run(program, check=False).stdout.splitlines()
        return [line for line in lines if re.match(r"-|:\S+ (-|DROP)", line)]

    return look


def _sysctls(router: Router) -> list[str]:
    pattern = rf"^net\.({'|'.join(_SYSCTLS)})\."
    lines = router.run("sysctl", "-a", "--pattern", pattern, check=False).stdout.splitlines()
    return [line for line in lines if not _VOLATILE_SYSCTL.search(line)]


def _processes(router: Router) -> list[str]:
    found = []
    for pid in router.pids():
        try:
            argv = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if argv and pid != os.getpid():
            found.append(argv.decode(errors="replace").strip())
    return sorted(found)


def _files(router: Router) -> list[str]:
    found = []
    for name in DIRECTORIES:
        top = router.path(name)
        if top.exists():
            found += [name, *(f"{name}/{path.relative_to(top)}" for path in top.rglob("*"))]
    return sorted(found)


_LOOKS: dict[str, Callable[[Router], list[str]]] = {
    "rule": _ip("-4", "rule"),
    "rule6": _ip("-6", "rule"),
    "route": _ip("-4", "route", "show", "table", "all"),
    "route6": _ip("-6", "route", "show", "table", "all"),
    "endpoint": _ip("mptcp", "endpoint"),
    "limit": _ip("mptcp", "limits"),
    "nftables": _nft,
    "iptables": _iptables("iptables-legacy-save"),
    "ip6tables": _iptables("ip6tables-legacy-save"),
    "sysctl": _sysctls,
    "process": _processes,
    "file": _files,
}
