# SPDX-License-Identifier: GPL-2.0-or-later
"""Host names of peers -> addresses. Blocks up to the resolver's own time-out (seconds)."""

from __future__ import annotations

import ipaddress
import socket


def resolve(host: str) -> tuple[str, ...]:
    """All addresses of a host, IPv4 first, each family in the resolver's order; () on failure."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    addresses = dict.fromkeys(str(info[4][0]).partition("%")[0] for info in found)
    return tuple(sorted(addresses, key=lambda a: ipaddress.ip_address(a).version))
