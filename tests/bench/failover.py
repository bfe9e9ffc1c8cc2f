# SPDX-License-Identifier: GPL-2.0-or-later
"""Line 2: a WAN dies under a running stream."""

from __future__ import annotations

from functools import partial
from itertools import product

from lab.topology import Network
from lab.traffic import WAYS, Way

from bench.bench import Bench
from bench.cut import Cut, Fault, cut
from bench.measure import Measure
from bench.setups import EQUAL, agent, alone, mptcpd

TITLE = "A WAN dies under a running stream"
MEANING = """One LAN stream fills two links (50 Mbit/s with a round trip of 20 ms, 50 with 30);
one of them dies: silently (nothing is dropped visibly, no interface notices), by losing its
carrier, or by losing its address. *stall*: longest time without a byte at the receiver. *full*:
time until it receives 80 % of what the other link carries. *detected*: time until the dead WAN's
endpoint is gone; *stall after it*: from then until bytes flow. A pause of one round trip more or
less belongs to where in the stream the cut fell. **kernel alone**: the same routers, both agents
killed after set-up. **mptcpd**: set up by hand, mptcpd managing the endpoints. Nobody gives the
peers routes back after a lost carrier or address: each such run has a network of its own. The
kernel tells of lost carriers once a second at most, all namespaces of the machine together
(net/core/link_watch.c), so where other labs run beside this one, *carrier* is noticed late."""

FAULTS: tuple[Fault, ...] = ("blackhole", "carrier", "address")
STALL, AFTER, FULL = 400.0, 150.0, 1000.0
"""ms: the aims for a silent blackhole, in all and after detection; the others are reported."""


Case = tuple[Fault, int, Way]


def run(bench: Bench) -> list[Measure]:
    cases: list[Case] = list(product(FAULTS, (1, 2), WAYS))
    silent = [case for case in cases if case[0] == "blackhole"]
    found: dict[Case, dict[str, list[Cut]]] = {case: {} for case in cases}

    def runs(name: str, net: Network, case: Case, repeats: int) -> None:
        fault, wan, way = case
        for _ in range(repeats):
            result = bench.attempt(partial(cut, net, way, fault, wan))
            if result:
                bench.say(f"{name}: {fault} of wan{wan}, {way}: {words(result)}")
                found[case].setdefault(name, []).append(result)

    with bench.network("agent", agent(EQUAL)) as net:
        for case in cases:
            runs("agent", net, case, bench.repeats)
    for name, setup in (("kernel alone", alone), ("mptcpd", mptcpd)):
        with bench.network(name, setup(EQUAL)) as net:
            for case in silent:
                runs(name, net, case, bench.peer_repeats)
        others = (case for case in cases if case not in silent)
        for case, _ in product(others, range(bench.peer_repeats)):
            with bench.network(name, setup(EQUAL)) as net:
                runs(name, net, case, 1)
    return [m for case, seen in found.items() if seen.get("agent") for m in measures(case, seen)]


def words(result: Cut) -> str:
    return (
        f"stall {result.stall * 1000:.0f} ms, full {result.full * 1000:.0f} ms, "
        f"detected {result.noticed * 1000:.0f} ms, after it {result.after * 1000:.0f} ms, "
        f"{result.before:.1f} Mbit/s before"
    )


def measures(case: Case, runs: dict[str, list[Cut]]) -> list[Measure]:
    fault, wan, way = case
    base = f"failover {fault} wan{wan} {way}"
    silent = fault == "blackhole"
    own = runs["agent"]
    peers = {name: each for name, each in runs.items() if name != "agent"}

    def ms(values: list[float]) -> list[float]:
        return [1000 * value for value in values]

    return [
        Measure(
            f"{base} stall",
            "ms",
            "lower",
            ms([r.stall for r in own]),
            {name: ms([r.stall for r in each]) for name, each in peers.items()},
            STALL,
        ),
        Measure(
            f"{base} full",
            "ms",
            "lower",
            ms([r.full for r in own]),
            {name: ms([r.full for r in each]) for name, each in peers.items()},
        ),
        Measure(f"{base} detected", "ms", "lower", ms([r.noticed for r in own])),
        Measure(
            f"{base} stall after it",
            "ms",
            "lower",
            ms([r.after for r in own]),
            limit=AFTER if silent else None,
        ),
    ]
