# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel tests have in common: two machines' links, and what a call costs."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from toolkit.namespace import Namespace

from mptcp_agent.core.sockets import TcpSocket
from mptcp_agent.system.netlink import diag

LINKS = (1, 2)


def cable(one: Namespace, other: Namespace, number: int, low: int, high: int) -> None:
    """Link ``wan<number>`` on both sides: 10.n.n.low|high/24, 2001:db8:n::low|high/64."""
    name = f"wan{number}"
    one.sh(f"ip link add {name} type veth peer name {name} netns {other.path}")
    for space, host in ((one, low), (other, high)):
        space.sh(
            f"ip addr add 10.{number}.{number}.{host}/24 dev {name};"
            f"ip addr add 2001:db8:{number}::{host}/64 dev {name} nodad;"
            f"echo 0 > /proc/sys/net/ipv4/conf/{name}/rp_filter;"
            f"echo 0 > /proc/sys/net/ipv6/conf/{name}/accept_dad;"  # no second of waiting
            f"ip link set {name} up"
        )


def second_way(client: Namespace) -> None:
    """A way over link 2 for what comes from the client's address there, as the agent makes it.

    IPv4 needs none in this set-up (the kernel asks for any address on any link), IPv6 does.
    """
    client.sh(
        "ip -6 route add 2001:db8:1::2 via 2001:db8:2::2 dev wan2 table 77;"
        "ip -6 rule add from 2001:db8:2::1 lookup 77"
    )


def subflows(local_port: int = 0, remote_port: int = 0) -> list[TcpSocket]:
    """Sockets of the namespace that are a part of an MPTCP connection."""
    return [s for s in diag.tcp_sockets(local_port, remote_port) if s.subflow]


def cost(name: str, call: Callable[[], object], times: int = 50) -> str:
    """A line that says what a call costs, to be printed and not asserted."""
    spent = []
    for _ in range(times):
        began = time.thread_time()
        call()
        spent.append(time.thread_time() - began)
    return f"  {name}: {statistics.median(spent) * 1e3:.2f} ms of CPU (median)"


def open_files() -> int:
    """Descriptors of this process; none that a test before has left to the garbage collector."""
    gc.collect()
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
