# SPDX-License-Identifier: GPL-2.0-or-later
"""When the next turn of the loop is due, and at which parts it looks.

    asked for             at once
    a link changed        its links at once; what the kernel and netifd make of that after
                          ``SETTLE_DELAY``, once however many links change
    nothing was heard     everything after ``SLOW_TIMER``, for changes that make no event
    an alarm              what ``wait`` was given: a try that is due, a process that starts

More than ``BURST`` turns in a row are rationed: a single event never waits, a flood of them (a
full routing table that arrives) costs bounded time.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from ..core.state import EVERY_PART, Part

#: Seconds. A sysctl, a file or an iptables rule that somebody changed makes no event.
SLOW_TIMER = 60.0
#: Seconds that netifd needs after the kernel told of a link; what is dead in the kernel is dead
#: whatever netifd says.
SETTLE_DELAY = 0.05
#: So many turns may follow each other at once; of more, each takes its share (s) at least.
BURST, SHARE = 20, 0.04

Parts = frozenset[Part]
_NEVER = float("inf")


class Schedule:
    """``clock`` gives seconds and never goes back. Make it inside the event loop that uses it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._news = asyncio.Event()
        self._dirty: set[Part] = set(EVERY_PART)
        self._wanted = True
        self._everything_at = clock() + SLOW_TIMER
        self._rest_at = _NEVER
        self._began = deque([-_NEVER] * BURST, maxlen=BURST)
        """When the last turns began."""

    def request(self, *parts: Part) -> None:
        """A turn is wanted soon, and looks at these parts again; at none where only what is
        known otherwise (a path's health) has changed."""
        self._dirty.update(parts)
        self._wanted = True
        self._news.set()

    def links_changed(self) -> None:
        self.request(Part.LINKS)
        self._rest_at = min(self._rest_at, self._clock() + SETTLE_DELAY)

    def routing_changed(self) -> None:
        """Routes or rules changed; where a link just did they belong to what follows that."""
        if self._rest_at == _NEVER:
            self.request(Part.ROUTING, Part.SYSCTLS)

    def begin(self) -> Parts:
        """A turn begins; what it looks at."""
        self._began.append(self._clock())
        self._news.clear()
        self._wanted = False
        dirty, self._dirty = frozenset(self._dirty), set()
        return dirty

    async def wait(self, alarm: float = _NEVER, parts: Parts = frozenset()) -> None:
        """Until another turn is due and allowed; ``alarm`` seconds from now at the latest, and
        then it looks at ``parts`` too."""
        await asyncio.sleep(max(0.0, self._began[0] + BURST * SHARE - self._clock()))
        alarm_at = self._clock() + max(0.0, alarm)
        while not self._wanted:
            until = min(alarm_at, self._rest_at, self._everything_at)
            try:
                async with asyncio.timeout(max(0.0, until - self._clock())):
                    await self._news.wait()
            except TimeoutError:
                self._ring(alarm_at, parts)

    def _ring(self, alarm_at: float, parts: Parts) -> None:
        now = self._clock()
        if now >= self._everything_at:
            self._everything_at = now + SLOW_TIMER
            self.request(*EVERY_PART)
        if now >= self._rest_at:
            self._rest_at = _NEVER
            self.request(Part.ROUTING, Part.SYSCTLS, Part.INTERFACES)
        if now >= alarm_at:
            self.request(*parts)
