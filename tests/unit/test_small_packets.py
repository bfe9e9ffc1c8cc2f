# SPDX-License-Identifier: GPL-2.0-or-later
"""A path that carries less than its device: what is planned, and what people are told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.examples import (
    BRIDGE,
    BRIDGE_BOTH,
    BRIDGE_CLIENT,
    ISP,
    ISP_CLIENT,
    READY,
    Sections,
    config,
    plan,
    snapshot,
)

from mptcp_agent.checks import Asked, run_checks
from mptcp_agent.cli import render
from mptcp_agent.core.health import Health, PathHealth
from mptcp_agent.core.network import Facts
from mptcp_agent.core.plan import Plan
from mptcp_agent.core.state import TABLE_PEERS
from mptcp_agent.core.status import document
from mptcp_agent.core.view import Moment, View

PEER = {"bridge": "10.1.1.70", "isp": "198.51.100.70"}


def small(address: str, wan: str = "wan1") -> Health:
    return replace(READY, paths=(PathHealth(wan, address, "up", mtu=1400),))


def mtus(found: Plan) -> dict[tuple[int, str], int]:
    return {(r.table, r.destination): r.mtu for r in found.state.routes if r.mtu}


def ids(found: Plan) -> dict[str, int]:
    return {e.device: e.id for e in found.state.endpoints}


@pytest.mark.parametrize(
    ("sections", "facts", "address"),
    [(ISP_CLIENT, ISP, PEER["isp"]), (BRIDGE_CLIENT, BRIDGE, PEER["bridge"])],
    ids=["behind a gateway", "on the link"],
)
def test_its_routes_say_so_and_its_subflows_are_made_anew(
    sections: Sections, facts: Facts, address: str
) -> None:
    before = plan(config(sections), facts)
    after = plan(config(sections), facts, small(address))
    assert mtus(before) == {}
    assert mtus(after) == {(10901, f"{address}/32"): 1400, (TABLE_PEERS, f"{address}/32"): 1400}
    assert ids(after)["eth1"] != ids(before)["eth1"]
    others = {device: id_ for device, id_ in ids(before).items() if device != "eth1"}
    assert others.items() <= ids(after).items()


def test_another_wans_size_is_its_own() -> None:
    found = plan(config(ISP_CLIENT), ISP, small(PEER["isp"], "wan2"))
    assert mtus(found) == {(10902, f"{PEER['isp']}/32"): 1400}


def test_with_both_roles_the_other_routers_connections_are_left_alone() -> None:
    found = plan(config(BRIDGE_BOTH), BRIDGE, small(PEER["bridge"]))
    assert mtus(found)
    assert ids(found) == ids(plan(config(BRIDGE_BOTH), BRIDGE))


def test_status_check_and_command_line_name_it() -> None:
    seen = snapshot(config(ISP_CLIENT), ISP, small(PEER["isp"]))
    view = View(seen, plan(config(ISP_CLIENT), ISP, small(PEER["isp"])))
    status = document(view, Moment(1.0, 1.0), "active", "", 0.0)
    assert [p["mtu"] for p in status["wans"][0]["health"]["paths"]] == [1400]
    lines = "\n".join(render.status(status, render.Painter(False)))
    assert f"larger ones are lost on the way: wan1 1400 bytes to {PEER['isp']}" in lines
    (row,) = (r for r in run_checks(view, lambda *_: {}, Asked()) if r["name"] == "MTU wan1")
    assert row["result"] == "ok"
    assert f"larger packets than of 1400 bytes to {PEER['isp']} are lost" in row["message"]
