# SPDX-License-Identifier: GPL-2.0-or-later
"""What both firewall back ends share: networks, checks, and when switching is enough."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcp_agent.core.firewall import (
    TAMPERED,
    checked,
    checked_devices,
    collapse,
    only_jumps_differ,
    tampered,
)
from mptcp_agent.core.state import Access, Firewall, Redirect
from mptcp_agent.errors import FirewallError

REDIRECT = Redirect(1080, ("10.0.0.0/8",), ("br-lan",))
FIREWALL = Firewall("nftables", REDIRECT, Access(8388, ("10.1.1.0/24",)))

networks = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)),
    st.tuples(st.ip_addresses(v=6), st.integers(0, 128)),
).map(lambda pair: f"{pair[0]}/{pair[1]}")


def test_networks_are_merged_and_in_one_order() -> None:
    given_ = ["2001:db8::1", "10.1.0.0/16", "10.0.0.0/8", "9.0.0.7", "192.168.1.77/24"]
    assert collapse(given_) == ("9.0.0.7/32", "10.0.0.0/8", "192.168.1.0/24", "2001:db8::1/128")
    assert collapse(["10.0.0.0/9", "10.128.0.0/9"]) == ("10.0.0.0/8",)
    assert collapse([]) == ()


@given(st.lists(networks), st.ip_addresses())
def test_merged_networks_hold_the_same_addresses(given_: list[str], address: Any) -> None:
    def holds(texts: Any) -> bool:
        return any(address in ipaddress.ip_network(t, strict=False) for t in texts)

    assert holds(collapse(given_)) == holds(given_)
    assert collapse(collapse(given_)) == collapse(given_) == collapse(reversed(given_))


@pytest.mark.parametrize("text", ["", "10.0.0.0/33", "example.org", "fe80::1%eth0", "1.2.3", "::g"])
def test_what_is_no_network(text: str) -> None:
    with pytest.raises(FirewallError, match=r"network|zone"):
        collapse(["10.0.0.0/8", text])


@pytest.mark.parametrize("name", ["br-lan", "eth0.10", "wlan0-1", "pppoe-wan", "a", "x" * 15, "_0"])
def test_device_names(name: str) -> None:
    assert checked_devices([name, name]) == (name,)


@pytest.mark.parametrize(
    "name", ["", "x" * 16, "br*", "br+", "a b", "-a", ".", 'a"', "a/b", "ü", "a\n"]
)
def test_what_is_no_device_name(name: str) -> None:
    with pytest.raises(FirewallError, match="device"):
        checked_devices([name])


@pytest.mark.parametrize("port", [0, -1, 65536, True, "80", None, 80.0])
def test_what_is_no_port(port: Any) -> None:
    with pytest.raises(FirewallError, match="not a TCP port"):
        checked(replace(FIREWALL, redirect=replace(REDIRECT, port=port)), "nftables")
    with pytest.raises(FirewallError, match="not a TCP port"):
        checked(replace(FIREWALL, access=Access(port, ())), "nftables")


def test_checked_values_are_canonical() -> None:
    redirect = Redirect(1080, ("10.0.0.0/8", "10.1.0.0/16"), ("lan2", "br-lan"))
    found = checked(Firewall("iptables", redirect, Access(1, ("fd00::/8", "10.0.0.1"))), "iptables")
    assert found.redirect == Redirect(1080, ("10.0.0.0/8",), ("br-lan", "lan2"))
    assert found.access == Access(1, ("10.0.0.1/32", "fd00::/8"))
    assert checked(found, "iptables") == found


def test_one_port_for_two_programs() -> None:
    with pytest.raises(FirewallError, match="port 1080 is given to both"):
        checked(replace(FIREWALL, access=Access(1080, ())), "nftables")


def test_rules_for_the_other_back_end() -> None:
    with pytest.raises(FirewallError, match="rules for nftables were given to iptables"):
        checked(FIREWALL, "iptables")


def test_damage_equals_nothing_planned_but_keeps_the_jumps() -> None:
    seen = tampered("nftables", FIREWALL, ("br-lan",))
    assert seen.redirect and seen.redirect.port == TAMPERED and seen.redirect.jumps == ("br-lan",)
    with pytest.raises(FirewallError):
        checked(seen, "nftables")
    only_access = tampered("nftables", replace(FIREWALL, redirect=None), ())
    assert only_access != replace(FIREWALL, redirect=None)


def test_when_switching_is_enough() -> None:
    def switched(firewall: Firewall, *jumps: str) -> Firewall:
        assert firewall.redirect
        return replace(firewall, redirect=replace(firewall.redirect, jumps=jumps))

    assert only_jumps_differ(FIREWALL, switched(FIREWALL))
    assert only_jumps_differ(switched(FIREWALL), FIREWALL)
    seen = tampered("nftables", FIREWALL, ("br-lan",))
    assert only_jumps_differ(seen, switched(seen))
    assert not only_jumps_differ(seen, FIREWALL)
    assert not only_jumps_differ(FIREWALL, FIREWALL)
    assert not only_jumps_differ(None, FIREWALL)
    assert not only_jumps_differ(FIREWALL, replace(FIREWALL, access=None))
    assert not only_jumps_differ(FIREWALL, replace(FIREWALL, redirect=None))
    block = replace(FIREWALL, redirect=replace(REDIRECT, mode="block", jumps=()))
    assert not only_jumps_differ(FIREWALL, block)
