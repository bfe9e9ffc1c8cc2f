# SPDX-License-Identifier: GPL-2.0-or-later
"""Line 5: the server or the redirector dies or hangs; the LAN goes out directly, then back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

from e2e.support import ask, pids
from lab.topology import Network
from toolkit.command import LabError

from bench.bench import Bench
from bench.measure import NEVER, Measure
from bench.setups import EQUAL, agent, healthy

TITLE = "The server or the redirector dies or hangs"
MEANING = """A LAN client opens a new connection every 50 ms. *data again*: from the fault until one
opened after it brings data, by whatever way. *proxied again*: from the recovery until one goes
through the proxy. *killed* or *hung* (stopped by SIGSTOP: it still accepts connections, since the
kernel does) is the server's or the client router's proxy process. A dead redirector is started
again by procd, a hung one by the agent, so its recovery counts from the fault."""

PORT = 7200
FAULTS = ("server killed", "server hung", "proxy killed", "proxy hung")
AIM = 2000.0
WATCHED, RECOVERY = 4.0, 9.0
"""Seconds watched after the fault and after the recovery."""


@dataclass(frozen=True)
class Outage:
    data: float
    proxied: float


def run(bench: Bench) -> list[Measure]:
    found: dict[str, list[Outage]] = {fault: [] for fault in FAULTS}
    with agent(EQUAL) as net:
        server = net.server_host.popen(
            sys.executable, "-m", "bench.knock", "serve", str(PORT), stdout=subprocess.PIPE
        )
        assert server.stdout
        server.stdout.readline()
        for fault, results in found.items():
            for _ in range(bench.repeats):
                one = bench.attempt(lambda f=fault: outage(net, f))  # type: ignore[misc]
                if one:
                    results.append(one)
                    bench.say(
                        f"{fault}: data again after {one.data:.2f} s, "
                        f"proxied again after {one.proxied:.2f} s"
                    )
    rows = []
    for fault, results in found.items():
        for name in ("data", "proxied"):
            values = [min(NEVER, 1000 * getattr(r, name)) for r in results]
            limit = AIM if name == "data" else None
            rows.append(Measure(f"failopen {fault} {name} again", "ms", "lower", values, {}, limit))
    return rows


def outage(net: Network, fault: str) -> Outage:
    healthy(net)
    router = net.server if fault.startswith("server") else net.client
    pid = pids(router)["server" if router is net.server else "client"]
    watched = 1.0 + WATCHED + RECOVERY
    client = net.client_host.popen(
        *(sys.executable, "-m", "bench.knock", "knock", net.target, str(PORT), str(watched)),
        stdout=subprocess.PIPE,
    )
    time.sleep(1.0)
    at = break_(net, fault, pid)
    time.sleep(WATCHED)
    back = mend(net, fault, pid) or at
    answers = json.loads(client.communicate(timeout=60)[0])
    if not any(answer for _, ended, answer in answers if ended < at):
        raise LabError("nothing came through before the fault")
    lan = net.client_host.ip("-4", "-o", "address", "show", "dev", "eth0").split()[3].split("/")[0]
    data = [ended - at for began, ended, answer in answers if answer and began >= at]
    proxied = [ended - back for began, ended, a in answers if a not in ("", lan) and began >= back]
    return Outage(min(data, default=NEVER), min(proxied, default=NEVER))


def break_(net: Network, fault: str, pid: int) -> float:
    """Do it; when it was done."""
    if fault == "server killed":
        # For good: neither procd nor the agent there brings it back.
        os.kill(net.server.agent_pid, signal.SIGSTOP)
        at = time.monotonic()
        ask(net.server, "delete", "service", name="mptcp-proxy-engine")
        return at
    at = time.monotonic()
    os.kill(pid, signal.SIGKILL if fault.endswith("killed") else signal.SIGSTOP)
    return at


def mend(net: Network, fault: str, pid: int) -> float | None:
    """Undo it; when that was, None where the router does it."""
    if fault == "server killed":
        os.kill(net.server.agent_pid, signal.SIGCONT)
        ask(net.server, "reload")
        return time.monotonic()
    if fault == "server hung":
        os.kill(pid, signal.SIGCONT)
        return time.monotonic()
    return None
