# SPDX-License-Identifier: GPL-2.0-or-later
"""WANs on which MPTCP does not get through: named when it shows, forgotten when it succeeds."""

from __future__ import annotations

from mptcp_agent.core.connections import Proxied
from mptcp_agent.core.health import mptcp_blocked
from mptcp_agent.core.health.mptcp_blocked import ENOUGH, PATIENCE, BlockedWans
from mptcp_agent.core.sockets import Subflow, SubflowFlag, TcpInfo, TcpSocket, TcpState

PEER = "10.1.1.70"
WAN1, WAN2 = "10.1.1.78", "10.2.2.78"
NAMES = {WAN1: "wan1", WAN2: "wan2"}
BOTH = frozenset({"wan1", "wan2"})


def sock(
    cookie: int, local: str, flag: SubflowFlag | None, state: TcpState = "established"
) -> TcpSocket:
    subflow = Subflow(cookie // 10, 0, frozenset({flag})) if flag else None
    return TcpSocket(local, 40000 + cookie, PEER, 8388, state, "", cookie, TcpInfo(), subflow)


def whole(token: int) -> Proxied:
    """Began on wan1, joined on wan2."""
    return Proxied(
        "client",
        token,
        (
            sock(10 * token, WAN1, "capable-remote"),
            sock(10 * token + 1, WAN2, "join-local"),
        ),
        "r7000",
    )


def half(token: int, *further: TcpSocket) -> Proxied:
    """On wan1 alone."""
    return Proxied("client", token, (sock(10 * token, WAN1, "capable-remote"), *further), "r7000")


def plain(cookie: int) -> Proxied:
    return Proxied("client", 0, (sock(cookie, WAN1, None),), "r7000")


def after(*readings: tuple[Proxied, ...], usable: frozenset[str] = BOTH) -> BlockedWans:
    found = BlockedWans()
    for reading in readings:
        found = mptcp_blocked.update(found, reading, NAMES, usable)
    return found


def told(found: BlockedWans) -> list[str]:
    return [f"{p.where}: {p.message}" for p in mptcp_blocked.problems(found)]


def test_all_well() -> None:
    assert told(after(*[tuple(whole(t) for t in range(1, 9))] * 20)) == []


def test_no_subflow_ever_completes_on_a_wan() -> None:
    found = after(*[(half(1), half(2))] * PATIENCE)
    assert told(found) == ["wan wan2: no subflow completes here; 2 connections use other WANs only"]
    assert all(p.severity == "warning" and p.hint for p in mptcp_blocked.problems(found))


def test_a_connection_is_counted_once_and_given_time() -> None:
    assert told(after(*[(half(1),)] * 50)) == []
    assert told(after(*[(half(1), half(2))] * (PATIENCE - 1))) == []
    gone = [(half(t), half(t + 1)) for t in range(1, 20, 2)]
    assert told(after(*gone)) == [], "too short to tell"


def test_connections_that_end_are_no_evidence() -> None:
    """Two LAN clients break a transfer off early: the kernel joins no more, and what has joined
    goes one by one."""
    found = BlockedWans()
    for _ in range(10):
        found = mptcp_blocked.update(found, (half(1), half(2)), NAMES, BOTH, ending={1, 2})
    assert told(found) == []
    closing = [
        Proxied("client", t, (sock(10 * t, WAN1, "capable-remote", "fin-wait-2"),), "r7000")
        for t in (1, 2)
    ]
    assert told(after(*[tuple(closing)] * 10)) == []


def test_a_subflow_that_was_lost_is_not_one_that_never_came() -> None:
    assert told(after((whole(1), whole(2)), *[(half(1), half(2))] * 10)) == []


def test_a_join_under_way_is_none_yet() -> None:
    waiting = [
        tuple(half(t, sock(10 * t + 1, WAN2, "join-local", "syn-sent")) for t in range(1, 3))
    ]
    assert len(told(after(*waiting * PATIENCE))) == 1


def test_a_join_forgets_what_was() -> None:
    before = [(half(1), half(2))] * PATIENCE
    assert told(after(*before, (half(1), half(2), whole(3)))) == []
    late = sock(11, WAN2, "join-local")
    assert told(after(*before, (half(1, late), half(2)))) == []


def test_old_subflows_prove_nothing() -> None:
    """They were made before the middlebox came."""
    old = whole(9)
    found = after((old,), *[(old, half(1), half(2))] * PATIENCE)
    assert len(told(found)) == 1


def test_a_wan_without_an_endpoint_misses_nothing() -> None:
    only = frozenset({"wan1"})
    assert told(after(*[(half(1), half(2))] * 20, usable=only)) == []
    found = after(*[(half(1), half(2))] * PATIENCE)
    found = mptcp_blocked.update(found, (half(1), half(2)), NAMES, only)
    found = mptcp_blocked.update(found, (half(1), half(2)), NAMES, BOTH)
    assert told(found) == [], "it counts anew"


def test_plain_connections_are_counted_where_they_began() -> None:
    found = after(tuple(plain(c) for c in range(ENOUGH)))
    text = f"wan wan1: {ENOUGH} connections that began here are plain TCP, not MPTCP"
    assert told(found) == [text]
    again = mptcp_blocked.update(found, tuple(plain(c) for c in range(ENOUGH)), NAMES, BOTH)
    assert told(again) == [text], "the same ones"
    assert told(mptcp_blocked.update(again, (half(5),), NAMES, BOTH)) == []


def test_a_join_does_not_excuse_plain_connections() -> None:
    found = after(tuple(plain(c) for c in range(ENOUGH)))
    joined = Proxied("client", 5, (sock(50, WAN1, "join-local"),), "r7000")
    assert len(told(mptcp_blocked.update(found, (joined,), NAMES, BOTH))) == 1


def test_the_servers_connections_are_the_clients_matter() -> None:
    served = [
        Proxied("server", t, (sock(10 * t, WAN1, "capable-remote"),), None) for t in range(1, 5)
    ]
    assert told(after(*[tuple(served)] * 20)) == []
