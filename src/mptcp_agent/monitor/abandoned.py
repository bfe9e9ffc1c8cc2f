# SPDX-License-Identifier: GPL-2.0-or-later
"""Looks for connections whose data nobody reads any more, and resets them
(``core.health.abandoned``): those to the peers, and those of the server.

They receive, so there is nothing to look for while nothing arrives: a router that is a client
hears that its connections move (``monitor.traffic``), a server reads one file a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from ..core import connections
from ..core.config import Config
from ..core.health.abandoned import abandoned
from ..core.sockets import TcpSocket
from ..errors import AgentError
from .kernel import KERNEL, Kernel

log = logging.getLogger(__name__)

#: Seconds between looks: while data arrives, and while none does; of a client that is not told.
MOVING, IDLE, UNTOLD = 0.25, 1.0, 15.0
#: Seconds until those that were reset are looked at again. A reset is lost when more data came
#: in the same moment; and what was under way has to come to its end.
AGAIN = 0.1
#: Bytes that have arrived since the last look, less than which are worth none.
ARRIVED = 64 << 10
#: The same where the kernel cannot tell: each question makes it look for the module.
LATER = 60.0
#: Times that a connection is reset. Where that many did not help, it is left to the kernel.
TRIES = 20


class Abandoned:
    """``work`` runs a call in a worker thread."""

    def __init__(self, work: Callable[..., Awaitable[Any]], kernel: Kernel = KERNEL) -> None:
        self._work = work
        self._kernel = kernel
        self._ports: tuple[tuple[int, int], ...] = ()
        """Local and remote, 0 for any."""
        self._waits = UNTOLD
        """Seconds for which an idle router waits to be told."""
        self._moves = asyncio.Event()
        self._received = 0
        """Bytes of all devices at the last look."""
        self._tried: Counter[int] = Counter()
        """By token."""

    def follow(self, config: Config) -> None:
        remote, local = connections.ports(config)
        self._ports = (*((0, port) for port in remote), *((port, 0) for port in local))
        self._waits = IDLE if local else UNTOLD

    def client_moves(self) -> None:
        """Data of the client's connections moves."""
        self._moves.set()

    async def run(self) -> None:
        while True:
            pause = await self.look()
            self._moves.clear()
            if pause == IDLE:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._moves.wait(), self._waits)
            # Those that move say so more often than a look is worth.
            await asyncio.sleep(MOVING if pause == IDLE else pause)

    async def look(self) -> float:
        """Look once and reset what is found; the seconds until the next time."""
        received = sum(rx for name, (rx, _) in self._kernel.link_bytes().items() if name != "lo")
        if not self._ports or (0 <= received - self._received < ARRIVED and not self._tried):
            return IDLE
        self._received = received
        try:
            found = await self._work(self._find)
            if found:
                log.debug("%d subflows whose data nobody reads: reset", len(found))
                await self._work(self._kernel.reset, found)
        except AgentError as error:  # no mptcp_diag (OpenWrt: kmod-inet-mptcp-diag)
            log.debug("what nobody reads is not looked for: %s", error)
            return LATER
        return AGAIN if found else MOVING

    def _find(self) -> list[TcpSocket]:
        """The subflows to reset now."""
        found: list[TcpSocket] = []
        tried: Counter[int] = Counter()
        for local, remote in self._ports:
            tokens = abandoned(self._kernel.closed_connections(local, remote))
            tried.update({t: self._tried[t] + 1 for t in tokens})
            tokens = frozenset(t for t in tokens if tried[t] <= TRIES)
            found += self._kernel.subflows(tokens, local, remote) if tokens else []
        self._tried = tried
        return found
