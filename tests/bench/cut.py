# SPDX-License-Identifier: GPL-2.0-or-later
"""One stream of a LAN host, a cut in the middle of it, and what its receiver saw; what became of
the load beside it, where there is one.

Times are of the machine's monotonic clock, which all network namespaces share.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from e2e.support import ask
from lab.home import Account, Home
from lab.topology import Network
from lab.traffic import Transfer, Way, start
from toolkit.command import LabError

from bench.kernel import Endpoints
from bench.measure import NEVER
from bench.setups import healthy

PAYLOAD = 1420 / 1514
"""MPTCP payload of a full Ethernet frame at an MTU of 1500: its option takes 28 bytes."""
SETTLE = 1.8
"""Seconds after which a stream fills both links."""
MOST = 1.2
"""The first links are filled within this many seconds, or the run does not count."""
WATCH = 4.0
"""Seconds that a WAN stays dead: with a home's load the agent of 0.1 took up to 2.3 to notice."""
CALM = (1.8, 0.3)
"""From when to when before the cut (seconds) the load is undisturbed, the stream beside it: what
begins later is not over when the cut comes."""
PACE = 0.9
"""Where the load made fewer of its connections than this share, the machine was too busy."""

Fault = Literal["blackhole", "carrier", "address"]


def break_(net: Network, fault: Fault, wan: int) -> None:
    wire = net.wires[wan - 1]
    if fault == "blackhole":
        wire.blackhole(True)
    elif fault == "carrier":
        wire.carrier(False)
    else:
        interface = net.wan(wan)
        net.client.ip("address", "del", interface.addresses[0], "dev", interface.device)


def mend(net: Network, fault: Fault, wan: int) -> None:
    """Undo it, as the world and netifd would."""
    wire = net.wires[wan - 1]
    if fault == "blackhole":
        wire.blackhole(False)
    elif fault == "carrier":
        wire.carrier(True)
    if fault != "blackhole" and net.client.openwrt is not None:
        for method in ("down", "up"):
            ask(net.client, method, "network.interface", interface=f"wan{wan}")


@dataclass(frozen=True)
class Cut:
    """Seconds from the cut; NEVER where it did not come within the time watched."""

    stall: float
    """The longest time without a byte."""
    full: float
    """Until 80 % of what is left flowed for 0.1 s."""
    noticed: float
    """Until the endpoint of the dead WAN was gone."""
    after: float
    """From then until the stall was over."""
    before: float
    """Mbit/s before the cut."""
    calm: Account | None = None
    """The load before the cut."""
    load: Account | None = None
    """The load from the cut on, as long as it was watched."""


def cut(net: Network, way: Way, fault: Fault, wan: int, home: Home | None = None) -> Cut:
    """Cut a WAN under a running stream and watch it for some seconds; mends it afterwards.

    Raises LabError where the run does not count.
    """
    healthy(net)
    left = sum(rate for number, rate in enumerate(net.rates, 1) if number != wan)
    what: Literal["get", "put"] = "get" if way == "down" else "put"
    stream = start(net.client_host, what, net.target, seconds=SETTLE + MOST + WATCH)
    with Endpoints(net.client) as endpoints:
        wait_filled(net, way, SETTLE + MOST)
        at = time.monotonic()
        break_(net, fault, wan)
        time.sleep(WATCH)
        mend(net, fault, wan)
    transfer = stream.result()
    if not transfer.ok:
        raise LabError(f"the stream broke: {transfer.report.error}")
    noticed = endpoints.changed(net.wan(wan).of(4), False, at)
    stall, ended = stall_of(transfer, at, at + WATCH)
    # What was under way at the cut still arrives, so a look before the stall would be too early.
    full = transfer.reached(0.8 * left * PAYLOAD, ended)
    return Cut(
        stall=stall,
        full=NEVER if full is None else ended - at + full,
        noticed=NEVER if noticed is None else noticed,
        after=NEVER if noticed is None else max(0.0, ended - at - noticed),
        before=transfer.rate(at - 0.5, at),
        calm=on_pace(home, at - CALM[0], at - CALM[1]) if home else None,
        load=on_pace(home, at, at + WATCH) if home else None,
    )


def on_pace(home: Home, since: float, until: float) -> Account:
    """What became of the load, if it was what it should be."""
    account = home.account(since, until)
    wanted = home.load.new * (until - since)
    if len(account.short) < PACE * wanted:
        raise LabError(f"the load fell behind: {len(account.short)} of {wanted:.0f} connections")
    return account


def stall_of(transfer: Transfer, since: float, until: float) -> tuple[float, float]:
    """The longest pause that began between two times (or ran over the first): length, end."""
    found = [
        (length, begin + length)
        for begin, length in transfer.report.gaps
        if begin < until and begin + length > since
    ]
    if transfer.report.ended < until:
        return NEVER, transfer.report.ended
    return max(found, default=(0.0, since))


def wait_filled(net: Network, way: Way, longest: float) -> None:
    """Wait until a stream has settled on all links."""
    index = 1 if way == "down" else 0
    time.sleep(SETTLE - 0.4)
    deadline = time.monotonic() + longest - SETTLE + 0.4

    def carried(seconds: float) -> list[float]:
        before = [wire.bytes()[index] for wire in net.wires]
        time.sleep(seconds)
        return [
            (wire.bytes()[index] - old) * 8e-6 / seconds / wire.shape.rate
            for wire, old in zip(net.wires, before, strict=True)
        ]

    while min(shares := carried(0.2)) < 0.6:
        if time.monotonic() > deadline:
            raise LabError(f"the links were not filled before the cut: {shares}")
