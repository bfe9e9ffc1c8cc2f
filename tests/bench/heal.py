# SPDX-License-Identifier: GPL-2.0-or-later
"""Line 3: a silent WAN comes back under a running stream."""

from __future__ import annotations

import time
from dataclasses import dataclass

from lab.topology import Network
from lab.traffic import start
from lab.wire import Wire
from toolkit.command import LabError
from toolkit.sampling import SamplingThread

from bench.bench import Bench
from bench.cut import SETTLE, stall_of, wait_filled
from bench.measure import NEVER, Measure
from bench.setups import EQUAL, agent, alone, healthy, mptcpd

TITLE = "A WAN comes back"
MEANING = """A download over two links of 50 Mbit/s; the first falls silent and comes back after 4,
12 or 60 s. *used again*: until it carries 60 % of its rate. *after the first good probe*: the
same from the first frame that came back over it (for the agent that is the answer to a probe;
the agent asks every 0.5 s, later less often). *second stall*: the longest time without a byte in
the 4 s (peers: 14 s) after the link came back, both links healthy."""

WAN = 1
USED = 0.6
"""Share of its rate that a link in use carries."""
WATCHED = 14.0
"""Seconds after the heal in which the kernel alone has found the link again, if it ever does."""
CALM = 4.0
AIM = 300.0
OUTAGES = (4, 12, 60)


@dataclass(frozen=True)
class Heal:
    """Seconds."""

    used: float
    first_sign: float
    second_stall: float

    @property
    def after(self) -> float:
        """From the first sign until it is used; the window of "used" may begin before it."""
        return max(0.0, self.used - self.first_sign) if self.used < NEVER else NEVER


class Carried(SamplingThread):
    """Notes when a cable carried how much downwards, every few ms."""

    def __init__(self, wire: Wire, interval: float = 0.005) -> None:
        super().__init__(interval)
        self.samples: list[tuple[float, int]] = []
        self._wire = wire

    def sample(self) -> None:
        self.samples.append((time.monotonic(), self._wire.bytes()[1]))

    def first(self, after: float) -> float | None:
        """When the first byte came over it after a moment."""
        seen = [(at, count) for at, count in self.samples if at >= after]
        return next((at for at, count in seen if count > seen[0][1]), None) if seen else None

    def used(self, after: float, mbit: float, window: float = 0.1) -> float | None:
        """When it began to carry so much for the length of a window."""
        seen = [(at, count) for at, count in self.samples if at >= after]
        end = 0
        for at, count in seen:
            while end < len(seen) and seen[end][0] < at + window:
                end += 1
            if end == len(seen):
                return None
            if (seen[end][1] - count) * 8e-6 / (seen[end][0] - at) >= mbit:
                return at
        return None


def run(bench: Bench) -> list[Measure]:
    found: dict[int, dict[str, list[Heal]]] = {outage: {} for outage in OUTAGES}
    setups = (("agent", agent), ("kernel alone", alone), ("mptcpd", mptcpd))
    for name, setup in setups:
        with setup(EQUAL) as net:
            for outage in OUTAGES[:1] if bench.quick else OUTAGES:
                if name == "mptcpd" and outage == 60:
                    continue  # the kernel alone shows how it would go on
                repeats = 1 if outage == 60 or name != "agent" else bench.repeats
                found[outage][name] = experiments(bench, name, net, outage, repeats)
    return [
        m for outage, runs in found.items() if runs.get("agent") for m in measures(outage, runs)
    ]


def experiments(bench: Bench, name: str, net: Network, outage: int, repeats: int) -> list[Heal]:
    results = []
    for _ in range(repeats):
        one = bench.attempt(lambda: heal(net, outage, CALM if name == "agent" else WATCHED))
        if one:
            results.append(one)
            bench.say(
                f"{name}, {outage} s: used again after {ms(one.used):.0f} ms, "
                f"{ms(one.after):.0f} after the first sign, "
                f"second stall {ms(one.second_stall):.0f} ms"
            )
    return results


def heal(net: Network, outage: float, watched: float) -> Heal:
    healthy(net)
    wire = net.wires[WAN - 1]
    length = SETTLE + 2 + outage + watched
    stream = start(net.client_host, "get", net.target, seconds=length)
    with Carried(wire) as carried:
        wait_filled(net, "down", SETTLE + 2)
        wire.blackhole(True)
        time.sleep(outage)
        wire.blackhole(False)
        at = time.monotonic()
        transfer = stream.result()
    if not transfer.ok:
        raise LabError(f"the stream broke: {transfer.report.error}")
    first, used = carried.first(at), carried.used(at, USED * wire.shape.rate)
    return Heal(
        used=NEVER if used is None else used - at,
        first_sign=NEVER if first is None else first - at,
        second_stall=stall_of(transfer, at, at + watched)[0],
    )


def ms(seconds: float) -> float:
    return NEVER if seconds >= NEVER else 1000 * seconds


def measures(outage: int, runs: dict[str, list[Heal]]) -> list[Measure]:
    own = runs["agent"]
    peers = {name: each for name, each in runs.items() if name != "agent"}

    def row(name: str, of: str, limit: float | None) -> Measure:
        def values(results: list[Heal]) -> list[float]:
            return [ms(getattr(r, of)) for r in results]

        others = {peer: values(each) for peer, each in peers.items()}
        return Measure(f"heal {outage} s {name}", "ms", "lower", values(own), others, limit=limit)

    return [
        row("after the first good probe", "after", AIM),
        row("used again", "used", None),
        row("second stall", "second_stall", None),
    ]
