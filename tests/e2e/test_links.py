# SPDX-License-Identifier: GPL-2.0-or-later
"""WAN links that come, go and change: the state follows, the LAN's streams go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from e2e.support import (
    SIZE,
    Log,
    ask,
    assert_bonded,
    endpoints,
    fetch,
    mptcp_seen,
    pids,
    reconfigure,
    running,
    settle,
    wait_state,
    wait_status,
    wan,
)
from lab.isp import isp
from lab.topology import Interface, Network
from lab.traffic import start
from lab.uci import Package
from toolkit.command import tool
from toolkit.waiting import wait_until

Action = Callable[[Network], object]

LOOPBACK = Interface("loopback", "lo", ["127.0.0.1/8"])


def network(net: Network, *without: str) -> Package:
    """The client router's /etc/config/network, some interfaces left out."""
    interfaces = [LOOPBACK, *net.interfaces["client"]]
    return Package([i.section() for i in interfaces if i.name not in without])


@pytest.fixture(autouse=True)
def restored_links(net: Network) -> Iterator[None]:
    """Each test begins and ends with both links in use."""
    yield
    reconfigure(net.client, network(net), "network")
    for number, wire in enumerate(net.wires, 1):
        wire.carrier(True)
        ask(net.client, "up", "network.interface", interface=f"wan{number}")
    wait_state(net.client, "active")
    settle(net.client)


def ifup(net: Network, name: str) -> None:
    """As OpenWrt's command of that name: down, and up again from scratch."""
    for method in ("down", "up"):
        ask(net.client, method, "network.interface", interface=name)


def has(net: Network, address: str) -> bool:
    """Whether there is an endpoint; one the kernel makes up for itself names no device."""
    return any(line.startswith(f"{address} ") and " dev " in line for line in endpoints(net.client))


FAULTS: dict[str, tuple[Action, Action, str]] = {
    "carrier": (
        lambda net: net.wires[1].carrier(False),
        lambda net: net.wires[1].carrier(True),
        "device wan2 has no carrier",
    ),
    "admin down": (
        lambda net: net.client.ip("link", "set", "wan2", "down"),
        lambda net: ifup(net, "wan2"),
        "device wan2 is switched off",
    ),
    "addresses removed": (
        lambda net: net.client.ip("address", "flush", "dev", "wan2", "scope", "global"),
        lambda net: ifup(net, "wan2"),
        "wan2 has no address",
    ),
    "ifdown": (
        lambda net: net.client.ubus("network.interface", "down", interface="wan2"),
        lambda net: ifup(net, "wan2"),
        "",  # the interface or its device, whichever is seen first
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_link_fails_and_returns(net: Network, fault: str) -> None:
    """During one transfer: the endpoint goes at once and comes back, no byte is lost."""
    breaks, mends, reason = FAULTS[fault]
    processes = pids(net.client)
    stream = start(net.client_host, "get", net.target, size=2 * SIZE)
    before = net.wires[1].bytes()[1]
    wait_until(lambda: net.wires[1].bytes()[1] > before + 100_000, 10, "the transfer")
    breaks(net)
    status = wait_status(
        net.client, lambda s: f"wan2 ({reason}" in s["reason"], f"'{reason}' noticed", 5
    )
    assert status["state"] == "degraded"
    assert not wan(status, "wan2")["up"]
    wait_until(lambda: not has(net, "10.2.2.78"), 5, "the endpoint's removal")
    mends(net)
    wait_status(net.client, lambda s: s["state"] == "active", "the link back")
    wait_until(lambda: has(net, "10.2.2.78"), 5, "the endpoint back")
    transfer = stream.result()
    assert transfer.ok, f"{transfer.report.error}\n{mptcp_seen(net)}"
    assert pids(net.client) == processes
    assert_bonded(net, ["down"])


def test_a_link_that_flaps_does_not_fill_the_log(net: Network) -> None:
    """Each change of the WAN is one line at ``info``, and a few of the same are enough."""
    log = Log(net.client)
    for _ in range(15):
        net.wires[1].carrier(False)
        wait_until(lambda: not has(net, "10.2.2.78"), 5, "the endpoint's removal")
        net.wires[1].carrier(True)
        wait_until(lambda: has(net, "10.2.2.78"), 10, "the endpoint back")
    wait_state(net.client, "active")
    lines = [line for line in log.text().splitlines() if not line.startswith("DEBUG")]
    assert len(lines) <= 40, "\n".join(lines)
    for change in ("up -> down", "down -> up"):
        assert any(f"wan wan2: {change}" in line for line in lines), "\n".join(lines)


def test_all_links_fail(net: Network) -> None:
    """Nothing to proxy over: the LAN is let out directly, and proxied again afterwards."""
    processes = pids(net.client)
    for wire in net.wires:
        wire.carrier(False)
    status = wait_state(net.client, "bypassed")
    assert status["reason"] == "no WAN is up; the LAN goes out directly"
    for wire in net.wires:
        wire.carrier(True)
    wait_state(net.client, "active")
    assert pids(net.client) == processes
    assert_bonded(net, ["down"])


def test_address_changes(net: Network) -> None:
    """A provider hands out another address."""
    package = network(net)
    package["wan2"].options["ipaddr"] = "10.2.2.79"
    reconfigure(net.client, package, "network")
    wait_until(lambda: has(net, "10.2.2.79") and not has(net, "10.2.2.78"), 10, "the address")
    wait_state(net.client, "active")
    assert_bonded(net, ["up"])


def test_device_is_renamed(net: Network) -> None:
    net.client.ip("link", "set", "wan2", "down")
    net.client.ip("link", "set", "wan2", "name", "dsl0")
    status = wait_status(net.client, lambda s: s["state"] == "degraded", "the name missed")
    assert "wan2" in status["reason"]
    package = network(net)
    package["wan2"].options["device"] = "dsl0"
    reconfigure(net.client, package, "network")
    status = wait_state(net.client, "active")
    assert wan(status, "wan2")["device"] == "dsl0"
    assert_bonded(net, ["down"])
    net.client.ip("link", "set", "dsl0", "down")
    net.client.ip("link", "set", "dsl0", "name", "wan2")


def test_wan_appears_later(net: Network) -> None:
    """An interface that netifd did not know when the agent started."""
    net.client.stop_agent()
    reconfigure(net.client, network(net, "wan2"), "network")
    net.client.start_agent()
    status = wait_state(net.client, "degraded")
    assert "wan2 (there is no network interface 'wan2')" in status["reason"]
    fetch(net)
    reconfigure(net.client, network(net), "network")
    wait_state(net.client, "active")
    assert_bonded(net, ["down"])


def test_links_without_a_gateway(net: Network) -> None:
    """Point-to-point links: the peer is on them, and there is nobody to route."""
    package = network(net)
    for name in ("wan1", "wan2"):
        for option in ("gateway", "ip6gw"):
            package[name].options.pop(option)
    reconfigure(net.client, package, "network")
    status = wait_status(
        net.client,
        lambda s: s["state"] == "active" and not wan(s, "wan2")["addresses"][0]["gateway"],
        "links without a gateway",
    )
    assert all(a["gateway"] is None for w in status["wans"] for a in w["addresses"])
    settle(net.client)
    assert_bonded(net)


def test_two_links_in_the_same_subnet() -> None:
    """Two modems that both are 100.64.1.1, and the addresses they hand out are neighbours."""
    with running(build=isp) as net:
        modem, internet = f"{net.lab.name}-isp2", f"{net.lab.name}-internet"
        tool("ip", "-n", modem, "address", "add", "100.64.1.1/24", "dev", "cust")
        tool("ip", "-n", internet, "route", "add", "100.64.1.3/32", "via", "172.31.2.2")
        second = replace(net.wan(2), addresses=["100.64.1.3/24"], gateways=["100.64.1.1"])
        first = replace(net.wan(1), addresses=["100.64.1.2/24"], gateways=["100.64.1.1"])
        lan = net.interfaces["client"][0]
        reconfigure(
            net.client, Package([i.section() for i in (LOOPBACK, lan, first, second)]), "network"
        )
        wait_until(lambda: has(net, "100.64.1.2") and has(net, "100.64.1.3"), 10, "both addresses")
        wait_state(net.client, "active")
        settle(net.client)
        assert_bonded(net)
