# SPDX-License-Identifier: GPL-2.0-or-later
"""Probes: TCP connections that take exactly the path a subflow takes, and one through the
proxy. Asynchronous; nothing is sent on a path's connection, so a probe is four packets."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from typing import Literal

from ..core.firewall import PROBE, PROBE_SOURCE

Outcome = Literal["answered", "refused", "lost", "unsent"]

_CLOSE_BY_RESET = struct.pack("ii", 1, 0)  # struct linger: on, 0 s
_TOTAL_RETRANS = 100  # offset in struct tcp_info, linux/tcp.h


async def connect(
    device: str, source: str, address: str, port: int, timeout: float
) -> tuple[Outcome, socket.socket | None]:
    """Connect over a device from an address. ``answered`` comes with the open connection:
    its end is the earliest sign of a server that stops.

    ``refused``: the path is alive, nobody listens. ``unsent``: this router could not even
    try (no route, no address, no device), which says nothing about the path.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        probe = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        return "unsent", None
    keep = False
    try:
        probe.setblocking(False)
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CLOSE_BY_RESET)
        try:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
            probe.bind((source, 0))
            code = probe.connect_ex((address, port))
        except OSError:
            return "unsent", None
        if code == errno.EINPROGRESS:
            code = await _connected(probe, timeout)
        elif code not in (0, errno.ECONNREFUSED):
            return "unsent", None
        if code == 0:
            keep = True
            return "answered", probe
        return ("refused" if code == errno.ECONNREFUSED else "lost"), None
    finally:
        if not keep:
            probe.close()


def repeated(probe: socket.socket) -> bool:
    """Whether the kernel had to send this connection's first packet more than once."""
    info = probe.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TOTAL_RETRANS + 4)
    return any(info[_TOTAL_RETRANS:])


async def through(timeout: float) -> Outcome:
    """Through redirector, tunnel and server: whatever end comes, it came from beyond.

    Needs the firewall's redirect of ``core.firewall.PROBE``, which goes by the source bound here.
    """
    probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        probe.setblocking(False)
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CLOSE_BY_RESET)
        probe.bind((PROBE_SOURCE, 0))
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout):
            await loop.sock_connect(probe, PROBE)
            # Some redirectors dial only when the client has said something.
            await loop.sock_sendall(probe, b"\n")
            await loop.sock_recv(probe, 1)
        return "answered"
    except TimeoutError:
        return "lost"
    except ConnectionRefusedError:
        return "refused"  # no redirector
    except ConnectionError:
        return "answered"  # a reset from beyond
    except OSError:
        return "unsent"
    finally:
        probe.close()


async def _connected(probe: socket.socket, timeout: float) -> int:
    """The result of a connection under way: 0 or an errno; ETIMEDOUT after ``timeout`` s."""
    loop = asyncio.get_running_loop()
    writable = asyncio.Event()
    loop.add_writer(probe, writable.set)
    try:
        async with asyncio.timeout(timeout):
            await writable.wait()
    except TimeoutError:
        return errno.ETIMEDOUT
    finally:
        loop.remove_writer(probe)
    return probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
