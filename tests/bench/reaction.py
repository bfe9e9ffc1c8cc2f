# SPDX-License-Identifier: GPL-2.0-or-later
"""Line 6: from an address or a carrier that goes or comes to the endpoint that goes or comes."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import quantiles

from lab.topology import Network
from toolkit.command import LabError

from bench.bench import Bench
from bench.kernel import Endpoints, Links
from bench.measure import Measure
from bench.setups import EQUAL, agent, mptcpd

TITLE = "Reaction to addresses and carriers"
MEANING = """The kernel is told to remove an address of a WAN, to add it, or the far end of the
WAN's cable goes down: time from that call until the kernel's list of MPTCP endpoints is another,
looked at every 0.5 ms. *p50* and *p99* over all events of that kind. **mptcpd** ignores
carriers. NetworkManager was not run: it wants udev and a system bus of its own, and manages
devices that are somebody else's here."""

WAN = 2
ADDRESSES, CARRIERS = 85, 30
"""Events: so many of each of two kinds (removed, added), and of carriers lost."""
AIM = 20.0
PATIENCE = 3.0
PAUSE = 0.4
"""Seconds between two events: each finds the agent done with the one before."""

KINDS = ("address removed", "address added", "carrier lost")


def run(bench: Bench) -> list[Measure]:
    found: dict[str, dict[str, list[float]]] = {kind: {} for kind in KINDS}
    for name, setup in (("agent", agent), ("mptcpd", mptcpd)):
        with setup(EQUAL) as net:
            times = reactions(bench, net, carriers=name == "agent")
            for kind, values in times.items():
                if values:
                    found[kind][name] = values
                    low, high = percentiles(values)
                    bench.say(f"{name}, {kind}: p50 {low:.1f} p99 {high:.1f} ms ({len(values)})")
    return [row for kind, runs in found.items() if "agent" in runs for row in rows(kind, runs)]


def rows(kind: str, runs: dict[str, list[float]]) -> list[Measure]:
    made = []
    for number, name in enumerate(("p50", "p99")):
        values = {who: [percentiles(each)[number]] for who, each in runs.items()}
        own = values.pop("agent")
        limit = AIM if name == "p99" else None
        made.append(Measure(f"reaction {kind} {name}", "ms", "lower", own, values, limit))
    return made


def percentiles(values: list[float]) -> tuple[float, float]:
    """p50 and p99."""
    if len(values) < 2:
        return values[0], values[0]
    cuts = quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[98]


def reactions(bench: Bench, net: Network, carriers: bool) -> dict[str, list[float]]:
    wan = net.wan(WAN)
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    address, prefix = wan.of(4), int(wan.addresses[0].rpartition("/")[2])
    endpoints, links = Endpoints(net.client), Links(net.client)
    far, port = net.wires[WAN - 1].port("a")
    cable = Links(far)

    def event(kind: str, work: Callable[[], None], present: bool) -> None:
        time.sleep(PAUSE if carriers else PAUSE / 10)
        began = time.monotonic()
        work()
        done = endpoints.wait(address, present, PATIENCE)
        if done is None:
            raise LabError(f"{kind}: nothing happened to the endpoint within {PATIENCE} s")
        times[kind].append(1000 * (done - began))

    try:
        for _ in range(3 if bench.quick else ADDRESSES):
            event(KINDS[0], lambda: links.address(wan.device, address, prefix, False), False)
            event(KINDS[1], lambda: links.address(wan.device, address, prefix, True), True)
        for _ in range((2 if bench.quick else CARRIERS) if carriers else 0):
            event(KINDS[2], lambda: cable.up(port, False), False)
            cable.up(port, True)
            # A link that flaps has to prove itself, for longer each time.
            if endpoints.wait(address, True, 30) is None:
                raise LabError("the endpoint did not come back with the carrier")
    finally:
        for each in (endpoints, links, cable):
            each.close()
    return times
