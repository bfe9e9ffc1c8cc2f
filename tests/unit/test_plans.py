# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole plans, as a person would read them: one scenario, one file in ``plans/``.

After a change that is meant, ``UPDATE_PLANS=1 pytest tests/unit/test_plans.py`` writes the
files anew; the difference is what the change means on a router.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from unit.examples import (
    BRIDGE,
    BRIDGE_BOTH,
    BRIDGE_CLIENT,
    BRIDGE_SERVER,
    BRIDGE_WAN1,
    BRIDGE_WAN2,
    FIREWALL,
    ISP,
    ISP_CLIENT,
    ISP_WAN1,
    ISP_WAN2,
    LAN,
    LOOPBACK,
    MEANS,
    READY,
    SECRET,
    WAN2,
    WANS,
    Sections,
    config,
    health,
    plan,
    router,
    section,
)

from mptcp_agent.core import describe
from mptcp_agent.core.health import Health
from mptcp_agent.core.network import Facts, Interface, MainRoute
from mptcp_agent.core.plan import Plan
from mptcp_agent.core.snapshot import Capabilities

PLANS = Path(__file__).parent / "plans"


@dataclass(frozen=True)
class Scenario:
    """``why`` is the first line of the file: what to look for in it."""

    why: str
    sections: Sections
    facts: Facts
    health: Health = READY
    means: Capabilities = MEANS
    firewall: Sections | None = None


PPP1 = Interface("wan1", "pppoe-wan1", True, ("10.64.0.7/32",), (), "pppoe")
PPP2 = Interface("wan2", "pppoe-wan2", True, ("10.64.0.9/32",), (), "pppoe")
SAME1 = Interface("wan1", "eth1", True, ("192.0.2.10/24",), ("192.0.2.1",), "dhcp")
SAME2 = Interface("wan2", "eth2", True, ("192.0.2.11/24",), ("192.0.2.1",), "dhcp")
SIX1 = Interface("wan1", "eth1", True, ("2001:db8:1::78/64",), ("fe80::1",), "dhcpv6")
SIX2 = Interface("wan2", "eth2", True, ("2001:db8:2::78/64",), ("fe80::2",), "dhcpv6")
LAN6 = replace(LAN, addresses=(*LAN.addresses, "2001:db8:78::1/64"))
VPN = Interface("vpn", "wg0", True, ("10.9.9.2/32",))
HOME = replace(
    router(
        LOOPBACK,
        LAN,
        Interface("modem", "eth1", True, ("192.168.100.2/24",)),
        replace(VPN, device="wg0"),
        ISP_WAN1,
        ISP_WAN2,
    ),
    main=(
        MainRoute("0.0.0.0/0", "eth1", "203.0.113.1"),
        MainRoute("10.200.0.0/16", "eth1", "203.0.113.254"),
        MainRoute("198.51.100.70/32", "eth1", "203.0.113.1"),  # the other end of the VPN
        MainRoute("172.16.0.0/12", refuses=True),
    ),
)
TWO_PEERS: Sections = {
    **BRIDGE_CLIENT,
    "client": section("client", peer=["r7000", "r6000"]),
    "r6000": section("peer", address=["10.1.1.60", "10.2.2.60"]),
}
SIX_CLIENT: Sections = {
    **BRIDGE_CLIENT,
    "r7000": section("peer", address="2001:db8:70::1"),
}

SCENARIOS = {
    "bridge-client": Scenario(
        "The guide's client router. No gateways: each WAN reaches the peer's other address by "
        "the one on its own link.",
        BRIDGE_CLIENT,
        BRIDGE,
    ),
    "bridge-server": Scenario(
        "The guide's server router: signal endpoints, replies to each link's clients by that "
        "link, and who may connect.",
        BRIDGE_SERVER,
        BRIDGE,
    ),
    "bridge-both": Scenario(
        "Client and server at once: one endpoint per WAN serves both roles.", BRIDGE_BOTH, BRIDGE
    ),
    "isp-client": Scenario(
        "Two providers with gateways, the server behind them, a VPN beside the LAN: local "
        "networks are thrown out of the WANs' tables, the password is nowhere to be seen.",
        ISP_CLIENT,
        router(LOOPBACK, LAN, VPN, ISP_WAN1, ISP_WAN2),
    ),
    "home": Scenario(
        "What else there is: a modem's page on the first WAN's device, the provider's television, "
        "a VPN to another house and to the very peer. Left alone is what leaves by a WAN, the "
        "rest the kernel tells; the peer has routes of its own in each table.",
        ISP_CLIENT,
        HOME,
    ),
    "home-iptables": Scenario(
        "The same with iptables, which cannot ask the kernel: the routes are copied.",
        ISP_CLIENT,
        replace(HOME, main=(*HOME.main, MainRoute("192.168.50.0/24", "wg0"))),
        means=replace(MEANS, backends=("iptables",)),
    ),
    "default-elsewhere": Scenario(
        "A VPN has the default: nothing is led out of it, and that is said.",
        ISP_CLIENT,
        replace(HOME, ways_out=((4, "wg0"),)),
    ),
    "default-elsewhere-iptables": Scenario(
        "The same with iptables.",
        ISP_CLIENT,
        replace(HOME, ways_out=((4, "wg0"),)),
        means=replace(MEANS, backends=("iptables",)),
    ),
    "router-firewall": Scenario(
        "What the router's own firewall refuses is left alone; a rule with hours always.",
        ISP_CLIENT,
        HOME,
        firewall=FIREWALL,
    ),
    "router-firewall-iptables": Scenario(
        "The same with iptables, which has one address, MAC and range a rule.",
        ISP_CLIENT,
        HOME,
        means=replace(MEANS, backends=("iptables",)),
        firewall=FIREWALL,
    ),
    "point-to-point": Scenario(
        "Links without gateway and network (PPP): the peer is on-link everywhere.",
        ISP_CLIENT,
        router(LOOPBACK, LAN, PPP1, PPP2),
    ),
    "same-subnet": Scenario(
        "Two WANs in one subnet with one gateway: a table each, and arp_filter.",
        ISP_CLIENT,
        router(LOOPBACK, LAN, SAME1, SAME2),
    ),
    "ipv6-only": Scenario(
        "IPv6 with link-local gateways; the LAN's prefix is left alone.",
        SIX_CLIENT,
        router(LOOPBACK, LAN6, SIX1, SIX2),
    ),
    "backup": Scenario(
        "A backup WAN has an endpoint of its kind, and new connections start on the other.",
        {**BRIDGE_CLIENT, "wan1": section("wan", interface="wan1", role="backup")},
        BRIDGE,
    ),
    "wan-off": Scenario(
        "A WAN that is off is as if it were not there.",
        {**BRIDGE_CLIENT, "wan2": {**WAN2, "role": "off"}},
        BRIDGE,
    ),
    "wan-unplugged": Scenario(
        "A WAN without carrier: its endpoint, rules and table go, the peers' table moves.",
        BRIDGE_CLIENT,
        router(LOOPBACK, LAN, BRIDGE_WAN1, BRIDGE_WAN2, down=["eth1"]),
    ),
    "path-dead": Scenario(
        "No probe comes back over wan1 although its link stands: the endpoint goes and the "
        "peers' table moves, table and rules stay.",
        BRIDGE_CLIENT,
        BRIDGE,
        health(("wan1", "10.1.1.70"), ("wan1", "10.2.2.70")),
    ),
    "path-dead-server": Scenario(
        "The same on a server: its endpoints stay still while only probes fail.",
        BRIDGE_SERVER,
        BRIDGE,
        health(("wan1", "10.1.1.70"), ("wan1", "10.2.2.70")),
    ),
    "all-paths-dead": Scenario(
        "Nothing answers: the LAN goes out directly, endpoints, routes and proxy stay as they are.",
        BRIDGE_CLIENT,
        BRIDGE,
        health(*((w, a) for w in ("wan1", "wan2") for a in ("10.1.1.70", "10.2.2.70"))),
    ),
    "all-paths-dead-block": Scenario(
        "Nothing answers, when_down block: LAN TCP is refused at once.",
        {**BRIDGE_CLIENT, "client": section("client", peer="r7000", when_down="block")},
        BRIDGE,
        health(*((w, a) for w in ("wan1", "wan2") for a in ("10.1.1.70", "10.2.2.70"))),
    ),
    "two-peers": Scenario(
        "Two peers on the same links: the way to a peer's far address is that very peer.",
        TWO_PEERS,
        BRIDGE,
    ),
    "dead-peer": Scenario(
        "The first peer does not proxy: the next one, over the same links.",
        TWO_PEERS,
        BRIDGE,
        replace(READY, dead_peers=frozenset({"r7000"})),
    ),
    "starting": Scenario(
        "The proxy does not listen yet: the chain stands ready, no jump leads into it.",
        BRIDGE_CLIENT,
        BRIDGE,
        Health(),
    ),
    "unresolved": Scenario(
        "The peer is a host name without an answer yet: nothing to proxy with.",
        {**ISP_CLIENT, "vps": section("peer", address="vps.example")},
        ISP,
    ),
    "resolved": Scenario(
        "The peer is a host name with an address of each family; only IPv4 can be used here.",
        {**ISP_CLIENT, "vps": section("peer", address="vps.example")},
        router(
            LOOPBACK,
            LAN,
            ISP_WAN1,
            ISP_WAN2,
            resolved={"vps.example": ("198.51.100.70", "2001:db8:70::1")},
        ),
    ),
    "no-engine": Scenario(
        "No proxy program is installed.", BRIDGE_CLIENT, BRIDGE, means=replace(MEANS, builds={})
    ),
    "no-firewall": Scenario(
        "Neither nft nor iptables: everything but the redirect, and a clear problem.",
        BRIDGE_CLIENT,
        BRIDGE,
        means=replace(
            MEANS,
            backends=(),
            missing={"nftables": "nft is missing", "iptables": "python-iptables is missing"},
        ),
    ),
    "no-lan": Scenario(
        "The LAN interface has another name than the configuration says.",
        BRIDGE_CLIENT,
        router(LOOPBACK, BRIDGE_WAN1, BRIDGE_WAN2),
    ),
    "no-wan": Scenario(
        "No wan section at all.",
        {k: v for k, v in BRIDGE_CLIENT.items() if k not in WANS},
        BRIDGE,
    ),
}


def text(found: Plan) -> str:
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Plan) -> Iterator[str]:
    peer = f"{found.choice.peer.name} at {found.choice.address}" if found.choice else "none"
    yield f"mode {found.mode}, peer {peer}"
    for problem in found.problems:
        yield f"! {problem.severity}: {problem}"
    state = found.state
    for item in (
        *state.endpoints,
        *((state.limits,) if state.limits else ()),
        *state.routes,
        *state.rules,
        *state.firewalls,
        *state.processes,
        *state.files,
        *state.sysctls,
    ):
        yield describe.line(item)


@pytest.mark.parametrize("name", SCENARIOS)
def test_plan(name: str) -> None:
    scenario = SCENARIOS[name]
    found = plan(
        config(scenario.sections, scenario.firewall),
        scenario.facts,
        scenario.health,
        scenario.means,
    )
    written = f"# {scenario.why}\n\n{text(found)}"
    assert SECRET not in written
    file = PLANS / f"{name}.txt"
    if os.environ.get("UPDATE_PLANS"):
        file.write_text(written, "utf-8")
    assert written == file.read_text("utf-8")


def test_every_file_has_its_scenario() -> None:
    assert {f.stem for f in PLANS.glob("*.txt")} == set(SCENARIOS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_planned_is_planned_again_once_it_is_there(name: str) -> None:
    """The plan's own effects (sysctls set) must not change the plan: it would swing."""
    scenario = SCENARIOS[name]
    settings = config(scenario.sections, scenario.firewall)
    first = plan(settings, scenario.facts, scenario.health, scenario.means)
    done = {**dict(scenario.facts.sysctls), **{s.key: s.value for s in first.state.sysctls}}
    after = replace(scenario.facts, sysctls=tuple(done.items()))
    assert plan(settings, after, scenario.health, scenario.means, first.choice) == first


@pytest.mark.parametrize(
    "sections",
    [{**BRIDGE_BOTH, "globals": section("globals", enabled="0")}, WANS],
    ids=["switched off", "no role"],
)
def test_switched_off_nothing_is_planned(sections: Sections) -> None:
    found = plan(config(sections), BRIDGE, READY, MEANS)
    assert found.state == Plan().state
    assert [w.name for w in found.wans] == ["wan1", "wan2"]  # the status still shows them
