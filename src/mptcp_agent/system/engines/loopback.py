# SPDX-License-Identifier: GPL-2.0-or-later
"""Sockets on loopback, for trials: does the kernel, do both ends of a connection speak MPTCP?"""

from __future__ import annotations

import socket
import time

LOOPBACK = "127.0.0.1"
LOOPBACK6 = "::1"

_SOL_MPTCP = 284  # include/linux/socket.h
_MPTCP_INFO = 1  # include/uapi/linux/mptcp.h


class Peer:
    """What a redirector on trial takes for its peer: an MPTCP listener."""

    def __init__(self, address: str) -> None:
        kind = family(address)
        self._listener = socket.socket(kind, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)
        self._listener.bind((address, 0))
        self._listener.listen(1)
        self.port: int = self._listener.getsockname()[1]
        self._connection: socket.socket | None = None

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        if self._connection:
            self._connection.close()

    def hears(self, seconds: float) -> bool:
        """Whether the redirector connects and says where the connection is to go."""
        deadline = time.monotonic() + seconds
        try:
            if self._connection is None:
                self._listener.settimeout(seconds)
                self._connection = self._listener.accept()[0]
            self._connection.settimeout(max(0.01, deadline - time.monotonic()))
            return bool(self._connection.recv(1))
        except OSError:
            return False

    def speaks_mptcp(self) -> bool:
        return self._connection is not None and speaks_mptcp(self._connection)


def speaks_mptcp(connection: socket.socket) -> bool:
    """Whether both ends do. accept() on an MPTCP listener gives a TCP socket for a TCP client,
    and a socket that fell back to TCP refuses the question (net/mptcp/sockopt.c)."""
    try:
        connection.getsockopt(_SOL_MPTCP, _MPTCP_INFO, 64)
    except OSError:
        return False
    return True


def kernel_speaks_mptcp(address: str = LOOPBACK) -> bool:
    """Whether MPTCP can be tried at this address: not while net.mptcp.enabled is 0, and not in a
    family that is switched off."""
    try:
        with socket.socket(family(address), socket.SOCK_STREAM, socket.IPPROTO_MPTCP) as one:
            one.bind((address, 0))
    except OSError:
        return False
    return True


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        port: int = listener.getsockname()[1]
        return port
