# SPDX-License-Identifier: GPL-2.0-or-later
"""The guide's topology: two routers bridged by several radio links, a LAN behind each.

    192.168.78.107 --- R7800 ===== 10.1.1.0/24, 10.2.2.0/24 ... ===== R7000 --- 192.168.70.107
                 .78.1    .78                                    .70     .70.1

R7800 is the proxy client, R7000 the proxy server. As in the guide R7800 has R7000 as its default
gateway on each link (DHCP would have told it so) and R7000 has none. IPv6: fd00:10:N::78 and ::70
on link N, fd00:78::/64 and fd00:70::/64 on the LANs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from lab.proxy import Proxy
from lab.topology import (
    Interface,
    Network,
    Route,
    add_firewall,
    add_lan,
    as_shapes,
    open_network,
)
from lab.wire import Shape


def bridge(links: Sequence[Shape | float] = (50, 50), proxy: Proxy | None = None) -> Network:
    """Build it; use as a context manager. One link per entry of `links`, up to nine."""
    build = partial(_build, as_shapes(links), proxy or Proxy())
    return open_network("r7800", "r7000", "pc78", "pc70", build)


def _build(links: list[Shape], proxy: Proxy, net: Network) -> None:
    wans: dict[str, list[Interface]] = {"78": [], "70": []}
    for number, shape in enumerate(links, 1):
        name = f"wan{number}"
        net.wires.append(net.cabling.shaped((net.client, name), (net.server, name), shape))
        for end, list_ in wans.items():
            addresses = [f"10.{number}.{number}.{end}/24", f"fd00:10:{number}::{end}/64"]
            gateways = [f"10.{number}.{number}.70", f"fd00:10:{number}::70"]
            list_.append(
                Interface(name, name, addresses, gateways if end == "78" else (), 10 * number)
            )
    lan78 = add_lan(net.client, net.client_host, "192.168.78", "fd00:78")
    lan70 = add_lan(net.server, net.server_host, "192.168.70", "fd00:70")
    net.target, net.target6 = "192.168.70.107", "fd00:70::107"
    net.set_up(net.client, [lan78, *wans["78"]], [])
    back = [
        Route(target, wan.of(version), wan.name, wan.metric)
        for wan in wans["78"]
        for target, version in (("192.168.78.0/24", 4), ("fd00:78::/64", 6))
    ]
    net.set_up(net.server, [lan70, *wans["70"]], back)
    for router in net.routers:
        add_firewall(router)

    proxy.install(*net.routers)
    peer = proxy.peer("r7000", [wan.of(version) for version in (4, 6) for wan in wans["70"]])
    allow = [f"10.{number}.{number}.0/24" for number in range(1, len(links) + 1)]
    allow += [f"fd00:10:{number}::/64" for number in range(1, len(links) + 1)]
    net.client.write_config("mptcp-proxy", proxy.client_package(peer, wans["78"]))
    net.server.write_config("mptcp-proxy", proxy.server_package(allow, wans["70"]))
