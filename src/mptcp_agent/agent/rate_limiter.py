"""Rations the turns of the loop: a single event never waits, a flood of them costs bounded time."""

from __future__ import annotations

import asyncio
import time
from collections import deque

#: So many turns may follow each other at once; of more, each takes its share (s) at least.
BURST, SHARE = 20, 0.04


class RateLimiter:
    def __init__(self) -> None:
        self._began = deque([float("-inf")] * BURST, maxlen=BURST)
        """When the last turns began."""

    def begin(self) -> None:
        """A turn begins."""
        self._began.append(time.monotonic())

    async def allowed(self) -> None:
        """Wait until another one may."""
        await asyncio.sleep(max(0.0, self._began[0] + BURST * SHARE - time.monotonic()))
