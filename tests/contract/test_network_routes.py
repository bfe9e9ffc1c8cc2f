"""`config route` sections under netifd: the stand-in and the real one."""

from __future__ import annotations

import pytest
from contract.router import NETWORK, ContractRouter, RouterLinks
from toolkit.waiting import wait_until

CONFIG = (
    NETWORK
    + """
config interface 'wan1'
	option device 'wan1'
	option proto 'static'
	option ipaddr '10.1.1.2/24'
	option gateway '10.1.1.1'

config interface 'wan3'
	option device 'wan1'
	option proto 'static'
	option ipaddr '10.3.3.2/24'
	option gateway '10.3.3.1'
	option defaultroute '0'

config interface 'wan2'
	option device 'wan2'
	option proto 'static'
	option force_link '0'
	option ipaddr '10.2.2.2/24'
	option ip6addr '2001:db8::2/64'
	option metric '7'

config route
	option interface 'wan1'
	option target '192.168.70.0'
	option netmask '255.255.255.0'
	option gateway '10.1.1.70'

config route
	option interface 'wan2'
	option target '192.168.71.0/24'
	option gateway '10.2.2.70'
	option metric '20'

config route
	option interface 'wan2'
	option target '192.168.72.0/24'
	option table '99'
	option gateway '10.2.2.70'

config route
	option interface 'wan2'
	option target '192.168.73.5'

config route6
	option interface 'wan2'
	option target '2001:db8:7::/48'
	option gateway '2001:db8::7'

config route
	option interface 'none'
	option target '192.168.74.0/24'

config route
	option interface 'wan2'
	option target '192.168.75.0/24'
	option disabled '1'

config route
	option interface 'wan2'
	option target '192.168.76.0/24'
	option gateway '172.16.0.1'
	option onlink '1'

config route
	option interface 'wan2'
	option target '192.168.77.0/24'
	option source '10.2.2.2'
	option mtu '1400'
"""
)

WAN1 = [
    "10.1.1.0/24 dev wan1 proto kernel scope link src 10.1.1.2",
    "10.3.3.0/24 dev wan1 proto kernel scope link src 10.3.3.2",
    "192.168.70.0/24 via 10.1.1.70 dev wan1 proto static",
    "default via 10.1.1.1 dev wan1 proto static",
]

WAN2 = [
    "10.2.2.0/24 dev wan2 proto static scope link metric 7",
    "192.168.71.0/24 via 10.2.2.70 dev wan2 proto static metric 20",
    "192.168.73.5 dev wan2 proto static scope link metric 7",
    "192.168.76.0/24 via 172.16.0.1 dev wan2 proto static metric 7 onlink",
    "192.168.77.0/24 dev wan2 proto static scope link src 10.2.2.2 metric 7 mtu 1400",
]


def routes_are_there(router: ContractRouter) -> None:
    wait_until(lambda: router.routes("-4") == sorted(WAN1 + WAN2), 10, "routes")


@pytest.fixture(scope="module")
def links() -> RouterLinks:
    return RouterLinks(CONFIG, ("wan1", "wan2"), routes_are_there)


def test_in_the_kernel(router: ContractRouter) -> None:
    assert router.routes("-6") == [
        "2001:db8:7::/48 via 2001:db8::7 dev wan2 proto static metric 7 pref medium",
        "2001:db8::/64 dev wan2 proto static metric 7 pref medium",
    ]
    table = router.ip("route", "show", "table", "99").split()
    assert table == "192.168.72.0/24 via 10.2.2.70 dev wan2 proto static metric 7".split()


def test_in_the_status(router: ContractRouter) -> None:
    """Before the interface's own gateway, IPv6 first; metric and table only where given."""
    with router.caller() as call:
        assert call("network.interface.wan1", "status")["route"] == [
            {"target": "192.168.70.0", "mask": 24, "nexthop": "10.1.1.70", "source": "0.0.0.0/0"},
            {"target": "0.0.0.0", "mask": 0, "nexthop": "10.1.1.1", "source": "0.0.0.0/0"},
        ]
        routes = call("network.interface.wan2", "status")["route"]
    assert list(routes[0].values()) == ["2001:db8:7::", 48, "2001:db8::7", "::/0"]
    via, nowhere, anywhere = "10.2.2.70", "0.0.0.0", ("source", "0.0.0.0/0")
    assert sorted(list(each.items())[1:] for each in routes[1:]) == sorted(
        [
            [("mask", 24), ("nexthop", via), ("metric", 20), anywhere],
            [("mask", 24), ("nexthop", via), ("table", 99), anywhere],
            [("mask", 32), ("nexthop", nowhere), anywhere],
            [("mask", 24), ("nexthop", "172.16.0.1"), anywhere],
            [("mask", 24), ("nexthop", nowhere), ("mtu", 1400), ("source", "10.2.2.2/32")],
        ]
    )


def test_a_default_route_that_is_not_wanted_is_told_and_not_installed(
    router: ContractRouter,
) -> None:
    with router.caller() as call:
        status = call("network.interface.wan3", "status")
    assert status["route"] == []
    assert status["inactive"]["route"] == [
        {"target": "0.0.0.0", "mask": 0, "nexthop": "10.3.3.1", "source": "0.0.0.0/0"}
    ]


def test_they_come_and_go_with_the_interface(router: ContractRouter) -> None:
    router.ip("link", "set", "wan2-far", "down")
    wait_until(lambda: router.routes("-4") == WAN1, 10, "only wan1")
    router.ip("link", "set", "wan2-far", "up")
    wait_until(lambda: router.routes("-4") == sorted(WAN1 + WAN2), 10, "both")
