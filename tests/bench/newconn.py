# SPDX-License-Identifier: GPL-2.0-or-later
"""Line 4: new connections while a WAN is dead."""

from __future__ import annotations

import time
from statistics import median

from lab.topology import Network
from lab.traffic import start

from bench.bench import Bench
from bench.kernel import Endpoints
from bench.measure import Measure
from bench.setups import EQUAL, agent, alone, guide, healthy

TITLE = "New connections while a WAN is dead"
MEANING = """Two links; one is dead (silently), and that is known. Time to the first byte of new LAN
connections, one after the other. A connection without a byte after 3 s counts as 3 s. The limit is
1.2 times the median of the same set-up undisturbed. **guide**: the guide's configuration (both
server addresses in the redirector's file, an endpoint for each WAN) and no agent."""

CONNECTIONS, PATIENCE = 12, 3.0
ALLOWED = 1.2


def run(bench: Bench) -> list[Measure]:
    undisturbed: dict[str, list[float]] = {}
    dead: dict[int, dict[str, list[float]]] = {1: {}, 2: {}}
    for name, setup in (("agent", agent), ("kernel alone", alone), ("guide", guide)):
        with setup(EQUAL) as net:
            undisturbed[name] = connect(net, bench)
            bench.say(f"{name}, undisturbed: {median(undisturbed[name]):.1f} ms")
            for wan, found in dead.items():
                healthy(net)
                net.wires[wan - 1].blackhole(True)
                wait_noticed(net, wan, name == "agent")
                found[name] = connect(net, bench)
                failed = sum(1 for value in found[name] if value >= 1000 * PATIENCE)
                net.wires[wan - 1].blackhole(False)
                time.sleep(2)
                bench.say(
                    f"{name}, wan{wan} dead: {median(found[name]):.1f} ms, "
                    f"{failed} of {len(found[name])} without a byte"
                )
    limit = ALLOWED * median(undisturbed["agent"])
    rows = [row("newconn undisturbed", undisturbed, None)]
    return rows + [row(f"newconn wan{wan} dead", found, limit) for wan, found in dead.items()]


def row(name: str, runs: dict[str, list[float]], limit: float | None) -> Measure:
    peers = {peer: values for peer, values in runs.items() if peer != "agent"}
    return Measure(name, "ms", "lower", runs["agent"], peers, limit)


def connect(net: Network, bench: Bench) -> list[float]:
    """Times to the first byte, in ms."""
    found = []
    for _ in range(2 if bench.quick else CONNECTIONS):
        stream = start(net.client_host, "get", net.target, size=8000, patience=PATIENCE)
        transfer = stream.result()
        found.append(transfer.report.first_byte_ms if transfer.ok else 1000 * PATIENCE)
    return found


def wait_noticed(net: Network, wan: int, agent_runs: bool) -> None:
    """Until the agent knows, by a quiet link's probes; without an agent, as long as that takes."""
    if agent_runs:
        endpoints = Endpoints(net.client)
        endpoints.wait(net.wan(wan).of(4), False, 20)
        endpoints.close()
    else:
        time.sleep(2)
