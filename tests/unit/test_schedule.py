# SPDX-License-Identifier: GPL-2.0-or-later
"""When a turn is due, and at what it looks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from unit.fakes import FakeClock, simulate

from mptcp_agent.agent.schedule import BURST, SETTLE_DELAY, SHARE, SLOW_TIMER, Schedule
from mptcp_agent.core.state import EVERY_PART, KERNEL_PARTS, Part

Event = Callable[[Schedule], None]

NONE: frozenset[Part] = frozenset()


def scheduled(work: Callable[[Schedule, FakeClock], Coroutine[Any, Any, None]]) -> None:
    """Run it on a schedule whose first turn, which looks at everything, is over."""

    async def run(clock: FakeClock) -> None:
        schedule = Schedule(clock)
        await schedule.wait()
        assert schedule.begin() == EVERY_PART
        await work(schedule, clock)

    simulate(run)


@pytest.mark.parametrize(
    ("event", "after", "parts"),
    [
        (lambda s: s.request(Part.FILES), 0.0, {Part.FILES}),
        (lambda s: s.request(), 0.0, NONE),
        (lambda s: s.links_changed(), 0.0, {Part.LINKS}),
        (lambda s: s.routing_changed(), 0.0, {Part.ROUTING, Part.SYSCTLS}),
        (lambda s: None, SLOW_TIMER, EVERY_PART),
    ],
    ids=["a part", "health only", "links", "routes", "nothing"],
)
def test_an_event_and_the_turn_that_follows(
    event: Event, after: float, parts: frozenset[Part]
) -> None:
    async def work(schedule: Schedule, clock: FakeClock) -> None:
        began = clock()
        asyncio.get_running_loop().call_soon(event, schedule)
        await schedule.wait()
        assert clock() - began == pytest.approx(after, abs=0.01)
        assert schedule.begin() == parts

    scheduled(work)


def test_many_links_are_followed_by_one_look_at_the_rest() -> None:
    async def work(schedule: Schedule, clock: FakeClock) -> None:
        began = clock()
        for _ in range(5):
            schedule.links_changed()
            schedule.routing_changed()  # what the kernel did because of the link
        await schedule.wait()
        assert schedule.begin() == {Part.LINKS}
        await schedule.wait()
        assert schedule.begin() == {Part.ROUTING, Part.SYSCTLS, Part.INTERFACES}
        assert clock() - began == pytest.approx(SETTLE_DELAY, abs=0.01)
        await schedule.wait()
        assert schedule.begin() == EVERY_PART, "nothing more but the slow timer"

    scheduled(work)


def test_an_alarm_rings_once_and_brings_its_parts() -> None:
    async def work(schedule: Schedule, clock: FakeClock) -> None:
        began = clock()
        await schedule.wait(2.0, KERNEL_PARTS)
        assert clock() - began == pytest.approx(2.0, abs=0.01)
        assert schedule.begin() == KERNEL_PARTS
        await schedule.wait()
        assert clock() - began == pytest.approx(SLOW_TIMER, abs=0.01)

    scheduled(work)


def test_an_alarm_without_parts_is_a_turn_all_the_same() -> None:
    async def work(schedule: Schedule, clock: FakeClock) -> None:
        await schedule.wait(0.1)
        assert schedule.begin() == NONE

    scheduled(work)


def test_news_during_a_turn_are_not_lost() -> None:
    async def work(schedule: Schedule, clock: FakeClock) -> None:
        began = clock()
        schedule.request(Part.LINKS)
        schedule.begin()
        schedule.request(Part.FIREWALL)  # while the turn observes
        await schedule.wait()
        assert clock() == began
        assert schedule.begin() == {Part.FIREWALL}

    scheduled(work)


def test_a_flood_of_events_is_rationed_and_a_single_one_is_not() -> None:
    async def work(schedule: Schedule, clock: FakeClock) -> None:
        began = clock()
        for _ in range(200):
            schedule.request(Part.ROUTING)
            await schedule.wait()
            schedule.begin()
        assert clock() - began == pytest.approx(200 * SHARE, rel=0.01)
        await asyncio.sleep(BURST * SHARE)
        began = clock()
        schedule.request(Part.LINKS)
        await schedule.wait()
        assert clock() == began

    scheduled(work)
