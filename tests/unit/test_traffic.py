# SPDX-License-Identifier: GPL-2.0-or-later
"""monitor.traffic: how often connections are read, and what is told of them, in simulated time.

What makes a subflow suspect: test_stalls.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest
from unit.examples import BRIDGE_CLIENT, BRIDGE_SERVER, Sections, config
from unit.fakes import FakeClock, FakeKernel, simulate, until

from mptcp_agent.core.sockets import TcpSocket
from mptcp_agent.errors import KernelError
from mptcp_agent.monitor.traffic import IDLE, MOVING, ORPHANS, SHARE, WAITING, Seen, Traffic, pause

HERE, THERE = "10.1.1.78", "10.1.1.70"


class Rig:
    """A reader at work, and what it told."""

    def __init__(self, clock: FakeClock, sections: Sections | None) -> None:
        self.clock = clock
        self.kernel = FakeKernel(clock)
        self.seen: list[Seen] = []
        self.traffic = Traffic(
            self._told, self._work, lambda: self.kernel.opened, self.kernel.edge, clock
        )
        if sections:
            self.traffic.follow(config(sections))

    async def _told(self, seen: Seen) -> None:
        self.seen.append(seen)

    async def _work(self, call: Callable[..., Any], *arguments: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(None, call, *arguments)

    @property
    def last(self) -> Seen:
        return self.seen[-1]

    async def readings(self, seconds: float) -> int:
        before = len(self.seen)
        await asyncio.sleep(seconds)
        return len(self.seen) - before

    async def moves(self, *cookies: int, seconds: float, size: int = 20_000) -> None:
        """Data arrives every 10 ms."""
        end = self.clock() + seconds
        while self.clock() < end:
            for cookie in cookies:
                self.kernel.moves(cookie, received=size)
            await asyncio.sleep(0.01)


def reading(
    steps: Callable[[Rig], Awaitable[None]], sections: Sections | None = BRIDGE_CLIENT
) -> None:
    async def work(clock: FakeClock) -> None:
        rig = Rig(clock, sections)
        task = asyncio.create_task(rig.traffic.run())
        await asyncio.sleep(0.01)
        await steps(rig)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    simulate(work)


def states(sockets: Iterable[TcpSocket]) -> list[str]:
    return [s.state for s in sockets]


# --- How often ---------------------------------------------------------------------------------


def test_while_nothing_opens_a_connection_nothing_is_read() -> None:
    async def steps(rig: Rig) -> None:
        assert (len(rig.seen), rig.last.sockets, rig.last.alive) == (1, (), False)
        assert await rig.readings(60) == 0
        rig.kernel.opened += 1  # somebody's, to somewhere else
        assert await rig.readings(60) == 1, "and looked at once"

    reading(steps)


def test_a_connection_is_found_soon_and_read_at_a_calm_pace() -> None:
    async def steps(rig: Rig) -> None:
        rig.kernel.opens(HERE, THERE)
        assert await until(lambda: rig.last.alive) <= IDLE + 0.01
        assert await rig.readings(10) == pytest.approx(10 / WAITING, abs=1)

    reading(steps)


def test_while_data_moves_it_is_read_often_and_then_less() -> None:
    async def steps(rig: Rig) -> None:
        cookie = rig.kernel.opens(HERE, THERE)
        await rig.moves(cookie, seconds=1)
        before = len(rig.seen)
        await rig.moves(cookie, seconds=2)
        assert len(rig.seen) - before == pytest.approx(2 / MOVING, rel=0.1)
        assert await rig.readings(10) == pytest.approx(10 / WAITING, abs=2)
        rig.kernel.closes(cookie)
        assert await rig.readings(10) == 1, "the one that finds it gone"

    reading(steps)


def test_connections_that_wait_for_the_redirector_are_read_too() -> None:
    async def steps(rig: Rig) -> None:
        rig.kernel.waiting = 2
        rig.kernel.opened += 2
        await until(lambda: rig.last.waiting == 2, IDLE + 0.01)
        assert await rig.readings(10) == pytest.approx(10 / WAITING, abs=1)

    reading(steps)


def test_readings_take_a_small_share_of_a_core() -> None:
    async def steps(rig: Rig) -> None:
        rig.kernel.cost = 0.1
        cookie = rig.kernel.opens(HERE, THERE)
        await rig.moves(cookie, seconds=IDLE)
        before, spent = len(rig.seen), rig.kernel.edge.cost()
        await rig.moves(cookie, seconds=60)
        assert len(rig.seen) - before == pytest.approx(60 / (0.1 / SHARE), abs=1)
        assert rig.kernel.edge.cost() - spent <= 60 * SHARE + 0.2

    reading(steps)


def test_pause() -> None:
    assert pause(True, True, 0.0) == MOVING
    assert pause(False, True, 0.0) == WAITING
    assert pause(False, False, 0.0) == IDLE
    assert pause(True, True, 0.01) == pytest.approx(0.2)


# --- What is told ------------------------------------------------------------------------------


def test_subflows_and_calls_are_told_and_the_agents_own_probes_are_not() -> None:
    async def steps(rig: Rig) -> None:
        rig.kernel.opens(HERE, THERE)
        rig.kernel.opens(HERE, THERE, state="syn-sent")
        rig.kernel.opens(HERE, THERE, state="syn-sent", device="eth1")
        rig.kernel.opens(HERE, THERE, port=443)
        await asyncio.sleep(IDLE)
        assert states(rig.last.sockets) == ["established", "syn-sent"]

    reading(steps)


def test_a_connection_lives_once_it_is_established() -> None:
    async def steps(rig: Rig) -> None:
        rig.kernel.opens(HERE, THERE, state="syn-sent")
        await asyncio.sleep(IDLE)
        assert (states(rig.last.sockets), rig.last.alive) == (["syn-sent"], False)
        rig.kernel.opens(HERE, THERE)
        await asyncio.sleep(WAITING + 0.01)
        assert rig.last.alive

    reading(steps)


def test_a_subflow_that_stops_while_another_moves_is_told_at_once() -> None:
    async def steps(rig: Rig) -> None:
        one, two = rig.kernel.opens(HERE, THERE), rig.kernel.opens("10.2.2.78", THERE)
        await rig.moves(one, two, seconds=2)
        assert rig.last.hints.alive == {(HERE, THERE), ("10.2.2.78", THERE)}
        stopped = rig.clock()
        await rig.moves(two, seconds=0.3)
        first = next(s for s in rig.seen if s.at > stopped and s.hints.suspects)
        assert first.hints.suspects == {HERE}
        assert first.at - stopped < 0.2

    reading(steps)


def test_requests_without_an_answer_are_told() -> None:
    async def steps(rig: Rig) -> None:
        cookie = rig.kernel.opens(HERE, THERE)
        await asyncio.sleep(IDLE)
        rig.kernel.moves(cookie, acked=500)
        await until(lambda: rig.last.hints.unanswered, 1.5)

    reading(steps)


# --- What cannot be read -----------------------------------------------------------------------


def test_without_a_client_nothing_is_read() -> None:
    async def steps(rig: Rig) -> None:
        rig.kernel.opens(HERE, THERE)
        await asyncio.sleep(5)
        assert not rig.last.sockets
        assert rig.kernel.walks == 0

    reading(steps, BRIDGE_SERVER)
    reading(steps, None)


def test_connections_without_a_subflow_are_told_once_they_were_seen_twice() -> None:
    """One that was opened between two questions looks the same, once."""

    async def steps(rig: Rig) -> None:
        cookie = rig.kernel.opens(HERE, THERE, token=7)
        rig.kernel.opens(HERE, THERE, token=8)
        await asyncio.sleep(2)
        rig.kernel.closes(cookie)
        rig.kernel.orphans = {7}
        assert await until(lambda: rig.last.orphans == {7}) < 1
        rig.kernel.orphans = set()
        await asyncio.sleep(1)
        assert rig.last.orphans == frozenset()

    reading(steps)


def test_they_are_looked_for_only_when_a_connection_is_seen_no_more() -> None:
    asked = []

    class Counting(FakeKernel):
        def _mptcp_connections(self, port: int) -> frozenset[int]:
            asked.append(port)
            return super()._mptcp_connections(port)

    async def work(clock: FakeClock) -> None:
        rig = Rig(clock, None)
        kernel = Counting(clock)
        traffic = Traffic(rig._told, rig._work, lambda: kernel.opened, kernel.edge, clock)
        traffic.follow(config(BRIDGE_CLIENT))
        cookies = [kernel.opens(HERE, THERE, token=n) for n in range(20)]
        task = asyncio.create_task(traffic.run())
        await asyncio.sleep(10)
        assert len(asked) == 1, "what was before the agent"
        for cookie in cookies[:-1]:
            kernel.closes(cookie)
            await asyncio.sleep(0.1)
        assert len(asked) - 1 <= 2 / ORPHANS
        task.cancel()

    simulate(work)


def test_a_kernel_that_tells_nothing_is_as_quiet_as_none() -> None:
    """``check`` says it; the paths are probed all the same."""

    class Mute(FakeKernel):
        def _calls(self, port: int) -> list[TcpSocket]:
            raise KernelError("the kernel lacks inet_diag")

        def _backlog(self, port: int) -> int:
            raise KernelError("the kernel lacks inet_diag")

    async def work(clock: FakeClock) -> None:
        rig = Rig(clock, None)
        rig.kernel = Mute(clock)
        traffic = Traffic(rig._told, rig._work, lambda: rig.kernel.opened, rig.kernel.edge, clock)
        traffic.follow(config(BRIDGE_CLIENT))
        task = asyncio.create_task(traffic.run())
        rig.kernel.opens(HERE, THERE)
        await asyncio.sleep(5)
        assert [(s.sockets, s.waiting) for s in rig.seen] == [((), 0)]
        task.cancel()

    simulate(work)
