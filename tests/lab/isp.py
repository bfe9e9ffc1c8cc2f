"""A router with several providers, and a server elsewhere.

    192.168.78.107 --- home ===== isp1, isp2 ... --- internet --- 203.0.113.70 (server)
                 .78.1   100.64.N.2      .1                  \\-- 198.51.100.107 (web)

Link N goes to provider N (100.64.N.0/24, 2001:db8:64:N::/64), which routes without NAT; `home`
masquerades on its WANs, as routers do. `web` is reached through the server or, without the proxy,
directly through a provider.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from lab.host import Host
from lab.proxy import Proxy
from lab.topology import (
    Interface,
    Network,
    add_firewall,
    add_host,
    add_lan,
    add_route,
    as_shapes,
    open_network,
)
from lab.wire import Shape, cable


def isp(links: Sequence[Shape | float] = (50, 50), proxy: Proxy | None = None) -> Network:
    """Build it; use as a context manager. One provider per entry of `links`, up to nine."""
    build = partial(_build, as_shapes(links), proxy or Proxy())
    return open_network("home", "server", "pc", "web", build)


def _build(links: list[Shape], proxy: Proxy, net: Network) -> None:
    internet = Host(net.lab, "internet")
    internet.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
    wans = []
    for number, shape in enumerate(links, 1):
        name = f"wan{number}"
        provider = _provider(net, internet, number)
        net.providers.append(provider)
        net.wires.append(net.cabling.shaped((net.client, name), (provider, "cust"), shape))
        side4, side6 = f"100.64.{number}", f"2001:db8:64:{number}:"
        Interface("cust", "cust", [f"{side4}.1/24", f"{side6}:1/64"]).configure(provider)
        wans.append(
            Interface(
                name,
                name,
                [f"{side4}.2/24", f"{side6}:2/64"],
                [f"{side4}.1", f"{side6}:1"],
                10 * number,
            )
        )
    lan = add_lan(net.client, net.client_host, "192.168.78", "fd00:78")
    net.set_up(net.client, [lan, *wans], [])
    add_firewall(net.client, masquerade=[wan.device for wan in wans])

    cable((internet, "server"), (net.server, "wan"))
    Interface("server", "server", ["203.0.113.1/24", "2001:db8:203::1/64"]).configure(internet)
    uplink = Interface(
        "wan", "wan", ["203.0.113.70/24", "2001:db8:203::70/64"], ["203.0.113.1", "2001:db8:203::1"]
    )
    net.set_up(net.server, [uplink], [])
    add_firewall(net.server)

    cable((internet, "web"), (net.server_host, "eth0"))
    Interface("web", "web", ["198.51.100.1/24", "2001:db8:198::1/64"]).configure(internet)
    net.target, net.target6 = "198.51.100.107", "2001:db8:198::107"
    add_host(
        net.server_host,
        [f"{net.target}/24", f"{net.target6}/64"],
        ["198.51.100.1", "2001:db8:198::1"],
    )

    proxy.install(*net.routers)
    peer = proxy.peer("server", [uplink.of(4), uplink.of(6)])
    allow = ["100.64.0.0/16", "2001:db8:64::/48"]
    net.client.write_config("mptcp-proxy", proxy.client_package(peer, wans))
    net.server.write_config("mptcp-proxy", proxy.server_package(allow, [uplink]))


def _provider(net: Network, internet: Host, number: int) -> Host:
    """Make provider `number`, routed between its customers and the internet."""
    name = f"isp{number}"
    provider = Host(net.lab, name)
    provider.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
    cable((internet, name), (provider, "core"))
    transit4, transit6 = f"172.31.{number}", f"2001:db8:31:{number}:"
    Interface(name, name, [f"{transit4}.1/24", f"{transit6}:1/64"]).configure(internet)
    Interface(
        "core", "core", [f"{transit4}.2/24", f"{transit6}:2/64"], [f"{transit4}.1", f"{transit6}:1"]
    ).configure(provider)
    add_route(internet, f"100.64.{number}.0/24", f"{transit4}.2")
    add_route(internet, f"2001:db8:64:{number}::/64", f"{transit6}:2")
    return provider
