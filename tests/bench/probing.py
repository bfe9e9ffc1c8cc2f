# SPDX-License-Identifier: GPL-2.0-or-later
"""Line 9: what probing costs a quiet link."""

from __future__ import annotations

import time

from lab.isp import isp

from bench.bench import Bench
from bench.measure import Measure
from bench.setups import EQUAL, agent

TITLE = "Probing a quiet link"
MEANING = """Nothing but the agents' own packets on two links at the defaults, for a minute; both
ways, as Ethernet frames, ARP and neighbour discovery included. Path probes go to every address of
the peer (one IPv4 and one IPv6 address behind two providers; four of each bridge link's kind in the
guide's network), the probe through the tunnel rides a proxied connection of its own."""

SECONDS, DAY = 60.0, 86400.0


def run(bench: Bench) -> list[Measure]:
    row = Measure("probing per WAN", "kB/day", "lower")
    with agent(EQUAL, build=isp) as net:
        time.sleep(1 if bench.quick else 10)
        before = [sum(wire.bytes()) for wire in net.wires]
        seconds = 3.0 if bench.quick else SECONDS
        time.sleep(seconds)
        for wire, old in zip(net.wires, before, strict=True):
            row.values.append((sum(wire.bytes()) - old) * DAY / seconds / 1000)
    bench.say(f"{row.value:.0f} kB per day and WAN")
    return [row]
