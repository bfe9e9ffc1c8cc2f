# SPDX-License-Identifier: GPL-2.0-or-later
"""What size of packets each path carries: asked rarely, over a probe's open connection.

    asked when                                        because
    the path's first probe is answered                nobody knows
    it is up again, or has another address            it may lead elsewhere
    its traffic stopped and its probes are answered   small packets pass, large ones may not
    ``AGAIN`` seconds after the last time             a provider may have changed something

A path that carries what its device does costs one full packet and its acknowledgement.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from .kernel import KERNEL, Kernel
from .targets import Key, Target

log = logging.getLogger(__name__)

#: Seconds after which it is asked again: of 1,500 bytes each, about a megabyte a month.
AGAIN = 3600.0
#: Seconds between two questions, however often traffic stops: one costs a packet, or some dozens
#: of a path that is known to carry small ones only.
PAUSE, PAUSE_SMALL = 5.0, 600.0


@dataclass
class _Size:
    mtu: int = 0
    asked: float = float("-inf")
    doubtful: bool = False
    task: asyncio.Task[None] | None = None


class Sizes:
    """``changed`` is called when a path carries another size than before."""

    def __init__(
        self,
        changed: Callable[[], None],
        kernel: Kernel = KERNEL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._changed = changed
        self._kernel = kernel
        self._clock = clock
        self._paths: dict[Key, _Size] = {}

    def mtu(self, key: Key) -> int:
        """Bytes; 0: nothing is known that would be less than the device's."""
        one = self._paths.get(key)
        return one.mtu if one else 0

    def doubt(self, key: Key) -> None:
        """Traffic stopped: ask with a probe that is answered, but not again and again."""
        one = self._paths.get(key)
        if one:
            one.doubtful = True

    def moved(self, key: Key) -> None:
        """The path is back, or another one: ask, whenever that was done last. What was known
        stands until then."""
        one = self._paths.get(key)
        if one:
            one.asked = float("-inf")

    def answered(self, key: Key, target: Target, connection: socket.socket) -> None:
        """A probe's connection is open: ask over it, if it is time to. It may be closed by its
        owner meanwhile."""
        now = self._clock()
        one = self._paths.setdefault(key, _Size())
        pause = AGAIN if not one.doubtful else PAUSE_SMALL if one.mtu else PAUSE
        if one.task or now - one.asked <= pause:
            return
        one.asked, one.doubtful = now, False
        try:
            own = connection.dup()
        except OSError:
            return
        one.task = asyncio.create_task(self._ask(key, one, target, own))

    def forget(self, key: Key) -> None:
        one = self._paths.pop(key, None)
        if one and one.task:
            one.task.cancel()

    async def _ask(self, key: Key, one: _Size, target: Target, connection: socket.socket) -> None:
        try:
            with contextlib.closing(connection):
                found = await self._kernel.path_mtu(target.device, connection)
        finally:
            one.task = None
        if found is None or found == one.mtu:
            return
        one.mtu = found
        if found:
            log.info("path %s to %s carries packets of %d bytes at most", *key, found)
        else:
            log.info("path %s to %s carries full packets again", *key)
        self._changed()
