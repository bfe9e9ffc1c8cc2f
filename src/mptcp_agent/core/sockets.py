# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel says of TCP sockets and MPTCP subflows.

Read by ``system.netlink.diag``. Bytes are counted per socket from its beginning; times are of the
moment of reading. Fields that the running kernel does not report are 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: net/tcp_states.h, in the order of their numbers.
TcpState = Literal[
    "unknown",
    "established",
    "syn-sent",
    "syn-recv",
    "fin-wait-1",
    "fin-wait-2",
    "time-wait",
    "closed",
    "close-wait",
    "last-ack",
    "listen",
    "closing",
    "new-syn-recv",
]

#: linux/mptcp.h: MPTCP_SUBFLOW_FLAG_*, from bit 0 on.
SubflowFlag = Literal[
    "capable-remote",
    "capable-local",
    "join-remote",
    "join-local",
    "backup-remote",
    "backup-local",
    "fully-established",
    "connected",
    "map-valid",
]


@dataclass(frozen=True)
class TcpInfo:
    """Of struct tcp_info (tcp(7)). Times in microseconds."""

    rtt: int = 0
    """Smoothed round-trip time."""
    min_rtt: int = 0
    cwnd: int = 0
    """Congestion window in segments."""
    unacked: int = 0
    """Segments sent and not acknowledged."""
    retransmits: int = 0
    """Retransmission time-outs in a row without an answer: above 0, the path is suspect."""
    total_retrans: int = 0
    """Segments sent again since the beginning."""
    bytes_acked: int = 0
    """One more than the data, since TCP counts its SYN."""
    bytes_received: int = 0


@dataclass(frozen=True)
class Listener:
    """A listening socket: ``inode`` is its number in the kernel, ``account`` the user id it was
    made by, ``cgroup`` the id of the control group (version 2) it was made in, 0 where the kernel
    does not tell."""

    inode: int
    account: int
    cgroup: int = 0


@dataclass(frozen=True)
class ClosedConnection:
    """An MPTCP connection that this end has closed while the other has not (FIN-WAIT-2)."""

    token: int
    owned: bool
    """A process still has the socket: it has closed its own direction only, and may read on."""
    unread: int
    """Bytes of memory that hold what nobody has read yet."""


@dataclass(frozen=True)
class TcpSocket:
    """A TCP socket. IPv4 addresses are IPv4 texts, also on IPv6 sockets (mapped ones)."""

    local: str
    local_port: int
    remote: str
    remote_port: int
    state: TcpState
    device: str
    """What the socket is bound to (SO_BINDTODEVICE, an endpoint's ``dev``); "" = nothing."""
    cookie: int
    """The kernel's number of this very socket."""
    info: TcpInfo
    subflow: Subflow | None = None
    """None: not a part of an MPTCP connection."""


@dataclass(frozen=True)
class Subflow:
    """What makes a TCP socket a subflow. ``token_local`` is its connection's token."""

    token_local: int
    id_local: int
    flags: frozenset[SubflowFlag]

    @property
    def backup(self) -> bool:
        return bool(self.flags & {"backup-local", "backup-remote"})

    @property
    def join(self) -> bool:
        """A further subflow, not the one the connection began with."""
        return bool(self.flags & {"join-local", "join-remote"})

    @property
    def fallback(self) -> bool:
        """Asked for MPTCP and did not get it: plain TCP for the rest of its life."""
        return "connected" in self.flags and not self.flags & {
            "capable-remote",
            "join-remote",
            "join-local",
        }
