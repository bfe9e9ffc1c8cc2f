"""Nameless network namespaces of the test's own process, entered with ``with``.

They go away with the last thing that holds them open, so that even a killed test leaves
nothing behind. Sockets stay in the namespace they were made in, threads and programs start in
the one in which they are started.
"""

from __future__ import annotations

import ctypes
import gc
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from mptcp_agent.core.sockets import TcpSocket
from mptcp_agent.system.netlink import diag

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_libc = ctypes.CDLL(None, use_errno=True)

LINKS = (1, 2)


class Namespace:
    """A network namespace with loopback up."""

    def __init__(self) -> None:
        if os.geteuid() != 0:
            pytest.fail("this test needs root: it makes network namespaces")
        home = _here()
        _call(_libc.unshare, _CLONE_NEWNET)
        self._file = _here()
        _call(_libc.setns, home, _CLONE_NEWNET)
        os.close(home)
        self._before: list[int] = []
        self.sh("ip link set lo up")

    @property
    def path(self) -> str:
        """Where ``ip link set … netns PATH`` finds it."""
        return f"/proc/{os.getpid()}/fd/{self._file}"

    def sh(self, command: str) -> str:
        """Run shell commands in it; their output. A failure fails the test."""
        with self:
            done = subprocess.run(["sh", "-ec", command], capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def batch(self, lines: list[str]) -> None:
        """Many commands of ``ip`` at once."""
        with self:
            done = subprocess.run(
                ["ip", "-batch", "-"], input="\n".join(lines), capture_output=True, text=True
            )
        assert done.returncode == 0, done.stderr

    def close(self) -> None:
        os.close(self._file)

    def __enter__(self) -> Self:
        self._before.append(_here())
        _call(_libc.setns, self._file, _CLONE_NEWNET)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        before = self._before.pop()
        _call(_libc.setns, before, _CLONE_NEWNET)
        os.close(before)


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


def until(true: Callable[[], bool], what: str, seconds: float = 5.0) -> None:
    """Wait for a condition; the test fails when it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.005)


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


def _here() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _call(function: Callable[..., int], *arguments: int) -> None:
    if function(*arguments) != 0:
        pytest.fail(f"no network namespace can be made: {os.strerror(ctypes.get_errno())}")


def open_files() -> int:
    """Descriptors of this process; none that a test before has left to the garbage collector."""
    gc.collect()
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
