# SPDX-License-Identifier: GPL-2.0-or-later
"""``status`` and ``check`` say the same of each thing, whatever the router is like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.examples import (
    BRIDGE,
    BRIDGE_BOTH,
    BRIDGE_CLIENT,
    BRIDGE_SERVER,
    BRIDGE_WAN1,
    BRIDGE_WAN2,
    LAN,
    LOOPBACK,
    MEANS,
    PEER,
    READY,
    RUNNING,
    SING_BOX,
    WAN2,
    WANS,
    Sections,
    config,
    health,
    router,
    section,
    snapshot,
)
from unit.test_status import BLOCK, DARK, ONE, PATHS, TWO, problems, view, views

from mptcp_agent.checks import Asked, run_checks
from mptcp_agent.core.health import Health
from mptcp_agent.core.network import Facts
from mptcp_agent.core.plan import plan
from mptcp_agent.core.problem import Problem
from mptcp_agent.core.snapshot import Choice
from mptcp_agent.core.state import File, RouterState
from mptcp_agent.core.status import document
from mptcp_agent.core.verdict import judge
from mptcp_agent.core.view import Moment, State, View

ADDRESSES = frozenset({"10.1.1.70", "10.2.2.70"})
UNRESOLVED: Sections = {**BRIDGE_CLIENT, "r7000": section("peer", address="vps.example")}
FAILED = Problem("endpoint 10.1.1.78", "not permitted; the agent needs root")


def sysctls(**of: str) -> Facts:
    return router(
        *(LOOPBACK, LAN, BRIDGE_WAN1, BRIDGE_WAN2),
        sysctls={key.replace("__", "."): value for key, value in of.items()},
    )


def call(*_: object) -> dict[str, Any]:
    """Everybody on the bus answers, and has nothing to tell."""
    return {}


def unwritten() -> View:
    """The client's file could not be written, so its process was not started."""
    before = snapshot(config(BRIDGE_CLIENT), BRIDGE, Health())
    failing: tuple[File, ...] = plan(before).state.files
    seen = replace(before, failing=failing, processes=())
    planned = plan(seen)
    why = Problem(failing[0].path, "the file system is full")
    return View(replace(seen, observed=planned.state, failures=(why,)), planned)


def still_the_second(busy: bool) -> View:
    """The first peer is back while the second is in use."""
    second = config(TWO).peer("r6000")
    assert second
    at = replace(READY, idle=not busy, accepting_for_a_while=ADDRESSES)
    seen = snapshot(config(TWO), BRIDGE, at, in_use=Choice(second, "10.2.2.60"))
    planned = plan(seen)
    return View(replace(seen, observed=planned.state, processes=RUNNING), planned)


@dataclass(frozen=True)
class World:
    """A router, what it is called, and the rows of ``check`` that are not ok."""

    view: View
    state: State
    failed: frozenset[str] = frozenset()
    warned: frozenset[str] = frozenset()


def world(view: View, state: State, failed: str = "", warned: str = "") -> World:
    """``failed`` and ``warned`` name rows, between commas."""

    def names(text: str) -> frozenset[str]:
        return frozenset(filter(None, text.split(", ")))

    return World(view, state, names(failed), names(warned))


REFUSED = replace(READY, refused=ADDRESSES)
HUNG = replace(READY, dead_peers=frozenset({"r7000"}))
DEAD = health(*PATHS)
OFF = {**BRIDGE_CLIENT, "wan2": {**WAN2, "role": "off"}}
ENGINE = "mptcp-proxy.globals.engine"

WORLDS: dict[str, World] = {
    "whole": world(view(BRIDGE_CLIENT), "active"),
    "whole server": world(view(BRIDGE_SERVER), "active"),
    "whole, one WAN off": world(view(OFF), "active"),
    # Peers
    "refused": world(view(BRIDGE_CLIENT, seen=REFUSED), "bypassed", "state, peer r7000"),
    "refused, block": world(view(BLOCK, seen=REFUSED), "blocked", "state, peer r7000"),
    "one address refused": world(
        view(BRIDGE_CLIENT, seen=replace(READY, refused=frozenset({"10.1.1.70"}))),
        "active",
        warned="peer r7000",
    ),
    "the first refused": world(view(TWO, seen=REFUSED), "degraded", "peer r7000", "state"),
    "the second refused": world(
        view(TWO, seen=replace(READY, refused=frozenset({"10.2.2.60"}))), "active", "peer r6000"
    ),
    "hung": world(view(BRIDGE_CLIENT, seen=HUNG), "bypassed", "state, peer r7000"),
    "the first hung": world(view(TWO, seen=HUNG), "degraded", "peer r7000", "state"),
    "no path": world(
        view(BRIDGE_CLIENT, seen=DEAD), "bypassed", "state, peer r7000", "WAN wan1, WAN wan2"
    ),
    "unresolved": world(
        view(UNRESOLVED),
        "bypassed",
        "state, peer r7000",
        "mptcp-proxy.r7000.address",
    ),
    "the first is back, connections run": world(
        still_the_second(busy=True), "degraded", warned="state"
    ),
    # WANs
    "WAN down by its probes": world(
        view(BRIDGE_CLIENT, seen=health(*PATHS[:2])), "degraded", warned="state, WAN wan1"
    ),
    "WAN without carrier": world(view(BRIDGE_CLIENT, ONE), "degraded", warned="state, WAN wan1"),
    "no WAN": world(
        view(BRIDGE_CLIENT, DARK), "bypassed", "state, peer r7000", "WAN wan1, WAN wan2"
    ),
    # The machine
    "starting": world(view(BRIDGE_CLIENT, seen=Health()), "bypassed", "state"),
    "engine missing": world(
        view(BRIDGE_CLIENT, means=replace(MEANS, builds={})), "bypassed", f"state, {ENGINE}, engine"
    ),
    "engine without MPTCP": world(
        view(
            BRIDGE_CLIENT,
            means=replace(MEANS, builds={"sing-box": replace(SING_BOX, mptcp=False)}),
        ),
        "bypassed",
        "state, engine sing-box, engine",
    ),
    "engine not tried": world(
        view(
            BRIDGE_CLIENT, means=replace(MEANS, builds={"sing-box": replace(SING_BOX, mptcp=None)})
        ),
        "active",
        warned="engine",
    ),
    "back end missing": world(
        view(BRIDGE_CLIENT, means=replace(MEANS, backends=())),
        "bypassed",
        "state, mptcp-proxy.globals.redirect",
    ),
    "firewall not taken": world(
        view(BRIDGE_CLIENT, observed=RouterState(), failures=(Problem("nftables", "EPERM"),)),
        "bypassed",
        "state, nftables, redirect",
    ),
    "an endpoint not taken": world(
        view(BRIDGE_CLIENT, failures=(FAILED,)), "degraded", "endpoint 10.1.1.78", "state"
    ),
    "file not written": world(
        unwritten(),
        "bypassed",
        "state, process client, /var/etc/mptcp-proxy/sing-box-client.json",
    ),
    "client ended": world(
        view(BRIDGE_CLIENT, seen=Health(), processes=()), "bypassed", "state, process client"
    ),
    "client ended, its listener is not": world(
        view(BRIDGE_CLIENT, processes=()), "degraded", "process client", "state"
    ),
    "server ended": world(view(BRIDGE_SERVER, processes=()), "error", "state, process server"),
    "server of both ended": world(
        view(BRIDGE_BOTH, processes=RUNNING[:1]), "degraded", "process server", "state"
    ),
    "procd does not answer": world(
        view(BRIDGE_CLIENT, processes=None, problems=(Problem("procd", "no answer"),)),
        "degraded",
        "procd",
        "state",
    ),
    "kernel without MPTCP": world(
        view(BRIDGE_CLIENT, replace(BRIDGE, sysctls=())), "degraded", "kernel MPTCP", "state"
    ),
    "MPTCP off": world(
        view(BRIDGE_CLIENT, sysctls(net__mptcp__enabled="0")), "degraded", "kernel MPTCP", "state"
    ),
    "no LAN": world(
        view({**BRIDGE_CLIENT, "client": section("client", peer="r7000", lan="guest")}),
        "bypassed",
        "state",
        "mptcp-proxy.client.lan",
    ),
    # The configuration
    "not read": world(view(None), "error", "state, configuration"),
    "switched off": world(
        view({**BRIDGE_CLIENT, "globals": section("globals", enabled="0")}),
        "disabled",
        warned="state",
    ),
    "no role": world(view(WANS), "disabled", warned="state"),
    "a bad section": world(
        view({**BRIDGE_CLIENT, "wan2": {**WAN2, "role": "primary"}}),
        "degraded",
        "mptcp-proxy.wan2.role",
        "state",
    ),
    "a peer on a family no WAN has": world(
        view({**BRIDGE_CLIENT, "r7000": {**PEER, "address": "2001:db8:70::1"}}),
        "bypassed",
        "state, peer r7000",
        "mptcp-proxy.wan1.interface, mptcp-proxy.wan2.interface",
    ),
}

#: Rows that advise, and say nothing of how things are.
ADVICE = ("MPTCP black hole detection", "rp_filter eth1", "rp_filter eth2")


def rows(seen: View) -> dict[str, dict[str, str]]:
    return {row["name"]: row for row in run_checks(seen, call, Asked(installed=("sing-box",)))}


@pytest.mark.parametrize("name", WORLDS)
def test_what_is_wrong_is_named(name: str) -> None:
    expected, found = WORLDS[name], rows(WORLDS[name].view)
    told = {
        result: {n for n, r in found.items() if r["result"] == result}
        for result in ("failed", "warning")
    }
    assert judge(expected.view)[0] == expected.state
    assert told["failed"] == expected.failed
    assert told["warning"] - set(ADVICE) == expected.warned


#: What only has to be waited for, a moment after the start.
COMING = (
    "starting",
    "client ended",
    "client ended, its listener is not",
    "server ended",
    "server of both ended",
    "not read",
)


@pytest.mark.parametrize("name", WORLDS)
def test_what_was_started_a_moment_ago_has_not_failed(name: str) -> None:
    """``check`` ends with 1 where something is to be mended. What is known to be wrong is, also
    then; and what takes longer than a start does."""
    expected = WORLDS[name]
    young = replace(expected.view, snapshot=replace(expected.view.snapshot, starting=True))
    found = rows(young)
    failed = {n for n, r in found.items() if r["result"] == "failed"}
    assert failed == (set() if name in COMING else expected.failed)
    assert all(found[n]["result"] == "warning" for n in expected.failed - failed)
    assert judge(young) == judge(expected.view)
    agree(young)


def agree(seen: View) -> None:
    """Nothing is ok in ``check`` and down in the status, or the other way round."""
    state, reason = judge(seen)
    status = document(seen, Moment(2.0, 2.0), state, reason, 1.0)
    found = run_checks(seen, call, Asked(installed=("sing-box",)))
    results = {row["name"]: row["result"] for row in found}
    used = {p["name"] for p in _peers(status) if p["state"] == "in use"}

    assert (results["state"] == "ok") == (state == "active")
    if state == "active":  # a peer that is not in use may be down
        failed = {name for name, result in results.items() if result == "failed"}
        assert failed <= {f"peer {p['name']}" for p in _peers(status)} - {f"peer {p}" for p in used}
    for peer in _peers(status):
        down = peer["state"] in ("down", "unresolved")
        assert (results[f"peer {peer['name']}"] == "failed") == down, peer
    for wan in status["wans"]:
        if wan["role"] != "off":
            down = wan["health"]["state"] == "down"
            assert (results[f"WAN {wan['name']}"] == "ok") == (not down), wan
    running = (
        {p["name"] for p in status["engine"]["processes"] if p["running"]}
        if (status["engine"])
        else set()
    )
    for name in ("client", "server"):
        if f"process {name}" in results:
            assert (results[f"process {name}"] == "ok") == (name in running), name
    assert (results["kernel MPTCP"] == "ok") == status["mptcp"]["enabled"]
    if seen.snapshot.config:
        said = {(row["name"], row["message"], row["result"]) for row in found}
        for p in status["problems"]:
            result = "failed" if p["severity"] == "error" else "warning"
            assert (p["where"], p["message"], result) in said


def _peers(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(status["client"]["peers"]) if status["client"] else []


@pytest.mark.parametrize("name", WORLDS)
def test_status_and_check_agree(name: str) -> None:
    agree(WORLDS[name].view)


@given(
    views,
    st.lists(problems, max_size=2).map(tuple),
    st.sets(st.sampled_from(sorted(ADDRESSES))).map(frozenset),
    st.sampled_from([None, RouterState()]),
)
def test_they_agree_whatever_was_seen(
    seen: View,
    failures: tuple[Problem, ...],
    refused: frozenset[str],
    observed: RouterState | None,
) -> None:
    now = seen.snapshot
    now = replace(now, failures=failures, health=replace(now.health, refused=refused))
    if observed:
        now = replace(now, observed=observed)
    agree(View(now, plan(now)))
