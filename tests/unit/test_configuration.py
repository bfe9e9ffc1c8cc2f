# SPDX-License-Identifier: GPL-2.0-or-later
"""How a configuration comes into force."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest
from unit.examples import BRIDGE_CLIENT, BRIDGE_SERVER, MEANS, config
from unit.fakes import FakeClock, simulate, until

from mptcp_agent.agent import configuration
from mptcp_agent.agent.configuration import LOOK_AGAIN, Configuration, Progress
from mptcp_agent.core.config import Config
from mptcp_agent.core.snapshot import Capabilities

FIRST, SECOND = config(BRIDGE_CLIENT), config(BRIDGE_SERVER)

Step = Callable[[Progress], Progress]


def read(wanted: Config) -> Step:
    return lambda progress: configuration.read(progress, wanted)


again, named, tried = configuration.look_again, configuration.named, configuration.tried


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], Progress()),
        ([again], Progress()),
        ([read(FIRST)], Progress("names", FIRST)),
        ([read(FIRST), read(SECOND)], Progress("names", SECOND)),
        ([read(FIRST), named], Progress("engines", FIRST)),
        ([read(FIRST), named, tried], Progress("in force", FIRST)),
        ([read(FIRST), named, tried, read(FIRST)], Progress("in force", FIRST)),
        ([read(FIRST), named, tried, read(SECOND)], Progress("names", SECOND)),
        ([read(FIRST), named, tried, again], Progress("names", FIRST)),
        ([read(FIRST), named, again], Progress("engines", FIRST, outdated=True)),
        ([read(FIRST), named, read(SECOND)], Progress("engines", SECOND, outdated=True)),
        ([read(FIRST), named, read(SECOND), tried], Progress("names", SECOND)),
        ([read(FIRST), tried], Progress("names", FIRST)),
        ([named], Progress()),
    ],
)
def test_the_table(steps: list[Step], expected: Progress) -> None:
    progress = Progress()
    for step in steps:
        progress = step(progress)
    assert progress == expected


class World:
    """What a Configuration asks, and what it says."""

    def __init__(self) -> None:
        self.names_settled = True
        self.found: Capabilities = MEANS
        self.seconds = 1.0
        self.tried: list[Config] = []
        self.in_force = 0
        self.bug = False
        self.asked = 0
        """Times for names."""
        self.configuration = Configuration(self.named, self.find, self.told)

    def named(self, wanted: Config) -> bool:
        self.asked += 1
        return self.names_settled

    async def find(self, wanted: Config) -> Capabilities:
        self.tried.append(wanted)
        await asyncio.sleep(self.seconds)
        if self.bug:
            raise ZeroDivisionError
        return self.found

    def told(self) -> None:
        self.in_force += 1


def living(work: Callable[[World], Awaitable[None]]) -> None:
    async def run(clock: FakeClock) -> None:
        world = World()
        task = asyncio.create_task(world.configuration.run())
        await work(world)
        task.cancel()

    simulate(run)


def test_the_one_before_stays_in_force_until_the_next_was_tried() -> None:
    async def work(world: World) -> None:
        now = world.configuration
        now.read(FIRST)
        assert now.config is None
        await until(lambda: now.config == FIRST)
        assert now.capabilities == MEANS and world.in_force == 1
        now.read(SECOND)
        await asyncio.sleep(0.5)
        assert now.config == FIRST
        await until(lambda: now.config == SECOND)
        assert world.in_force == 2

    living(work)


def test_what_was_found_for_yesterday_does_not_come_into_force() -> None:
    async def work(world: World) -> None:
        now = world.configuration
        now.read(FIRST)
        await until(lambda: world.tried == [FIRST])
        now.read(SECOND)
        await until(lambda: now.config is not None)
        assert now.config == SECOND and world.tried == [FIRST, SECOND] and world.in_force == 1

    living(work)


def test_names_are_waited_for() -> None:
    async def work(world: World) -> None:
        now, world.names_settled = world.configuration, False
        now.read(FIRST)
        await asyncio.sleep(60)
        assert now.config is None and world.tried == []
        world.names_settled = True
        now.look_again()
        await until(lambda: now.config == FIRST)

    living(work)


def test_names_that_are_waited_for_are_not_asked_for_at_each_turn() -> None:
    async def work(world: World) -> None:
        world.names_settled = False
        for _ in range(10):
            world.configuration.read(FIRST)
            await asyncio.sleep(0.1)
        assert world.asked == 1
        world.configuration.look_again()
        await until(lambda: world.asked == 2)

    living(work)


def test_looking_again_and_finding_the_same_is_no_news() -> None:
    async def work(world: World) -> None:
        now = world.configuration
        now.read(FIRST)
        await until(lambda: world.in_force)
        now.look_again()
        await asyncio.sleep(5)
        assert world.tried == [FIRST, FIRST] and world.in_force == 1
        world.found = replace(MEANS, backends=("iptables",))
        now.look_again()
        await asyncio.sleep(5)
        assert now.capabilities == world.found and world.in_force == 2

    living(work)


def test_what_is_missing_is_looked_for_again() -> None:
    async def work(world: World) -> None:
        world.found = Capabilities()
        world.configuration.read(FIRST)
        await until(lambda: world.in_force)
        world.found = MEANS
        assert await until(lambda: world.configuration.capabilities == MEANS) > LOOK_AGAIN - 1
        tries = len(world.tried)
        await asyncio.sleep(10 * LOOK_AGAIN)
        assert len(world.tried) == tries, "nothing is missing any more"

    living(work)


def test_a_bug_in_a_trial_is_tried_again_by_whoever_starts_it_anew() -> None:
    async def run(clock: FakeClock) -> None:
        world = World()
        world.bug = True
        world.configuration.read(FIRST)
        with pytest.raises(ZeroDivisionError):
            await world.configuration.run()
        world.bug = False
        task: asyncio.Task[Any] = asyncio.create_task(_coroutine(world))
        await until(lambda: world.configuration.config == FIRST)
        task.cancel()

    simulate(run)


def _coroutine(world: World) -> Coroutine[Any, Any, None]:
    return world.configuration.run()
