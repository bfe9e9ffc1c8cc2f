# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab can carry what the agent promises: the data path of the guide, set up by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import pytest
from lab.bridge import bridge
from lab.paths import SING_BOX
from lab.proxy import PORT
from lab.router import Router
from lab.topology import Network
from lab.traffic import WAYS, Sampler, TalkServer, iperf, start

CEILING = 0.9379
"""MPTCP payload per Ethernet frame at an MTU of 1500: 1420 of 1514 bytes."""

REDIRECT = """
table ip by_hand {{
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        iifname "br-lan" ip daddr {target} meta l4proto tcp redirect to :1080
    }}
}}
"""


def endpoints_and_routes(net: Network) -> None:
    for router in net.routers:
        router.ip("mptcp", "limits", "set", "subflows", "8", "add_addr_accepted", "8")
        for number in range(1, len(net.wires) + 1):
            router.sysctl(**{f"net__ipv4__conf__wan{number}__rp_filter": 2})
    for number, wan in enumerate(net.interfaces["client"][1:], 1):
        net.client.ip("route", "add", "default", "via", wan.gateways[0], "table", f"{100 + number}")
        net.client.ip("rule", "add", "from", wan.of(4), "lookup", f"{100 + number}")
        net.client.ip("mptcp", "endpoint", "add", wan.of(4), "dev", wan.device, "subflow")
    net.client.run("nft", "-f", "-", stdin=REDIRECT.format(target=net.target))


def shadowsocks(net: Network) -> None:
    peer = net.interfaces["server"][1].of(4)
    common = {"server_port": PORT, "password": "x", "method": "aes-256-gcm", "mptcp": True}
    for router, program, more in (
        (net.server, "ss-server", {"server": "0.0.0.0"}),
        (net.client, "ss-redir", {"server": peer, "local_address": "0.0.0.0", "local_port": 1080}),
    ):
        router.path("/etc/ss.json").write_text(json.dumps({**common, **more, "timeout": 300}))
        router.popen(program, "-c", "/etc/ss.json", log=router.log(program))


def sing_box(net: Network) -> None:
    peer = net.interfaces["server"][1].of(4)
    shadow = {"type": "shadowsocks", "method": "none", "password": "", "tcp_multi_path": True}
    server = {
        "inbounds": [{**shadow, "listen": "::", "listen_port": PORT}],
        "outbounds": [{"type": "direct"}],
    }
    client = {
        "inbounds": [{"type": "redirect", "listen": "0.0.0.0", "listen_port": 1080}],
        "outbounds": [{**shadow, "server": peer, "server_port": PORT}],
    }
    for router, config in ((net.server, server), (net.client, client)):
        router.path("/etc/sing-box.json").write_text(json.dumps(config))
        argv = [str(SING_BOX), "run", "-c", "/etc/sing-box.json"]
        router.popen(*argv, log=router.log("sing-box"), env={"GODEBUG": "multipathtcp=0"})


def listens(router: Router, port: int) -> bool:
    return bool(router.run("ss", "-Hltn", f"sport = {port}").stdout)


@pytest.mark.parametrize("engine", [shadowsocks, sing_box])
def test_one_stream_rides_both_links(engine: Callable[[Network], None]) -> None:
    with bridge([50, 20]) as net:
        endpoints_and_routes(net)
        engine(net)
        for router, port in ((net.server, PORT), (net.client, 1080)):
            router.wait(partial(listens, router, port), 5, f"port {port}")
        for way in WAYS:
            goodput = iperf(net.client_host, net.server_host, net.target, way)
            assert goodput > 0.95 * CEILING * 70, way

        TalkServer(net.server_host)
        with Sampler(net.wires) as sampler:
            result = start(net.client_host, "get", net.target, seconds=2).result()
        assert result.ok, result.report.error
        settled = sampler.samples[len(sampler.samples) // 2]
        assert settled.down[0] > 40
        assert settled.down[1] > 15
