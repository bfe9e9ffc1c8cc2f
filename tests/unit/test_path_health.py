# SPDX-License-Identifier: GPL-2.0-or-later
"""The state machine of a path, in simulated time: what it must never do, whatever happens."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcp_agent.core.health import path_health
from mptcp_agent.core.health.path_health import BURST_SPACING, DOWN_INTERVAL, Path, Settings

Fate = float | None
"""Of a probe: seconds until its answer, None when it is lost."""
UNSENT = -1.0
"""A fate as well: this router could not even try."""

SETTINGS = st.builds(
    Settings,
    interval=st.floats(0.5, 60),
    timeout=st.floats(0.3, 10),
    fail=st.integers(1, 6),
    recover=st.integers(1, 6),
    burst_timeout=st.floats(0.05, 0.5),
)


@dataclass
class Run:
    """A path and its prober, in a world whose clock jumps from one event to the next."""

    path: Path
    fate: Callable[[int, float], Fate]
    """Of the probe with this number, sent at this time."""
    now: float = 0.0
    sent: list[float] = field(default_factory=list)
    states: list[tuple[float, str]] = field(default_factory=list)
    unanswered: dict[int, float] = field(default_factory=dict)
    """When probes were sent that are younger than the last answer."""
    answers: list[tuple[float, int]] = field(default_factory=list)
    before_fall: list[int] = field(default_factory=list)
    """How many probes were unanswered at each fall."""

    def until(self, end: float, hints: Iterable[float] = ()) -> Run:
        left = sorted(hints)
        while True:
            self._look()
            moments = [path_health.wake_at(self.path), *(a[0] for a in self.answers[:1])]
            at = min([*moments, *left[:1]])
            assert at > self.now or self.answers[:1] or left[:1], "woken for nothing"
            if at > end:
                self.now = end
                return self
            self.now = max(self.now, at)
            if left and left[0] <= self.now:
                self._to(path_health.suspected(self.path, left.pop(0)))
            while self.answers and self.answers[0][0] <= self.now:
                self._answer(heapq.heappop(self.answers)[1])

    def _look(self) -> None:
        """What the prober does when it wakes up."""
        self._to(path_health.passed(self.path, self.now))
        if path_health.due(self.path, self.now):
            self.path, number = path_health.sent(self.path, self.now)
            self.sent.append(self.now)
            fate = self.fate(number, self.now)
            if fate == UNSENT:
                self._to(path_health.unsent(self.path, number, self.now))
                return
            self.unanswered[number] = self.now
            if fate is not None:
                heapq.heappush(self.answers, (self.now + fate, number))
        assert path_health.wake_at(self.path) > self.now, "the prober would spin"

    def _answer(self, number: int) -> None:
        if any(p.number == number for p in self.path.waiting):  # else it came too late to count
            self.unanswered = {n: t for n, t in self.unanswered.items() if n > number}
        self._to(path_health.answered(self.path, number, self.now))

    def _to(self, path: Path) -> None:
        old, self.path = self.path, path
        assert 0 <= path.loss <= 1
        if path.state != old.state:
            self.states.append((self.now, path.state))
            if path.state == "down":
                self.before_fall.append(len(self.unanswered))

    @property
    def falls(self) -> list[float]:
        return [t for t, state in self.states if state == "down"]


def always(fate: Fate) -> Callable[[int, float], Fate]:
    return lambda number, now: fate


def listed(fates: list[Fate]) -> Callable[[int, float], Fate]:
    """These, again and again."""
    return lambda number, now: fates[number % len(fates)]


FATES = st.lists(st.one_of(st.none(), st.floats(0.0, 12), st.just(UNSENT)), min_size=1)
HINTS = st.lists(st.floats(0, 100), max_size=30)


@given(SETTINGS, FATES, HINTS)
def test_never_down_without_enough_unanswered_probes(
    settings: Settings, fates: list[Fate], hints: list[float]
) -> None:
    run = Run(Path(settings), listed(fates)).until(100, hints)
    assert all(count >= settings.fail for count in run.before_fall)


@given(SETTINGS, FATES, HINTS)
def test_never_more_probes_than_a_burst(
    settings: Settings, fates: list[Fate], hints: list[float]
) -> None:
    """Whatever is heard: as many in any second as a burst's spacing and one recovery allow."""
    run = Run(Path(settings), listed(fates)).until(100, hints)
    most = 2 + 1 / (min(settings.burst_timeout, settings.timeout) * BURST_SPACING)
    most += path_health.MOST_RECOVER
    for start in run.sent:
        assert sum(start <= t < start + 1 for t in run.sent) <= most


@given(SETTINGS, st.floats(0.0, 0.02))
def test_a_storm_of_hints_costs_no_more_than_a_burst(settings: Settings, rtt: float) -> None:
    """A path that answers at once could be asked again at once, thousands of times a second."""
    hints = [1 + n / 1000 for n in range(2000)]
    run = Run(Path(settings), always(rtt)).until(3.5, hints)
    spacing = min(settings.burst_timeout, settings.timeout) * BURST_SPACING
    storm = [t for t in run.sent if 1 <= t < 3]
    assert len(storm) <= 3 + 2 / spacing
    assert run.path.state == "up"


@given(SETTINGS)
def test_a_quiet_path_costs_one_probe_per_interval(settings: Settings) -> None:
    run = Run(Path(settings), always(0.01)).until(10 * settings.interval)
    assert len(run.sent) <= 11
    assert [state for _, state in run.states] == ["up"]


@given(SETTINGS, st.floats(0.001, 0.99), HINTS)
def test_slow_is_not_dead(settings: Settings, share: float, hints: list[float]) -> None:
    """A path that answers within the time-out is never down, however slow, hinted at or not."""
    run = Run(Path(settings), always(share * settings.timeout)).until(100, hints)
    assert run.falls == []
    assert run.path.state == "up"


@given(
    st.builds(Settings, timeout=st.floats(1, 10), fail=st.integers(2, 6)),
    st.floats(0.01, 0.6),
    st.lists(st.floats(0.75, 1.25), min_size=20, max_size=20),
    HINTS,
)
def test_jitter_is_not_death(
    settings: Settings, share: float, jitter: list[float], hints: list[float]
) -> None:
    fates: list[Fate] = [share * settings.timeout * j for j in jitter]
    assert Run(Path(settings), listed(fates)).until(100, hints).falls == []


@given(st.floats(0.01, 0.1), st.floats(0.2, 1.9), st.floats(20, 30))
def test_a_path_that_becomes_slow_under_suspicion_falls_at_most_once(
    fast: float, slow: float, hint: float
) -> None:
    """A queue that fills looks like silence for a moment. The late answers count: it is back
    after them, and is known to be slow from then on."""
    run = Run(Path(Settings()), lambda n, now: fast if now < 20 else slow)
    run.until(60, [hint, hint + 5, hint + 10])
    assert len(run.falls) <= 1
    assert run.path.state == "up"
    for fall in run.falls:
        risen = next(t for t, state in run.states if t > fall)
        assert risen - fall < 2 * slow + DOWN_INTERVAL


@given(SETTINGS, HINTS)
def test_a_dead_path_is_found_out_in_calm(settings: Settings, hints: list[float]) -> None:
    """At the latest an interval, a time-out and a burst after it died."""
    rtt = 0.02
    run = Run(Path(settings), lambda n, now: rtt if now < 30 else None)
    patience = max(settings.timeout, settings.burst_timeout)
    bound = settings.interval + patience + settings.fail * patience
    run.until(31 + bound + max(hints, default=0), hints)
    assert len(run.falls) == 1
    assert 30 < run.falls[0] <= 30 + bound


def test_a_dead_path_is_found_out_at_once_when_suspected() -> None:
    run = Run(Path(Settings()), lambda n, now: 0.02 if now < 30 else None)
    run.until(60, [30.1])
    assert [round(t - 30.1, 3) for t in run.falls] == [0.16]
    assert run.path.cause == "3 probes lost"


@given(SETTINGS, st.floats(0.0, 0.2))
def test_a_healed_path_is_found_out(settings: Settings, rtt: float) -> None:
    """Half a second for the next probe, one round trip for each that is needed."""
    rtt = min(rtt, 0.9 * settings.timeout)
    run = Run(Path(settings), lambda n, now: rtt if not 10 <= now < 100 else None)
    run.until(300)
    healed = [t for t, state in run.states if t >= 100 and state == "up"]
    if run.falls:
        pause = min(settings.interval, max(DOWN_INTERVAL, 2.0))
        assert healed[0] - 100 <= pause + (settings.recover + 1) * (rtt + 0.001)


@given(SETTINGS, st.lists(st.floats(0.0, 100), max_size=20))
def test_what_could_not_be_sent_is_no_loss(settings: Settings, hints: list[float]) -> None:
    run = Run(Path(settings), always(UNSENT)).until(200, hints)
    assert run.states == []
    assert (run.path.loss, run.path.overdue, run.path.waiting) == (0.0, 0, ())
    assert len(run.sent) <= 2 + 200 / settings.interval + len(hints)


def test_what_could_not_be_sent_does_not_undo_a_verdict() -> None:
    run = Run(Path(Settings()), lambda n, now: None if now < 20 else UNSENT).until(40)
    assert [state for _, state in run.states] == ["down"]


@given(st.integers(1, 6), st.integers(1, 12))
def test_flapping_asks_for_more_good_probes(recover: int, times: int) -> None:
    """One more for every fall of the last minute, ten at most."""
    path, now, needed = Path(Settings(recover=recover, fail=1)), 0.0, []
    for _ in range(times):
        path = _down(path, now)
        path, count, now = _up(path, now + 1)
        needed.append(count)
    assert needed == [min(recover + n, path_health.MOST_RECOVER) for n in range(times)]
    path = _down(path, now + path_health.FLAP_MEMORY)
    assert _up(path, now + path_health.FLAP_MEMORY + 1)[1] == recover


def _down(path: Path, now: float) -> Path:
    path, _ = path_health.sent(path, now)
    path = path_health.passed(path, now + path.waiting[-1].probe_timeout)
    assert path.state == "down"
    return path


def _up(path: Path, now: float) -> tuple[Path, int, float]:
    count = 0
    while path.state == "down":
        path, number = path_health.sent(path, now)
        now += 0.01
        path = path_health.answered(path, number, now)
        count += 1
    return path, count, now


def test_good_probes_have_to_follow_each_other() -> None:
    path = _down(Path(Settings(recover=3, fail=1)), 0.0)
    for start in (10.0, 20.0):
        for step in (0.0, 0.1):
            path, number = path_health.sent(path, start + step)
            path = path_health.answered(path, number, start + step + 0.05)
            assert path.state == "down"
        path, _ = path_health.sent(path, start + 1)
        path = path_health.passed(path, start + 4)


def test_an_answer_vouches_for_the_probes_before_it() -> None:
    """Two lost or late ones, an answer, two more: never three without one."""
    fates: list[Fate] = [None, None, 0.05]
    run = Run(Path(Settings()), listed(fates)).until(200, [10, 20, 30])
    assert [state for _, state in run.states] == ["up"]
    assert 0 < run.path.loss < 0.8


@pytest.mark.parametrize("state", ["up", "down"])
def test_a_late_answer_counts(state: str) -> None:
    path = Path(Settings(fail=1 if state == "down" else 3), state="up", rtt=0.02)
    path, number = path_health.sent(path, 0.0)
    path = path_health.passed(path, 1.0)
    assert (path.state, path.overdue) == (state, 1)
    path = path_health.answered(path, number, 1.5)
    assert path.overdue == 0
    assert path.good == (state == "down")
    assert path.rtt is not None and path.rtt > 0.1
    assert path_health.answered(path, number, 1.6) == path


def test_data_on_the_path_saves_a_probe() -> None:
    up = Path(Settings(), state="up", burst=False, next_at=3.0, overdue=1)
    vouched = path_health.confirmed_alive(up, 2.0)
    assert (vouched.next_at, vouched.overdue) == (7.0, 0)
    assert path_health.confirmed_alive(vouched, 1.0).next_at == 7.0
    suspect = path_health.suspected(up, 2.0)
    assert path_health.confirmed_alive(suspect, 2.0) == suspect


def test_late_data_does_not_raise_a_path() -> None:
    down = Path(Settings(), state="down", next_at=3.0)
    assert path_health.confirmed_alive(down, 2.0) == down
    assert path_health.suspected(down, 2.0) == down


@given(st.floats(0, 100), st.floats(0.5, 60), st.floats(0.5, 60))
def test_other_settings_never_delay_a_probe(next_at: float, old: float, new: float) -> None:
    path = Path(Settings(interval=old), state="up", burst=False, next_at=next_at)
    other = path_health.with_settings(path, Settings(interval=new, fail=7), 10.0)
    assert other.next_at == min(next_at, 10.0 + new)
    assert other.settings.fail == 7
    assert (other.state, other.waiting) == (path.state, path.waiting)


def test_a_link_that_was_lost_is_used_with_its_first_answer() -> None:
    path = Path(Settings(), state="up", rtt=0.03, deviation=0.01, overdue=2, burst=False)
    path, _ = path_health.sent(path, 0.0)
    lost = path_health.link_lost(path, 1.0, "no carrier")
    assert (lost.state, lost.cause, lost.since) == ("down", "no carrier", 1.0)
    assert (lost.waiting, lost.overdue, lost.burst) == ((), 0, True)
    assert (lost.rtt, lost.deviation) == (0.03, 0.01)
    asked, number = path_health.sent(lost, 2.0)
    back = path_health.answered(asked, number, 2.03)
    assert (back.state, back.link_lost, back.needed) == ("up", False, Settings().recover)


def test_a_returned_link_that_cannot_be_probed_yet_is_asked_again_soon() -> None:
    lost = path_health.link_lost(Path(Settings(interval=30)), 1.0, "no carrier")
    asked, number = path_health.sent(lost, 1.1)
    assert path_health.unsent(asked, number, 1.1).next_at == pytest.approx(1.1 + DOWN_INTERVAL)


@given(st.lists(st.floats(0.01, 20), min_size=1, max_size=30))
def test_a_link_that_flaps_has_to_prove_itself(pauses: list[float]) -> None:
    path, now, falls = Path(Settings()), 0.0, []
    for pause in pauses:
        now += pause
        falls.append(now)
        path = path_health.link_lost(path, now, "no carrier")
        lately = [t for t in falls if now - t < path_health.FLAPPING_WINDOW]
        flapping = len(lately) >= path_health.FLAPPING_FALLS
        remembered = sum(now - t < path_health.FLAP_MEMORY for t in falls)
        proofs = min(2 + max(0, remembered - 1), path_health.MOST_RECOVER)
        assert (path.state, path.needed) == ("down", proofs if flapping else 1)


def test_a_path_down_for_long_is_asked_more_rarely() -> None:
    """Metered links are not worn out by a peer that is switched off."""
    run = Run(Path(Settings(interval=30)), always(None)).until(7200)
    gaps = [(b - a, b) for a, b in pairwise(run.sent)]
    assert all(gap <= DOWN_INTERVAL + 0.01 for gap, at in gaps if 5 < at < 30)
    assert all(gap <= 1.1 for gap, at in gaps if at < 60)
    assert all(gap == pytest.approx(30) for gap, at in gaps if at > 2000)
