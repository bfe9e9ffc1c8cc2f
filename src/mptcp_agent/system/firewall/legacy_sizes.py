# SPDX-License-Identifier: GPL-2.0-or-later
"""How large the legacy iptables tables are: what a flush by another program changes.

The kernel sends no event of them. A table's size costs one system call without a lock, where
reading its rules costs the whole table (linux/netfilter_ipv4/ip_tables.h, IPT_SO_GET_INFO).
"""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Iterable

from ...core.state import Family
from ...errors import FirewallError
from .iptc_tables import existing

#: getsockopt(2) level and family; IPT_SO_GET_INFO and IP6T_SO_GET_INFO are the same number.
_LEVELS: dict[Family, tuple[int, socket.AddressFamily]] = {
    4: (socket.IPPROTO_IP, socket.AF_INET),
    6: (socket.IPPROTO_IPV6, socket.AF_INET6),
}
_GET_INFO = 64
_libc = ctypes.CDLL(None, use_errno=True)


class _Info(ctypes.Structure):
    """struct ipt_getinfo, ip6t_getinfo"""

    _fields_ = (
        ("name", ctypes.c_char * 32),
        ("valid_hooks", ctypes.c_uint),
        ("hook_entry", ctypes.c_uint * 5),
        ("underflow", ctypes.c_uint * 5),
        ("entries", ctypes.c_uint),
        ("size", ctypes.c_uint),
    )


def sizes(tables: Iterable[str]) -> tuple[tuple[Family, str, int, int], ...]:
    """Family, table, rules and bytes of those tables that exist. Never makes one. Raises
    FirewallError, also where it is not permitted."""
    wanted = [
        (family, table) for family in _LEVELS for table in sorted(existing(family) & {*tables})
    ]
    return tuple((family, table, *_size(family, table)) for family, table in wanted)


def _size(family: Family, table: str) -> tuple[int, int]:
    level, domain = _LEVELS[family]
    info = _Info(name=table.encode())
    length = ctypes.c_uint(ctypes.sizeof(info))
    try:
        with socket.socket(domain, socket.SOCK_RAW, socket.IPPROTO_RAW) as opened:
            if _libc.getsockopt(
                opened.fileno(), level, _GET_INFO, ctypes.byref(info), ctypes.byref(length)
            ):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    except OSError as error:
        raise FirewallError(f"iptables table {table}: {error.strerror}") from error
    return int(info.entries), int(info.size)
