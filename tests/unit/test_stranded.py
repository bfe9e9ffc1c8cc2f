"""core.health.stranded: connections that are left on dead WANs alone."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from unit.fakes import FakeClock, FakeKernel

from mptcp_agent.core.health import stranded
from mptcp_agent.core.health.stranded import PATIENCE, TRIES, Stranded

DEAD, WORKS, ALSO = "10.1.1.78", "10.2.2.78", "10.3.3.78"
PEER = "10.1.1.70"


def kernel(*connections: Iterable[str]) -> FakeKernel:
    """Connections with subflows from these addresses."""
    made = FakeKernel(FakeClock())
    for token, locals_ in enumerate(connections, 1):
        for local in locals_:
            made.opens(local, PEER, token=token)
    return made


def tries(
    made: FakeKernel, working: set[str], seconds: float, orphans: Iterable[int] = ()
) -> list[float]:
    """When the endpoints are added anew, read every 50 ms."""
    state, found = Stranded(), []
    for n in range(round(seconds / 0.05)):
        state, again = stranded.step(state, made.sockets, orphans, working, n * 0.05)
        found += [round(n * 0.05, 2)] if again else []
    return found


def test_a_connection_on_a_dead_wan_alone_is_given_another_chance() -> None:
    first, *_ = tries(kernel([DEAD]), {WORKS}, 5)
    assert PATIENCE <= first < PATIENCE + 0.1


def test_one_subflow_that_works_is_enough() -> None:
    assert tries(kernel([DEAD, WORKS], [WORKS], [ALSO]), {WORKS, ALSO}, 5) == []


def test_a_join_under_way_is_waited_for() -> None:
    made = kernel([DEAD])
    made.opens(WORKS, PEER, "join-local", token=1)
    assert tries(made, {WORKS}, 5) == []


def test_where_no_wan_works_there_is_nothing_to_add() -> None:
    assert tries(kernel([DEAD]), set(), 5) == []


def test_a_connection_without_any_subflow_is_given_one() -> None:
    assert tries(kernel([WORKS]), {WORKS}, 1, orphans=[7])


def test_a_subflow_that_closes_is_none() -> None:
    made = kernel()
    made.opens(WORKS, PEER, "capable-local", state="fin-wait-1", token=7)
    assert tries(made, {WORKS}, 1) == [], "the connection may be closing"
    assert tries(made, {WORKS}, 1, orphans=[7])


def test_tries_become_rarer_and_end() -> None:
    found = tries(kernel([DEAD], [DEAD]), {WORKS}, 120)
    assert len(found) == TRIES
    pauses = [later - earlier for earlier, later in pairwise(found)]
    assert pauses == sorted(pauses) and pauses[0] >= 1.0


def test_who_is_saved_is_forgotten_and_can_strand_again() -> None:
    made, state = kernel([DEAD]), Stranded()
    state, _ = stranded.step(state, made.sockets, (), {WORKS}, 0.0)
    state, again = stranded.step(state, made.sockets, (), {WORKS}, 1.0)
    assert again
    joined = made.opens(WORKS, PEER, "join-local", token=1)
    state, again = stranded.step(state, made.sockets, (), {WORKS}, 1.1)
    assert not again and state == Stranded()
    made.closes(joined)
    state, again = stranded.step(state, made.sockets, (), {WORKS}, 1.2)
    assert not again
    assert stranded.step(state, made.sockets, (), {WORKS}, 1.2 + PATIENCE)[1]


def test_plain_tcp_is_no_stranded_connection() -> None:
    made = kernel()
    made.opens(DEAD, PEER, state="syn-sent")
    assert tries(made, {WORKS}, 5) == []
