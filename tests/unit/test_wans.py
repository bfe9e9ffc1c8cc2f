"""What a wan section means on this router at this moment."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.examples import (
    BRIDGE,
    BRIDGE_WAN1,
    BRIDGE_WAN2,
    ISP_WAN1,
    LAN,
    LOOPBACK,
    WANS,
    config,
    router,
    section,
)

from mptcp_agent.core.network import Facts, Interface, Link
from mptcp_agent.core.wans import WanAddress, WanLink, local_networks, wan_links

WAN6 = Interface("wan6", "eth1", True, ("2001:db8:1::24/64",), ("fe80::1",), "dhcpv6")


def wan1(facts: Facts) -> WanLink:
    return wan_links(config(WANS), facts)[0]


def test_a_link_that_stands() -> None:
    found = wan1(BRIDGE)
    assert (found.up, found.reason, found.device, found.table) == (True, "", "eth1", 10901)
    assert found.addresses == (WanAddress("10.1.1.78", 24, None),)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (router(LOOPBACK, LAN, BRIDGE_WAN2), "there is no network interface 'wan1'"),
        (router(replace(BRIDGE_WAN1, device=None)), "interface 'wan1' has no device"),
        (replace(router(BRIDGE_WAN1), links=()), "device eth1 does not exist"),
        (
            replace(router(BRIDGE_WAN1), links=(Link("eth1", 2, False, False),)),
            "device eth1 is switched off",
        ),
        (router(BRIDGE_WAN1, down=["eth1"]), "device eth1 has no carrier"),
        (router(replace(BRIDGE_WAN1, up=False)), "interface 'wan1' is down"),
        (router(replace(BRIDGE_WAN1, addresses=())), "eth1 has no address"),
        # The address was taken away by hand, and netifd does not know.
        (replace(router(BRIDGE_WAN1), addresses=()), "eth1 has no address"),
    ],
)
def test_why_a_link_does_not_stand(facts: Facts, reason: str) -> None:
    found = wan1(facts)
    assert (found.up, found.reason, found.addresses) == (False, reason, ())


@pytest.mark.parametrize(
    ("interfaces", "kernel", "addresses"),
    [
        # netifd's first address of each family that the kernel has
        (
            [replace(BRIDGE_WAN1, addresses=("10.1.1.78/24", "10.1.1.79/24"))],
            ("10.1.1.79/24", "10.1.1.78/24"),
            (WanAddress("10.1.1.78", 24, None),),
        ),
        (
            [replace(BRIDGE_WAN1, addresses=("10.1.1.78/24", "10.1.1.79/24"))],
            ("10.1.1.79/24",),
            (WanAddress("10.1.1.79", 24, None),),
        ),
        # changed by hand: what the kernel has counts
        ([BRIDGE_WAN1], ("10.1.1.99/24",), (WanAddress("10.1.1.99", 24, None),)),
        # IPv6 has an interface of its own on the same device
        (
            [ISP_WAN1, WAN6],
            ("203.0.113.24/24", "2001:db8:1::24/64"),
            (
                WanAddress("203.0.113.24", 24, "203.0.113.1"),
                WanAddress("2001:db8:1::24", 64, "fe80::1"),
            ),
        ),
        # the kernel got an IPv6 address by itself: each family for itself
        (
            [BRIDGE_WAN1],
            ("10.1.1.78/24", "2001:db8:1::78/64"),
            (WanAddress("10.1.1.78", 24, None), WanAddress("2001:db8:1::78", 64, None)),
        ),
        (
            [replace(ISP_WAN1, addresses=()), WAN6],
            ("2001:db8:1::24/64", "203.0.113.24/24"),
            (
                WanAddress("203.0.113.24", 24, "203.0.113.1"),
                WanAddress("2001:db8:1::24", 64, "fe80::1"),
            ),
        ),
        # a modem's manager set the address, netifd knows of none
        (
            [replace(ISP_WAN1, addresses=())],
            ("100.64.3.9/30",),
            (WanAddress("100.64.3.9", 30, "203.0.113.1"),),
        ),
        # an interface on the same device that is down says nothing
        (
            [ISP_WAN1, replace(WAN6, up=False)],
            ("203.0.113.24/24", "2001:db8:1::24/64"),
            (WanAddress("203.0.113.24", 24, "203.0.113.1"),),
        ),
    ],
)
def test_addresses(
    interfaces: list[Interface], kernel: tuple[str, ...], addresses: tuple[WanAddress, ...]
) -> None:
    facts = replace(router(*interfaces), addresses=(("eth1", kernel),))
    assert wan1(facts).addresses == addresses


def test_one_device_is_one_wan() -> None:
    """wan and wan6 are one link: two sections of it would fight for the same addresses."""
    both = config(
        {"wan1": section("wan", interface="wan1"), "v6": section("wan", interface="wan6")}
    )
    first, second = wan_links(both, router(ISP_WAN1, WAN6))
    assert first.up and not second.up
    assert second.reason == "device eth1 is already the device of wan1; one wan section per device"


def test_a_wan_that_is_off_does_not_occupy_its_device() -> None:
    off = section("wan", interface="wan1", role="off")
    both = config({"wan1": off, "v6": section("wan", interface="wan6")})
    assert wan_links(both, router(ISP_WAN1, WAN6))[1].up


def test_table_by_place_in_the_configuration_also_while_links_are_down() -> None:
    found = wan_links(config(WANS), router(BRIDGE_WAN2))
    assert [(w.name, w.table, w.up) for w in found] == [
        ("wan1", 10901, False),
        ("wan2", 10902, True),
    ]


def test_wan_address() -> None:
    own = WanAddress("10.1.1.78", 24, None)
    assert (own.host, own.network) == ("10.1.1.78/32", "10.1.1.0/24")
    assert own.holds("10.1.1.1") and not own.holds("10.1.2.1") and not own.holds("2001:db8::1")
    six = WanAddress("2001:db8::78", 64, None)
    assert (six.host, six.network) == ("2001:db8::78/128", "2001:db8::/64")


def test_local_networks_are_all_but_the_wans_and_loopback() -> None:
    vpn = Interface("vpn", "wg0", True, ("10.9.9.2/32",))
    off = Interface("guest", "br-guest", False, ("192.168.9.1/24",))
    facts = router(LOOPBACK, LAN, BRIDGE_WAN1, BRIDGE_WAN2, vpn, off)
    links = wan_links(config(WANS), facts)
    assert local_networks(facts, links) == ("10.9.9.2/32", "192.168.78.0/24")
