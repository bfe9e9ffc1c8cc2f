# SPDX-License-Identifier: GPL-2.0-or-later
"""What the router's own firewall says holds for the proxy too, and nobody else is cut off by it.

The lab has no firewall4: each test writes /etc/config/firewall, and puts into nftables what
firewall4 would make of it (``tests/contract/test_firewall4.py`` shows that it does).
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest
from e2e.support import SING_BOX, ask, cli, reconfigure, running, settle, wait_state, wait_status
from kernel.firewall_lab import TcpService
from lab.isp import isp
from lab.topology import Network
from lab.uci import Package, Section
from toolkit.waiting import wait_until

PORT = 7200
HOME = {4: ("192.168.78.107", "192.168.78.50"), 6: ("fd00:78::107", "fd00:78::50")}

DEFAULTS = Section("defaults", "", {"input": "REJECT", "forward": "REJECT"})
LAN = Section("zone", "", {"name": "lan", "network": "lan", "input": "ACCEPT"})
WAN = Section("zone", "", {"name": "wan", "network": ["wan1", "wan2"], "input": "REJECT"})
OUT = Section("forwarding", "", {"src": "lan", "dest": "wan"})
STOCK = (DEFAULTS, LAN, WAN, OUT)


@pytest.fixture(scope="module", params=["nftables", "iptables"])
def net(request: pytest.FixtureRequest) -> Iterator[Network]:
    """Two providers; the LAN host has a second address of each family, which is another device as
    far as a firewall can tell."""
    with running(replace(SING_BOX, redirect=request.param), isp) as built:
        for address in ("192.168.78.50/24", "fd00:78::50/64"):
            built.client_host.ip("address", "add", address, "dev", "eth0", "nodad")
        served = TcpService(built.server_host.namespace, PORT, lambda s: str(s.getpeername()[0]))
        with contextlib.closing(served):
            yield built


@pytest.fixture(autouse=True)
def whole(net: Network) -> Iterator[None]:
    client = net.client
    yield
    client.run("nft", "flush chain inet fw4 forward")
    client.run("nft", "add chain inet fw4 input; delete chain inet fw4 input")
    client.path("/etc/config/firewall").unlink()
    ask(client, "reload")
    wait_status(client, lambda s: not s["client"]["left_alone"], "all redirected again")
    wait_state(client, "active")
    settle(client)


def seen(net: Network, source: str) -> str:
    """Who a host far away takes the LAN host for, or "refused"."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    target = net.target6 if ":" in source else net.target
    with net.client_host.namespace.call(socket.socket, family, socket.SOCK_STREAM) as made:
        made.settimeout(10)
        made.bind((source, 0))
        try:
            made.connect((target, PORT))
            return made.recv(100).decode().strip()
        except (ConnectionRefusedError, ConnectionResetError):
            return "refused"


def proxied(net: Network, source: str) -> bool:
    """It came out of the server, whose address may be of the other family."""
    return seen(net, source) in ("203.0.113.70", "2001:db8:203::70")


def left_alone(net: Network, what: str) -> dict[str, str]:
    """What status says of it, once it does."""

    def told(status: dict[str, object]) -> bool:
        client = status["client"]
        assert isinstance(client, dict)
        return any(what in item["what"] for item in client["left_alone"])

    status = wait_status(net.client, told, f"{what} left alone")
    settle(net.client)
    found: dict[str, str] = next(
        item for item in status["client"]["left_alone"] if what in item["what"]
    )
    return found


@pytest.mark.parametrize("family", [4, 6])
def test_a_forbidden_device_stays_forbidden(net: Network, family: int) -> None:
    client, (mine, forbidden) = net.client, HOME[family]
    wait_until(lambda: proxied(net, forbidden), 10, "the device is online")
    options = {"name": "Kids", "src": "lan", "dest": "wan", "src_ip": forbidden, "proto": "all"}
    rule = Section("rule", "kids", {**options, "target": "REJECT"})
    word = "ip6" if family == 6 else "ip"
    client.run("nft", f"add rule inet fw4 forward {word} saddr {forbidden} reject with tcp reset")
    reconfigure(client, Package([*STOCK, rule]), "firewall")
    ask(client, "reload")
    item = left_alone(net, forbidden)
    assert (item["section"], item["unread"]) == ("kids", "")
    assert seen(net, forbidden) == "refused"
    assert proxied(net, mine)
    assert wait_state(client, "active")["problems"] == []
    _, said, _ = cli(client, "check")
    assert f"'Kids' (firewall.kids) refuses lan ({forbidden}): not redirected" in said


@pytest.mark.parametrize("family", [4, 6])
def test_who_may_not_reach_the_redirector_goes_out_directly(net: Network, family: int) -> None:
    client, (mine, other) = net.client, HOME[family]
    shut = Section("zone", "", {"name": "lan", "network": "lan", "input": "REJECT"})
    options = {"src": "lan", "src_ip": mine, "proto": "tcp", "dest_port": "1080"}
    rule = Section("rule", "one", {**options, "target": "ACCEPT"})
    word = "ip6" if family == 6 else "ip"
    client.run(
        "nft",
        "add chain inet fw4 input { type filter hook input priority filter; }; "
        f'add rule inet fw4 input iifname "br-lan" tcp dport 1080 {word} saddr != {mine} '
        "reject with tcp reset",
    )
    reconfigure(client, Package([DEFAULTS, shut, WAN, OUT, rule]), "firewall")
    ask(client, "reload")
    left_alone(net, f"all but {mine}")
    assert proxied(net, mine)
    masqueraded = ("100.64.", "2001:db8:64:")
    assert seen(net, other).startswith(masqueraded)
    assert wait_state(client, "active")


def test_a_network_that_may_not_go_out_is_not_redirected(net: Network) -> None:
    client = net.client
    client.run("nft", 'add rule inet fw4 forward iifname "br-lan" reject with tcp reset')
    reconfigure(client, Package([DEFAULTS, LAN, WAN]), "firewall")
    ask(client, "reload")
    status = wait_state(client, "bypassed")
    assert "firewall" in status["reason"]
    settle(client)
    assert seen(net, HOME[4][0]) == "refused"
