# SPDX-License-Identifier: GPL-2.0-or-later
"""What acts outside the plan: core.health.backlog and monitor.interventions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.fakes import FakeClock, FakeKernel, simulate

from mptcp_agent.core.health import backlog, path_health
from mptcp_agent.core.health.backlog import HUNG, Backlog
from mptcp_agent.core.health.path_health import Path
from mptcp_agent.core.health.tunnel import SETTINGS
from mptcp_agent.core.sockets import TcpSocket
from mptcp_agent.core.state import Endpoint
from mptcp_agent.errors import KernelError
from mptcp_agent.monitor.interventions import LATELY, TRIES, Interventions, hopeless

WANS = {"10.1.1.78": "wan1", "10.2.2.78": "wan2"}
PEER = "10.1.1.70"
WANS6 = {"2001:db8:1::78": "wan1", "2001:db8:2::78": "wan2"}
PEER6 = "2001:db8:1::70"
STEP = 0.25
"""Seconds between readings while connections wait."""


def waits_since(at: float) -> Path:
    """A tunnel with a probe out."""
    return path_health.sent(Path(SETTINGS), at)[0]


def readings(waiting: Iterable[int]) -> list[tuple[float, Backlog, bool]]:
    now, state, found = 100.0, Backlog(), []
    for number in waiting:
        state, again = backlog.step(state, number, now)
        found.append((now, state, again))
        now += STEP
    return found


# --- A redirector that hangs -------------------------------------------------------------------


def test_the_tunnel_is_suspect_when_connections_wait_twice_in_a_row() -> None:
    assert [again for *_, again in readings([0, 3, 3, 1, 0, 2, 2])] == [
        *(False, False, True, True, False, False, True)
    ]


def test_they_have_waited_since_they_last_became_fewer() -> None:
    since = [state.since for _, state, _ in readings([0, 3, 3, 5, 4, 4, 0, 1])]
    assert since == [None, 100.25, 100.25, 100.25, 101.0, 101.0, None, 101.75]


def test_it_hangs_when_neither_they_nor_the_probe_get_through() -> None:
    stuck = Backlog(3, 100.0)
    assert not backlog.hung(stuck, waits_since(100.0), 100.0 + HUNG - 0.01)
    assert backlog.hung(stuck, waits_since(100.0), 100.0 + HUNG)
    assert not backlog.hung(stuck, waits_since(100.5), 100.0 + HUNG), "the probe is younger"
    assert not backlog.hung(stuck, Path(SETTINGS), 200.0), "the probe came through"
    assert not backlog.hung(Backlog(), waits_since(100.0), 200.0), "nobody waits"


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_since_is_when_they_last_became_fewer_or_began(numbers: list[int]) -> None:
    for index, (now, state, _) in enumerate(readings(numbers)):
        before = [0, *numbers][: index + 1]
        fewer = [i for i in range(index + 1) if before[i] == 0 or numbers[i] < before[i]]
        assert state.since == (100.0 + fewer[-1] * STEP if numbers[index] else None)
        assert state.since is None or state.since <= now


class Rig:
    def __init__(self) -> None:
        self.kernel = FakeKernel(FakeClock())
        self.restarts = 0
        self.interventions = Interventions(self._restart, self._work, self.kernel.edge)

    def _restart(self) -> None:
        self.restarts += 1

    async def _work(self, call: Callable[..., Any], *arguments: object) -> Any:
        return call(*arguments)

    def reading(self, waiting: int, tunnel: Path, now: float) -> None:
        self.interventions.connections_wait(waiting, now)
        self.interventions.restart_if_hung(tunnel, now)

    def end(self, *found: TcpSocket, dead: Iterable[str] = ("wan1",)) -> list[int]:
        """The cookies of those that were ended."""
        gone = set(dead)
        wans = WANS | WANS6
        work = self.interventions.end_hopeless(found, wans, lambda wan, address: wan not in gone)
        asyncio.run(work)
        return [s.cookie for s in self.kernel.destroyed]


def test_a_hung_redirector_is_restarted_once_and_then_given_its_time() -> None:
    rig, tunnel = Rig(), waits_since(100.0)
    seen = []
    for step in range(20):
        rig.reading(4, tunnel, 100.0 + step * STEP)
        seen.append(rig.restarts)
    first, second = seen.index(1), seen.index(2)
    assert first * STEP == pytest.approx(HUNG)
    # The one in its place starts with the next reading.
    assert (second - first) * STEP == pytest.approx(HUNG + STEP)


def test_after_a_restart_what_waits_makes_nothing_suspect_at_first() -> None:
    rig, tunnel = Rig(), waits_since(100.0)
    for step in range(7):
        rig.reading(4, tunnel, 100.0 + step * STEP)
    assert rig.restarts == 1
    assert not rig.interventions.connections_wait(4, 101.75)
    assert rig.interventions.connections_wait(4, 102.0)


def test_a_redirector_that_accepts_some_is_left_alone() -> None:
    rig, tunnel = Rig(), waits_since(100.0)
    for step, waiting in enumerate([9, 9, 9, 8, 9, 9, 8, 9, 9, 8, 9, 9]):
        rig.reading(waiting, tunnel, 100.0 + step * STEP)
    assert rig.restarts == 0


# --- Connections without hope ------------------------------------------------------------------


def call(cookie: int = 1, local: str = "2001:db8:1::78", **changes: Any) -> TcpSocket:
    """A connection whose first SYN is not answered yet."""
    kernel = FakeKernel(FakeClock())
    kernel.opens(local, PEER6 if ":" in local else PEER, state="syn-sent")
    return replace(kernel.sockets[0], cookie=cookie, **changes)


def test_who_calls_over_a_dead_wan_is_told_at_once() -> None:
    assert Rig().end(call(1), call(2, "2001:db8:2::78"), call(3)) == [1, 3]
    assert Rig().end(call(1), dead=()) == []


@pytest.mark.parametrize(
    "sock",
    [
        call(state="established"),
        call(device="eth1"),  # a probe of the agent's own
        call(local="2001:db8:78::1"),  # not over a WAN
        call(local="2001:db8:2::78"),
        call(local="10.1.1.78"),  # the kernel takes it to the other WAN
    ],
    ids=["established", "probe", "elsewhere", "living WAN", "IPv4"],
)
def test_others_are_left_alone(sock: TcpSocket) -> None:
    assert not hopeless(sock, WANS | WANS6, lambda wan, address: wan != "wan1")
    assert Rig().end(sock) == []


def test_it_goes_by_the_path_not_by_the_wan_alone() -> None:
    asked: list[tuple[str, str]] = []

    def usable(wan: str, address: str) -> bool:
        asked.append((wan, address))
        return False

    assert hopeless(call(), WANS6, usable)
    assert asked == [("wan1", PEER6)]


def test_a_kernel_that_cannot_end_them_is_asked_once() -> None:
    asked = []

    class Unable(FakeKernel):
        def _destroy(self, sock: TcpSocket) -> bool:
            asked.append(sock.cookie)
            raise KernelError("this kernel cannot (option CONFIG_INET_DIAG_DESTROY)")

    rig = Rig()
    unable = Unable(FakeClock()).edge
    rig.interventions = Interventions(rig._restart, rig._work, unable)
    assert rig.end(call(1), call(2)) == []
    assert rig.end(call(3)) == []
    assert asked == [1]


# --- Connections without a subflow -------------------------------------------------------------

ONE = Endpoint("10.1.1.78", "wan1", frozenset({"subflow"}), 101)
TWO = Endpoint("10.2.2.78", "wan2", frozenset({"subflow", "backup"}), 103)
TOKEN = 77


def joined(
    orphans: Callable[[float], Iterable[int]],
    seconds: float,
    *sockets: TcpSocket,
    endpoints: Iterable[Endpoint] = (ONE, TWO),
) -> tuple[list[tuple[float, ...]], list[str]]:
    """When which endpoints were added again, in seconds since the beginning; what the kernel's
    patience was at each reading, repeats left out."""
    found: list[tuple[float, ...]] = []
    patience: list[str] = []

    async def work(clock: FakeClock) -> None:
        rig, began = Rig(), clock()
        rig.kernel = FakeKernel(clock)
        rig.interventions = Interventions(rig._restart, rig._work, rig.kernel.edge)
        while clock() < began + seconds:
            left = frozenset(orphans(clock() - began))
            await rig.interventions.join_anew(left, sockets, endpoints, clock())
            value = rig.kernel.sysctls["net.mptcp.close_timeout"]
            patience.extend([value] if patience[-1:] != [value] else [])
            await asyncio.sleep(0.25)
        found.extend((round(at - began, 2), *ids) for at, *ids in rig.kernel.rejoined)

    simulate(work)
    return found, patience


def test_a_connection_without_a_subflow_is_joined_anew_at_once() -> None:
    found, patience = joined(lambda at: [TOKEN] if at < 0.5 else [], 20)
    assert found == [(0, 101, 103)]
    assert patience == ["60"]


def test_what_is_refused_is_tried_again_and_then_ended_by_the_kernel() -> None:
    found, patience = joined(lambda at: [TOKEN], 60)
    assert found == [(0, 101, 103), (1.5, 101, 103), (3, 101, 103)]
    assert patience == ["60", "2", "60"]


def test_a_join_under_way_makes_no_first_try_of_the_next() -> None:
    found, _ = joined(lambda at: [TOKEN] if round(at / 0.25) % 2 else [], 60)
    assert len(found) == TRIES


def test_others_that_live_keep_a_subflow_meanwhile() -> None:
    kernel = FakeKernel(FakeClock())
    kernel.opens("10.1.1.78", PEER, token=1)
    found, _ = joined(lambda at: [TOKEN] if at < 0.25 else [], 20, *kernel.sockets)
    assert found == [(0, 101), (0.5, 103)]


@pytest.mark.parametrize(
    "endpoints",
    [
        (),
        (replace(ONE, flags=frozenset({"signal"})),),
        (replace(ONE, flags=ONE.flags | {"signal"}),),
    ],
    ids=["no peer answers", "server", "both"],
)
def test_without_a_way_to_join_nothing_is_done(endpoints: tuple[Endpoint, ...]) -> None:
    assert joined(lambda at: [TOKEN], 60, endpoints=endpoints) == ([], ["60"])


def test_one_that_stopped_has_no_subflow_only_where_the_firewall_changed() -> None:
    one, two, none = frozenset({1}), frozenset({2}), frozenset[int]()
    interventions = Rig().interventions
    assert interventions.without_subflow(one, two, 100) == one
    interventions.firewall_changed(100)
    assert interventions.without_subflow(one, two, 101) == one | two
    assert interventions.without_subflow(none, two, 100 + LATELY) == none
