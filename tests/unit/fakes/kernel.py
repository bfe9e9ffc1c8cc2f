# SPDX-License-Identifier: GPL-2.0-or-later
"""What the monitor's edge finds of the kernel: probes, sockets, counters, processes."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mptcp_agent.core.sockets import (
    ClosedConnection,
    Listener,
    Subflow,
    SubflowFlag,
    TcpInfo,
    TcpSocket,
    TcpState,
)
from mptcp_agent.errors import KernelError
from mptcp_agent.monitor.kernel import Kernel
from mptcp_agent.system.probes import Outcome

from .clock import FakeClock


@dataclass
class Way:
    """What becomes of a probe: its answer after so many seconds. ``lost`` is silence."""

    outcome: Outcome = "answered"
    rtt: float = 0.02
    repeated: bool = False


class FakeKernel:
    """What the monitor's edge finds. Change the fields; ``edge`` is what the parts are given."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.ways: dict[tuple[str, str], Way] = {}
        """By device and remote address; what is not named answers."""
        self.tunnel = Way(rtt=0.04)
        self.sockets: list[TcpSocket] = []
        self.waiting = 0
        """Connections the redirector has not accepted."""
        self.listening: set[int] = set()
        self.strangers: dict[int, Listener] = {}
        """By port, other programs that listen there."""
        self.processes: set[int] = set()
        self.only_forked: set[int] = set()
        """Of processes, those that do not run their program yet."""
        self.tells_ends = True
        """Of processes (pidfd)."""
        self.opened = 0
        self.links: dict[str, tuple[int, int]] = {}
        self.counters: dict[str, int] = {}
        self.cost = 0.0
        """Processor time (s) that each reading of the sockets takes."""
        self.probes: list[tuple[float, str, str]] = []
        """Time, device and address of each; the tunnel's have neither."""
        self.destroyed: list[TcpSocket] = []
        self.rejoined: list[tuple[float, *tuple[int, ...]]] = []
        """Time and ids of the endpoints of each joining anew."""
        self.orphans: set[int] = set()
        """Tokens of connections without a subflow."""
        self.sysctls = {"net.mptcp.close_timeout": "60"}
        self.closed: list[ClosedConnection] | None = []
        """Connections in FIN-WAIT-2; None: the kernel cannot tell."""
        self.bounded: list[tuple[int, int]] = []
        """Process and port of each listener whose buffer was bounded."""
        self.asked_closed: list[tuple[int, int]] = []
        """Local and remote port of each question for them."""
        self.resets: list[list[TcpSocket]] = []
        self.mtus: dict[str, int | None] = {}
        """By device, what paths carry where that is less than the device does."""
        self.sized: list[tuple[float, str]] = []
        """Time and device of each question for that."""
        self.walks = 0
        """Readings of the sockets."""
        self._kept: dict[str, list[socket.socket]] = {}
        self._pidfds: dict[int, list[int]] = {}
        self._spent = 0.0

    @property
    def edge(self) -> Kernel:
        return Kernel(
            connect=self._connect,
            repeated=lambda _: self._repeated,
            path_mtu=self._path_mtu,
            through=self._through,
            calls=self._calls,
            mptcp_connections=self._mptcp_connections,
            tcp_sockets=self._tcp_sockets,
            backlog=self._backlog,
            destroy=self._destroy,
            rejoin=lambda some: self.rejoined.append((self._clock(), *(e.id for e in some))),
            get_sysctl=self.sysctls.get,
            set_sysctl=self.sysctls.__setitem__,
            closed_connections=self._closed_connections,
            subflows=lambda tokens, *_: [
                s for s in self.sockets if s.subflow and s.subflow.token_local in tokens
            ],
            reset=self._reset,
            tcp_opened=lambda: self.opened,
            link_bytes=lambda: dict(self.links),
            mptcp_counters=lambda: dict(self.counters),
            watch=self._watch,
            only_forked=lambda pid: pid in self.only_forked,
            listens=lambda port: port in self.listening or port in self.strangers,
            listeners=self._listeners,
            owner=lambda of: f"program {of.inode}",
            bound_listener=self._bound_listener,
            cost=lambda: self._spent,
        )

    # What happens

    def _listeners(self, port: int) -> list[Listener]:
        ours = [Listener(port, 65534)] if port in self.listening else []
        return ours + [of for p, of in self.strangers.items() if p == port]

    def stop_listening(self, address: str, *devices: str) -> None:
        """A server stops: it refuses, and its connections end."""
        for device in devices:
            self.ways[device, address] = Way("refused")
        self.end_connections(address)

    def end_connections(self, address: str) -> None:
        """The server at an address ends the probes' connections."""
        for one in self._kept.pop(address, []):
            one.close()

    def held(self, address: str) -> int:
        """Connections of probes that are still open."""
        self._kept[address] = [*filter(_open, self._kept.get(address, ()))]
        return len(self._kept[address])

    def end(self, pid: int) -> None:
        """A process ends; who watches it hears of that."""
        self.processes.discard(pid)
        for descriptor in self._pidfds.pop(pid, []):
            os.eventfd_write(descriptor, 1)
            os.close(descriptor)

    # The edge

    async def _path_mtu(self, device: str, connection: socket.socket) -> int | None:
        self.sized.append((self._clock(), device))
        await asyncio.sleep(0.02)
        return self.mtus.get(device, 0)

    _repeated = False

    async def _connect(
        self, device: str, source: str, address: str, port: int, timeout: float
    ) -> tuple[Outcome, socket.socket | None]:
        self.opened += 1
        self.probes.append((self._clock(), device, address))
        outcome = await self._travel(lambda: self.ways.get((device, address), Way()), timeout)
        if outcome != "answered":
            return outcome, None
        near, far = socket.socketpair()
        self._kept[address] = [*filter(_open, self._kept.get(address, ())), far]
        self._repeated = self.ways.get((device, address), Way()).repeated
        return "answered", near

    async def _through(self, timeout: float) -> Outcome:
        self.opened += 1
        self.probes.append((self._clock(), "", ""))
        return await self._travel(lambda: self.tunnel, timeout)

    async def _travel(self, way: Callable[[], Way], timeout: float) -> Outcome:
        """There and back: who falls silent meanwhile gives no answer."""
        sent = way()
        if sent.outcome == "unsent":
            return "unsent"
        await asyncio.sleep(min(sent.rtt, timeout))
        if "lost" in (sent.outcome, way().outcome) or sent.rtt >= timeout:
            await asyncio.sleep(max(0.0, timeout - sent.rtt))
            return "lost"
        return sent.outcome

    def _mptcp_connections(self, port: int) -> frozenset[int]:
        living = {s.subflow.token_local for s in self.sockets if s.subflow}
        return frozenset(living | self.orphans)

    def _calls(self, port: int) -> list[TcpSocket]:
        return [s for s in self._tcp_sockets(0, port) if s.subflow or s.state == "syn-sent"]

    def _tcp_sockets(self, local_port: int = 0, remote_port: int = 0) -> list[TcpSocket]:
        self.walks += 1
        self._spent += self.cost
        return [
            s
            for s in self.sockets
            if local_port in (0, s.local_port) and remote_port in (0, s.remote_port)
        ]

    def _backlog(self, port: int) -> int:
        return self.waiting

    def _destroy(self, sock: TcpSocket) -> bool:
        self.destroyed.append(sock)
        self.sockets = [s for s in self.sockets if s.cookie != sock.cookie]
        return True

    def _closed_connections(self, local_port: int, remote_port: int) -> list[ClosedConnection]:
        self.asked_closed.append((local_port, remote_port))
        if self.closed is None:
            raise KernelError("no mptcp_diag")
        return self.closed

    def _bound_listener(self, pid: int, port: int, size: int) -> bool:
        self.bounded.append((pid, port))
        return True

    def _reset(self, found: Sequence[TcpSocket]) -> int:
        self.resets.append(list(found))
        return len(found)

    def _watch(self, pid: int) -> int | None:
        if pid not in self.processes or not self.tells_ends:
            return None
        descriptor = os.eventfd(0, os.EFD_NONBLOCK)
        # Of the same event: who watches closes the other one.
        self._pidfds.setdefault(pid, []).append(os.dup(descriptor))
        return descriptor

    # Its sockets

    def opens(
        self,
        local: str,
        remote: str,
        *flags: SubflowFlag,
        state: TcpState = "established",
        port: int = 8388,
        token: int = 1,
        device: str = "",
    ) -> int:
        """A connection to a peer begins, or one more subflow of it; its cookie."""
        self.opened += 1
        cookie = self.opened
        subflow = Subflow(token, 0, frozenset(flags or ("capable-local",)))
        self.sockets.append(
            TcpSocket(
                *(local, 40000 + cookie, remote, port, state, device, cookie, TcpInfo()),
                subflow=subflow if state == "established" else None,
            )
        )
        return cookie

    def moves(self, cookie: int, **info: Any) -> None:
        """Another TcpInfo: ``received`` and ``acked`` are added to, the rest is set."""
        for index, sock in enumerate(self.sockets):
            if sock.cookie == cookie:
                rest = {k: v for k, v in info.items() if k not in ("received", "acked")}
                new = replace(
                    sock.info,
                    bytes_received=sock.info.bytes_received + info.get("received", 0),
                    bytes_acked=sock.info.bytes_acked + info.get("acked", 0),
                    **rest,
                )
                self.sockets[index] = replace(sock, info=new)

    def closes(self, *cookies: int) -> None:
        self.sockets = [s for s in self.sockets if s.cookie not in cookies]


def _open(far: socket.socket) -> bool:
    """Whether the other end is still held; else this one is closed as well."""
    try:
        held = far.recv(1, socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        held = True
    if not held:
        far.close()
    return held
