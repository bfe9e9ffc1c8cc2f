# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the router's firewall is read as firewall4 reads it: what is redirected of real
configurations, beside what firewall4 did with the same connections (``unit/firewalls.py``)."""

from __future__ import annotations

import ipaddress

import pytest
from unit import firewalls
from unit.firewalls import FIREWALLS, HOSTS, INEXACT, INTERFACES, REDIRECTOR, Probe, probes

from mptcp_agent.core.router_firewall.judgement import Judgement, judge
from mptcp_agent.core.state import LanRule

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
