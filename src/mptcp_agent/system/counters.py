# SPDX-License-Identifier: GPL-2.0-or-later
"""Counters the kernel keeps anyway: MPTCP events, bytes of a link, memory."""

from __future__ import annotations

from pathlib import Path

from ..errors import KernelError
from . import procfs

#: thread-self: of the network namespace of the thread that asks, as with sockets
_NETSTAT = Path("/proc/thread-self/net/netstat")
_MEMINFO = Path("/proc/meminfo")
_SNMP = Path("/proc/thread-self/net/snmp")
_PREFIX = "MPTcpExt:"
_NETDEV = Path("/proc/thread-self/net/dev")
#: Columns of net/dev after the name: bytes received, bytes sent
_RX, _TX = 0, 8


def mptcp_counters() -> dict[str, int]:
    """The MPTcpExt counters of this network namespace by their kernel names (nstat).

    Empty on a kernel without MPTCP.
    """
    lines = [line for line in _read(_NETSTAT).splitlines() if line.startswith(_PREFIX)]
    if len(lines) != 2:  # a line of names, and one of values
        return {}
    names, values = (line.split()[1:] for line in lines)
    return {name: int(value) for name, value in zip(names, values, strict=False)}


def link_bytes() -> dict[str, tuple[int, int]]:
    """Bytes received and sent by each device of this network namespace, since it exists.

    Not from /sys/class/net, which shows the namespace in which /sys was mounted.
    """
    found: dict[str, tuple[int, int]] = {}
    for line in _read(_NETDEV).splitlines()[2:]:
        name, _, numbers = line.rpartition(":")
        columns = numbers.split()
        if len(columns) > _TX:
            found[name.strip()] = (int(columns[_RX]), int(columns[_TX]))
    return found


def tcp_opened() -> int:
    """TCP connections this network namespace has opened and accepted so far, answered or not,
    of both address families."""
    names, values = (line.split() for line in _read(_SNMP).splitlines() if line.startswith("Tcp:"))
    seen = dict(zip(names, values, strict=True))
    return int(seen["ActiveOpens"]) + int(seen["PassiveOpens"])


def memory_total() -> int:
    """MemTotal in bytes; 0 when it cannot be told."""
    for line in _read(_MEMINFO).splitlines():
        words = line.split()
        if words[:1] == ["MemTotal:"] and words[1].isdigit():
            return int(words[1]) * 1024
    return 0


def _read(path: Path) -> str:
    try:
        return procfs.read(path)
    except OSError as error:
        raise KernelError(f"reading {path}: {error.strerror}; is /proc mounted?") from error
