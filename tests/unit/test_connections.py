# SPDX-License-Identifier: GPL-2.0-or-later
"""Sockets of the kernel as proxied connections with their subflows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from unit.examples import BRIDGE, BRIDGE_BOTH, BRIDGE_CLIENT, BRIDGE_SERVER, WANS, config, schema

from mptcp_agent.core import connections
from mptcp_agent.core.connections import MOST, document, ports, proxied
from mptcp_agent.core.network.wans import wan_links
from mptcp_agent.core.sockets import Subflow, SubflowFlag, TcpInfo, TcpSocket, TcpState

SCHEMA = Draft202012Validator(schema("connections"))
LINKS = wan_links(config(BRIDGE_BOTH), BRIDGE)
PEERS = {"10.1.1.70": "r7000", "10.2.2.70": "r7000"}
CONFIG = config(BRIDGE_CLIENT)

FIRST: frozenset[SubflowFlag] = frozenset({"capable-remote", "capable-local", "connected"})
JOINED: frozenset[SubflowFlag] = frozenset({"join-local", "connected", "backup-local"})


def sock(
    local: str = "10.1.1.78",
    remote: str = "10.1.1.70",
    token: int = 0xBEEF,
    flags: frozenset[SubflowFlag] = FIRST,
    state: TcpState = "established",
    cookie: int = 1,
    received: int = 0,
) -> TcpSocket:
    info = TcpInfo(rtt=21_260, cwnd=10, bytes_received=received, bytes_acked=1, total_retrans=2)
    subflow = Subflow(token, 2, flags) if token else None
    return TcpSocket(local, 40000, remote, 8388, state, "", cookie, info, subflow)


def test_where_to_look() -> None:
    assert ports(config(BRIDGE_BOTH)) == ({8388}, {8388})
    assert ports(config(BRIDGE_SERVER)) == (set(), {8388})
    assert ports(config(WANS)) == (set(), set())


def test_subflows_of_one_token_are_one_connection_the_first_first() -> None:
    join = sock("10.2.2.78", "10.2.2.70", flags=JOINED, cookie=0, received=700)
    found = proxied(CONFIG, PEERS, [join, sock(cookie=9, received=300)], [])
    reply = document(found, LINKS)
    SCHEMA.validate(reply)
    (row,) = reply["connections"]
    assert (row["token"], row["role"], row["peer"]) == ("0000beef", "client", "r7000")
    assert (row["local"], row["remote"]) == ("10.1.1.78:40000", "10.1.1.70:8388")
    assert (row["rx_bytes"], row["tx_bytes"], row["fallback"]) == (1000, 2, False)
    assert [(s["wan"], s["backup"], s["rtt"], s["retransmits"]) for s in row["subflows"]] == [
        ("wan1", False, 21.3, 2),
        ("wan2", True, 21.3, 2),
    ]


@pytest.mark.parametrize(
    ("found", "fallback"),
    [
        (sock(token=0), True),
        (sock(flags=frozenset({"connected"})), True),  # asked for MPTCP, did not get it
        (sock(token=0, state="syn-sent"), False),  # not known yet
    ],
)
def test_plain_tcp_is_a_connection_of_its_own(found: TcpSocket, fallback: bool) -> None:
    reply = document(proxied(CONFIG, PEERS, [found, sock(cookie=5)], []), LINKS)
    SCHEMA.validate(reply)
    assert reply["total"] == 2
    assert [r["fallback"] for r in reply["connections"] if not r["token"]] == [fallback]


def test_other_peoples_sockets_and_dead_ones_are_not_shown() -> None:
    other = sock(remote="192.0.2.1")
    gone = sock(state="time-wait"), sock(state="closed"), sock(state="last-ack")
    assert proxied(CONFIG, PEERS, [other, *gone], []) == ()


def test_a_server_shows_whoever_is_connected() -> None:
    (one,) = proxied(config(BRIDGE_SERVER), {}, [], [sock(remote="10.1.1.77")])
    assert (one.role, one.peer, one.fallback) == ("server", None, False)


def test_a_clients_path_probe_is_no_connection() -> None:
    """Plain TCP that has said nothing; one that has is a client without MPTCP."""
    probe, plain = sock(token=0), sock(token=0, received=1)
    (one,) = proxied(config(BRIDGE_SERVER), {}, [], [probe, plain])
    assert one.sockets == (plain,)


def test_ipv6_addresses_are_in_brackets() -> None:
    six = sock("2001:db8::78", "2001:db8::70")
    (row,) = document(proxied(CONFIG, {"2001:db8::70": "r7000"}, [six], []), LINKS)["connections"]
    assert (row["local"], row["subflows"][0]["wan"]) == ("[2001:db8::78]:40000", None)


def test_the_busiest_come_first_and_the_rest_is_counted() -> None:
    many = [sock(token=n, received=n, cookie=n) for n in range(1, MOST + 51)]
    reply = document(proxied(CONFIG, PEERS, many, []), LINKS)
    assert (reply["total"], len(reply["connections"])) == (MOST + 50, MOST)
    assert reply["connections"][0]["rx_bytes"] == MOST + 50
    assert f"At most {MOST}," in schema("connections")["description"]


flags = st.frozensets(
    st.sampled_from(["capable-remote", "join-local", "backup-remote", "connected"]), max_size=3
)
sockets = st.builds(
    sock,
    st.sampled_from(["10.1.1.78", "2001:db8::78"]),
    st.sampled_from(["10.1.1.70", "10.2.2.70"]),
    st.integers(0, 3),
    flags,
    st.sampled_from(["established", "syn-sent", "close-wait", "time-wait"]),
    st.integers(0, 9),
    st.integers(0, 1 << 62),
)


@given(st.lists(sockets, max_size=8), st.lists(sockets, max_size=4))
def test_every_living_socket_is_in_exactly_one_connection(
    out: list[TcpSocket], served: list[TcpSocket]
) -> None:
    found = connections.proxied(CONFIG, PEERS, out, served)
    SCHEMA.validate(document(found, LINKS))
    not_probes = [s for s in served if s.subflow or s.info.bytes_received]
    living = [s for s in (*out, *not_probes) if s.state != "time-wait"]
    shown = [s for c in found for s in c.sockets]
    assert sorted(map(id, shown)) == sorted(map(id, living))
