# SPDX-License-Identifier: GPL-2.0-or-later
"""A link on the way with a smaller MTU, behind which nobody says so: ICMP is dropped.

Full packets vanish, small ones pass: every probe is answered, every handshake made, and the link
carries nothing. The far end has done nothing for it, and need not have this agent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from e2e.support import RATE, cli, running, settle, wait_status, wan
from lab.isp import isp
from lab.topology import Network
from lab.traffic import WAYS, iperf, start
from toolkit.waiting import wait_until

MTU = 1400
SECONDS, OMIT = 3.0, 1.5
#: Of each byte on the cables so much is payload: 1320 of 1414 with MPTCP, two links.
CEILING = 2 * RATE * (MTU - 80) / (MTU + 14)

SILENCE = """
table inet silence {
    chain output {
        type filter hook output priority filter; policy accept;
        icmp type destination-unreachable drop
        icmpv6 type packet-too-big drop
    }
}
"""


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with running(build=isp) as built:
        settle(built.client)
        yield built


def narrow(net: Network, number: int) -> None:
    """The cable of a WAN takes less from now on, both ways."""
    provider = net.providers[number - 1]
    provider.run("nft", "-f", "-", stdin=SILENCE)
    provider.ip("link", "set", "cust", "mtu", str(MTU))


def sizes(status: dict[str, Any], number: int) -> set[int | None]:
    return {p["mtu"] for p in wan(status, f"wan{number}")["health"]["paths"]}


def test_it_is_found_and_every_stream_carries_on_over_both(net: Network) -> None:
    """One stream was there before, with large packets agreed on at its beginning."""
    began = net.wires[1].bytes()[1]
    stream = start(net.client_host, "get", net.target, seconds=18)
    wait_until(lambda: net.wires[1].bytes()[1] > began + 1_000_000, 10, "the stream on wan2")
    narrow(net, 2)
    status = wait_status(net.client, lambda s: MTU in sizes(s, 2), "the size", 30)
    assert sizes(status, 1) == {None}
    before = stream.result()
    assert before.ok, before.report.error
    ended = before.report.ended
    assert before.rate(ended - 3, ended - 1) > 0.9 * CEILING
    settle(net.client)
    for way in WAYS:
        through = (net.client_host, net.server_host, net.target, way)
        measured = iperf(*through, seconds=SECONDS, omit=OMIT)
        assert measured > 0.9 * CEILING, f"{way}: {measured:.1f} of {CEILING:.1f} Mbit/s"


def test_people_are_told(net: Network) -> None:
    assert f"wan2 {MTU} bytes to 203.0.113.70" in cli(net.client, "status")[1]
    assert f"larger packets than of {MTU} bytes to " in cli(net.client, "check")[1]
    assert f"mtu {MTU}" in net.client.ip("route", "show", "table", "10902")


def test_a_cable_that_is_mended_carries_full_packets_again(net: Network) -> None:
    net.providers[1].ip("link", "set", "cust", "mtu", "1500")
    net.wires[1].carrier(False)
    wait_status(net.client, lambda s: not wan(s, "wan2")["up"], "wan2 down")
    net.wires[1].carrier(True)
    wait_status(net.client, lambda s: sizes(s, 2) == {None}, "full packets", 30)
    settle(net.client)
    assert "mtu" not in net.client.ip("route", "show", "table", "10902")
