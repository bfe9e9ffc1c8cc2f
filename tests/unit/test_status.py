# SPDX-License-Identifier: GPL-2.0-or-later
"""The status document fits its schema whatever was seen, and judges as a person would."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from unit.examples import (
    BRIDGE,
    BRIDGE_BOTH,
    BRIDGE_CLIENT,
    BRIDGE_SERVER,
    BRIDGE_WAN1,
    BRIDGE_WAN2,
    CLIENT,
    FIREWALL,
    ISP,
    ISP_CLIENT,
    LAN,
    LOOPBACK,
    MEANS,
    READY,
    RUNNING,
    SECRET,
    WAN2,
    WANS,
    Sections,
    health,
    plan,
    read,
    router,
    schema,
    section,
    snapshot,
    values,
)

from mptcp_agent.agent.publisher import plan_document
from mptcp_agent.core import router_firewall
from mptcp_agent.core.config import Config
from mptcp_agent.core.diff import diff
from mptcp_agent.core.health import Health, PathHealth
from mptcp_agent.core.network import Facts
from mptcp_agent.core.problem import Problem
from mptcp_agent.core.sampled import DeviceTraffic, Sampled
from mptcp_agent.core.snapshot import Capabilities, ProcessView
from mptcp_agent.core.state import Limits, RouterState
from mptcp_agent.core.status import document
from mptcp_agent.core.verdict import judge, wan_states
from mptcp_agent.core.view import Event, Moment, State, View

STATUS = Draft202012Validator(schema("status"))
PLAN = Draft202012Validator(schema("plan"))

DARK = router(LOOPBACK, LAN, BRIDGE_WAN1, BRIDGE_WAN2, down=["eth1", "eth2"])
ONE = router(LOOPBACK, LAN, BRIDGE_WAN1, BRIDGE_WAN2, down=["eth1"])
PATHS = tuple((w, a) for w in WANS for a in ("10.1.1.70", "10.2.2.70"))
BLOCK: Sections = {**BRIDGE_CLIENT, "client": {**CLIENT, "when_down": "block"}}
TWO: Sections = {
    **BRIDGE_CLIENT,
    "client": section("client", peer=["r7000", "r6000"]),
    "r6000": section("peer", address="10.2.2.60"),
}


def view(
    sections: Sections | None,
    facts: Facts = BRIDGE,
    seen: Health = READY,
    means: Capabilities = MEANS,
    firewall: Sections | None = None,
    **more: Any,
) -> View:
    """The view of a router on which all that was planned is in place."""
    config, problems = read(sections) if sections is not None else (None, ())
    if config and firewall:
        config = replace(config, firewall=router_firewall.sections(values(firewall)))
    before = snapshot(config, facts, seen, means)
    planned = plan(config or Config(read({})[0].globals), facts, seen, means)
    now = replace(before, observed=planned.state, processes=RUNNING, problems=problems)
    return View(replace(now, **more), planned)


# --- The state in a word -----------------------------------------------------------------------

JUDGED: list[tuple[View, State, str]] = [
    (view(BRIDGE_CLIENT), "active", "2 WANs in use (wan1, wan2), peer r7000"),
    (view(BRIDGE_SERVER), "active", "2 WANs in use (wan1, wan2)"),
    (
        view({**BRIDGE_CLIENT, "wan2": {**WAN2, "role": "off"}}),
        "active",
        "1 WAN in use (wan1), peer r7000",
    ),
    (view(None), "error", "the configuration is being read"),
    (
        view(None, problems=(Problem("uci", "rpcd does not answer"),)),
        "error",
        "uci: rpcd does not answer",
    ),
    (
        view({**BRIDGE_CLIENT, "globals": section("globals", enabled="0")}),
        "disabled",
        "switched off in the configuration (globals, enabled)",
    ),
    (view(WANS), "disabled", "no client or server section is enabled"),
    (
        view({"client": section("client", peer="nobody")}),
        "error",
        "mptcp-proxy.client.peer: 'nobody' is not a usable peer section; usable are: none",
    ),
    (view(BRIDGE_CLIENT, ONE), "degraded", "WAN down: wan1 (device eth1 has no carrier)"),
    (
        view(BRIDGE_CLIENT, BRIDGE, health(*PATHS[:2])),
        "degraded",
        "WAN down: wan1 (3 probes lost)",
    ),
    (view(BRIDGE_CLIENT, DARK), "bypassed", "no WAN is up; the LAN goes out directly"),
    (
        view(BRIDGE_CLIENT, BRIDGE, health(*PATHS)),
        "bypassed",
        "no peer answers; the LAN goes out directly",
    ),
    (
        view(BLOCK, BRIDGE, health(*PATHS)),
        "blocked",
        "no peer answers; LAN TCP is refused, as configured",
    ),
    (
        view(BRIDGE_CLIENT, BRIDGE, Health()),
        "bypassed",
        "the proxy is starting; the LAN goes out directly",
    ),
    (
        view(TWO, BRIDGE, replace(READY, dead_peers=frozenset({"r7000"}))),
        "degraded",
        "peer r7000 does not answer, r6000 is in use",
    ),
    (
        view(BRIDGE_BOTH, processes=RUNNING[:1]),
        "degraded",
        "the proxy server does not run",
    ),
    (view(BRIDGE_SERVER, processes=()), "error", "the proxy server does not run"),
    (
        view(BRIDGE_CLIENT, means=replace(MEANS, builds={})),
        "bypassed",
        "mptcp-proxy.globals.engine: no proxy program is installed: install sing-box (OpenWrt "
        "23.05 and later), or shadowsocks-libev (OpenWrt up to 23.05, Debian); the LAN goes "
        "out directly",
    ),
    (
        view(BRIDGE_CLIENT, means=replace(MEANS, backends=(), missing={"nftables": "no nft"})),
        "bypassed",
        "mptcp-proxy.globals.redirect: no firewall back end works here (nftables: no nft); "
        "install nftables (OpenWrt: nftables-json), or iptables and python3-iptables; the LAN "
        "goes out directly",
    ),
    # planned, and the firewall did not take it
    (
        view(BRIDGE_CLIENT, observed=RouterState()),
        "bypassed",
        "the redirect is not in place; the LAN goes out directly",
    ),
    (
        view(BLOCK, BRIDGE, health(*PATHS), observed=RouterState()),
        "bypassed",
        "no peer answers; the LAN goes out directly",
    ),
    (
        view({**BRIDGE_CLIENT, "wan2": {**WAN2, "role": "primary"}}),
        "degraded",
        "mptcp-proxy.wan2.role: 'primary': unknown value; allowed is subflow, backup, off",
    ),
]


@pytest.mark.parametrize(
    ("seen", "state", "reason"), JUDGED, ids=[f"{n}-{j[1]}" for n, j in enumerate(JUDGED)]
)
def test_judge(seen: View, state: State, reason: str) -> None:
    assert judge(seen) == (state, reason)
    STATUS.validate(document(seen, Moment(2.0, 2.0), state, reason, 1.0))


@pytest.mark.parametrize(
    ("facts", "seen", "states"),
    [
        (BRIDGE, READY, ["up", "up"]),  # unknown counts as up: nothing speaks against it
        (BRIDGE, health(*PATHS[:2]), ["down", "up"]),
        (BRIDGE, health(PATHS[0]), ["down", "up"]),  # every path that is known
        (BRIDGE, health(PATHS[0], up=[PATHS[1]]), ["up", "up"]),
        (ONE, health(up=PATHS), ["down", "up"]),  # the link is down, whatever probes said
    ],
)
def test_wan_states(facts: Facts, seen: Health, states: list[str]) -> None:
    assert [s for _, s, _ in wan_states(view(BRIDGE_CLIENT, facts, seen))] == states


def test_peers() -> None:
    sections: Sections = {
        **TWO,
        "far": section("peer", address="vps.example"),
        "six": section("peer", address="2001:db8:70::1"),
        "gone": section("peer", address=["10.1.1.60", "10.1.1.61"]),
        "half": section("peer", address=["10.1.1.61", "10.2.2.61"]),
        "client": section("client", peer=["r7000", "r6000", "far", "six", "gone", "half"]),
    }
    seen = replace(
        READY,
        dead_peers=frozenset({"r7000"}),
        refused=frozenset({"10.1.1.60", "10.1.1.61"}),
    )
    found = view(sections, BRIDGE, seen)
    peers = document(found, Moment(2.0, 2.0), "active", "", 1.0)["client"]["peers"]
    assert {p["name"]: p["state"] for p in peers} == {
        "r7000": "down",
        "r6000": "in use",
        "far": "unresolved",
        "six": "down",  # no WAN has an IPv6 address
        "gone": "down",  # nobody listens at any of its addresses
        "half": "standby",
    }


def test_a_wan_is_dated_as_the_whole_is() -> None:
    """Inside all times are of the clock that never goes back."""
    up = replace(READY, paths=(PathHealth("wan1", "10.1.1.70", "up", since=40.0),))
    found = document(
        view(BRIDGE_CLIENT, BRIDGE, up), Moment(100.0, 1_000_100.0), "active", "", 60.0
    )
    assert (found["time"], found["since"]) == (1_000_100.0, 1_000_060.0)
    assert found["wans"][0]["health"]["since"] == 1_000_040.0
    assert found["wans"][1]["health"]["since"] == 0.0, "nothing is known of it"


def test_numbers() -> None:
    sampled = Sampled(
        interval=3.0,
        points=100,
        devices=(("eth1", DeviceTraffic(1000, 2000, (8, 16), (24, 32))),),
        subflows=(("10.1.1.78", 3),),
        connections=3,
        counters=(("MPCapableFallbackACK", 2), ("MPCapableSYNTX", 9), ("Blackhole", 0)),
        redirected=(5, 300),
    )
    seen = health()
    seen = replace(
        seen,
        paths=(
            PathHealth("wan1", "10.1.1.70", "up", 21.26, 0.25),
            PathHealth("wan1", "10.2.2.70", "up", 40.0, 0.5),
        ),
    )
    found = document(
        view(BRIDGE_CLIENT, BRIDGE, seen, sampled=sampled), Moment(2.0, 2.0), "active", "", 1.0
    )
    first, second = found["wans"]
    assert (first["subflows"], first["rx_bytes"], first["tx_rate"]) == (3, 1000, 32)
    assert (first["health"]["rtt"], first["health"]["loss"]) == (21.3, 0.25)
    assert (second["subflows"], second["rx_rate"], second["health"]["rtt"]) == (0, 0, None)
    assert found["mptcp"]["fallbacks"] == 2
    assert found["mptcp"]["counters"] == {"MPCapableFallbackACK": 2, "MPCapableSYNTX": 9}
    assert found["client"]["redirect"]["packets"] == 5
    assert found["wans"][0]["endpoints"] == [
        {"id": 101, "address": "10.1.1.78", "flags": ["subflow"]}
    ]


# --- Whatever was seen -------------------------------------------------------------------------

words = st.text(max_size=12)
problems = st.builds(Problem, words, words, words, st.sampled_from(["warning", "error"]))
times = st.floats(0, 2e9)
paths = st.builds(
    PathHealth,
    st.sampled_from([*WANS, "gone"]),
    st.sampled_from(["10.1.1.70", "10.2.2.70", "198.51.100.70"]),
    st.sampled_from(["unknown", "up", "down"]),
    st.none() | st.floats(0, 1e5),
    st.floats(0, 1),
    times,
    words,
)
healths = st.builds(
    Health,
    paths=st.lists(paths, max_size=4).map(tuple),
    redirector=st.booleans(),
    dead_peers=st.sets(st.sampled_from(["r7000", "vps"])).map(frozenset),
)
numbers = st.integers(0, 1 << 60)
rates = st.lists(numbers, max_size=3).map(tuple)
samples = st.builds(
    Sampled,
    interval=st.floats(0, 100),
    points=st.integers(0, 1000),
    devices=st.lists(
        st.tuples(
            st.sampled_from(["eth1", "eth2", "wwan0"]),
            st.builds(DeviceTraffic, numbers, numbers, rates, rates),
        ),
        max_size=3,
    ).map(tuple),
    subflows=st.lists(st.tuples(st.sampled_from(["10.1.1.78"]), numbers), max_size=2).map(tuple),
    connections=numbers,
    counters=st.lists(st.tuples(words, numbers), max_size=3).map(tuple),
    redirected=st.tuples(numbers, numbers),
)
events = st.builds(Event, times, words, words, words, words)
views = st.builds(
    view,
    st.sampled_from([None, {}, BRIDGE_CLIENT, BRIDGE_SERVER, BRIDGE_BOTH, ISP_CLIENT, TWO, BLOCK]),
    st.sampled_from([BRIDGE, ISP, DARK, ONE, Facts()]),
    healths,
    st.sampled_from([MEANS, Capabilities()]),
    processes=st.sampled_from([RUNNING, RUNNING[:1], (), (ProcessView("client", False, None),)]),
    sampled=samples,
)


@given(
    views,
    st.none() | st.lists(problems, max_size=3).map(tuple),
    st.sampled_from(
        [None, RouterState(), RouterState(limits=Limits(0, 0))]
        + [plan(read(s)[0], BRIDGE, READY, MEANS).state for s in (BRIDGE_BOTH, ISP_CLIENT)]
    ),
    times,
    st.lists(events, max_size=3),
)
def test_the_document_fits_its_schema_and_shows_no_secret(
    seen: View,
    said: tuple[Problem, ...] | None,
    observed: RouterState | None,
    now: float,
    history: list[Event],
) -> None:
    if said is not None:
        seen = replace(seen, snapshot=replace(seen.snapshot, problems=said))
    if observed is not None:
        seen = replace(seen, snapshot=replace(seen.snapshot, observed=observed))
    state, reason = judge(seen)
    assert reason
    found = document(seen, Moment(now, now), state, reason, now, history)
    STATUS.validate(found)
    changes = diff(seen.snapshot.observed, seen.plan.state)
    previewed = plan_document(changes, seen.problems)
    PLAN.validate(previewed)
    # As ubus will carry it, and without a password.
    assert SECRET not in json.dumps([found, previewed], allow_nan=False) + repr(seen)


def test_what_the_routers_firewall_leaves_alone() -> None:
    seen = view(BRIDGE_CLIENT, firewall=FIREWALL)
    found = document(seen, Moment(2.0, 2.0), "active", "", 1.0)
    STATUS.validate(found)
    left = found["client"]["left_alone"]
    assert [(i["interface"], i["what"], i["section"], i["unread"]) for i in left] == [
        ("lan", "192.168.78.50", "@rule[0]", ""),
        ("lan", "to port 25", "@rule[1]", ""),
        ("lan", "02:00:00:00:00:0b", "kids", "hours"),
    ]
    assert [i["because"] for i in left][:2] == [
        "'Camera' (firewall.@rule[0])",
        "rule (firewall.@rule[1])",
    ]
    whole = document(view(BRIDGE_CLIENT), Moment(2.0, 2.0), "active", "", 1.0)
    assert whole["client"]["left_alone"] == []
