# SPDX-License-Identifier: GPL-2.0-or-later
"""Line 2: a WAN dies under a running stream, in a home where much else is going on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import TypeVar

from lab.home import HOME, LATE, Account, Home
from lab.household import PATIENCE
from lab.topology import Network
from lab.traffic import WAYS, Way

from bench.bench import Bench
from bench.cut import WATCH, Cut, Fault, cut
from bench.measure import NEVER, Measure
from bench.report import number
from bench.setups import EQUAL, agent, alone, mptcpd

TITLE = "A WAN dies under a running stream"
MEANING = f"""One LAN stream fills two links (50 Mbit/s with a round trip of 20 ms, 50 with 30),
and beside it goes what a home has going on: {HOME} of 50 packets a second both ways. Then one of
the links dies: silently (nothing is dropped visibly, no interface notices), by losing its carrier,
or by losing its address. *stall*: longest time without a byte at the stream's receiver. *full*:
time until it receives 80 % of what the other link carries. *detected*: time until the dead WAN's
endpoint is gone; *stall after it*: from then until bytes flow. *new connections failed*: of those
begun while the WAN was dead ({WATCH:g} s), how many failed or took longer than {PATIENCE:g} s;
*new connections gap*: the longest time in which no new one worked. *open lost*: how many of those
that were open. *DNS gap*: the longest time in which no new query was answered. *call gap*: the
longest silence, of both ways the longer, where a packet {1000 * LATE:g} ms late is lost. A gap as
long as the WAN was dead is *never*. *calm*: the load before the cut, the stream already beside it.
**one stream alone**: the same without that load. A pause of one round trip more or less belongs to
where in the stream the cut fell. **kernel alone**: the same routers, both agents killed after
set-up. **mptcpd**: set up by hand, mptcpd managing the endpoints. Nobody gives the peers routes
back after a lost carrier or address: each such run has a network of its own. The kernel tells of
lost carriers once a second at most, all namespaces of the machine together (net/core/link_watch.c),
so where other labs run beside this one, *carrier* is noticed late."""

FAULTS: tuple[Fault, ...] = ("blackhole", "carrier", "address")
STALL, AFTER = 400.0, 150.0
"""ms: the aims for a silent blackhole, in all and after detection; the others are reported."""


T = TypeVar("T", Cut, Account)
ALONE = " one stream alone"
"""What the names of figures end with that were taken without the load."""

Case = tuple[Fault, int, Way]
CASES: list[Case] = list(product(FAULTS, (1, 2), WAYS))
Runs = dict[str, list[Cut]]
"""By who was measured."""


def run(bench: Bench) -> list[Measure]:
    cases = CASES[:: len(CASES) // len(FAULTS)] if bench.quick else CASES
    silent = [case for case in cases if case[0] == "blackhole"]
    bare: dict[Case, Runs] = {case: {} for case in silent}
    loaded: dict[Case, Runs] = {case: {} for case in cases}

    def runs(name: str, net: Network, case: Case, repeats: int, home: Home | None = None) -> None:
        fault, wan, way = case
        for _ in range(repeats):
            result = bench.attempt(partial(cut, net, way, fault, wan, home))
            if result:
                bench.say(f"{name}: {fault} of wan{wan}, {way}: {words(result)}")
                (loaded if home else bare)[case].setdefault(name, []).append(result)

    with bench.network("agent", agent(EQUAL)) as net:
        for case in silent:
            runs("agent", net, case, bench.repeats)
        with bench.home(net) as home:
            for case in cases:
                runs("agent", net, case, bench.repeats, home)
    for name, setup in (("kernel alone", alone), ("mptcpd", mptcpd)):
        with bench.network(name, setup(EQUAL)) as net:
            for case in silent:
                runs(name, net, case, bench.peer_repeats)
            with bench.home(net) as home:
                for case in silent:
                    runs(name, net, case, bench.peer_repeats, home)
        others = (case for case in cases if case not in silent)
        for case, _ in product(others, range(bench.peer_repeats)):
            with bench.network(name, setup(EQUAL)) as net, bench.home(net) as home:
                runs(name, net, case, 1, home)
    return [*rows(loaded), *rows(bare, ALONE)]


def words(result: Cut) -> str:
    times = {
        "stall": result.stall,
        "full": result.full,
        "detected": result.noticed,
        "after it": result.after,
    }
    told = [f"{name} {number(ms(value), 'ms')} ms" for name, value in times.items()]
    text = f"{', '.join(told)}, {result.before:.1f} Mbit/s before"
    return f"{text}; {result.load}" if result.load else text


# --- Rows -------------------------------------------------------------------------------------


def rows(found: dict[Case, Runs], suffix: str = "") -> list[Measure]:
    """The stream's by case; the load's by fault and WAN, whichever way the stream went."""
    made: list[Measure] = []
    for fault, wan in product(FAULTS, (1, 2)):
        both: Runs = {}
        for way in WAYS:
            runs = found.get((fault, wan, way), {})
            if runs.get("agent"):
                made += stream(f"failover {fault} wan{wan} {way}{suffix}", fault, runs)
            for name, each in runs.items():
                both.setdefault(name, []).extend(each)
        made += load(f"failover {fault} wan{wan}", both, lambda one: one.load)
    everything: Runs = {}
    for runs in found.values():
        for name, each in runs.items():
            everything.setdefault(name, []).extend(each)
    return made + list(load("failover calm", everything, lambda one: one.calm))


def stream(base: str, fault: Fault, runs: Runs) -> Iterator[Measure]:
    silent = fault == "blackhole"
    yield row(f"{base} stall", "ms", runs, lambda one: ms(one.stall), STALL)
    yield row(f"{base} full", "ms", runs, lambda one: ms(one.full))
    own = {"agent": runs["agent"]}
    yield row(f"{base} detected", "ms", own, lambda one: ms(one.noticed))
    limit = AFTER if silent else None
    yield row(f"{base} stall after it", "ms", own, lambda one: ms(one.after), limit)


def load(base: str, runs: Runs, of: Callable[[Cut], Account | None]) -> Iterator[Measure]:
    accounts = {
        name: [account for account in map(of, each) if account] for name, each in runs.items()
    }
    if not accounts.get("agent"):
        return
    kinds: tuple[tuple[str, str, Callable[[Account], float]], ...] = (
        ("new connections failed", "%", lambda one: one.failed_share),
        ("new connections gap", "ms", lambda one: pause(one, one.short_gap)),
        ("open lost", "", lambda one: len(one.lost)),
        ("DNS gap", "ms", lambda one: pause(one, one.dns_gap)),
        ("call gap", "ms", lambda one: pause(one, one.call_gap)),
    )
    for name, unit, value in kinds:
        yield row(f"{base} {name}", unit, accounts, value)


def row(
    name: str,
    unit: str,
    runs: dict[str, list[T]],
    value: Callable[[T], float],
    limit: float | None = None,
) -> Measure:
    values = {who: [value(one) for one in each] for who, each in runs.items()}
    return Measure(name, unit, "lower", values.pop("agent"), values, limit)


def ms(seconds: float) -> float:
    return NEVER if seconds >= NEVER else 1000 * seconds


def pause(account: Account, length: float) -> float:
    """In ms; never where it lasted as long as was watched, or nearly."""
    return NEVER if length > 0.9 * (account.until - account.since) else 1000 * length
