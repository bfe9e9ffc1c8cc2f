# SPDX-License-Identifier: GPL-2.0-or-later
"""The main table, read as little as is wanted."""

from __future__ import annotations

import time

import pytest
from toolkit.namespace import Namespace

from mptcp_agent.core.network import MainRoute
from mptcp_agent.system.netlink.main_table import main_routes

pytestmark = pytest.mark.usefixtures("client")


def over(device: str, destination: str, gateway: str | None = None) -> MainRoute:
    return MainRoute(destination, device, gateway)


def refused(destination: str) -> MainRoute:
    return MainRoute(destination, refuses=True)


def destinations(*devices: str, limit: int = 100) -> list[str]:
    found = main_routes(devices, limit)
    return [r.destination for r in found if not r.destination.startswith("fe80:")]


def test_what_leaves_by_a_device_and_what_is_refused(client: Namespace) -> None:
    client.sh(
        "ip route add default via 10.1.1.2 dev wan1 metric 10;"
        "ip route add default via 10.2.2.2 dev wan2 metric 20;"
        "ip route add 10.200.0.0/16 via 10.1.1.254 dev wan1;"
        "ip route add 10.201.0.0/16 nexthop via 10.1.1.2 nexthop via 10.2.2.2;"
        "ip route add unreachable 10.9.0.0/16; ip route add blackhole 10.8.0.0/16;"
        "ip route add 10.7.0.0/16 via 10.1.1.2 table 77;"
        "ip -6 route add prohibit 2001:db8:9::/48;"
        "ip -6 route add default from 2001:db8:1::/64 via fe80::1 dev wan1"
    )
    found = [r for r in main_routes(("wan1", "gone"), 100) if not r.destination.startswith("fe80:")]
    assert found == [
        over("wan1", "0.0.0.0/0", "10.1.1.2"),
        over("wan1", "10.1.1.0/24"),
        over("wan1", "10.200.0.0/16", "10.1.1.254"),
        over("wan1", "10.201.0.0/16", "10.1.1.2"),
        refused("10.8.0.0/16"),
        refused("10.9.0.0/16"),
        over("wan1", "2001:db8:1::/64"),
        refused("2001:db8:9::/48"),
        over("wan1", "::/0", "fe80::1"),
    ]
    everything = main_routes(None, 100)
    assert set(found) < set(everything)
    assert over("wan2", "10.201.0.0/16", "10.2.2.2") in everything
    assert main_routes((), 100) == tuple(r for r in found if r.refuses)


def test_ten_thousand_routes_of_a_mesh_cost_nothing(client: Namespace) -> None:
    """Those of a device that is no WAN are not even sent; those that are wanted are limited."""
    networks = (f"10.{n // 250 + 100}.{n % 250}.0/24" for n in range(10_000))
    client.batch([f"route add {network} via 10.2.2.2 dev wan2" for network in networks])
    start = time.process_time()
    assert destinations("wan1") == ["10.1.1.0/24", "2001:db8:1::/64"]
    assert time.process_time() - start < 0.05  # 2 ms; to unpack them all takes 170
    assert len(destinations("wan2", limit=100)) == 101  # and the network of IPv6
