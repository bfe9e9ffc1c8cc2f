"""What the standard topologies have in common: interfaces as facts and as UCI, and the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_interface
from types import TracebackType
from typing import Self

from lab.host import Host
from lab.lab import Lab
from lab.router import Router
from lab.uci import Package, Section, Value
from lab.wire import Cabling, Shape, Wire, cable


@dataclass(frozen=True)
class Interface:
    """A netifd interface: addresses with prefix lengths, default gateways and their metric."""

    name: str
    device: str
    addresses: Sequence[str]
    gateways: Sequence[str] = ()
    metric: int = 0

    def of(self, version: int) -> str:
        """Return the IPv4 or IPv6 address, without its length."""
        return next(str(a.ip) for a in map(ip_interface, self.addresses) if a.version == version)

    def configure(self, host: Host) -> None:
        """Give the device what netifd would give it."""
        for address in self.addresses:
            host.ip("address", "add", address, "dev", self.device, "nodad")
        for gateway in self.gateways:
            add_route(host, "default", gateway, self.device, self.metric)

    def section(self) -> Section:
        section = Section("interface", self.name, {"device": self.device, "proto": "static"})
        for address in map(ip_interface, self.addresses):
            if address.version == 4:
                section.options["ipaddr"] = str(address.ip)
                section.options["netmask"] = str(address.netmask)
            else:
                section.options["ip6addr"] = str(address)
        for gateway in self.gateways:
            section.options["ip6gw" if ":" in gateway else "gateway"] = gateway
        if self.metric:
            section.options["metric"] = self.metric
        return section


@dataclass(frozen=True)
class Route:
    """A static route of /etc/config/network."""

    target: str
    gateway: str
    interface: str
    metric: int = 0

    def section(self) -> Section:
        options: dict[str, Value] = {
            "interface": self.interface,
            "target": self.target,
            "gateway": self.gateway,
        }
        if self.metric:
            options["metric"] = self.metric
        return Section("route6" if ":" in self.target else "route", "", options)


@dataclass
class Network:
    """A standard topology. `wires[i]` is WAN i+1 of the client router, which is end a ("up")."""

    lab: Lab
    cabling: Cabling
    client: Router
    server: Router
    client_host: Host
    server_host: Host
    wires: list[Wire] = field(default_factory=list)
    providers: list[Host] = field(default_factory=list)
    """Where there are some: `providers[i]` is at the far end of `wires[i]`."""
    interfaces: dict[str, list[Interface]] = field(default_factory=dict)
    target: str = ""
    target6: str = ""

    @property
    def routers(self) -> tuple[Router, Router]:
        return self.client, self.server

    @property
    def rates(self) -> list[float]:
        """The rates of the WAN links downwards, in Mbit/s."""
        return [wire.shape.rate for wire in self.wires]

    def wan(self, number: int) -> Interface:
        """Return the client router's WAN `number` (1, 2 ...)."""
        return next(i for i in self.interfaces["client"] if i.name == f"wan{number}")

    def set_up(self, router: Router, interfaces: list[Interface], routes: list[Route]) -> None:
        """Configure a router's interfaces and routes, in the kernel and as /etc/config/network."""
        role = "client" if router is self.client else "server"
        self.interfaces[role] = interfaces
        # OpenWrt answers ARP for an address only on its own link; strict filtering is the hard
        # case for policy routing, and what some firmwares ship.
        router.sysctl(
            net__ipv4__conf__all__arp_ignore=1,
            net__ipv4__conf__all__rp_filter=0,
            **{f"net__ipv4__conf__{i.device.replace('.', '/')}__rp_filter": 1 for i in interfaces},
        )
        network = Package(
            [
                Section(
                    "interface",
                    "loopback",
                    {
                        "device": "lo",
                        "proto": "static",
                        "ipaddr": "127.0.0.1",
                        "netmask": "255.0.0.0",
                    },
                )
            ]
        )
        for interface in interfaces:
            interface.configure(router)
            network.add(interface.section())
        for route in routes:
            device = next(i.device for i in interfaces if i.name == route.interface)
            add_route(router, route.target, route.gateway, device, route.metric)
            network.add(route.section())
        router.write_config("network", network)

    def close(self) -> None:
        self.lab.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.lab.__exit__(kind, error, trace)


def open_network(
    client: str,
    server: str,
    client_host: str,
    server_host: str,
    build: Callable[[Network], None] | None = None,
) -> Network:
    """Make the four machines that every topology has, and what `build` adds to them.

    The lab is closed again on an error.
    """
    lab = Lab()
    try:
        network = Network(
            lab,
            Cabling(lab),
            Router(lab, client),
            Router(lab, server),
            Host(lab, client_host),
            Host(lab, server_host),
        )
        if build:
            build(network)
    except BaseException:
        lab.close()
        raise
    return network


def add_lan(router: Router, host: Host, net4: str, net6: str) -> Interface:
    """Put `host` at .107 behind `router` at .1; return the router's `lan` interface."""
    cable((host, "eth0"), (router, "br-lan"))
    add_host(host, [f"{net4}.107/24", f"{net6}::107/64"], [f"{net4}.1", f"{net6}::1"])
    return Interface("lan", "br-lan", [f"{net4}.1/24", f"{net6}::1/64"])


def add_host(host: Host, addresses: list[str], gateways: list[str]) -> None:
    Interface("eth0", "eth0", addresses, gateways).configure(host)
    # A finished test's congestion window must not be the next one's starting point.
    host.sysctl(net__ipv4__tcp_no_metrics_save=1)


def add_route(host: Host, target: str, gateway: str, device: str = "", metric: int = 0) -> None:
    route = ["route", "add", target, "via", gateway, "proto", "static"]
    route += ["dev", device] if device else []
    host.ip(*route, *(["metric", str(metric)] if metric else []))


def as_shapes(links: Sequence[Shape | float]) -> list[Shape]:
    """Accept plain rates (Mbit/s) for shapes."""
    return [link if isinstance(link, Shape) else Shape(link) for link in links]


FIREWALL_NFT = """
table inet fw4 {{
    chain forward {{
        type filter hook forward priority filter; policy accept;
        ct state established,related accept
    }}
    chain srcnat {{
        type nat hook postrouting priority srcnat; policy accept;
        {masquerade}
    }}
}}
"""


def add_firewall(router: Router, masquerade: Sequence[str] = ()) -> None:
    """Give `router` the least that every OpenWrt firewall has: connection tracking, and NAT.

    Without any rule that uses conntrack, removing the redirect would remove the last user of the
    tracking hooks and cut running connections, which never happens on a real router.
    """
    devices = ", ".join(f'"{device}"' for device in masquerade)
    rule = f"oifname {{ {devices} }} masquerade" if masquerade else ""
    router.run("nft", "-f", "-", stdin=FIREWALL_NFT.format(masquerade=rule))
