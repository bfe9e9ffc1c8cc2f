# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the running connections: often while data moves, hardly at all while there are none.

What a reading shows is told to others, who act on it: which WANs stopped (``core.health.stalls``),
how many connections the redirector has not accepted, whether proxied connections live at all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
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
            sockets, waiting, cost = await self._work(self._read)
            reading, hints = stalls.step(reading, sockets, started)
            await self._tell(Seen(started, tuple(sockets), waiting, hints))
            await asyncio.sleep(pause(hints.moving, bool(reading.flows or waiting), cost))

    def _read(self) -> tuple[list[TcpSocket], int, float]:
        """Sockets to the peers, connections that wait for the redirector, and the processor time
        (s) this took: waiting for a busy router's processor is no cost.

        A connection under way is not yet a subflow; the agent's own probes are bound to a
        device, which a connection's first subflow is not.
        """
        config = self._config
        if config is None or config.client is None:
            return [], 0, 0.0
        began = self._kernel.cost()
        opened = self._opened()
        found: list[TcpSocket] = []
        for port in {p.port for p in config.client_peers}:
            try:
                sockets = self._kernel.calls(port)
            except AgentError:
                break  # said by ``check``
            found += [s for s in sockets if s.subflow or (s.state == "syn-sent" and not s.device)]
        waiting = self._waiting(config.client.local_port)
        self._quiet_since = None if found or waiting else opened
        return found, waiting, self._kernel.cost() - began

    def _waiting(self, port: int) -> int:
        try:
            return self._kernel.backlog(port)
        except AgentError:
            return 0  # said by ``check``


def pause(moving: bool, waiting: bool, cost: float) -> float:
    """Seconds until the next reading, after one that cost so much processor time."""
    return max(MOVING if moving else WAITING if waiting else IDLE, cost / SHARE)
