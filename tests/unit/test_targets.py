# SPDX-License-Identifier: GPL-2.0-or-later
"""monitor.targets: which paths are probed, and how often."""

from __future__ import annotations

from dataclasses import replace

from unit.examples import (
    BRIDGE,
    BRIDGE_CLIENT,
    BRIDGE_WAN1,
    BRIDGE_WAN2,
    LAN,
    Sections,
    config,
    plan,
    router,
    section,
)

from mptcp_agent.core.health.path_health import Settings
from mptcp_agent.monitor.targets import STANDBY, Target, targets

NEAR, FAR = "10.1.1.70", "10.2.2.70"
PLAN = plan(config(BRIDGE_CLIENT), BRIDGE)


def sections(**wan1: str) -> Sections:
    return {**BRIDGE_CLIENT, "wan1": section("wan", interface="wan1", **wan1)}


def test_every_wan_to_every_address() -> None:
    found = targets(PLAN, None)
    assert found.keys() == {(w, a) for w in ("wan1", "wan2") for a in (NEAR, FAR)}
    assert found["wan2", NEAR] == Target("eth2", "10.2.2.78", 8388, found["wan2", NEAR].settings)


def test_addresses_that_are_not_in_use_are_probed_rarely() -> None:
    found, all_alike = targets(PLAN, NEAR), targets(PLAN, None)
    for (wan, address), target in found.items():
        usual = all_alike[wan, address].settings
        factor = 1 if address == NEAR else STANDBY
        assert target.settings == replace(usual, interval=usual.interval * factor)


def test_settings_are_those_of_the_wan() -> None:
    options = {"probe_interval": "7", "probe_timeout": "900", "probe_fail": "4"}
    made = plan(config(sections(**options, probe_recover="5")), BRIDGE)
    assert targets(made, NEAR)["wan1", NEAR].settings == Settings(7.0, 0.9, 4, 5)


def test_a_wan_that_is_off_is_not_probed() -> None:
    made = plan(config(sections(role="off")), BRIDGE)
    assert {wan for wan, _ in targets(made, NEAR)} == {"wan2"}


def test_a_link_that_is_down_keeps_its_path_and_says_why() -> None:
    made = plan(config(BRIDGE_CLIENT), router(LAN, BRIDGE_WAN1, BRIDGE_WAN2, down=["eth1"]))
    found = targets(made, NEAR)
    assert found["wan1", NEAR].down == "device eth1 has no carrier"
    assert (found["wan1", NEAR].device, found["wan1", NEAR].source) == ("eth1", "")
    assert found["wan2", NEAR].down == ""


def test_an_address_of_a_family_that_the_wan_has_not_is_no_path() -> None:
    peer = section("peer", address=[NEAR, "2001:db8::70"])
    made = plan(config({**BRIDGE_CLIENT, "r7000": peer}), BRIDGE)
    assert {address for _, address in targets(made, None)} == {NEAR}
