# SPDX-License-Identifier: GPL-2.0-or-later
"""Sockets as the kernel sees them: TCP, and the subflows of MPTCP among them (sock_diag(7)).

Hand-written, because no library does it: pyroute2's DiagSocket gives a subflow's details as
undecoded text, and is slow for something read twenty times a second.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Collection, Iterator
from contextlib import closing

from ...core.sockets import ClosedConnection, Listener, TcpSocket
from ...errors import KernelError
from .conversation import Conversation
from .diag_messages import (
    MESSAGE_SIZE,
    SOCKET_ID,
    SOCKET_ID_REST,
    STATES,
    closed_connection,
    listener,
    tcp_socket,
    token,
    waiting,
)

_NETLINK_SOCK_DIAG = 4
#: linux/sock_diag.h
_SOCK_DIAG_BY_FAMILY, _SOCK_DESTROY = 20, 21

#: linux/inet_diag.h inet_diag_req_v2: family, protocol, extensions, states; then a socket id
_WANTED = struct.Struct("=BBBxI")
_EXTENSIONS = 1 << (2 - 1)  # INET_DIAG_INFO; details of the ULP come unasked, to root
_NO_COOKIE = 0xFFFFFFFFFFFFFFFF

_IPPROTO_MPTCP = 262
#: The protocol as an attribute, because 262 does not fit into its byte (Linux 5.9).
_PROTOCOL = struct.Struct("=HHI")
_INET_DIAG_REQ_PROTOCOL = 3

_CONVERSING = sum(
    1 << number
    for number, state in enumerate(STATES)
    if state not in ("unknown", "time-wait", "closed", "listen", "new-syn-recv")
)
_LISTENING = 1 << STATES.index("listen")
_SYN_SENT = STATES.index("syn-sent")


def tcp_sockets(local_port: int = 0, remote_port: int = 0) -> list[TcpSocket]:
    """TCP sockets that are (still) talking to somebody, subflows among them.

    A port of 0 means any; the kernel does the filtering. IPv4 sockets first. Raises
    KernelError. About 20 µs per socket.
    """
    return [tcp_socket(message) for message in _both_families(local_port, remote_port)]


def calls(remote_port: int) -> list[TcpSocket]:
    """Of ``tcp_sockets`` the subflows, and connections not answered yet. What is neither (the
    agent's own probes, which are many) is not even unpacked."""
    return [
        tcp_socket(message)
        for message in _both_families(0, remote_port)
        if message[1] == _SYN_SENT or b"mptcp" in message[MESSAGE_SIZE:]
    ]


def mptcp_connections(remote_port: int) -> frozenset[int]:
    """Tokens of the established MPTCP connections to a port, those without any subflow left
    included, which no TCP socket shows. Raises KernelError. About 5 µs per connection."""
    established = 1 << STATES.index("established")
    found = _both_families(0, remote_port, established, _IPPROTO_MPTCP)
    return frozenset(token(message) for message in found)


def closed_connections(local_port: int, remote_port: int) -> list[ClosedConnection]:
    """The MPTCP connections in FIN-WAIT-2. Raises KernelError. The kernel picks them: 0.1 ms, and
    0.8 ms where 6,000 are in other states."""
    state = 1 << STATES.index("fin-wait-2")
    found = _both_families(local_port, remote_port, state, _IPPROTO_MPTCP)
    return [closed_connection(message) for message in found]


def subflows(tokens: Collection[int], local_port: int, remote_port: int) -> list[TcpSocket]:
    """Of ``tcp_sockets`` the subflows of these connections. What has none of their tokens is not
    unpacked."""
    raw = [number.to_bytes(4, sys.byteorder) for number in tokens]
    found = [
        tcp_socket(message)
        for message in _both_families(local_port, remote_port)
        if any(number in message for number in raw)
    ]
    return [s for s in found if s.subflow and s.subflow.token_local in tokens]


def backlog(port: int) -> int:
    """Connections to a local port that its process has not accepted yet. More than a moment
    above 0 means that it hangs. Walks listening sockets only, which are few."""
    return sum(waiting(message) for message in _both_families(port, 0, _LISTENING))


def listeners(port: int) -> list[Listener]:
    """Who listens at a local port, at whatever address. Raises KernelError."""
    return [listener(message) for message in _both_families(port, 0, _LISTENING)]


def destroy(target: TcpSocket) -> bool:
    """Close the socket as if it had been reset (``ss -K``); of a subflow, the connection lives.

    False where it is gone already. Raises KernelError, also on kernels without
    CONFIG_INET_DIAG_DESTROY.
    """
    version = socket.AF_INET6 if ":" in target.local else socket.AF_INET
    body = _WANTED.pack(version, socket.IPPROTO_TCP, 0, 0) + _socket_id(target, version)
    try:
        with closing(Conversation(_NETLINK_SOCK_DIAG)) as kernel:
            kernel.request(_SOCK_DESTROY, body)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESTALE):
            return False
        raise KernelError(
            f"closing {target.local}:{target.local_port} - {target.remote}:"
            f"{target.remote_port}: {_reason(error)}"
        ) from error
    return True


# --- Asking ---------------------------------------------------------------------------------


def _both_families(
    local_port: int,
    remote_port: int,
    states: int = _CONVERSING,
    protocol: int = socket.IPPROTO_TCP,
) -> Iterator[bytes]:
    ids = SOCKET_ID.pack(local_port, remote_port, b"", b"") + SOCKET_ID_REST.pack(0, _NO_COOKIE)
    attribute = _PROTOCOL.pack(_PROTOCOL.size, _INET_DIAG_REQ_PROTOCOL, protocol)
    for version in (socket.AF_INET, socket.AF_INET6):
        wanted = _WANTED.pack(version, protocol & 0xFF, _EXTENSIONS, states)
        try:
            with closing(Conversation(_NETLINK_SOCK_DIAG)) as kernel:
                for message in kernel.some(_SOCK_DIAG_BY_FAMILY, wanted + ids + attribute):
                    if len(message) >= MESSAGE_SIZE:
                        yield message
        except OSError as error:
            raise KernelError(f"listing sockets: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    if error.errno == errno.EOPNOTSUPP:
        return "this kernel cannot (option CONFIG_INET_DIAG_DESTROY)"
    if error.errno in (errno.ENOENT, errno.EPROTONOSUPPORT, errno.EINVAL):
        return "the kernel lacks CONFIG_INET_DIAG (OpenWrt package kmod-inet-diag)"
    if error.errno == errno.EPERM:
        return "not permitted; the agent needs root (CAP_NET_ADMIN)"
    return error.strerror or str(error)


def _socket_id(target: TcpSocket, version: int) -> bytes:
    local, remote = (
        socket.inet_pton(version, end).ljust(16, b"\0") for end in (target.local, target.remote)
    )
    try:
        index = socket.if_nametoindex(target.device) if target.device else 0
    except OSError:
        index = 0
    # The cookie: exactly this socket, even if another one has its ports by now.
    return SOCKET_ID.pack(
        target.local_port, target.remote_port, local, remote
    ) + SOCKET_ID_REST.pack(index, target.cookie)
