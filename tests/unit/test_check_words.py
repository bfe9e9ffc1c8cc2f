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

from mptcp_agent.checks import run_checks
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
    return {r["name"]: r for r in run_checks(view, answer, installed, agent)}


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
