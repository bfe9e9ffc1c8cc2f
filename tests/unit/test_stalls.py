# SPDX-License-Identifier: GPL-2.0-or-later
"""Hints from running traffic: enough to notice a silent death, too few to be a nuisance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from mptcp_agent.core.health import stalls
from mptcp_agent.core.health.stalls import BUSY, QUIET, SLOW_HANDSHAKE, UNANSWERED, Hints, Reading
from mptcp_agent.core.sockets import Subflow, TcpInfo, TcpSocket, TcpState

STEP = 0.05
"""Seconds between two readings, while data moves."""

WAN1, WAN2, PEER = "10.1.1.78", "10.2.2.78", "10.1.1.70"


def sock(
    cookie: int = 1,
    local: str = WAN1,
    received: int = 0,
    acked: int = 1,
    state: TcpState = "established",
    retransmits: int = 0,
    unacked: int = 0,
    rtt: int = 0,
) -> TcpSocket:
    what = TcpInfo(
        bytes_received=received,
        bytes_acked=acked,
        retransmits=retransmits,
        unacked=unacked,
        rtt=rtt,
    )
    return TcpSocket(local, 40000 + cookie, PEER, 8388, state, "", cookie, what)


@dataclass
class Watch:
    """Readings at a steady pace, and what they suggested."""

    now: float = 100.0
    reading: Reading = field(default_factory=Reading)
    heard: list[tuple[float, Hints]] = field(default_factory=list)

    def read(self, *sockets: TcpSocket, step: float = STEP) -> Hints:
        self.now += step
        self.reading, hints = stalls.step(self.reading, sockets, self.now)
        self.heard.append((self.now, hints))
        return hints

    def suspected(self, since: float = 0.0) -> list[float]:
        return [t for t, hints in self.heard if hints.suspects and t > since]


def download(watch: Watch, rate: int, seconds: float = 2.0, start: int = 0) -> TcpSocket:
    """One subflow receives; returned as it is at the end."""
    one = sock(received=start, rtt=20_000)
    for _ in range(round(seconds / STEP)):
        one = replace(one, info=replace(one.info, bytes_received=one.info.bytes_received + rate))
        watch.read(one)
    return one


def test_a_busy_subflow_that_stops_is_suspect_once() -> None:
    watch = Watch()
    one = download(watch, BUSY // 10)
    assert not watch.suspected()
    stopped = watch.now
    for _ in range(100):
        watch.read(one)
    (hint,) = watch.suspected()
    assert QUIET <= hint - stopped <= QUIET + 1.5 * STEP


def test_it_is_suspect_again_when_it_moved_between() -> None:
    watch = Watch()
    for n in range(3):
        one = download(watch, BUSY // 10, start=n * 10**7)
        for _ in range(20):
            watch.read(one)
    assert len(watch.suspected()) == 3


def test_a_long_round_trip_is_given_time() -> None:
    """Two of them: a satellite's subflow pauses for longer than QUIET while all is well."""
    watch = Watch()
    one = download(watch, BUSY // 10)
    one = replace(one, info=replace(one.info, rtt=600_000))
    stopped = watch.now
    for _ in range(40):
        watch.read(one)
    (hint,) = watch.suspected()
    assert 1.2 <= hint - stopped <= 1.2 + 1.5 * STEP


def test_chatter_that_pauses_is_no_stall() -> None:
    watch = Watch()
    one = sock()
    for n in range(800):
        if n % 10 == 0:
            one = sock(received=one.info.bytes_received + 2000)
        watch.read(one)
    assert not watch.suspected()


def test_data_that_is_not_acknowledged_is_suspect_once() -> None:
    """Busy or not: the kernel's time-out passed. An upload's first kilobyte may be lost."""
    watch = Watch()
    for _ in range(3):
        watch.read(sock(acked=500))
    for _ in range(20):
        watch.read(sock(acked=500, unacked=2, retransmits=1))
    assert len(watch.suspected()) == 1
    watch.read(sock(acked=900, unacked=2, retransmits=1))
    watch.read(sock(acked=900, unacked=2, retransmits=1))
    assert len(watch.suspected()) == 2


def test_retransmission_without_data_waiting_is_history() -> None:
    watch = Watch()
    for _ in range(20):
        watch.read(sock(acked=500, retransmits=1), sock(2, acked=500, unacked=3))
    assert not watch.suspected()


def test_a_slow_handshake_is_suspect_once() -> None:
    """A SYN that is swallowed is sent again for two minutes: one look at the path is enough."""
    watch = Watch()
    began = watch.now + STEP
    for _ in range(400):
        watch.read(sock(state="syn-sent", acked=0))
    (hint,) = watch.suspected()
    assert SLOW_HANDSHAKE <= hint - began <= SLOW_HANDSHAKE + 1.5 * STEP


def test_a_second_syn_is_suspect_at_once_and_the_connection_counts_anew() -> None:
    watch = Watch()
    hints = watch.read(sock(state="syn-sent", acked=0, retransmits=1))
    assert hints.suspects == {WAN1}
    watch.read(sock(acked=1))
    for _ in range(3):
        hints = watch.read(sock(acked=1, unacked=1, retransmits=1))
    assert len(watch.suspected()) == 2


def test_requests_without_any_answer_are_the_tunnels_matter() -> None:
    watch = Watch()
    asked = watch.now + STEP
    for _ in range(30):
        watch.read(sock(received=0, acked=400), sock(2, WAN2, received=0, acked=1))
    first = next(t for t, hints in watch.heard if hints.unanswered)
    assert UNANSWERED <= first - asked <= UNANSWERED + 1.5 * STEP
    assert not watch.suspected()
    other = 0
    for _ in range(10):
        other += 1000
        hints = watch.read(sock(received=0, acked=400), sock(3, WAN2, received=other))
    assert not hints.unanswered, "others are answered"


def test_a_request_without_an_answer_is_told_of_once() -> None:
    """Some servers have nothing to say for hours; the next request without one is told, too."""
    watch = Watch()
    for _ in range(100):
        watch.read(sock(received=0, acked=400))
    assert sum(hints.unanswered for _, hints in watch.heard) == 1
    for _ in range(100):
        watch.read(sock(received=0, acked=400), sock(2, received=0, acked=400))
    assert sum(hints.unanswered for _, hints in watch.heard) == 2
    for _ in range(100):
        watch.read(sock(received=0, acked=800), sock(2, received=0, acked=400))
    assert sum(hints.unanswered for _, hints in watch.heard) == 3


def test_an_answer_may_come_over_another_subflow() -> None:
    watch, parts = Watch(), Subflow(7, 0, frozenset())
    for _ in range(100):
        asks = replace(sock(received=0, acked=400), subflow=parts)
        answers = replace(sock(2, WAN2, received=90, acked=1), subflow=parts)
        watch.read(asks, answers)
    assert not any(hints.unanswered for _, hints in watch.heard)


def test_a_connection_without_a_request_waits_for_nothing() -> None:
    watch = Watch()
    for _ in range(40):
        watch.read(sock(received=0, acked=1))
    assert not any(hints.unanswered for _, hints in watch.heard)


# --- Whatever the sockets do -------------------------------------------------------------------

STEPS = st.lists(
    st.lists(
        st.tuples(
            st.integers(1, 4),  # cookie
            st.sampled_from([WAN1, WAN2]),
            st.integers(0, 200_000),  # bytes received since the reading before
            st.integers(0, 200_000),  # … and acknowledged
            st.integers(0, 3),  # retransmits
            st.integers(0, 3),  # segments on their way
        ),
        max_size=4,
        unique_by=lambda row: row[0],
    ),
    max_size=60,
)
Step = list[tuple[int, str, int, int, int, int]]


def sockets(step: Step, totals: dict[int, tuple[int, int]]) -> Iterable[TcpSocket]:
    for cookie, local, received, acked, retransmits, unacked in step:
        before = totals.get(cookie, (0, 1))
        totals[cookie] = before[0] + received, before[1] + acked
        yield sock(cookie, local, *totals[cookie], retransmits=retransmits, unacked=unacked)


@given(STEPS)
def test_alive_is_what_moved_and_suspects_are_what_did_not(steps: list[Step]) -> None:
    watch, totals, known = Watch(), dict[int, tuple[int, int]](), set[int]()
    for step in steps:
        hints = watch.read(*sockets(step, totals))
        moved = {row[1] for row in step if row[0] in known and row[2] + row[3]}
        still = {row[1] for row in step if row[0] in known and not row[2] + row[3]}
        assert hints.alive == {(local, PEER) for local in moved}
        assert hints.moving == bool(moved)
        assert hints.suspects <= still
        known = {row[0] for row in step}
        assert set(watch.reading.flows) == known, "sockets that are gone are forgotten"


@given(STEPS)
def test_no_more_hints_than_moves(steps: list[Step]) -> None:
    """A hint is for a subflow that moved since the last one: there is no storm of them."""
    watch, totals = Watch(), dict[int, tuple[int, int]]()
    moves = appearances = 0
    before: set[int] = set()
    for step in steps:
        watch.read(*sockets(step, totals))
        moves += sum(1 for row in step if row[2] + row[3])
        appearances += len({row[0] for row in step} - before)
        before = {row[0] for row in step}
    assert len(watch.suspected()) <= moves + appearances


@given(st.integers(1, 40), st.integers(0, BUSY // 40))
def test_what_never_was_busy_may_stop(readings: int, each: int) -> None:
    """Below BUSY bytes a second, whatever the pace."""
    watch, received = Watch(), 0
    for n in range(readings):
        received += each if n % 2 else 0
        watch.read(sock(received=received))
    for _ in range(40):
        watch.read(sock(received=received))
    assert not watch.suspected()


def test_what_stopped_before_it_was_first_seen() -> None:
    """The link died between the connection's start and the first reading of it."""
    watch = Watch()
    for _ in range(5):
        watch.read(sock(1, WAN1, received=500_000), sock(2, WAN2, received=3_000))
    (first,) = watch.suspected()
    assert first - watch.heard[0][0] <= QUIET + STEP
    assert {a for _, hints in watch.heard for a in hints.suspects} == {WAN1}
