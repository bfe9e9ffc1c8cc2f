# SPDX-License-Identifier: GPL-2.0-or-later
"""What comes in from outside on the second WAN is answered over the second WAN.

The router's default route leads over the first one, whose provider drops what has another
provider's address (BCP 38).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from e2e.support import SIZE, assert_bonded, running, settle, wait_state, wait_status
from lab.isp import isp
from lab.topology import Network
from lab.traffic import PORT, TalkServer, start

WAN2 = {4: "100.64.2.2", 6: "2001:db8:64:2::2"}
FORWARDED, OTHERS_MARK = 7200, 0x100

#: What a user's port forwards and a provider's filter come to, and a rival's marks.
FORWARDS = f"""
table inet forwards {{
    chain dstnat {{
        type nat hook prerouting priority dstnat; policy accept;
        iifname "wan2" meta nfproto ipv4 tcp dport {FORWARDED} dnat ip to 192.168.78.107:{PORT}
        iifname "wan2" meta nfproto ipv6 tcp dport {FORWARDED} dnat ip6 to [fd00:78::107]:{PORT}
    }}
}}
"""
BCP38 = """
table inet bcp38 {
    chain prerouting {
        type filter hook prerouting priority filter; policy accept;
        iifname "cust" ip saddr 100.64.2.0/24 drop
        iifname "cust" ip6 saddr 2001:db8:64:2::/64 drop
    }
}
"""
RIVAL = f"""
table inet rival {{
    chain prerouting {{
        type filter hook prerouting priority mangle; policy accept;
        iifname "wan2" ct state new ct mark set {OTHERS_MARK:#x}
    }}
}}
"""


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with running(build=isp) as built:
        built.client.run("nft", "-f", "-", stdin=FORWARDS)
        built.providers[0].run("nft", "-f", "-", stdin=BCP38)
        TalkServer(built.client_host)
        TalkServer(built.client)
        settle(built.client)
        yield built


def assert_answered_over_wan2(net: Network, target: str, port: int) -> None:
    before = [wire.bytes()[0] for wire in net.wires]
    transfer = start(net.server_host, "get", target, size=SIZE // 4, port=port).result()
    assert transfer.ok, transfer.report.error
    first, second = (w.bytes()[0] - b for w, b in zip(net.wires, before, strict=True))
    assert second > SIZE // 4
    assert first < SIZE // 40


@pytest.mark.parametrize("version", [4, 6])
def test_a_port_forward_on_the_second_wan(net: Network, version: int) -> None:
    assert_answered_over_wan2(net, WAN2[version], FORWARDED)


@pytest.mark.parametrize("version", [4, 6])
def test_the_router_itself_on_the_second_wan(net: Network, version: int) -> None:
    assert_answered_over_wan2(net, WAN2[version], PORT)


def test_everything_else_goes_where_it_went(net: Network) -> None:
    assert_bonded(net)


def test_while_the_first_wan_is_down_and_after(net: Network) -> None:
    stream = start(net.server_host, "get", WAN2[4], size=SIZE, port=FORWARDED)
    net.wires[0].carrier(False)
    wait_status(net.client, lambda s: s["state"] == "degraded", "wan1 down")
    assert_answered_over_wan2(net, WAN2[4], FORWARDED)
    net.wires[0].carrier(True)
    wait_state(net.client, "active")
    assert stream.result().ok, "a running one is not disturbed"
    assert_answered_over_wan2(net, WAN2[4], FORWARDED)


def test_marks_of_others_are_left_alone(net: Network) -> None:
    """Who marks connections has a way of their own for them, as mwan3 has."""
    net.client.run("nft", "-f", "-", stdin=RIVAL)
    try:
        stream = start(net.server_host, "get", WAN2[4], size=1000, port=PORT)
        assert stream.result().ok
        table = net.client.run("conntrack", "-L", "-p", "tcp", "--dport", str(PORT)).stdout
        lines = [x for x in table.splitlines() if f" dst={WAN2[4]} " in x]
        assert any(f" mark={OTHERS_MARK} " in line for line in lines), table
    finally:
        net.client.run("nft", "delete", "table", "inet", "rival")
