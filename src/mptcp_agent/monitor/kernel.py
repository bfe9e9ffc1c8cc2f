# SPDX-License-Identifier: GPL-2.0-or-later
"""What the monitor asks of the machine, in one place: the real functions here, others in tests."""

from __future__ import annotations

import socket
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from ..core.sockets import ClosedConnection, Listener, TcpSocket
from ..core.state import Endpoint
from ..system import counters, probes, processes, resets, sysctl
from ..system.engines import listener_buffer
from ..system.netlink import diag, endpoints
from ..system.path_mtu import path_mtu
from ..system.probes import Outcome

Connect = Callable[
    [str, str, str, int, float], Awaitable[tuple[Outcome, socket.socket | None]]
]  # device, source, address, port, timeout


@dataclass(frozen=True)
class Kernel:
    """Each as the function it stands for says; those that are no coroutines block."""

    connect: Connect = probes.connect
    repeated: Callable[[socket.socket], bool] = probes.repeated
    path_mtu: Callable[[str, socket.socket], Awaitable[int | None]] = path_mtu
    through: Callable[[float], Awaitable[Outcome]] = probes.through
    calls: Callable[[int], list[TcpSocket]] = diag.calls
    tcp_sockets: Callable[[int, int], list[TcpSocket]] = diag.tcp_sockets
    mptcp_connections: Callable[[int], frozenset[int]] = diag.mptcp_connections
    backlog: Callable[[int], int] = diag.backlog
    destroy: Callable[[TcpSocket], bool] = diag.destroy
    rejoin: Callable[[Iterable[Endpoint]], None] = endpoints.add_again
    get_sysctl: Callable[[str], str | None] = sysctl.read
    set_sysctl: Callable[[str, str], None] = sysctl.write
    closed_connections: Callable[[int, int], list[ClosedConnection]] = diag.closed_connections
    subflows: Callable[[Collection[int], int, int], list[TcpSocket]] = diag.subflows
    reset: Callable[[Sequence[TcpSocket]], int] = resets.reset
    tcp_opened: Callable[[], int] = counters.tcp_opened
    link_bytes: Callable[[], dict[str, tuple[int, int]]] = counters.link_bytes
    mptcp_counters: Callable[[], dict[str, int]] = counters.mptcp_counters
    watch: Callable[[int], int | None] = processes.watch
    only_forked: Callable[[int], bool] = processes.only_forked
    listens: Callable[[int], bool] = processes.listens
    listeners: Callable[[int], list[Listener]] = diag.listeners
    owner: Callable[[Listener], str] = processes.owner
    bound_listener: Callable[[int, int, int], bool] = listener_buffer.bound
    cost: Callable[[], float] = time.thread_time
    """Processor time (s) of the thread that asks."""


KERNEL = Kernel()
"""This machine's."""
