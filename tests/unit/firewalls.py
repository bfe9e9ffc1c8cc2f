# SPDX-License-Identifier: GPL-2.0-or-later
"""Firewalls of routers, as /etc/config/firewall, and what firewall4 did with real connections.

The router has a LAN and a guest network of both families, and two WANs; ``firewalls.json`` says for
each configuration which connections were refused: ``out`` over each of the WANs, ``in`` to the
redirector's port. It was measured with firewall4 b6e5157 and nft 1.0.6 on Linux 6.18 by
``tests/contract/test_firewall4.py``, which measures again where there is a firewall4.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from openwrt import ucifile

from mptcp_agent.core import router_firewall
from mptcp_agent.core.network import Interface
from mptcp_agent.core.router_firewall import Section

VERDICTS = Path(__file__).with_suffix(".json")

LAN = Interface("lan", "br-lan", True, ("192.168.78.1/24", "fd78::1/64"))
GUEST = Interface("guest", "br-guest", True, ("192.168.79.1/24", "fd79::1/64"))
WANS = tuple(
    Interface(f"wan{n}", f"wan{n}", True, (f"10.{n}.{n}.78/24", f"fd0{n}::78/64")) for n in (1, 2)
)
INTERFACES = (GUEST, LAN, *WANS)
UPLINKS = ("wan1", "wan2")
REDIRECTOR = 1080

#: Host: its device on the router, its MAC, its addresses.
HOSTS = {
    "a": (
        "br-lan",
        "02:00:00:00:00:0a",
        ("192.168.78.107", "192.168.78.50", "fd78::107", "fd78::50"),
    ),
    "b": ("br-lan", "02:00:00:00:00:0b", ("192.168.78.60", "fd78::60")),
    "c": ("br-guest", "02:00:00:00:00:0c", ("192.168.79.20", "fd79::20")),
}
DESTINATIONS = {4: ("203.0.113.5", "198.51.100.9"), 6: ("2001:db8::5", "2001:db8:9::9")}
PORTS = (80, 25)


@dataclass(frozen=True)
class Probe:
    """A connection. ``bound``: from one of the ports 5000 to 5999, else from one above."""

    host: str
    source: str
    destination: str
    port: int
    bound: bool = False

    @property
    def family(self) -> int:
        return 6 if ":" in self.source else 4

    def __str__(self) -> str:
        at = " port 5000-5999" if self.bound else ""
        return f"{self.source}{at} > {self.destination} {self.port}"


def probes() -> list[Probe]:
    found = []
    for host, (_, _, addresses) in HOSTS.items():
        for source in addresses:
            for destination in DESTINATIONS[6 if ":" in source else 4]:
                found += [Probe(host, source, destination, port) for port in PORTS]
    bound = Probe("a", "192.168.78.107", DESTINATIONS[4][0], 80, bound=True)
    return [*found, bound]


DEFAULTS = """
config defaults
	option input 'REJECT'
	option output 'ACCEPT'
	option forward 'REJECT'
"""
LAN_ZONE = """
config zone
	option name 'lan'
	list network 'lan'
	option input 'ACCEPT'
	option output 'ACCEPT'
	option forward 'ACCEPT'
"""
WAN_ZONE = """
config zone
	option name 'wan'
	list network 'wan1'
	list network 'wan2'
	option input 'REJECT'
	option output 'ACCEPT'
	option forward 'REJECT'
	option masq '1'
"""
GUEST_ZONE = """
config zone
	option name 'guest'
	option network 'guest'
	option input 'ACCEPT'
	option output 'ACCEPT'
	option forward 'REJECT'
"""
OUT = """
config forwarding
	option src 'lan'
	option dest 'wan'
"""
GUEST_OUT = OUT.replace("lan", "guest")
STOCK = DEFAULTS + LAN_ZONE + WAN_ZONE + GUEST_ZONE + OUT + GUEST_OUT


def rule(**options: str | list[str]) -> str:
    lines = ["\nconfig rule"]
    for name, value in options.items():
        if isinstance(value, list):
            lines += [f"\tlist {name} '{each}'" for each in value]
        else:
            lines.append(f"\toption {name} '{value}'")
    return "\n".join(lines) + "\n"


def refused(**options: str | list[str]) -> str:
    """A rule that refuses something of the LAN the way out."""
    return rule(**{"src": "lan", "dest": "wan", "proto": "all", **options, "target": "REJECT"})


def allowed(**options: str | list[str]) -> str:
    return rule(**{"src": "lan", "dest": "wan", "proto": "all", **options, "target": "ACCEPT"})


def ipset(name: str, match: list[str], entry: list[str], **more: str) -> str:
    return rule(name=name, match=match, entry=entry, **more).replace("rule", "ipset", 1)


HOST_A, HOST_50, HOST_B = "192.168.78.107", "192.168.78.50", "192.168.78.60"
MAC_A, MAC_B = HOSTS["a"][1], HOSTS["b"][1]
SHUT_LAN = LAN_ZONE.replace("input 'ACCEPT'", "input 'REJECT'")
SHUT = DEFAULTS + SHUT_LAN + WAN_ZONE + GUEST_ZONE + OUT + GUEST_OUT
TO_ROUTER = {"src": "lan", "proto": "tcp", "dest_port": str(REDIRECTOR)}
WAN1 = WAN_ZONE.replace("\tlist network 'wan2'\n", "")
WAN2 = WAN_ZONE.replace("\tlist network 'wan1'\n", "").replace("'wan'", "'lte'")

#: By name; those of ``INEXACT`` depend on more than can be asked before the redirect.
FIREWALLS = {
    "stock": STOCK,
    # Sources
    "address": STOCK + refused(src_ip=HOST_50),
    "address-6": STOCK + refused(src_ip="fd78::50"),
    "addresses-of-both-families": STOCK + refused(src_ip=[HOST_50, "fd78::60"]),
    "network": STOCK + refused(src_ip="192.168.78.0/26"),
    "netmask": STOCK + refused(src_ip="192.168.78.0/255.255.255.192"),
    "range": STOCK + refused(src_ip="192.168.78.55-192.168.78.65"),
    "all-but-one": STOCK + refused(src_ip=f"!{HOST_A}"),
    "all-but-two": STOCK + refused(src_ip=[f"!{HOST_A}", f"!{HOST_B}"]),
    "network-but-one": STOCK + refused(src_ip=["192.168.78.0/24", f"!{HOST_A}"]),
    "name-of-a-network": STOCK + refused(src_ip="lan"),
    "suffix": STOCK + refused(src_ip="::50/::ffff:ffff:ffff:ffff"),
    "suffix-by-length": STOCK + refused(src_ip="::60/-64"),
    "all-but-a-suffix": STOCK + refused(src_ip="!::50/-64"),
    "several-in-one-option": STOCK + refused(src_ip=f"{HOST_50} {HOST_B}"),
    "several-in-one-entry": STOCK + refused(src_ip=[f"{HOST_50} {HOST_B}"]),
    "mac": STOCK + refused(src_mac=MAC_B),
    "mac-in-capitals": STOCK + refused(src_mac=MAC_B.upper().replace(":", "-")),
    "all-but-a-mac": STOCK + refused(src_mac=f"!{MAC_B}"),
    "mac-and-address": STOCK + refused(src_mac=MAC_A, src_ip=HOST_50),
    "source-port": STOCK + refused(proto="tcp", src_port="5000-5999"),
    # Destinations
    "destination": STOCK + refused(dest_ip="203.0.113.5"),
    "all-but-a-destination": STOCK + refused(dest_ip="!203.0.113.0/24", src_ip=HOST_50),
    "port": STOCK + refused(proto="tcp", dest_port="25"),
    "all-but-a-port": STOCK + refused(proto="tcp", dest_port="!80", src_ip=HOST_B),
    "ports-with-a-colon": STOCK + refused(proto="tcp", dest_port="20:30"),
    "port-of-all-protocols": STOCK + refused(dest_port="25", src_ip=HOST_50),
    "host-to-destination-and-port": STOCK
    + refused(proto="tcp", src_ip=HOST_A, dest_ip="198.51.100.0/24", dest_port="25"),
    "to-any-zone": STOCK + refused(src_ip=HOST_50, dest="*"),
    "from-any-zone": STOCK + refused(src="*", dest_ip="203.0.113.5"),
    # Order
    "allowed-before": STOCK + allowed(src_ip=HOST_50) + refused(src_ip="192.168.78.0/26"),
    "allowed-behind": STOCK + refused(src_ip="192.168.78.0/26") + allowed(src_ip=HOST_50),
    "rules-before-forwardings": DEFAULTS + OUT + LAN_ZONE + WAN_ZONE + refused(src_ip=HOST_50),
    "only-one-allowed": DEFAULTS + LAN_ZONE + WAN_ZONE + allowed(src_ip=HOST_A),
    "only-a-mac-allowed": DEFAULTS + LAN_ZONE + WAN_ZONE + allowed(src_mac=MAC_A),
    "only-port-80-allowed": DEFAULTS + LAN_ZONE + WAN_ZONE + allowed(proto="tcp", dest_port="80"),
    "any-zone-comes-first": STOCK
    + refused(src_ip=HOST_50)
    + allowed(src="*", dest="*", src_ip=HOST_50),
    # What makes no difference
    "disabled": STOCK + refused(src_ip=HOST_50, enabled="0"),
    "no-such-boolean": STOCK + refused(src_ip=HOST_50, enabled="enabled"),
    "no-such-zone": STOCK + refused(src_ip=HOST_50, dest="wann"),
    "no-such-set": STOCK + refused(ipset="nobody"),
    "a-list-where-there-is-none": STOCK
    + refused(src_ip=HOST_50).replace("option dest 'wan'", "list dest 'wan'"),
    "a-bad-address": STOCK + refused(src_ip="192.168.78.500"),
    "two-families-at-once": STOCK + refused(src_ip=HOST_50, dest_ip="2001:db8::5"),
    "udp-only": STOCK + refused(src_ip=HOST_50, proto="udp"),
    "counting-only": STOCK + rule(src="lan", dest="wan", src_ip=HOST_50),
    "short-words": STOCK
    + refused(src_ip=HOST_50).replace("'REJECT'", "'rej'").replace("'all'", "'6'"),
    # Families
    "ipv4-only": STOCK + refused(family="ipv4"),
    "ipv6-only": STOCK + refused(family="ipv6", proto="tcp"),
    "forwarding-ipv4-only": STOCK.replace(
        "\toption dest 'wan'", "\toption dest 'wan'\n\toption family 'ipv4'", 1
    ),
    "zone-ipv4-only": STOCK.replace("name 'wan'", "name 'wan'\n\toption family 'ipv4'"),
    # Zones
    "guests-stay-inside": DEFAULTS + LAN_ZONE + WAN_ZONE + GUEST_ZONE + OUT,
    "guests-may-not-in": STOCK.replace(
        GUEST_ZONE, GUEST_ZONE.replace("input 'ACCEPT'", "input 'REJECT'")
    ),
    "zone-by-device": STOCK.replace("list network 'lan'", "list device 'br-lan'"),
    "zone-by-wildcard": STOCK.replace("list network 'lan'", "list device 'br-l+'"),
    "zone-by-all-but": STOCK.replace(
        "list network 'lan'", "list device '!br-guest'\n\tlist device '!wan+'"
    ),
    "zone-by-subnet": STOCK.replace("list network 'lan'", "list subnet '192.168.78.0/24'"),
    "zone-by-half-a-subnet": DEFAULTS
    + LAN_ZONE.replace("list network 'lan'", "list network 'lan'\n\tlist subnet '192.168.78.0/26'")
    + WAN_ZONE
    + OUT,
    "two-zones-on-a-device": DEFAULTS
    + LAN_ZONE.replace("'lan'\n\tlist", "'kids'\n\tlist subnet '192.168.78.0/26'\n\tlist")
    + LAN_ZONE
    + WAN_ZONE
    + OUT,
    "no-zone": DEFAULTS + WAN_ZONE + OUT,
    "disabled-zone": STOCK.replace("name 'guest'", "name 'guest'\n\toption enabled '0'"),
    "zone-forwards-to-itself": DEFAULTS
    + LAN_ZONE.replace(
        "network 'lan'", "network 'lan'\n\tlist network 'wan1'\n\tlist network 'wan2'"
    ),
    "policies-accept": DEFAULTS.replace("REJECT", "ACCEPT") + WAN_ZONE,
    "no-policies": LAN_ZONE + WAN_ZONE + OUT,
    "forwarding-to-all": DEFAULTS + LAN_ZONE + WAN_ZONE + OUT.replace("'wan'", "'*'"),
    "forwarding-from-all": DEFAULTS + LAN_ZONE + WAN_ZONE + OUT.replace("'lan'", "'*'"),
    "two-wan-zones": DEFAULTS + LAN_ZONE + WAN1 + WAN2 + OUT,
    "two-wan-zones-one-forbidden": DEFAULTS
    + LAN_ZONE
    + WAN1
    + WAN2
    + OUT
    + OUT.replace("'wan'", "'lte'")
    + refused(src_ip=HOST_50, dest="lte"),
    "by-device-out": STOCK + refused(src_ip=HOST_50, device="wan2", direction="out", dest="*"),
    "by-device-in": STOCK + refused(src="*", device="br-guest", direction="in"),
    # In to the redirector
    "one-source": SHUT + rule(**TO_ROUTER, src_ip=HOST_A, target="ACCEPT"),
    "one-mac": SHUT + rule(**TO_ROUTER, src_mac=MAC_B, target="ACCEPT"),
    "nobody": SHUT,
    "another-port": SHUT + rule(**{**TO_ROUTER, "dest_port": "22"}, target="ACCEPT"),
    "to-the-routers-address": SHUT + rule(**TO_ROUTER, dest_ip="192.168.78.1", target="ACCEPT"),
    "to-another-address": SHUT + rule(**TO_ROUTER, dest_ip="192.168.1.1", target="ACCEPT"),
    "one-refused-at-the-router": STOCK + rule(**TO_ROUTER, src_ip=HOST_50, target="DROP"),
    "everybody-from-everywhere": SHUT + rule(**{**TO_ROUTER, "src": "*"}, target="ACCEPT"),
    "in-and-out": SHUT
    + rule(**TO_ROUTER, src_ip=[HOST_A, HOST_50], target="ACCEPT")
    + refused(src_ip=[HOST_50, HOST_B]),
    "port-forward-into-the-lan": SHUT
    + rule(src="wan", dest="lan", src_dport="8080", dest_ip=HOST_A, proto="tcp").replace(
        "rule", "redirect", 1
    ),
    "port-forward-from-the-lan": SHUT
    + rule(src="lan", src_dport="53", dest_port="53", proto="tcp udp").replace(
        "rule", "redirect", 1
    ),
    # Sets
    "set-of-addresses": STOCK + ipset("kids", ["src_ip"], [HOST_50]) + refused(ipset="kids"),
    "set-of-destinations": STOCK
    + ipset("bad", ["dest_net"], ["203.0.113.0/24"])
    + refused(ipset="bad"),
    "set-turned-round": STOCK
    + ipset("bad", ["net"], ["203.0.113.0/24"])
    + refused(ipset="bad dst"),
    "set-negated": STOCK + ipset("good", ["ip"], [HOST_A, HOST_B]) + refused(ipset="!good"),
    "set-of-macs": STOCK + ipset("kids", ["src_mac"], [MAC_B]) + refused(ipset="kids"),
    "set-of-macs-any-family": STOCK
    + ipset("kids", ["src_mac"], [MAC_B], family="any")
    + refused(ipset="kids"),
    "set-of-pairs": STOCK
    + ipset("pairs", ["src_ip", "dest_port"], [f"{HOST_A} 25", f"{HOST_B} 80"])
    + refused(ipset="pairs"),
    "set-6": STOCK + ipset("kids", ["ip"], ["fd78::50"], family="ipv6") + refused(ipset="kids"),
    # More than can be asked
    "hours": STOCK + refused(src_mac=MAC_B, start_time="00:00", stop_time="23:59"),
    "hours-of-one": STOCK + refused(src_ip=HOST_50, weekdays="Mon Tue Wed Thu Fri Sat Sun"),
    "not-these-days": STOCK + refused(src_ip=HOST_50, weekdays="!Mon Tue Wed Thu Fri Sat Sun"),
    "past": STOCK + refused(src_ip=HOST_50, stop_date="2001-01-01"),
    "allowed-for-hours": STOCK
    + allowed(src_ip=HOST_50, stop_date="2037-01-01")
    + refused(src_ip=HOST_50),
    "rate": STOCK + refused(src_ip=HOST_50, limit="1/day", limit_burst="1"),
    "mark": STOCK + refused(src_ip=HOST_50, mark="0x10"),
    "dscp": STOCK + refused(src_ip=HOST_50, dscp="EF"),
    "set-of-others": STOCK + ipset("dns", ["ip"], []) + refused(ipset="dns", src_ip=HOST_50),
}
INEXACT = {
    name for name in FIREWALLS if list(FIREWALLS).index(name) >= list(FIREWALLS).index("hours")
}


def parsed(text: str) -> tuple[Section, ...]:
    """The sections of a configuration, as the agent has them."""
    package = ucifile.parse("firewall", text)
    return router_firewall.sections(
        {
            s.name: {
                ".type": s.type,
                ".name": s.name,
                ".anonymous": s.anonymous,
                ".index": i,
                **s.options,
            }
            for i, s in enumerate(package.sections.values())
        }
    )


def recorded() -> dict[str, dict[str, list[str]]]:
    """By configuration: the probes refused by each WAN, the sources refused by the router."""
    found: dict[str, dict[str, list[str]]] = json.loads(VERDICTS.read_text("utf-8"))
    return found
