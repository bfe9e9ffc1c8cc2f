# SPDX-License-Identifier: GPL-2.0-or-later
"""Words of ``check``: true on the router they are said on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from unit.examples import (
    BRIDGE_CLIENT,
    BRIDGE_WAN1,
    BRIDGE_WAN2,
    LAN,
    LOOPBACK,
    MEANS,
    READY,
    Sections,
    config,
    router,
    section,
    snapshot,
)

from mptcp_agent.checks import Asked, run_checks
from mptcp_agent.core.plan import plan
from mptcp_agent.core.snapshot import Capabilities
from mptcp_agent.core.view import View

OFF: Sections = {"globals": section("globals", enabled="0"), **BRIDGE_CLIENT}
#: As a kernel without the agent may be.
STRICT = router(
    *(LOOPBACK, LAN, BRIDGE_WAN1, BRIDGE_WAN2),
    sysctls={
        "net.mptcp.enabled": "0",
        "net.mptcp.blackhole_timeout": "3600",
        "net/ipv4/conf/all/rp_filter": "1",
        "net/ipv4/conf/eth1/rp_filter": "1",
    },
)


def rows(
    sections: Sections, installed: Sequence[str] = (), agent: bool = True
) -> dict[str, dict[str, str]]:
    off = sections is OFF
    found = snapshot(config(sections), STRICT, READY, Capabilities() if off else MEANS)
    view = View(found, plan(found))
    return {r["name"]: r for r in run_checks(view, answer, Asked(agent, tuple(installed)))}


def answer(*_: object) -> dict[str, Any]:
    """Everybody on the bus answers, and has nothing to tell."""
    return {}


def test_a_freshly_installed_router_has_its_program() -> None:
    """Nothing is tried as long as it is switched off, and nothing is missing."""
    found = rows(OFF, ["sing-box"])
    assert found["engine"]["result"] == "ok"
    assert found["engine"]["message"].startswith("sing-box is installed")
    assert "failed" not in {r["result"] for r in found.values()}
    assert "globals.enabled='1'" in found["state"]["hint"]


def test_without_any_program_that_is_said_at_once() -> None:
    found = rows(OFF)["engine"]
    assert (found["result"], found["message"]) == ("warning", "no proxy program is installed")
    assert "sing-box" in found["hint"]


@pytest.mark.parametrize("sections", [OFF, BRIDGE_CLIENT], ids=["off", "on"])
@pytest.mark.parametrize("agent", [True, False], ids=["runs", "does not run"])
def test_only_an_agent_that_does_not_run_is_to_be_started(sections: Sections, agent: bool) -> None:
    found = rows(sections, ["sing-box"], agent)
    hints = {
        found[name]["hint"]
        for name in ("kernel MPTCP", "MPTCP black hole detection", "rp_filter eth1")
    }
    assert any("service mptcp-proxy start" in hint for hint in hints) == (
        not agent and sections is not OFF
    )
    assert all("start the agent" not in hint and hint for hint in hints)


def rivals(service: str = "", **multipath: str) -> list[dict[str, str]]:
    """The rows about others: ``service`` runs, interfaces have ``option multipath``."""

    def call(object_: str, *_: object) -> dict[str, Any]:
        runs = {service: {"instances": {"instance1": {"running": True}}}} if service else {}
        return runs if object_ == "service" else {}

    network = {
        name: {".type": "interface", "multipath": value} for name, value in multipath.items()
    }
    found = snapshot(config(BRIDGE_CLIENT), STRICT, READY)
    asked = Asked(network=network, first_takers=("ip homeproxy pre",))
    rows = run_checks(View(found, plan(found)), call, asked)
    return [r for r in rows if r["name"] in (service, "other transparent proxy")] + [
        r for r in rows if r["name"].startswith("network.")
    ]


def test_programs_that_change_the_same_are_named() -> None:
    found = rivals("bsbf-mptcp")[0]
    assert (found["name"], found["result"]) == ("bsbf-mptcp", "warning")
    assert "removes all MPTCP endpoints" in found["message"]
    assert "service bsbf-mptcp stop" in found["hint"]


def test_another_transparent_proxy_is_named() -> None:
    (found,) = rivals()
    assert found["result"] == "warning"
    assert "chain ip homeproxy pre" in found["message"]


def test_multipath_options_of_interfaces_are_explained() -> None:
    _, same, other, none, no = (*rivals(wan1="master", wan2="backup", wan3="on", lan="off"), None)
    assert same and other and none and no is None
    assert (same["name"], same["result"]) == ("network.wan1.multipath", "ok")
    assert (other["name"], other["result"]) == ("network.wan2.multipath", "warning")
    assert "OpenWrt does not read it" in other["message"]
    assert "uci set mptcp-proxy.wan2.role='backup'" in other["hint"]
    assert "no wan section has this interface" in none["message"]
    assert "uci set mptcp-proxy.wan3=wan" in none["hint"]
