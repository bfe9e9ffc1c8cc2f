# SPDX-License-Identifier: GPL-2.0-or-later
"""Ordinary homes: what else there is beside two plain WANs.

Everything goes where it went before the agent came, and the WANs are what their interfaces say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from e2e.support import (
    SING_BOX,
    SIZE,
    ask,
    assert_bonded,
    endpoints,
    fetch,
    mptcp_seen,
    reconfigure,
    running,
    settle,
    wait_state,
    wait_status,
    wan,
)
from lab.host import Host
from lab.isp import isp
from lab.topology import Interface, Network, Route
from lab.traffic import TalkServer, start
from lab.uci import Package
from lab.wire import cable
from toolkit.waiting import wait_until

LOOPBACK = Interface("loopback", "lo", ["127.0.0.1/8"])
VPN = Interface("wg0", "wg0", ["10.9.0.1/30"])
FAR_NETWORK, FAR_HOST = "192.168.50.0/24", "192.168.50.1"
MODEM_PAGE = "192.168.100.1"


def network(net: Network, *more: Interface) -> Package:
    """The client router's /etc/config/network with more interfaces."""
    return Package([i.section() for i in (LOOPBACK, *net.interfaces["client"], *more)])


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    """Two providers, and two things that no proxy reaches: a modem's web page on the cable of
    wan1, and another house at the other end of a VPN (here a cable)."""
    with running(build=isp) as built:
        house = Host(built.lab, "house")
        cable((built.client, "wg0"), (house, "wg0"))
        Interface("wg0", "wg0", ["10.9.0.2/30"], ["10.9.0.1"]).configure(house)
        house.ip("address", "add", f"{FAR_HOST}/32", "dev", "lo")
        built.providers[0].ip("address", "add", f"{MODEM_PAGE}/24", "dev", "cust")
        for host in (house, built.providers[0]):
            TalkServer(host)
        yield built


@pytest.fixture(autouse=True)
def whole(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test begins and ends with both links in use, and nothing else."""
    yield
    if "net" in request.fixturenames:
        net = request.getfixturevalue("net")
        reconfigure(net.client, network(net), "network")
        wait_state(net.client, "active")
        settle(net.client)


def test_an_interface_for_the_modems_page(net: Network) -> None:
    """Its name comes before the WAN's: the WAN stays what it is, with every stream, and the
    page can be opened."""
    modem = Interface("modem", "wan1", ["192.168.100.2/24"])
    stream = start(net.client_host, "get", net.target, size=2 * SIZE)
    reconfigure(net.client, network(net, modem), "network")
    wait_until(
        lambda: "192.168.100.2" in net.client.ip("address", "show", "dev", "wan1"), 10, "address"
    )
    settle(net.client)
    status = wait_state(net.client, "active")
    assert wan(status, "wan1")["addresses"][0] == {
        "address": "100.64.1.2",
        "prefix": 24,
        "gateway": "100.64.1.1",
    }
    assert any(line.startswith("100.64.1.2 ") for line in endpoints(net.client))
    transfer = stream.result()
    assert transfer.ok, f"{transfer.report.error}\n{mptcp_seen(net)}"
    fetch(net, target=MODEM_PAGE)
    assert_bonded(net, ["down"])


def test_networks_behind_a_vpn(net: Network) -> None:
    """What main has a more specific route for stays main's: for the LAN, and for the router's
    own packets from a WAN's address."""
    package = network(net, VPN)
    package.add(Route(FAR_NETWORK, "10.9.0.2", "wg0").section())
    reconfigure(net.client, package, "network")
    wait_until(lambda: FAR_NETWORK in net.client.ip("route"), 10, "the route")
    settle(net.client)
    fetch(net, target=FAR_HOST)
    assert "dev wg0" in net.client.ip("route", "get", FAR_HOST, "from", "100.64.1.2")
    assert_bonded(net, ["down"])


def test_a_network_and_a_device_netifd_does_not_know(net: Network) -> None:
    net.client.ip("address", "add", "10.9.0.1/30", "dev", "wg0")
    net.client.ip("route", "add", FAR_NETWORK, "via", "10.9.0.2")
    try:
        fetch(net, target=FAR_HOST)  # at once: no look of the agent's is needed
        assert_bonded(net, ["down"])
    finally:
        net.client.ip("address", "flush", "dev", "wg0", "scope", "global")


def test_no_default_route_wanted(net: Network) -> None:
    """``option defaultroute 0`` on a WAN: its gateway is known all the same."""
    package = network(net)
    package["wan2"].options["defaultroute"] = "0"
    reconfigure(net.client, package, "network")
    wait_until(lambda: "via 100.64.2.1" not in net.client.ip("route"), 10, "the route's removal")
    status = wait_state(net.client, "active")
    assert [a["gateway"] for a in wan(status, "wan2")["addresses"]] == [
        "100.64.2.1",
        "2001:db8:64:2::1",
    ]
    settle(net.client)
    assert_bonded(net)


def test_a_ula_before_the_global_address() -> None:
    """Nobody translates IPv6, and the peer has a global address: the WAN's global one is used."""
    far = "2001:db8:203::70"
    with running(replace(SING_BOX, client={"server": {"address": [far]}}), build=isp) as net:
        package = network(net)
        for number in (1, 2):
            options = package[f"wan{number}"].options
            options["ip6addr"] = [f"fd5a:{number}::2/64", f"2001:db8:64:{number}::2/64"]
        reconfigure(net.client, package, "network")
        status = wait_status(
            net.client,
            lambda s: s["state"] == "active" and "fd5a:2::2" in net.client.ip("-6", "address"),
            "both addresses of both WANs",
        )
        assert [
            [a["address"] for a in w["addresses"] if ":" in a["address"]] for w in status["wans"]
        ] == [["2001:db8:64:1::2"], ["2001:db8:64:2::2"]]
        settle(net.client)
        assert_bonded(net, ["down"])


def test_a_wan_with_ipv6_only(net: Network) -> None:
    """The peer lists its IPv4 address first; its IPv6 address reaches it over both WANs, with
    one subflow over each. (Last in the file: the address then stays in use.)"""
    assert ask(net.client, "status")["client"]["address"] == "203.0.113.70"
    package = network(net)
    for option in ("ipaddr", "netmask", "gateway"):
        package["wan1"].options.pop(option)
    reconfigure(net.client, package, "network")
    wait_status(
        net.client,
        lambda s: s["state"] == "active" and s["client"]["address"] == "2001:db8:203::70",
        "the address that both WANs can serve",
        20,
    )
    settle(net.client)
    assert [line.split()[0] for line in endpoints(net.client)] == [
        "2001:db8:64:1::2",
        "2001:db8:64:2::2",
    ]
    assert_bonded(net, ["down"])
