# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the probe through the tunnel, as its state machine asks (``core.health.tunnel``).

It can be sent while the redirector listens and the firewall leads the probe there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from ..core.health import path_health, tunnel
from ..core.health.path_health import Path, State
from ..core.plan import Plan
from .kernel import KERNEL, Kernel

log = logging.getLogger(__name__)

#: Seconds until it is looked again whether a probe can be sent.
AGAIN = 1.0


class Tunnel:
    """``listens`` says whether the redirector does, ``in_doubt`` whether the paths to an address
    are. ``suspect_paths`` is called when a probe is overdue first, ``changed`` with each new
    state."""

    def __init__(
        self,
        listens: Callable[[], bool],
        in_doubt: Callable[[str], bool],
        suspect_paths: Callable[[], None],
        changed: Callable[[State], None],
        kernel: Kernel = KERNEL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listens = listens
        self._in_doubt = in_doubt
        self._suspect_paths = suspect_paths
        self._changed = changed
        self._kernel = kernel
        self._clock = clock
        self._redirected = False
        self._wake = asyncio.Event()
        self.path = Path(tunnel.SETTINGS)
        self.address: str | None = None
        """Of the peer at its other end, whether it is in use or was last; None: no one yet."""

    # --- What to probe ---------------------------------------------------------------------

    def follow(self, plan: Plan) -> None:
        """Probe what this plan uses."""
        self._redirected = bool(plan.state.firewalls)
        if plan.choice and plan.choice.address != self.address:
            self.address = plan.choice.address
            self.begin()

    def begin(self) -> None:
        """Another redirector, or another address: nothing is known of it."""
        self.path = tunnel.begun(self.path, self._clock())
        self._wake.set()

    def suspect(self, now: float) -> None:
        """Requests stay without an answer: find out at once."""
        self.path = path_health.suspected(self.path, now)
        self._wake.set()

    # --- The loop --------------------------------------------------------------------------

    async def run(self) -> None:
        running: set[asyncio.Task[None]] = set()
        while True:
            self._wake.clear()
            now = self._clock()
            wait = AGAIN
            if self._listens() and self._redirected:
                self._becomes(path_health.passed(self.path, now), now)
                if path_health.due(self.path, now):
                    self.path, number = path_health.sent(self.path, now)
                    task = asyncio.create_task(self._probe(number))
                    running.add(task)
                    task.add_done_callback(running.discard)
                wait = max(0.0, path_health.wake_at(self.path) - now)
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _probe(self, number: int) -> None:
        began = self._clock()
        outcome = await self._kernel.through(2 * tunnel.SETTINGS.timeout)
        now = self._clock()
        if outcome == "answered":
            self._becomes(tunnel.answered(self.path, number, began, now), now)
        elif outcome in ("unsent", "refused"):
            self.path = path_health.unsent(self.path, number, now)
        self._wake.set()

    def _becomes(self, after: Path, now: float) -> None:
        if after.overdue and not self.path.overdue:
            self._suspect_paths()  # a peer that cannot be reached does not hang
        in_doubt = self.address is not None and self._in_doubt(self.address)
        before, self.path = self.path, tunnel.judged(self.path, after, in_doubt, now)
        if self.path.state != before.state:
            log.debug("tunnel %s: %s", self.path.state, self.path.cause)
            self._changed(self.path.state)
