# SPDX-License-Identifier: GPL-2.0-or-later
"""The proxies' ports: who else holds one of them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..core.config import Config
from ..core.health.ports import Life, Port, Taken, look
from .kernel import KERNEL, Kernel

#: Seconds between looks at a port that is taken.
INTERVAL = 1.0


class Ports:
    """``work`` runs a call in a worker thread."""

    def __init__(
        self,
        work: Callable[..., Awaitable[Any]],
        kernel: Kernel = KERNEL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work = work
        self._kernel = kernel
        self._clock = clock
        self._ports: dict[tuple[str, int], Port] = {}
        self._holders: dict[tuple[str, int], Taken] = {}

    def taken(self) -> tuple[Taken, ...]:
        return tuple(self._holders.values())

    def suspected(self, role: str) -> bool:
        """Whether it may be somebody else who listens there."""
        return any(port.suspects for (name, _), port in self._ports.items() if name == role)

    async def look(self, config: Config, life: Mapping[str, Life]) -> None:
        """``life`` is what procd says. Costs nothing while the proxies run, or nobody wants
        them."""
        wanted: dict[tuple[str, int], Life] = {}
        if config.globals.enabled and config.client:
            key = ("client", config.client.local_port)
            wanted[key] = life.get("client", "absent")
        if config.globals.enabled and config.server:
            key = ("server", config.server.port)
            wanted[key] = life.get("server", "absent")
        self._ports = {key: port for key, port in self._ports.items() if key in wanted}
        self._holders = {key: t for key, t in self._holders.items() if key in wanted}
        for key, now in wanted.items():
            before = self._ports.get(key, Port())
            if now == "runs" and not before.suspects:
                self._ports.pop(key, None)
                self._holders.pop(key, None)
                continue
            await self._look(key, before, now)

    async def _look(self, key: tuple[str, int], before: Port, life: Life) -> None:
        role, number = key
        listeners = await self._work(self._kernel.listeners, number)
        self._ports[key] = port = look(before, listeners, life, self._clock())
        if port.stranger is None:
            self._holders.pop(key, None)
        elif port.stranger != before.stranger:
            self._holders[key] = Taken(role, await self._work(self._kernel.owner, port.stranger))
