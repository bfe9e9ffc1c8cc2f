# SPDX-License-Identifier: GPL-2.0-or-later
"""The tunnel: core.health.tunnel decides, monitor.tunnel sends, in simulated time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from unit.examples import BRIDGE_CLIENT, config
from unit.fakes import FakeClock, FakeKernel, Way, simulate, until

from mptcp_agent.core.health import path_health, tunnel
from mptcp_agent.core.health.path_health import Path
from mptcp_agent.core.health.tunnel import SETTINGS
from mptcp_agent.core.plan import Plan
from mptcp_agent.core.snapshot import Choice
from mptcp_agent.core.state import Firewall, RouterState
from mptcp_agent.monitor.tunnel import AGAIN, Tunnel

NEAR, FAR = "10.1.1.70", "10.2.2.70"
(PEER,) = config(BRIDGE_CLIENT).client_peers
REDIRECTED = RouterState(firewalls=(Firewall("nftables"),))
PLAN = Plan(state=REDIRECTED, choice=Choice(PEER, NEAR))
ELSEWHERE = replace(PLAN, choice=Choice(PEER, FAR))
RTT = 0.04


class Rig:
    """A tunnel at work behind a redirector that listens, over paths that are well."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.kernel = FakeKernel(clock)
        self.kernel.tunnel = Way(rtt=RTT)
        self.listens = True
        self.doubtful: set[str] = set()
        self.suspected: list[float] = []
        self.states: list[str] = []
        self.tunnel = Tunnel(
            lambda: self.listens,
            lambda address: address in self.doubtful,
            lambda: self.suspected.append(clock()),
            self.states.append,
            self.kernel.edge,
            clock,
        )

    @property
    def state(self) -> str:
        return self.tunnel.path.state

    @property
    def probes(self) -> int:
        return len(self.kernel.probes)

    async def up(self) -> None:
        await until(lambda: self.state == "up")
        await asyncio.sleep(1)

    def hang(self) -> None:
        self.kernel.tunnel = Way("lost")

    async def fall(self) -> float:
        """It hangs, and requests show it; seconds until that is known."""
        self.hang()
        self.tunnel.suspect(self.clock())
        return await until(lambda: self.state == "down")


def probing(steps: Callable[[Rig], Awaitable[None]], plan: Plan = PLAN) -> None:
    async def work(clock: FakeClock) -> None:
        rig = Rig(clock)
        task = asyncio.create_task(rig.tunnel.run())
        rig.tunnel.follow(plan)
        await steps(rig)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    simulate(work)


def test_it_is_up_with_its_first_answer_and_probed_rarely_then() -> None:
    async def steps(rig: Rig) -> None:
        assert await until(lambda: rig.state == "up") == pytest.approx(RTT, abs=0.006)
        assert (rig.states, rig.suspected) == (["up"], [])
        await asyncio.sleep(31)
        assert rig.probes == 1 + 3

    probing(steps)


def test_nothing_is_sent_before_the_redirector_listens() -> None:
    async def steps(rig: Rig) -> None:
        rig.listens = False
        await asyncio.sleep(5)
        assert rig.probes == 0
        rig.listens = True
        assert await until(lambda: rig.state == "up") < AGAIN + 2 * RTT

    probing(steps)


def test_nothing_is_sent_before_the_firewall_leads_it_there() -> None:
    async def steps(rig: Rig) -> None:
        await asyncio.sleep(5)
        assert rig.probes == 0
        rig.tunnel.follow(PLAN)
        assert await until(lambda: rig.state == "up") < AGAIN + 2 * RTT

    probing(steps, replace(PLAN, state=RouterState()))


def test_a_peer_that_hangs_is_known_soon_once_requests_wait() -> None:
    async def steps(rig: Rig) -> None:
        await rig.up()
        assert await rig.fall() < 1
        assert rig.states == ["up", "down"]
        assert len(rig.suspected) == 1, "a peer that cannot be reached does not hang"
        assert rig.suspected[0] < rig.clock() - 0.05, "so the paths are asked first"

    probing(steps)


def test_a_peer_that_hangs_is_known_without_requests_too() -> None:
    async def steps(rig: Rig) -> None:
        await rig.up()
        rig.hang()
        took = await until(lambda: rig.state == "down")
        assert took < SETTINGS.interval + SETTINGS.timeout + 1

    probing(steps)


def test_an_answer_that_comes_late_counts() -> None:
    async def steps(rig: Rig) -> None:
        rig.kernel.tunnel = Way(rtt=1.5 * SETTINGS.timeout)
        await until(lambda: rig.state == "up", 3 * SETTINGS.timeout)
        assert rig.states == ["down", "up"]

    probing(steps)


def test_it_does_not_fall_while_its_paths_are_in_doubt() -> None:
    """Its probes may have been on a WAN that failed: those sent afterwards decide."""

    async def steps(rig: Rig) -> None:
        await rig.up()
        rig.hang()
        rig.doubtful = {NEAR}
        rig.tunnel.suspect(rig.clock())
        await asyncio.sleep(3)
        assert (rig.state, rig.states) == ("up", ["up"])
        assert rig.probes > 10, "it goes on asking"
        rig.doubtful = {FAR}
        assert await until(lambda: rig.state == "down") < 1

    probing(steps)


def test_it_is_well_again_when_the_doubt_was_of_a_wan() -> None:
    async def steps(rig: Rig) -> None:
        await rig.up()
        rig.hang()
        rig.doubtful = {NEAR}
        rig.tunnel.suspect(rig.clock())
        await asyncio.sleep(1)
        rig.kernel.tunnel = Way(rtt=RTT)
        await asyncio.sleep(1)
        rig.doubtful = set()
        await asyncio.sleep(20)
        assert rig.states == ["up"]

    probing(steps)


def test_without_a_redirector_nothing_is_learnt() -> None:
    async def steps(rig: Rig) -> None:
        await rig.up()
        for way in (Way("refused"), Way("unsent")):
            rig.kernel.tunnel = way
            before = rig.probes
            rig.tunnel.suspect(rig.clock())
            await asyncio.sleep(25)
            assert rig.states == ["up"]
            assert rig.probes - before <= 1 + 25 / SETTINGS.interval, "nor is there a hurry"

    probing(steps)


def test_another_address_is_another_tunnel() -> None:
    async def steps(rig: Rig) -> None:
        await rig.up()
        rig.tunnel.follow(PLAN)
        assert (rig.state, rig.tunnel.address) == ("up", NEAR)
        rig.tunnel.follow(ELSEWHERE)
        assert (rig.state, rig.tunnel.address) == ("unknown", FAR)
        assert await until(lambda: rig.state == "up") < 2 * RTT, "probed at once"
        rig.tunnel.follow(replace(PLAN, choice=None))
        assert (rig.state, rig.tunnel.address) == ("up", FAR), "the redirector still leads there"

    probing(steps)


def test_an_answer_from_the_tunnel_of_before_does_not_count() -> None:
    async def steps(rig: Rig) -> None:
        await asyncio.sleep(RTT / 2)  # a probe is under way
        rig.kernel.tunnel = Way(rtt=5.0)  # from now on
        rig.tunnel.begin()
        await asyncio.sleep(2 * RTT)
        assert rig.state == "unknown"

    probing(steps)


def test_after_it_hung_two_answers_bring_it_back() -> None:
    async def steps(rig: Rig) -> None:
        await rig.up()
        await rig.fall()
        before = rig.tunnel.path.rtt
        rig.kernel.tunnel = Way(rtt=5 * RTT)
        assert await until(lambda: rig.state == "up") < 1
        assert rig.states == ["up", "down", "up"]
        assert rig.tunnel.path.rtt == before, "how long it hung is not how slow it is"

    probing(steps)


def test_a_redirector_that_begins_to_listen_is_asked_at_once() -> None:
    async def steps(rig: Rig) -> None:
        await rig.up()
        rig.tunnel.begin()
        assert rig.state == "unknown"
        assert await until(lambda: rig.state == "up") < 2 * RTT

    probing(steps)


# --- The rules by themselves -------------------------------------------------------------------


def fallen(now: float) -> tuple[Path, Path]:
    """A tunnel that is up with three probes out, and what time makes of it."""
    path = replace(Path(SETTINGS), state="up", rtt=0.04, since=1.0, cause="probes are answered")
    for at in (100.0, 100.1, 100.2):
        path, _ = path_health.sent(path, at)
    return path, path_health.passed(path, now)


def test_judged() -> None:
    up, down = fallen(200.0)
    assert (up.state, down.state) == ("up", "down")
    assert tunnel.judged(up, down, False, 200.0) == down
    held = tunnel.judged(up, down, True, 200.0)
    assert (held.state, held.since, held.cause, held.falls) == ("up", 1.0, up.cause, ())
    assert (held.burst, held.next_at, held.waiting) == (True, 200.0, down.waiting)
    assert tunnel.judged(down, down, True, 200.0) == down, "down already"
    assert tunnel.judged(up, up, True, 200.0) == up


def test_a_probe_waits() -> None:
    up, _ = fallen(200.0)
    assert tunnel.waits(up, 1.5, 101.5)
    assert not tunnel.waits(up, 1.5, 101.4)
    assert not tunnel.waits(Path(SETTINGS), 0.0, 101.4)


def test_what_began_before_it_came_up_tells_no_round_trip() -> None:
    """All that waited in a server comes at once: the first ones bring the tunnel up."""
    path, number = path_health.sent(replace(Path(SETTINGS), state="up", since=105.0), 100.0)
    assert tunnel.answered(path, number, 100.0, 106.0).rtt is None
    path, number = path_health.sent(replace(Path(SETTINGS), state="up", since=99.0), 100.0)
    assert tunnel.answered(path, number, 100.0, 106.0).rtt == 6.0
