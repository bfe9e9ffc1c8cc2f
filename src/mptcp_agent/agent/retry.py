# SPDX-License-Identifier: GPL-2.0-or-later
"""What failed, or did not stick, is tried again, each time later."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass

from ..core.describe import label, log_line
from ..core.diff import Change, Item
from ..core.problem import Problem
from ..core.state import Process

log = logging.getLogger(__name__)

#: Seconds until the second try, doubled each time up to the longest.
FIRST, LONGEST = 0.5, 60.0
#: A change that is due again within so many seconds of its success did not stick.
STICK = 2.0


@dataclass
class _Trouble:
    change: Change
    reason: str
    tries: int
    due: float


class Retries:
    """Remembers changes by what they say; forgets them once they are no longer called for.

    ``clock`` gives seconds and never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._trouble: dict[str, _Trouble] = {}
        self._done: dict[str, float] = {}
        self._reported: dict[str, str] = {}

    def due(self, changes: Iterable[Change]) -> tuple[Change, ...]:
        """The changes to carry out now. One that was carried out a moment ago and is called
        for again did not stick, and waits."""
        now = self._clock()
        changes = tuple(changes)
        wanted = {log_line(c) for c in changes}
        self._trouble = {k: t for k, t in self._trouble.items() if k in wanted}
        self._reported = {k: r for k, r in self._reported.items() if k in wanted}
        self._done = {k: t for k, t in self._done.items() if k in wanted and now - t < STICK}
        result = []
        for change in changes:
            key = log_line(change)
            if key in self._done:
                if change.action == "remove" and isinstance(change.item, Process):
                    continue  # it is ending, and procd lists it until it has
                del self._done[key]
                self._later(
                    change,
                    "was carried out, but it did not stick: does another program change it back?",
                    now,
                )
            trouble = self._trouble.get(key)
            if trouble is None or trouble.due <= now:
                result.append(change)
        return tuple(result)

    def note(self, tried: Iterable[Change], failed: Mapping[str, str]) -> None:
        """What became of the changes; ``failed`` holds reasons by their sentence."""
        now = self._clock()
        for change in tried:
            key = log_line(change)
            if key in failed:
                self._later(change, failed[key], now)
            else:
                self._done[key] = now

    def _later(self, change: Change, reason: str, now: float) -> None:
        key = log_line(change)
        old = self._trouble.get(key)
        tries = old.tries + 1 if old else 1
        due = now + min(LONGEST, FIRST * 2 ** min(tries - 1, 30))  # the float would overflow
        self._trouble[key] = _Trouble(change, reason, tries, due)

    def is_new(self, change: Change, reason: str) -> bool:
        """Whether this was not reported already (so that the log says it once)."""
        key = log_line(change)
        if self._reported.get(key) == reason:
            return False
        self._reported[key] = reason
        return True

    def failing(self) -> tuple[Item, ...]:
        """What waits for another try."""
        return tuple(t.change.item for t in self._trouble.values())

    def pending(self) -> bool:
        return bool(self._trouble)

    def next_in(self) -> float:
        """Seconds until the next try; infinite where none is due."""
        now = self._clock()
        return min((t.due - now for t in self._trouble.values()), default=float("inf"))

    def problems(self) -> tuple[Problem, ...]:
        return tuple(
            Problem(label(t.change.item), t.reason, "it is tried again, each time later")
            for t in self._trouble.values()
        )


async def supervise(task: Callable[[], Coroutine[None, None, None]], pause: float) -> None:
    """Run a task that never ends by itself; a bug in it is said, and it starts anew after
    ``pause`` seconds."""
    while True:
        try:
            await task()
        except Exception:
            log.exception("%s failed; it starts again", task.__qualname__)
            await asyncio.sleep(pause)
