# SPDX-License-Identifier: GPL-2.0-or-later
"""Two routers that serve each other: each is client and server at once."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from e2e.support import (
    LIBEV,
    SING_BOX,
    SIZE,
    assert_bonded,
    fetch,
    opened,
    shares,
    start_agents,
    wait_state,
    wait_status,
)
from lab.proxy import Proxy
from lab.router import Router
from lab.topology import Network
from lab.traffic import TalkServer, start
from lab.uci import Package
from toolkit.waiting import wait_until

QUIET = 25
"""Connections a silent router may accept in three seconds: a few probes. A loop makes thousands."""


def both(net: Network, proxy: Proxy) -> None:
    """Give each router the other's role beside its own."""
    for router, peer in ((net.client, "server"), (net.server, "client")):
        wans = [i for i in net.interfaces[_role(net, router)] if i.name.startswith("wan")]
        others = [i for i in net.interfaces[peer] if i.name.startswith("wan")]
        allow = [f"10.{n}.{n}.0/24" for n in (1, 2)] + [f"fd00:10:{n}::/64" for n in (1, 2)]
        section = proxy.peer("other", [i.of(4) for i in others])
        client = proxy.client_package(section, wans)
        server = proxy.server_package(allow, [])["server"]
        router.write_config("mptcp-proxy", Package([*client.sections, server]))


def _role(net: Network, router: Router) -> str:
    return "client" if router is net.client else "server"


def accepted(router: Router) -> int:
    """TCP connections this router has accepted so far."""
    names, values = (
        line.split()
        for line in router.run("cat", "/proc/net/snmp").stdout.splitlines()
        if line.startswith("Tcp:")
    )
    return int(dict(zip(names, values, strict=True))["PassiveOpens"])


@pytest.fixture(scope="module", params=[SING_BOX, LIBEV], ids=lambda p: str(p.engine))
def meshed(request: pytest.FixtureRequest) -> Iterator[Network]:
    with opened(request.param) as net:
        both(net, request.param)
        start_agents(net)
        with TalkServer(net.client_host):
            yield net


def test_a_probe_ends_at_the_far_end(meshed: Network) -> None:
    """It is no LAN connection there, or it would go round and round."""
    for router in meshed.routers:
        wait_status(router, lambda s: s["client"]["peer"] == "other", "the peer")
    before = [accepted(router) for router in meshed.routers]
    time.sleep(3.0)  # what is looked for is that nothing happens
    for router, old in zip(meshed.routers, before, strict=True):
        assert accepted(router) - old < QUIET


def test_both_lans_use_both_links(meshed: Network) -> None:
    assert_bonded(meshed)
    stream = start(meshed.server_host, "get", "192.168.78.107", size=SIZE)
    there = shares(meshed, "get", meshed.target, False)
    assert stream.result().ok
    assert min(there) > 0.1


@pytest.mark.parametrize("number", [1, 2])
def test_a_cut_link_ends_no_stream_of_either_lan(meshed: Network, number: int) -> None:
    """Both go on over the other link before it comes back."""
    wire, other = meshed.wires[number - 1], meshed.wires[2 - number]
    streams = [
        start(meshed.client_host, "get", meshed.target, size=2 * SIZE),
        start(meshed.server_host, "get", "192.168.78.107", size=2 * SIZE),
    ]
    carried = wire.bytes()
    wait_until(lambda: min(wire.bytes()) > min(carried) + 300_000, 10, "the transfers")
    wire.carrier(False, "both")
    for router in meshed.routers:
        wait_state(router, "degraded")
    carried = other.bytes()
    wait_until(lambda: min(other.bytes()) > min(carried) + SIZE / 4, 10, "data over the other link")
    wire.carrier(True, "both")
    for stream in streams:
        transfer = stream.result()
        assert transfer.ok, transfer.report.error
    for router in meshed.routers:
        wait_state(router, "active")
    fetch(meshed)
