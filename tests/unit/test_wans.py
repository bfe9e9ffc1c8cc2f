"""What a wan section means on this router at this moment."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.examples import (
    BRIDGE,
    BRIDGE_WAN1,
    BRIDGE_WAN2,
    ISP_WAN1,
    LAN,
    LOOPBACK,
    WANS,
    config,
    kernel,
    router,
    section,
)

from mptcp_agent.core.network import Facts, Interface, Link
from mptcp_agent.core.network.topology import WanAddress
from mptcp_agent.core.network.wans import WanLink, surroundings, wan_links
from mptcp_agent.core.state import ENDPOINT_IDS, PRIORITY_DEVICE, TABLE_FIRST_WAN, TABLES, Rule

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
    ("interfaces", "given", "addresses"),
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
    interfaces: list[Interface], given: tuple[str, ...], addresses: tuple[WanAddress, ...]
) -> None:
    facts = replace(router(*interfaces), addresses=(("eth1", kernel(*given)),))
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


MODEM1 = Interface("wan1", "wwan0", True, ("192.168.8.100/24",), ("192.168.8.1",), "dhcp")
MODEM2 = replace(MODEM1, name="wan2", device="wwan1")


def out_by(device: str, table: int) -> Rule:
    return Rule(PRIORITY_DEVICE, 4, table, oif=device)


def test_one_address_is_one_wan() -> None:
    """Two modems of one make hand out the same one."""
    first, second = wan_links(config(WANS), router(MODEM1, MODEM2))
    assert first.up and not second.up and second.addresses == ()
    assert second.reason == (
        "address 192.168.8.100 is already the address of wan1; "
        "set another LAN network on one of the two modems"
    )
    # The other one has it while the first is away, and keeps it: connections run there.
    facts = router(MODEM1, MODEM2, down=["wwan0"])
    assert [w.up for w in wan_links(config(WANS), facts)] == [False, True]
    rules = [out_by("wwan1", 10902)]
    found = wan_links(config(WANS), router(MODEM1, MODEM2), rules)
    assert [(w.up, w.slot) for w in found] == [(False, 0), (True, 1)]
    assert found[0].reason.startswith("address 192.168.8.100 is already the address of wan2;")
    # A section that is off claims nothing.
    off = config({**WANS, "wan1": section("wan", interface="wan1", role="off")})
    assert wan_links(off, router(MODEM1, MODEM2))[1].up


@pytest.mark.parametrize(
    ("names", "rules", "slots"),
    [
        # nothing there yet: by place
        (("wan1", "wan2", "wan3"), (), (0, 1, 2)),
        # the first section is gone, or its interface mistyped
        (("wan2", "wan3"), (("eth2", 1), ("eth3", 2)), (1, 2)),
        (("typo", "wan2"), (("eth2", 1),), (0, 1)),
        # … and is back, further down
        (("wan2", "wan3", "wan1"), (("eth2", 1), ("eth3", 2)), (1, 2, 0)),
        # moved
        (("wan2", "wan1"), (("eth1", 0), ("eth2", 1)), (1, 0)),
        # a new one in front: the first free number
        (("wan3", "wan1", "wan2"), (("eth1", 0), ("eth2", 1)), (2, 0, 1)),
        # one device in two tables: an unfinished change is finished
        (("wan1", "wan2"), (("eth1", 0), ("eth2", 0), ("eth2", 1)), (0, 1)),
        (("wan1",), (("eth1", 5), ("eth1", 4)), (4,)),
        # two devices in one table, or a table that is none of a WAN's
        (("wan1", "wan2"), (("eth1", 0), ("eth2", 0)), (0, 1)),
        (("wan1", "wan2"), (("eth1", -1), ("eth2", 31)), (0, 1)),
    ],
)
def test_a_wan_in_use_keeps_its_number(
    names: tuple[str, ...], rules: tuple[tuple[str, int], ...], slots: tuple[int, ...]
) -> None:
    facts = router(*(Interface(f"wan{n}", f"eth{n}", True, (f"10.{n}.0.2/24",)) for n in (1, 2, 3)))
    sections = config({name: section("wan", interface=name) for name in names})
    found = wan_links(sections, facts, [out_by(d, TABLE_FIRST_WAN + n) for d, n in rules])
    assert tuple(w.slot for w in found) == slots
    assert [w.index for w in found] == list(range(len(names)))  # preference is by place


@given(
    st.lists(st.integers(1, 8), unique=True, max_size=8),
    st.lists(st.tuples(st.integers(1, 8), st.integers(-1, 32)), max_size=12),
    st.sets(st.integers(1, 8)),
)
def test_numbers_of_wans(order: list[int], had: list[tuple[int, int]], down: set[int]) -> None:
    """Each its own, with a table and ids of the agent's; and what is planned is kept."""
    facts = router(
        *(Interface(f"wan{n}", f"eth{n}", True, (f"10.{n}.0.2/24",)) for n in range(1, 9)),
        down=[f"eth{n}" for n in down],
    )
    sections = config({f"wan{n}": section("wan", interface=f"wan{n}") for n in order})
    rules = [out_by(f"eth{d}", TABLE_FIRST_WAN + n) for d, n in had]
    found = wan_links(sections, facts, rules)
    assert len({w.slot for w in found}) == len(found)
    assert {w.table for w in found} <= set(TABLES)
    assert all(ENDPOINT_IDS.start + 2 * w.slot + 1 in ENDPOINT_IDS for w in found)
    planned = [out_by(w.device, w.table) for w in found if w.up and w.device]
    again = wan_links(sections, facts, planned)
    assert [w.slot for w in again if w.up] == [w.slot for w in found if w.up]


def test_wan_address() -> None:
    own = WanAddress("10.1.1.78", 24, None)
    assert (own.host, own.network) == ("10.1.1.78/32", "10.1.1.0/24")
    assert own.holds("10.1.1.1") and not own.holds("10.1.2.1") and not own.holds("2001:db8::1")
    six = WanAddress("2001:db8::78", 64, None)
    assert (six.host, six.network) == ("2001:db8::78/128", "2001:db8::/64")


def test_local_networks_are_all_but_the_wans_and_loopback() -> None:
    vpn = Interface("vpn", "wg0", True, ("10.9.9.2/32",))
    off = Interface("guest", "br-guest", False, ("192.168.9.1/24",))
    facts = router(LOOPBACK, LAN, BRIDGE_WAN1, BRIDGE_WAN2, vpn)
    facts = replace(facts, interfaces=(*facts.interfaces, off))
    assert surroundings(config(WANS), facts).connected == ("10.9.9.2/32", "192.168.78.0/24")
