# SPDX-License-Identifier: GPL-2.0-or-later
"""Simulated time: while something can run time stands still, and when nothing can it jumps to
the next timer, so that minutes take milliseconds.

Calls meant for a worker thread are made on the spot. What waits for something that can never come
fails at once, instead of hanging.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

T = TypeVar("T")

#: Seconds by which a timer is late: it never is early.
LATE = 1e-6
#: Unix time at 0 on the clock.
EPOCH = 1_800_000_000.0


class FakeClock:
    """Stands for ``time.monotonic``; ``unix`` for ``time.time``; ``spend`` for work."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.epoch = EPOCH
        """Unix time at 0 on the clock, until somebody sets the time of day."""
        self.spent = 0.0

    def __call__(self) -> float:
        return self.now

    def unix(self) -> float:
        return self.epoch + self.now

    def spend(self, seconds: float) -> None:
        """Said inside a call of the worker thread: it takes so long. The loop goes on."""
        self.spent += seconds


class _Selector(selectors.SelectSelector):
    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise AssertionError("nothing will ever happen: no timer, nothing to read")
            if timeout > 0:
                self._clock.now += timeout + LATE
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Descriptors are real, time is the clock's, worker threads are none."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(_Selector(clock))
        self._clock = clock

    def time(self) -> float:
        return self._clock()

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()
        self._clock.spent = 0.0
        settle: Callable[[Any], None] = future.set_result
        outcome: Any
        try:
            outcome = func(*args)
        except Exception as error:
            settle, outcome = future.set_exception, error

        def done() -> None:
            if not future.done():  # else nobody waits any more
                settle(outcome)

        self.call_later(self._clock.spent, done)
        return future


def simulate(work: Callable[[FakeClock], Coroutine[Any, Any, T]]) -> T:
    """Run it to its end in simulated time; tasks it left are cancelled."""
    clock = FakeClock()
    with asyncio.Runner(loop_factory=lambda: SimulatedLoop(clock)) as runner:
        return runner.run(work(clock))


async def until(condition: Callable[[], object], timeout: float = 60.0) -> float:
    """Seconds until it was so, in steps of 5 ms."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not condition():
        assert loop.time() - began < timeout, "it was never so"
        await asyncio.sleep(0.005)
    return loop.time() - began
