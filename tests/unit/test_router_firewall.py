# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the router's firewall is read as firewall4 reads it: what is redirected of real
configurations, beside what firewall4 did with the same connections (``unit/firewalls.py``)."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit import firewalls
from unit.firewalls import FIREWALLS, HOSTS, INEXACT, INTERFACES, REDIRECTOR, Probe, probes

from mptcp_agent.core.firewall import checked
from mptcp_agent.core.network import Interface
from mptcp_agent.core.router_firewall import Section
from mptcp_agent.core.router_firewall.judgement import Judgement, judge
from mptcp_agent.core.state import Firewall, LanRule, Redirect

RECORDED = firewalls.recorded()


def judged(name: str, *uplinks: str) -> Judgement:
    sections = firewalls.parsed(FIREWALLS[name])
    return judge(sections, INTERFACES, ("lan", "guest"), uplinks, REDIRECTOR)


def redirects(judgement: Judgement, probe: Probe) -> bool:
    """What the chain would do, rule by rule."""
    device, _, _ = HOSTS[probe.host]
    if device not in judgement.devices:
        return False
    return next((r.redirect for r in judgement.rules if matches(r, probe)), True)


def matches(rule: LanRule, probe: Probe) -> bool:
    device, mac, _ = HOSTS[probe.host]
    sport = 5000 if probe.bound else 40000
    return (
        rule.device == device
        and rule.family == probe.family
        and (not rule.sources or any(holds(n, probe.source) for n in rule.sources))
        and (not rule.destinations or any(holds(n, probe.destination) for n in rule.destinations))
        and (not rule.macs or mac in rule.macs)
        and mac not in rule.not_macs
        and (not rule.sports or any(a <= sport <= b for a, b in rule.sports))
        and (not rule.dports or any(a <= probe.port <= b for a, b in rule.dports))
    )


def holds(network: str, address: str) -> bool:
    of, _, mask = network.partition("/")
    host = ipaddress.ip_address(address)
    if mask.isdigit():
        return host in ipaddress.ip_network(network)
    return int(host) & int(ipaddress.ip_address(mask)) == int(ipaddress.ip_address(of))


def permitted(name: str, probe: Probe, uplink: str) -> bool:
    verdicts = RECORDED[name]
    return str(probe) not in verdicts[uplink] and probe.source not in verdicts["in"]


@pytest.mark.parametrize("uplink", firewalls.UPLINKS)
@pytest.mark.parametrize("name", FIREWALLS)
def test_what_firewall4_lets_through_is_redirected_and_nothing_else(name: str, uplink: str) -> None:
    judgement = judged(name, uplink)
    for probe in probes():
        redirected, allowed = redirects(judgement, probe), permitted(name, probe, uplink)
        if name in INEXACT:
            assert allowed or not redirected, probe
        else:
            assert redirected == allowed, probe


@pytest.mark.parametrize("name", FIREWALLS)
def test_with_both_wans_at_once(name: str) -> None:
    judgement = judged(name, *firewalls.UPLINKS)
    for probe in probes():
        allowed = [permitted(name, probe, uplink) for uplink in firewalls.UPLINKS]
        if redirects(judgement, probe):
            assert any(allowed), probe
        elif name not in INEXACT:
            assert not all(allowed), probe


#: What is left alone of firewalls that ask for more than addresses and ports, and what it was.
NARROW = {
    "hours": (firewalls.MAC_B, "hours"),
    "hours-of-one": (firewalls.HOST_50, "hours"),
    "not-these-days": (firewalls.HOST_50, "hours"),
    "past": (firewalls.HOST_50, "hours"),
    "rate": (firewalls.HOST_50, "rate limit"),
    "mark": (firewalls.HOST_50, "mark"),
    "dscp": (firewalls.HOST_50, "DSCP"),
    "set-of-others": (firewalls.HOST_50, "set 'dns', which others fill"),
    # Only the permission depends on the hour; without it that is what the next rule says.
    "allowed-for-hours": (firewalls.HOST_50, ""),
}


@pytest.mark.parametrize("name", sorted(INEXACT))
def test_nobody_else_is_left_alone_than_the_rule_is_about(name: str) -> None:
    judgement = judged(name, *firewalls.UPLINKS)
    what, unread = NARROW[name]
    assert {(i.interface, i.what, i.section, i.unread) for i in judgement.left} == {
        ("lan", what, f"@rule[{1 if name == 'allowed-for-hours' else 0}]", unread)
    }
    about = {firewalls.MAC_B: "b", firewalls.HOST_50: firewalls.HOST_50}[what]
    for probe in probes():
        assert redirects(judgement, probe) == (about not in (probe.host, probe.source)), probe


def test_what_is_left_alone_is_named() -> None:
    def named(name: str) -> list[tuple[str, str, str]]:
        left = judged(name, *firewalls.UPLINKS).left
        return [(i.interface, i.what, i.section) for i in left]

    assert named("stock") == []
    assert named("address") == [("lan", "192.168.78.50", "@rule[0]")]
    assert named("all-but-a-mac") == [("lan", "all but 02:00:00:00:00:0b", "@rule[0]")]
    assert named("host-to-destination-and-port") == [
        ("lan", "192.168.78.107 to 198.51.100.0/24 to port 25", "@rule[0]")
    ]
    assert named("one-source") == [
        ("lan", "all but 192.168.78.107", "@zone[0]"),
        ("lan", "IPv6", "@zone[0]"),
    ]
    assert named("guests-stay-inside") == [
        ("guest", "IPv4", "@zone[2]"),
        ("guest", "IPv6", "@zone[2]"),
    ]


def test_without_a_wan_only_the_way_in_counts() -> None:
    """While none is known: what may get out would change with the first one that comes up."""
    assert judged("guests-stay-inside").devices == ("br-guest", "br-lan")
    assert judged("guests-may-not-in").devices == ("br-lan",)


def test_a_wan_in_no_zone_says_nothing() -> None:
    """Somebody forgot it; the LAN is not cut off for that."""
    without = FIREWALLS["stock"].replace("\tlist network 'wan2'\n", "")
    sections = firewalls.parsed(without + firewalls.refused(src_ip=firewalls.HOST_50, dest="*"))
    for uplinks in (("wan2",), ("wan1", "wan2")):
        judgement = judge(sections, INTERFACES, ("lan",), uplinks, REDIRECTOR)
        assert judgement.devices == ("br-lan",)
        assert [i.what for i in judgement.left] == [firewalls.HOST_50]


def test_more_than_a_chain_should_hold_leaves_the_network_alone() -> None:
    many = [f"192.168.78.{n}" for n in range(1, 250, 2)]
    rule = firewalls.refused(src_ip=many, dest_ip=[f"10.0.{n}.9" for n in range(50)])
    sections = firewalls.parsed(FIREWALLS["stock"] + rule)
    judgement = judge(sections, INTERFACES, ("lan",), firewalls.UPLINKS, REDIRECTOR)
    assert judgement.rules == (LanRule(False, "br-lan", 4),)
    assert [(i.what, i.unread) for i in judgement.left] == [("IPv4", "too many rules")]


def test_an_interface_whose_protocol_names_its_zone() -> None:
    """464xlat's ``wan_4`` is in no zone's list of networks; netifd tells (``data``)."""
    child = Interface("wan1_4", "464-wan1", True, zone="wan")
    sections = firewalls.parsed(firewalls.DEFAULTS + firewalls.LAN_ZONE + firewalls.WAN_ZONE)
    judgement = judge(sections, (*INTERFACES, child), ("lan",), ("464-wan1",), REDIRECTOR)
    assert judgement.devices == ()
    forwarded = firewalls.parsed(firewalls.STOCK)
    judgement = judge(forwarded, (*INTERFACES, child), ("lan",), ("464-wan1",), REDIRECTOR)
    assert (judgement.devices, judgement.rules) == (("br-lan",), ())


ODD = ("lan", "wan", "!lan", "1.2.3.4/", "::/-200", "1.2.3.4-::1", "9.9.9.9/0xff", "²", "-1")
WORDS = st.text("0123456789abcdef.:/-!+* \t,_", max_size=12) | st.sampled_from(ODD)
OPTIONS = (
    *("name", "enabled", "src", "dest", "src_ip", "dest_ip", "src_mac", "src_port", "dest_port"),
    *("proto", "family", "ipset", "target", "limit", "start_time", "weekdays", "device", "network"),
    *("subnet", "input", "forward", "match", "entry", "timeout", "direction", "src_dport", "mark"),
)


@given(
    st.lists(
        st.builds(
            Section,
            st.sampled_from(["defaults", "zone", "rule", "forwarding", "redirect", "ipset"]),
            st.just("@x[0]"),
            st.dictionaries(
                st.sampled_from(OPTIONS), WORDS | st.lists(WORDS, max_size=3).map(tuple)
            ).map(lambda found: tuple(found.items())),
        ),
        max_size=4,
    )
)
def test_whatever_somebody_writes_it_can_be_read(more: list[Section]) -> None:
    sections = (*firewalls.parsed(firewalls.STOCK), *more)
    judgement = judge(sections, INTERFACES, ("lan", "guest"), firewalls.UPLINKS, REDIRECTOR)
    checked(Firewall("nftables", Redirect(REDIRECTOR, (), (), rules=judgement.rules)), "nftables")
