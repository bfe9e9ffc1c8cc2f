# SPDX-License-Identifier: GPL-2.0-or-later
"""The standard topologies route, on every link, in both IP versions, and read as a guide."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from lab.bridge import bridge
from lab.isp import isp
from lab.proxy import Proxy
from lab.snapshot import leftovers, snapshot
from lab.topology import Network
from lab.traffic import TalkServer, iperf, start
from toolkit.stopping import end

Build = Callable[[], Network]


@pytest.fixture(scope="module", params=[bridge, isp])
def plain_net(request: pytest.FixtureRequest) -> Iterator[Network]:
    """Each topology with four links; no agent, no proxy."""
    with request.param([50, 20, 10, 5]) as network:
        TalkServer(network.server_host)
        yield network


def test_lan_reaches_the_destination(plain_net: Network) -> None:
    for target in (plain_net.target, plain_net.target6):
        result = start(plain_net.client_host, "get", target, size=800_000).result()
        assert result.ok, result.report.error


def test_without_the_proxy_the_first_link_alone_is_used(plain_net: Network) -> None:
    before = [wire.bytes()[1] for wire in plain_net.wires]
    assert iperf(plain_net.client_host, plain_net.server_host, plain_net.target, seconds=2) > 45
    used = [wire.bytes()[1] - old for wire, old in zip(plain_net.wires, before, strict=True)]
    assert used[0] > 10e6
    assert max(used[1:]) < 10e3


def test_every_wan_works_by_itself(plain_net: Network) -> None:
    server = plain_net.interfaces["server"][-1]
    for number in range(1, 5):
        wan = plain_net.wan(number)
        version4 = [f"10.{number}.{number}.70", server.of(4)][server.name == "wan"]
        plain_net.client.ip(
            "route", "add", f"{version4}/32", "via", wan.gateways[0], "dev", wan.device
        )
        before = plain_net.wires[number - 1].bytes()[0]
        plain_net.client.run("busybox", "ping", "-c", "1", "-W", "2", version4)
        assert plain_net.wires[number - 1].bytes()[0] > before
        plain_net.client.ip("route", "del", f"{version4}/32")


def test_leftovers_names_what_is_left(plain_net: Network) -> None:
    router = plain_net.client
    before = snapshot(router)
    assert leftovers(before, snapshot(router)) == []
    sleeper = router.popen("sleep", "100")
    router.ip("rule", "add", "priority", "777", "lookup", "42")
    router.ip("route", "add", "192.0.2.0/24", "dev", "lo", "table", "42")
    router.ip("mptcp", "endpoint", "add", plain_net.wan(1).of(4), "subflow")
    router.run("nft", "add table inet stray")
    router.run("iptables-legacy", "-t", "nat", "-N", "STRAY")
    router.sysctl(net__mptcp__stale_loss_cnt=9)
    router.run("mkdir", "-p", "/var/run/mptcp-proxy/stray")
    found = leftovers(before, snapshot(router))
    kinds = {line.partition(":")[0] for line in found}
    names = {"rule", "route", "endpoint", "nftables", "iptables", "sysctl", "file", "process"}
    assert names <= kinds, found
    end(sleeper)


def test_configuration_reads_as_in_the_guide() -> None:
    changes = {"client": {"when_down": "block"}}
    with bridge([50, 20], Proxy("sing-box", client=changes)) as net:
        text = net.client.path("/etc/config/mptcp-proxy").read_text()
    assert (
        text.splitlines()[:20]
        == """\
config globals 'globals'
	option enabled '1'
	option engine 'sing-box'
	option redirect 'auto'

config peer 'r7000'
	list address '10.1.1.70'
	list address '10.2.2.70'
	list address 'fd00:10:1::70'
	list address 'fd00:10:2::70'
	option port '8388'
	option method 'none'
	option password ''

config client 'client'
	option enabled '1'
	list peer 'r7000'
	option local_port '1080'
	list lan 'lan'
	option when_down 'block'""".splitlines()
    )
