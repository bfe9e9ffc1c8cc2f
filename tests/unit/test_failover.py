# SPDX-License-Identifier: GPL-2.0-or-later
"""monitor.failover: when another peer may have its turn, in simulated time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from unit.examples import BRIDGE_CLIENT, config
from unit.fakes import FakeClock, simulate, until

from mptcp_agent.core.health.quarantine import LEFT_OUT
from mptcp_agent.core.plan import Plan
from mptcp_agent.core.snapshot import Choice
from mptcp_agent.monitor.failover import GRACE, IDLE_LONG, MARGIN, Failover

(PEER,) = config(BRIDGE_CLIENT).client_peers
REACHED = Plan(choice=Choice(PEER, PEER.address[0]))
UNREACHED = Plan()


class Rig:
    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.plans: list[float] = []
        self.failover = Failover(lambda: self.plans.append(clock()), clock)


def waiting(steps: Callable[[Rig], Awaitable[None]]) -> None:
    async def work(clock: FakeClock) -> None:
        await steps(Rig(clock))

    simulate(work)


def test_connections_wait_for_a_peer_that_was_reached_a_moment_ago() -> None:
    async def steps(rig: Rig) -> None:
        rig.failover.follow(REACHED)
        assert rig.failover.in_grace_period, "from the first time on"
        rig.failover.follow(REACHED)
        await asyncio.sleep(100)
        began = rig.clock()
        rig.failover.follow(UNREACHED)
        assert rig.failover.in_grace_period
        took = await until(lambda: not rig.failover.in_grace_period)
        assert took == pytest.approx(GRACE, abs=0.01)
        rig.failover.follow(UNREACHED)
        assert not rig.failover.in_grace_period, "it is not reached anew by being looked at"
        await asyncio.sleep(60)
        assert rig.plans == [pytest.approx(began + GRACE + MARGIN)], "planned anew once it is over"

    waiting(steps)


def test_a_peer_that_was_never_reached_is_not_waited_for() -> None:
    async def steps(rig: Rig) -> None:
        assert not rig.failover.in_grace_period
        rig.failover.follow(UNREACHED)
        assert not rig.failover.in_grace_period
        await asyncio.sleep(60)
        assert rig.plans == []

    waiting(steps)


def test_a_peer_that_comes_back_has_a_whole_grace_period_again() -> None:
    async def steps(rig: Rig) -> None:
        rig.failover.follow(REACHED)
        rig.failover.follow(UNREACHED)
        await asyncio.sleep(GRACE - 1)
        rig.failover.follow(REACHED)
        rig.failover.follow(UNREACHED)
        await asyncio.sleep(GRACE - 1)
        assert rig.failover.in_grace_period

    waiting(steps)


def test_it_is_idle_while_no_connection_has_lived_for_long() -> None:
    async def steps(rig: Rig) -> None:
        assert rig.failover.idle, "from the start"
        rig.failover.connections_live(rig.clock())
        assert not rig.failover.idle
        await asyncio.sleep(IDLE_LONG - 0.1)
        rig.failover.connections_live(rig.clock())
        last = rig.clock()
        assert await until(lambda: rig.failover.idle) == pytest.approx(IDLE_LONG, abs=0.01)
        await asyncio.sleep(60)
        assert rig.plans == [pytest.approx(last + IDLE_LONG + MARGIN)], "once, after the last one"

    waiting(steps)


def test_a_peer_that_hangs_is_left_out_until_something_comes_through() -> None:
    async def steps(rig: Rig) -> None:
        failover = rig.failover
        assert failover.proved(["a"], "unknown"), "nothing is held against it"
        failover.tunnel_is("down", "a", ["a"])
        assert failover.dead_peers(["a"], "down") == {"a"}
        assert failover.dead_peers(["b"], "unknown") == {"a"}, "though the tunnel leads elsewhere"
        assert failover.proved(["b"], "unknown")
        await asyncio.sleep(LEFT_OUT - 1)
        assert failover.dead_peers(["b"], "up") == {"a"}
        await asyncio.sleep(2)
        assert failover.dead_peers(["b"], "up") == frozenset()
        assert failover.dead_peers(["a"], "down") == {"a"}, "while its tunnel is down"
        assert not failover.proved(["a"], "unknown"), "on probation"
        assert failover.proved(["a"], "up")
        failover.tunnel_is("up", "a", ["a"])
        assert failover.proved(["a"], "unknown"), "forgotten"

    waiting(steps)


def test_an_answer_of_one_peer_says_nothing_of_another() -> None:
    async def steps(rig: Rig) -> None:
        rig.failover.tunnel_is("down", "a", ["a"])
        rig.failover.tunnel_is("up", "b", ["b"])
        assert rig.failover.dead_peers(["b"], "up") == {"a"}

    waiting(steps)


def test_a_tunnel_that_falls_while_no_peer_is_in_use_is_nobodys_fault() -> None:
    async def steps(rig: Rig) -> None:
        rig.failover.tunnel_is("down", None, ["a"])
        rig.failover.tunnel_is("unknown", "a", ["a"])
        assert rig.failover.dead_peers([], "unknown") == frozenset()

    waiting(steps)
