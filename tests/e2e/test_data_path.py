# SPDX-License-Identifier: GPL-2.0-or-later
"""One LAN TCP stream rides both links: topologies x firewall back ends x engines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from e2e.support import (
    LIBEV,
    SING_BOX,
    Builder,
    ask,
    assert_bonded,
    endpoints,
    opened,
    running,
    start_agents,
)
from lab.bridge import bridge
from lab.isp import isp
from lab.proxy import Proxy, Redirect
from lab.snapshot import leftovers, snapshot
from lab.topology import Network
from lab.traffic import start

BACK_ENDS: list[Redirect] = ["nftables", "iptables"]


@pytest.fixture(scope="module", params=[bridge, isp], ids=["bridge", "isp"])
def topology(request: pytest.FixtureRequest) -> Builder:
    builder: Builder = request.param
    return builder


@pytest.fixture(scope="module", params=BACK_ENDS)
def back_end(request: pytest.FixtureRequest) -> Redirect:
    name: Redirect = request.param
    return name


@pytest.fixture(scope="module", params=[SING_BOX, LIBEV], ids=lambda p: str(p.engine))
def proxy(request: pytest.FixtureRequest) -> Proxy:
    chosen: Proxy = request.param
    return chosen


def test_every_combination(topology: Builder, back_end: Redirect, proxy: Proxy) -> None:
    """IPv4 both ways, IPv6, a LAN client that speaks MPTCP itself; then nothing is left."""
    with opened(replace(proxy, redirect=back_end), topology) as net:
        before = [snapshot(router) for router in net.routers]
        start_agents(net)
        status = ask(net.client, "status")
        assert status["client"]["redirect"]["backend"] == back_end
        assert status["engine"]["name"] == proxy.engine
        assert status["problems"] == []

        assert_bonded(net)
        assert_bonded(net, ["down"], target=net.target6)
        assert_bonded(net, ["up"], mptcp=True)

        for router, old in zip(net.routers, before, strict=True):
            assert router.stop_agent() == 0
            assert leftovers(old, snapshot(router)) == []


@pytest.fixture(scope="module")
def ipv6_network() -> Iterator[Network]:
    """The peer is known by its IPv6 addresses only."""
    addresses = {"r7000": {"address": ["fd00:10:1::70", "fd00:10:2::70"]}}
    with running(replace(SING_BOX, client=addresses)) as net:
        yield net


def test_links_of_ipv6(ipv6_network: Network) -> None:
    assert_bonded(ipv6_network)
    ours = [line for line in endpoints(ipv6_network.client) if "subflow" in line]
    assert len(ours) == 2
    assert all(line.startswith("fd00:") for line in ours)


@pytest.mark.parametrize("version", [4, 6])
def test_half_close(ipv6_network: Network, version: int) -> None:
    """All of a megabyte comes back after the client has closed its half."""
    target = ipv6_network.target if version == 4 else ipv6_network.target6
    transfer = start(ipv6_network.client_host, "echo", target, size=1_000_000).result()
    assert transfer.ok, transfer.report.error
