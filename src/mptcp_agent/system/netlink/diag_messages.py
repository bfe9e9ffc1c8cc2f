# SPDX-License-Identifier: GPL-2.0-or-later
"""What sock_diag answers, read: kernel structures field by field, into types of ``core``.

At the offsets of the kernel's uapi headers (Linux 6.18). A structure may be shorter (older
kernel) or longer (newer): what is not there is 0.
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import Final, get_args

from ...core.sockets import (
    ClosedConnection,
    Listener,
    Subflow,
    SubflowFlag,
    TcpInfo,
    TcpSocket,
    TcpState,
)
from .framing import attributes, device

#: linux/inet_diag.h inet_diag_sockid: ports and addresses in network order; then the
#: interface index and the kernel's cookie
SOCKET_ID = struct.Struct("!HH16s16s")
SOCKET_ID_REST = struct.Struct("=IQ")
#: inet_diag_msg: family, state, timer, retrans; the socket id; expires, rqueue, wqueue, uid,
#: inode
MESSAGE_SIZE: Final = 72
_SOCKET_ID_AT: Final = 4
_RQUEUE_AT: Final = 56
_ACCOUNT_AT, _INODE_AT = 64, 68
_INET_DIAG_INFO, _INET_DIAG_ULP_INFO, _INET_DIAG_CGROUP_ID = 2, 19, 21
#: tcpi_min_rtt before the first measurement: more than an hour, for whoever multiplies with it.
_NO_SAMPLE: Final = 0xFFFFFFFF
_INET_ULP_INFO_NAME, _INET_ULP_INFO_MPTCP = 1, 3

#: By number, and from bit 0 on.
STATES: tuple[TcpState, ...] = get_args(TcpState)
_SUBFLOW_FLAGS: tuple[SubflowFlag, ...] = get_args(SubflowFlag)

#: linux/mptcp.h: MPTCP_SUBFLOW_ATTR_*
_TOKEN_LOC, _FLAGS, _ID_LOC = 2, 8, 10


class _Fields:
    """Numbers at known offsets of a kernel structure; 0 beyond its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def u8(self, offset: int) -> int:
        return self._number(offset, 1)

    def u32(self, offset: int) -> int:
        return self._number(offset, 4)

    def u64(self, offset: int) -> int:
        return self._number(offset, 8)

    def _number(self, offset: int, size: int) -> int:
        field = self._data[offset : offset + size]
        return int.from_bytes(field, sys.byteorder) if len(field) == size else 0


def tcp_socket(message: bytes) -> TcpSocket:
    """An inet_diag_msg of MESSAGE_SIZE bytes at least, with the attributes after it."""
    local, local_port, remote, remote_port = _ends(message)
    index, cookie = SOCKET_ID_REST.unpack_from(message, _SOCKET_ID_AT + SOCKET_ID.size)
    found = attributes(message[MESSAGE_SIZE:])
    return TcpSocket(
        local=local,
        local_port=local_port,
        remote=remote,
        remote_port=remote_port,
        state=_state(message),
        device=device(index),
        cookie=cookie,
        info=_tcp_info(_Fields(found.get(_INET_DIAG_INFO, b""))),
        subflow=_subflow(attributes(found.get(_INET_DIAG_ULP_INFO, b""))),
    )


def token(message: bytes) -> int:
    """Of an MPTCP socket: the local token of its connection (struct mptcp_info, linux/mptcp.h)."""
    return _Fields(attributes(message[MESSAGE_SIZE:]).get(_INET_DIAG_INFO, b"")).u32(12)


def closed_connection(message: bytes) -> ClosedConnection:
    """Of an MPTCP socket in FIN-WAIT-2. One without a process has no inode."""
    fields = _Fields(message)
    return ClosedConnection(token(message), bool(fields.u32(_INODE_AT)), fields.u32(_RQUEUE_AT))


def waiting(message: bytes) -> int:
    """Of a listening socket: connections waiting to be accepted (sk_ack_backlog)."""
    return _Fields(message).u32(_RQUEUE_AT)


def listener(message: bytes) -> Listener:
    """Of a listening socket: which, and whose."""
    fields, found = _Fields(message), attributes(message[MESSAGE_SIZE:])
    cgroup = _Fields(found.get(_INET_DIAG_CGROUP_ID, b"")).u64(0)
    return Listener(fields.u32(_INODE_AT), fields.u32(_ACCOUNT_AT), cgroup)


def _tcp_info(info: _Fields) -> TcpInfo:
    """struct tcp_info, linux/tcp.h: the fields that somebody reads."""
    return TcpInfo(
        retransmits=info.u8(2),
        unacked=info.u32(24),
        rtt=info.u32(68),
        cwnd=info.u32(80),
        total_retrans=info.u32(100),
        bytes_acked=info.u64(120),
        bytes_received=info.u64(128),
        min_rtt=0 if info.u32(148) == _NO_SAMPLE else info.u32(148),
    )


def _subflow(ulp: dict[int, bytes]) -> Subflow | None:
    if ulp.get(_INET_ULP_INFO_NAME, b"").rstrip(b"\0") != b"mptcp":
        return None
    details = attributes(ulp.get(_INET_ULP_INFO_MPTCP, b""))

    def number(attribute: int) -> int:
        return int.from_bytes(details.get(attribute, b""), sys.byteorder)

    bits = number(_FLAGS)
    return Subflow(
        token_local=number(_TOKEN_LOC),
        id_local=number(_ID_LOC),
        flags=frozenset(flag for bit, flag in enumerate(_SUBFLOW_FLAGS) if bits & (1 << bit)),
    )


def _ends(message: bytes) -> tuple[str, int, str, int]:
    local_port, remote_port, local, remote = SOCKET_ID.unpack_from(message, _SOCKET_ID_AT)
    version = message[0]
    return _address(version, local), local_port, _address(version, remote), remote_port


_MAPPED = b"\0" * 10 + b"\xff\xff"  # RFC 4291 section 2.5.5.2


def _address(version: int, raw: bytes) -> str:
    if version == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, raw[:4])
    if raw.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, raw[12:])
    return socket.inet_ntop(socket.AF_INET6, raw)


def _state(message: bytes) -> TcpState:
    number = message[1]
    return STATES[number] if number < len(STATES) else "unknown"
