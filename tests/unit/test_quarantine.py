# SPDX-License-Identifier: GPL-2.0-or-later
"""core.health.quarantine: a server that hangs is left out until something comes through again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mptcp_agent.core.health.quarantine import LEFT_OUT, LONGEST_LEFT_OUT, Quarantine, put, release


def test_left_out_for_a_while_and_then_doubted() -> None:
    peers = put(Quarantine(), "a", 100.0)
    assert peers.dead(100.0 + LEFT_OUT - 1, (), False) == {"a"}
    assert peers.dead(100.0 + LEFT_OUT, (), False) == set()
    assert peers.on_probation(["a"])
    assert not peers.on_probation(["b"])
    assert release(peers, ["a"]) == Quarantine()


def test_while_the_tunnel_is_down_its_peer_stays_left_out() -> None:
    """Its port answers all the time, and the tunnel's fall is told once."""
    peers = put(Quarantine(), "a", 0.0)
    assert peers.dead(1e6, ["a"], True) == {"a"}
    assert peers.dead(1e6, ["a"], False) == set()


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=12))
def test_each_time_for_longer_up_to_a_bound(pauses: list[float]) -> None:
    peers, now, expected = Quarantine(), 0.0, LEFT_OUT
    for pause in pauses:
        now += pause
        peers = put(peers, "a", now)
        until, length = peers.until["a"]
        assert (until, length) == (now + expected, expected)
        expected = min(2 * expected, LONGEST_LEFT_OUT)
