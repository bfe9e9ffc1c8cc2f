# SPDX-License-Identifier: GPL-2.0-or-later
"""Line 8: the engines on links without limits."""

from __future__ import annotations

from functools import partial

from lab.proxy import Proxy
from lab.topology import Network
from lab.traffic import WAYS, iperf
from lab.wire import Shape

from bench.bench import Bench
from bench.footprint import cpu
from bench.measure import Measure
from bench.setups import agent, bare, pids_of

TITLE = "Engines on links without limits"
MEANING = """Two links without a rate (the emulator carries frames as fast as it can), one stream:
everything, the emulator and both ends' kernels included, shares this machine's processors, so the
rate says little; *CPU* is what the two proxy processes together take for a gigabyte (user and
kernel time on their own account). **direct** is plain TCP over the same cable."""

ENGINES = {
    "libev aes-256-gcm": Proxy(engine="shadowsocks-libev", method="aes-256-gcm"),
    "libev chacha20": Proxy(engine="shadowsocks-libev", method="chacha20-ietf-poly1305"),
    "sing-box none": Proxy(engine="sing-box", method="none"),
    "sing-box aes-128-gcm": Proxy(engine="sing-box", method="aes-128-gcm"),
}
UNSHAPED = (Shape(0, 0), Shape(0, 0))
SECONDS = 3.0


def run(bench: Bench) -> list[Measure]:
    direct: dict[str, list[float]] = {}
    with bare(UNSHAPED) as net:
        for way in WAYS:
            stream = partial(iperf, net.client_host, net.server_host, net.target, way)
            direct[way] = [stream(seconds=SECONDS) for _ in range(1 if bench.quick else 2)]
            bench.say(f"direct, {way}: {max(direct[way]):.0f} Mbit/s")
    found: list[Measure] = []
    for name, proxy in list(ENGINES.items())[: 1 if bench.quick else None]:
        with agent(UNSHAPED, proxy=proxy) as net:
            for way in WAYS:
                rates, costs = [], []
                for _ in range(1 if bench.quick else 2):
                    mbit, cost = once(net, way)
                    rates.append(mbit)
                    costs.append(cost)
                    bench.say(f"{name}, {way}: {mbit:.0f} Mbit/s, {cost:.1f} CPU s per GB")
                peer = {"direct": direct[way]}
                found.append(Measure(f"engine {name} {way}", "Mbit/s", "higher", rates, peer))
                found.append(Measure(f"engine {name} {way} CPU", "s per GB", "lower", costs))
    return found


def once(net: Network, way: str) -> tuple[float, float]:
    """Mbit/s, and seconds of the proxies' processor time per gigabyte."""
    processes = pids_of(net)
    before = sum(map(cpu, processes))
    omit = 1.0
    mbit = iperf(
        net.client_host,
        net.server_host,
        net.target,
        "down" if way == "down" else "up",
        seconds=SECONDS,
        omit=omit,
    )
    used = sum(map(cpu, processes)) - before
    return mbit, used / (mbit * 1e6 / 8 * (SECONDS + omit) / 1e9)
