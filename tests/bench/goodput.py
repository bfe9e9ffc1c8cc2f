# SPDX-License-Identifier: GPL-2.0-or-later
"""Line 1: one LAN stream over two links."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from lab.bridge import bridge
from lab.isp import isp
from lab.proxy import Proxy
from lab.topology import Network
from lab.traffic import WAYS, Way, iperf
from lab.wire import Shape

from bench.bench import Bench
from bench.cut import PAYLOAD
from bench.measure import Measure
from bench.setups import (
    EQUAL,
    Builder,
    Links,
    add_endpoints,
    agent,
    bare,
    prepare_mptcp,
)

TITLE = "One LAN stream"
MEANING = """One iperf3 stream of one LAN host over two links; the receiver's payload per second.
The ceiling is what full Ethernet frames carry of it: 1420 of 1514 bytes with MPTCP (93.8 % of the
sum of the link rates), 1448 for the peer *direct* (plain TCP over the first link alone, no proxy).
**raw MPTCP**: iperf3 under mptcpize between the two routers, endpoints by hand, no proxy.
*equal*: 50 Mbit/s with a round trip of 20 ms + 50 with 30; *unequal*: 50 with 20 + 20 with 60.
*128 MB*: tcp_rmem and tcp_wmem limits of 1 MB and the memory of such a router, where the agent
may raise them. shadowsocks-libev with aes-256-gcm unless said otherwise."""

UNEQUAL = (Shape(50, 10), Shape(20, 30))
SMALL = 1 << 20
"""Bytes: what Linux allows a connection at most on a router of 128 MB (RAM/128)."""
SECONDS, OMIT = 4.0, 2.0

ENGINES = {
    "sing-box none": Proxy(engine="sing-box", method="none"),
    "sing-box aes-128-gcm": Proxy(engine="sing-box", method="aes-128-gcm"),
    "libev chacha20": Proxy(engine="shadowsocks-libev", method="chacha20-ietf-poly1305"),
}


def run(bench: Bench) -> list[Measure]:
    found: list[Measure] = []
    shapes: dict[str, Links] = {"equal": EQUAL, "unequal": UNEQUAL}
    builds: dict[str, Builder] = {"bridge": bridge, "isp": isp}
    for topology, build in builds.items():
        for kind, links in shapes.items():
            base = f"goodput {topology} {kind}"
            aim = 0.99 if kind == "equal" else 0.98
            rows = {way: measure(f"{base} {way}", links, aim) for way in WAYS}
            fill(bench, rows, agent(links, build=build))
            if topology == "bridge":
                peers(bench, rows, links)
            found += rows.values()
    rows = {way: measure(f"goodput bridge unequal 128 MB {way}", UNEQUAL, 0.98) for way in WAYS}
    fill(bench, rows, small_routers(UNEQUAL))
    found += rows.values()
    for name, proxy in ENGINES.items():
        rows = {way: measure(f"goodput bridge equal {name} {way}", EQUAL, 0.99) for way in WAYS}
        fill(bench, rows, agent(EQUAL, proxy=proxy))
        found += rows.values()
    return found


def measure(name: str, links: Links, aim: float) -> Measure:
    total = sum(link.rate if isinstance(link, Shape) else link for link in links)
    return Measure(name, "Mbit/s", "higher", limit=PAYLOAD * total, aim=aim)


def fill(bench: Bench, rows: dict[Way, Measure], setup: AbstractContextManager[Network]) -> None:
    with setup as net:
        through = partial(iperf, net.client_host, net.server_host, net.target)
        repeat(bench, rows, through, lambda row: row.values, bench.peer_repeats)


def peers(bench: Bench, rows: dict[Way, Measure], links: Links) -> None:
    with bare(links) as net:
        direct = partial(iperf, net.client_host, net.server_host, net.target)
        repeat(bench, rows, direct, lambda row: row.peers.setdefault("direct", []), 1)
        prepare_mptcp(net)
        add_endpoints(net)
        peer = next(i for i in net.interfaces["server"] if i.name == "wan1").of(4)
        raw = partial(iperf, net.client, net.server, peer, mptcp=True, server_mptcp=True)
        repeat(bench, rows, raw, lambda row: row.peers.setdefault("raw MPTCP", []), 1)


def repeat(
    bench: Bench,
    rows: dict[Way, Measure],
    stream: Callable[..., float],
    place: Callable[[Measure], list[float]],
    repeats: int,
) -> None:
    for way, row in rows.items():
        for _ in range(repeats):
            mbit = bench.attempt(partial(stream, way, seconds=SECONDS, omit=OMIT))
            if mbit is not None:
                place(row).append(mbit)
        values = ", ".join(f"{value:.1f}" for value in place(row))
        bench.say(f"{row.name}: {values} Mbit/s (ceiling {row.limit:.1f})")


def small_routers(links: Links) -> AbstractContextManager[Network]:
    """Routers with the memory and the buffer limits of 128 MB."""

    def build(links: Links, proxy: Proxy) -> Network:
        net = bridge(links, proxy)
        for router in net.routers:
            router.path("/etc/meminfo").write_text("MemTotal: 124000 kB\n")
            router.run("mount", "--bind", "/etc/meminfo", "/proc/meminfo")
            for name, start in (("rmem", 131072), ("wmem", 16384)):
                value = f"4096 {start} {SMALL}"
                router.run("sysctl", "-qw", f"net.ipv4.tcp_{name}={value}")
        return net

    return agent(links, build=build)
