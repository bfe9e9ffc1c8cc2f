# SPDX-License-Identifier: GPL-2.0-or-later
"""monitor.prober: what is probed when, and what is made of it, in simulated time.

Real connections: tests/kernel/test_prober.py. The state machine: test_path_health.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from unit.fakes import FakeClock, FakeKernel, Way, simulate, until

from mptcp_agent.core.health import PathHealth
from mptcp_agent.core.health.path_health import DOWN_INTERVAL, Settings
from mptcp_agent.monitor.prober import A_WHILE, HABIT, LATELY, Prober
from mptcp_agent.monitor.targets import Key, Target
from mptcp_agent.system.probes import Outcome

NEAR, FAR = "10.1.1.70", "10.2.2.70"
SETTINGS = Settings(interval=5.0, timeout=1.0, fail=3, recover=2)
WAN1, WAN2 = (Target(f"eth{n}", f"10.{n}.{n}.78", 8388, SETTINGS) for n in (1, 2))
ONE: Key = ("wan1", NEAR)
BOTH = {("wan1", NEAR): WAN1, ("wan2", NEAR): WAN2}
RTT = Way().rtt


class Rig:
    """A prober at work, with what it sends and how often it calls."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.kernel = FakeKernel(clock)
        self.calls = 0
        self.prober = Prober(self._changed, self.kernel.edge, clock)

    def _changed(self) -> None:
        self.calls += 1

    def path(self, key: Key = ONE) -> PathHealth:
        (found,) = (p for p in self.prober.health() if (p.wan, p.address) == key)
        return found

    def silent(self, *devices: str, address: str = NEAR, outcome: Outcome = "lost") -> None:
        for device in devices:
            self.kernel.ways[device, address] = Way(outcome)

    def sent(self, device: str = "eth1", address: str = NEAR) -> list[float]:
        """When probes went out there, in seconds from now."""
        all_ = [t for t, d, a in self.kernel.probes if (d, a) == (device, address)]
        return [t - self.clock() for t in all_]

    async def quiet(self) -> None:
        """Until all is known, and nothing is in doubt or new."""
        await until(lambda: all(p.state == "up" for p in self.prober.health()))
        await asyncio.sleep(A_WHILE + 0.1)


def probing(
    steps: Callable[[Rig], Awaitable[None]], targets: dict[Key, Target] | None = None
) -> None:
    async def work(clock: FakeClock) -> None:
        rig = Rig(clock)
        task = asyncio.create_task(rig.prober.run())
        rig.prober.follow({ONE: WAN1} if targets is None else targets)
        await steps(rig)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    simulate(work)


# --- Paths -------------------------------------------------------------------------------------


def test_a_new_path_is_probed_at_once_and_then_at_its_interval() -> None:
    async def steps(rig: Rig) -> None:
        assert rig.path() == PathHealth(*ONE)
        assert rig.prober.usable(*ONE), "until it is known to be dead"
        assert rig.prober.usable("wan9", NEAR)
        assert await until(lambda: rig.path().state == "up") == pytest.approx(RTT, abs=0.006)
        assert rig.path().since == pytest.approx(1000 + RTT, abs=0.001)
        assert rig.path().rtt == pytest.approx(1000 * RTT, abs=0.1)
        assert (rig.path().loss, rig.path().cause) == (0, "probes are answered")
        assert rig.calls == 1
        await asyncio.sleep(11)
        assert [round(t) for t in rig.sent()] == [-11, -6, -1]
        assert rig.prober.attempts == 3
        assert rig.calls == 2, "and that it has been so for a while"

    probing(steps)


def test_a_path_that_never_answers_is_down_after_some_probes_of_its_time_out() -> None:
    async def steps(rig: Rig) -> None:
        rig.silent("eth1")
        took = await until(lambda: rig.path().state == "down")
        assert took == pytest.approx(SETTINGS.timeout + 2 * SETTINGS.timeout / 6, abs=0.02)
        assert rig.path().cause == "3 probes lost"
        assert not rig.prober.usable(*ONE)
        before = rig.prober.attempts
        await asyncio.sleep(5)
        assert rig.prober.attempts - before == pytest.approx(5 / DOWN_INTERVAL, abs=1)

    probing(steps)


def test_silence_is_known_soon_after_a_hint_and_late_without() -> None:
    async def steps(rig: Rig) -> None:
        await rig.quiet()
        rig.silent("eth1")
        rig.prober.suspect("wan1")
        assert await until(lambda: rig.path().state == "down") < 0.2
        assert not rig.prober.accepting(), "nobody is seen to listen any more"
        rig.kernel.ways.clear()
        assert await until(lambda: rig.path().state == "up") < DOWN_INTERVAL + 3 * RTT
        await rig.quiet()
        rig.silent("eth1")
        assert 3 < await until(lambda: rig.path().state == "down") < SETTINGS.interval + 1.5

    probing(steps)


def test_a_hint_asks_of_its_wan_alone() -> None:
    async def steps(rig: Rig) -> None:
        await rig.quiet()
        rig.prober.suspect("wan1")
        await asyncio.sleep(0.1)
        assert rig.sent("eth1")[-1] > -0.2
        assert rig.sent("eth2")[-1] < -1
        rig.prober.suspect()
        await asyncio.sleep(0.1)
        assert rig.sent("eth2")[-1] > -0.2, "of all, where none is named"

    probing(steps, BOTH)


def test_an_overdue_probe_is_a_hint_for_the_other_addresses_of_its_wan() -> None:
    async def steps(rig: Rig) -> None:
        await rig.quiet()
        # The path to NEAR is asked first, the others much later.
        slow = replace(SETTINGS, interval=600.0)
        others = {("wan1", FAR): replace(WAN1, settings=slow), ("wan2", NEAR): WAN2}
        rig.prober.follow({**BOTH, **others})
        await rig.quiet()
        before = rig.prober.attempts
        rig.silent("eth1")
        rig.silent("eth1", address=FAR)
        await until(lambda: rig.path().state == "down")
        assert await until(lambda: rig.path(("wan1", FAR)).state == "down") < 0.2
        assert rig.path(("wan2", NEAR)).state == "up"
        assert len([t for t in rig.sent("eth2") if t > -5.5]) <= 3, "that one is in no doubt"
        assert rig.prober.attempts > before

    probing(steps, BOTH)


def test_a_path_that_stays_down_is_no_hint_for_the_others() -> None:
    async def steps(rig: Rig) -> None:
        await rig.quiet()
        rig.silent("eth1", address=FAR)
        await asyncio.sleep(20)
        assert rig.path(("wan1", FAR)).state == "down"
        before = len(rig.sent())
        await asyncio.sleep(60)
        assert len(rig.sent()) - before == 60 / SETTINGS.interval

    probing(steps, {ONE: WAN1, ("wan1", FAR): WAN1})


def test_a_late_answer_of_a_path_that_is_alive_raises_no_doubt() -> None:
    async def steps(rig: Rig) -> None:
        rig.kernel.ways["eth1", NEAR] = Way(rtt=0.4)
        await rig.quiet()
        states = {rig.path().state}
        rig.prober.suspect()
        for _ in range(400):
            await asyncio.sleep(0.01)
            states.add(rig.path().state)
        assert states == {"up"}

    probing(steps)


def test_a_probe_that_the_kernel_repeated_tells_no_round_trip() -> None:
    async def steps(rig: Rig) -> None:
        rig.kernel.ways["eth1", NEAR] = Way(rtt=0.9, repeated=True)
        await until(lambda: rig.path().state == "up")
        assert rig.path().rtt is None

    probing(steps)


def test_what_cannot_be_sent_says_nothing_and_is_not_hurried() -> None:
    async def steps(rig: Rig) -> None:
        rig.silent("eth1", outcome="unsent")
        await asyncio.sleep(60)
        assert (rig.path().state, rig.calls) == ("unknown", 0)
        assert rig.prober.attempts <= 60 / SETTINGS.interval + 2

    probing(steps)


# --- What is probed ----------------------------------------------------------------------------


def test_a_link_that_is_down_is_not_probed_and_its_path_is_down() -> None:
    async def steps(rig: Rig) -> None:
        await rig.quiet()
        rig.prober.follow({ONE: replace(WAN1, down="no carrier")})
        assert (rig.path().state, rig.path().cause) == ("down", "no carrier")
        assert rig.prober.in_doubt(NEAR), "it fell a moment ago"
        before = rig.prober.attempts
        rig.prober.suspect()
        await asyncio.sleep(30)
        assert rig.prober.attempts == before
        assert not rig.prober.in_doubt(NEAR), "a link without carrier is no doubt"
        rig.prober.follow({ONE: WAN1})
        assert rig.path().cause == "its link is back, no probe is answered yet; before: no carrier"
        assert await until(lambda: rig.path().state == "up") < 2 * RTT, "one answer is enough"

    probing(steps)


def test_another_source_is_probed_at_once_and_the_verdict_stays_meanwhile() -> None:
    async def steps(rig: Rig) -> None:
        await rig.quiet()
        assert rig.prober.accepting_for_a_while() == {NEAR}
        rig.prober.follow({ONE: replace(WAN1, source="10.1.1.99")})
        assert (rig.path().state, rig.path().cause) == ("up", "probes are answered")
        assert not rig.prober.accepting(), "who was found from there may not be found from here"
        await asyncio.sleep(0.01)
        assert rig.sent()[-1] > -0.02
        await until(lambda: rig.prober.accepting_for_a_while(), A_WHILE + 0.2)

    probing(steps)


def test_answers_to_probes_of_the_former_source_do_not_count() -> None:
    async def steps(rig: Rig) -> None:
        await asyncio.sleep(RTT / 2)
        rig.silent("eth2")
        rig.prober.follow({ONE: replace(WAN1, device="eth2")})
        await asyncio.sleep(RTT)
        assert (rig.path().state, rig.calls) == ("unknown", 0)

    probing(steps)


def test_other_settings_change_the_pace_and_nothing_else() -> None:
    async def steps(rig: Rig) -> None:
        await rig.quiet()
        rarely = replace(WAN1, settings=replace(SETTINGS, interval=30.0))
        rig.prober.follow({ONE: rarely})
        assert rig.path().state == "up"
        assert rig.prober.accepting_for_a_while() == {NEAR}
        await asyncio.sleep(60)
        assert rig.prober.attempts == 1 + 2
        rig.prober.follow({ONE: WAN1})
        await asyncio.sleep(10.1)
        assert rig.prober.attempts == 3 + 2

    probing(steps)


def test_a_path_that_is_no_longer_followed_is_forgotten() -> None:
    async def steps(rig: Rig) -> None:
        await rig.quiet()
        rig.prober.follow({})
        before = rig.prober.attempts
        assert rig.prober.health() == ()
        assert rig.prober.accepting() == frozenset()
        await asyncio.sleep(20)
        assert rig.prober.attempts == before

    probing(steps)


# --- Who listens -------------------------------------------------------------------------------


def test_who_accepts_is_believed_after_a_while_and_not_while_in_doubt() -> None:
    async def steps(rig: Rig) -> None:
        await until(lambda: rig.prober.accepting() == {NEAR}, 0.1)
        assert (rig.prober.accepting_for_a_while(), rig.calls) == (frozenset(), 1)
        await asyncio.sleep(A_WHILE - 0.01)
        assert (rig.prober.accepting_for_a_while(), rig.calls) == (frozenset(), 1)
        await asyncio.sleep(0.02)
        assert rig.prober.accepting_for_a_while() == {NEAR}
        assert rig.calls == 2
        await asyncio.sleep(SETTINGS.interval - A_WHILE + 0.1)
        assert rig.prober.accepting_for_a_while() == {NEAR}, "the next answer takes nothing back"
        rig.prober.suspect("wan1")
        assert not rig.prober.accepting_for_a_while()
        assert rig.prober.accepting() == {NEAR}

    probing(steps)


def test_nobody_listens_after_two_refusals_and_the_path_is_alive() -> None:
    async def steps(rig: Rig) -> None:
        rig.silent("eth1", outcome="refused")
        await asyncio.sleep(RTT + 0.001)
        assert (rig.path().state, rig.prober.refused()) == ("up", frozenset()), "a restart?"
        took = await until(lambda: rig.prober.refused() == {NEAR})
        assert took == pytest.approx(0.2 + RTT, abs=0.01)
        assert (rig.path().state, rig.calls) == ("up", 2)
        before = rig.prober.attempts
        await asyncio.sleep(5)
        assert rig.prober.attempts - before == pytest.approx(5 / DOWN_INTERVAL, abs=1)
        assert rig.calls == 2, "told once"
        assert rig.prober.accepting() == rig.prober.accepting_for_a_while() == frozenset()
        rig.kernel.ways.clear()
        await until(lambda: not rig.prober.refused(), DOWN_INTERVAL + 2 * RTT)
        assert rig.calls == 3, "and told at once when somebody listens again"

    probing(steps)


def test_a_refusal_is_a_hint_for_every_path() -> None:
    async def steps(rig: Rig) -> None:
        await rig.quiet()
        rig.silent("eth1", outcome="refused")
        rig.prober.suspect("wan1")
        await asyncio.sleep(2 * RTT)
        assert rig.sent("eth2")[-1] > -2 * RTT, "it may seem to listen there, and be gone"

    probing(steps, BOTH)


def test_an_address_is_not_refused_while_somebody_answers_over_another_wan() -> None:
    async def steps(rig: Rig) -> None:
        rig.silent("eth1", outcome="refused")
        await asyncio.sleep(4)
        assert not rig.prober.refused()
        rig.silent("eth2")
        rig.prober.suspect()
        await until(lambda: rig.prober.refused() == {NEAR})
        assert rig.path(("wan2", NEAR)).state == "down", "what it heard there is of yesterday"

    probing(steps, BOTH)


def test_one_answer_takes_back_the_refusals_over_every_wan() -> None:
    async def steps(rig: Rig) -> None:
        rig.silent("eth1", "eth2", outcome="refused")
        await until(lambda: rig.prober.refused() == {NEAR})
        await asyncio.sleep(1)
        rig.kernel.ways = {("eth1", NEAR): Way("refused"), ("eth2", NEAR): Way()}
        await until(lambda: rig.prober.accepting() == {NEAR})
        rig.prober.follow({ONE: WAN1})
        assert not rig.prober.refused()

    probing(steps, BOTH)


def test_refusals_over_a_link_that_is_down_do_not_count() -> None:
    async def steps(rig: Rig) -> None:
        rig.silent("eth1", outcome="refused")
        await until(lambda: rig.prober.refused() == {NEAR})
        rig.prober.follow({ONE: replace(WAN1, down="no carrier")})
        assert not rig.prober.refused()
        rig.prober.follow({ONE: WAN1})
        assert not rig.prober.refused(), "forgotten: it may be another network"

    probing(steps)


def test_a_path_that_fell_silent_refuses_no_more() -> None:
    async def steps(rig: Rig) -> None:
        rig.silent("eth1", outcome="refused")
        await until(lambda: rig.prober.refused() == {NEAR})
        rig.silent("eth1")
        await until(lambda: rig.path().state == "down")
        assert not rig.prober.refused()

    probing(steps)


# --- Data that moves ---------------------------------------------------------------------------


def test_data_that_moves_saves_a_probe() -> None:
    async def steps(rig: Rig) -> None:
        await rig.quiet()
        before = rig.prober.attempts
        for _ in range(300):
            rig.prober.confirm_alive(*ONE)
            await asyncio.sleep(0.1)
        assert rig.prober.attempts == before
        await asyncio.sleep(SETTINGS.interval)
        assert rig.prober.attempts == before + 1

    probing(steps)


def test_data_that_moves_after_a_refusal_saves_none() -> None:
    async def steps(rig: Rig) -> None:
        rig.silent("eth1", outcome="refused")
        await until(lambda: rig.prober.refused() == {NEAR})
        rig.kernel.ways.clear()
        rig.prober.confirm_alive(*ONE)
        rig.prober.confirm_alive("wan9", NEAR)  # not followed
        await until(lambda: not rig.prober.refused(), DOWN_INTERVAL + 2 * RTT)

    probing(steps)


# --- Doubt -------------------------------------------------------------------------------------


def test_an_address_is_in_doubt_during_a_burst_and_for_a_moment_after_a_change() -> None:
    async def steps(rig: Rig) -> None:
        assert rig.prober.in_doubt(NEAR), "nothing is known yet"
        assert not rig.prober.in_doubt(FAR)
        await rig.quiet()
        assert not rig.prober.in_doubt(NEAR)
        rig.prober.suspect()
        assert rig.prober.in_doubt(NEAR)
        await asyncio.sleep(0.1)
        assert not rig.prober.in_doubt(NEAR), "answered"
        rig.silent("eth1")
        rig.prober.suspect()
        await until(lambda: rig.path().state == "down")
        await asyncio.sleep(LATELY - 0.01)
        assert rig.prober.in_doubt(NEAR)
        await asyncio.sleep(0.02)
        assert not rig.prober.in_doubt(NEAR)

    probing(steps)


# --- The kept connection -----------------------------------------------------------------------


def test_a_server_that_stops_is_noticed_at_once() -> None:
    async def steps(rig: Rig) -> None:
        await rig.quiet()
        rig.kernel.stop_listening(NEAR, "eth1")
        assert await until(rig.prober.refused) < 0.2 + 3 * RTT < SETTINGS.interval

    probing(steps)


def test_a_server_that_ends_idle_connections_is_not_watched_that_way() -> None:
    async def steps(rig: Rig) -> None:
        await until(lambda: rig.path().state == "up")
        await asyncio.sleep(HABIT / 2)
        rig.kernel.end_connections(NEAR)
        await asyncio.sleep(0.1)
        assert rig.prober.attempts == 2, "it might have stopped"
        for _ in range(20):
            await asyncio.sleep(HABIT / 2)
            rig.kernel.end_connections(NEAR)
        assert rig.prober.attempts <= 2 + 10 / SETTINGS.interval
        await asyncio.sleep(SETTINGS.interval)
        assert rig.kernel.held(NEAR) == 0

    probing(steps)


def test_connections_that_end_while_the_path_is_down_hurry_nothing() -> None:
    async def steps(rig: Rig) -> None:
        await rig.quiet()
        rig.silent("eth1")
        rig.prober.suspect()
        await until(lambda: rig.path().state == "down")
        await asyncio.sleep(0.1)
        before = rig.prober.attempts
        rig.kernel.end_connections(NEAR)
        await asyncio.sleep(0.1)
        assert rig.prober.attempts == before

    probing(steps)


def test_one_connection_is_kept_and_none_stays_behind() -> None:
    async def steps(rig: Rig) -> None:
        await rig.quiet()
        await asyncio.sleep(20)
        assert rig.kernel.held(NEAR) == 1
        rig.prober.follow({})
        assert rig.kernel.held(NEAR) == 0
        rig.prober.follow({ONE: WAN1})
        await rig.quiet()
        assert rig.kernel.held(NEAR) == 1
        rig.prober.close()
        assert (rig.kernel.held(NEAR), rig.prober.health()) == (0, ())

    probing(steps)
