# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the running connections: often while data moves, hardly at all while there are none.

What a reading shows is told to others, who act on it: which WANs stopped (``core.health.stalls``),
how many connections the redirector has not accepted, whether proxied connections live at all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ..core.config import Config
from ..core.health import stalls
from ..core.health.stalls import Hints, Reading
from ..core.sockets import TcpSocket
from ..errors import AgentError
from .kernel import KERNEL, Kernel

#: Seconds between readings: while data moves, while connections wait, idle.
MOVING, WAITING, IDLE = 0.05, 0.25, 0.5
#: Seconds between looks for connections without a subflow, which want a list of all; until the
#: second look at those that are found.
ORPHANS, AGAIN = 0.5, 0.15
#: Readings may take this share of a core, while data moves or connections wait.
SHARE = 0.05


@dataclass(frozen=True)
class Seen:
    """One reading, begun at ``at``."""

    at: float
    sockets: tuple[TcpSocket, ...] = ()
    """Subflows to the peers, and connections under way there."""
    waiting: int = 0
    """Connections the redirector has not accepted yet."""
    hints: Hints = field(default_factory=Hints)
    orphans: frozenset[int] = frozenset()
    """Tokens of connections that live and had no subflow at two looks."""
    stopped: frozenset[int] = frozenset()
    """Tokens of those that were busy and have stopped on all subflows."""

    @property
    def alive(self) -> bool:
        """A proxied connection lives; what is closing is not cut."""
        return any(s.state == "established" for s in self.sockets)


class Traffic:
    """``tell`` is given each reading, ``work`` runs a call in a worker thread,
    ``connections_opened`` counts the connections of this router so far."""

    def __init__(
        self,
        tell: Callable[[Seen], Awaitable[None]],
        work: Callable[..., Awaitable[Any]],
        connections_opened: Callable[[], int],
        kernel: Kernel = KERNEL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell = tell
        self._work = work
        self._opened = connections_opened
        self._kernel = kernel
        self._clock = clock
        self._config: Config | None = None
        self._quiet_since: int | None = None
        """Connections opened when there was last nothing to watch: until there are more there
        is nothing, and the dear look at each socket is spared."""
        self._tokens: frozenset[int] | None = None
        """Of connections with a subflow at the last reading; None: there was none yet."""
        self._bare: frozenset[int] = frozenset()
        """Of those without at the last look for them, which was at ``_looked``."""
        self._looked = 0.0

    def follow(self, config: Config) -> None:
        """Read the connections of this configuration."""
        self._config = config

    async def run(self) -> None:
        reading = Reading()
        while True:
            if self._quiet_since == self._opened():
                await asyncio.sleep(IDLE)
                continue
            started = self._clock()
            sockets, waiting, orphans, cost = await self._work(self._read)
            reading, hints = stalls.step(reading, sockets, started)
            stopped = stalls.stopped(reading, sockets)
            await self._tell(Seen(started, tuple(sockets), waiting, hints, orphans, stopped))
            more = bool(reading.flows or waiting or self._bare)
            await asyncio.sleep(pause(hints.moving, more, cost))

    def _read(self) -> tuple[list[TcpSocket], int, frozenset[int], float]:
        """Sockets to the peers, connections that wait for the redirector, those without a subflow,
        and the processor time (s) this took: waiting for a busy router's processor is no cost.

        A connection under way is not yet a subflow; the agent's own probes are bound to a
        device, which a connection's first subflow is not.
        """
        config = self._config
        if config is None or config.client is None:
            return [], 0, frozenset(), 0.0
        began = self._kernel.cost()
        opened = self._opened()
        found: list[TcpSocket] = []
        ports = {p.port for p in config.client_peers}
        for port in ports:
            try:
                sockets = self._kernel.calls(port)
            except AgentError:
                ports = set()  # said by ``check``
                break
            found += [s for s in sockets if s.subflow or (s.state == "syn-sent" and not s.device)]
        waiting = self._waiting(config.client.local_port)
        orphans = self._orphans(ports, found)
        self._quiet_since = None if found or waiting or self._bare else opened
        return found, waiting, orphans, self._kernel.cost() - began

    def _orphans(self, ports: Iterable[int], found: Iterable[TcpSocket]) -> frozenset[int]:
        """Looked for when a connection seen before is seen no more: it closed, or its last subflow
        was taken away. One that was opened after ``found`` was read looks the same, once."""
        tokens = frozenset(s.subflow.token_local for s in found if s.subflow)
        lost = self._tokens is None or not self._tokens <= tokens
        now = self._clock()
        if not (lost or self._bare) or now < self._looked + (AGAIN if self._bare else ORPHANS):
            # What is not looked into now is the next time.
            self._tokens = tokens | (self._tokens or frozenset()) if lost else tokens
            return frozenset()
        self._tokens, self._looked, before = tokens, now, self._bare
        try:
            all_ = frozenset().union(*(self._kernel.mptcp_connections(p) for p in ports))
        except AgentError:  # no mptcp_diag (OpenWrt: kmod-inet-mptcp-diag)
            all_ = frozenset()
        self._bare = all_ - tokens
        return self._bare & before

    def _waiting(self, port: int) -> int:
        try:
            return self._kernel.backlog(port)
        except AgentError:
            return 0  # said by ``check``


def pause(moving: bool, waiting: bool, cost: float) -> float:
    """Seconds until the next reading, after one that cost so much processor time."""
    return max(MOVING if moving else WAITING if waiting else IDLE, cost / SHARE)
