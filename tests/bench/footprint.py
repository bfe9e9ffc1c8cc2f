# SPDX-License-Identifier: GPL-2.0-or-later
"""Line 7: what the agent takes while nothing happens."""

from __future__ import annotations

import time
from pathlib import Path

from lab.isp import isp
from lab.router import Router
from lab.wire import Shape

from bench.bench import Bench
from bench.measure import Measure
from bench.setups import agent

TITLE = "Footprint"
MEANING = """The client router's agent with four probed WANs (providers; the peer has one
IPv4 and one IPv6 address), no traffic. *resident* and *private* memory of the process; *idle*: its
processor time as a share of one core, over a minute; *system calls* per minute, counted by strace
in another minute's part (counting slows it down, so not in the same); *start*: from its start until
it answers on ubus, and until it says that all stands (`active`)."""

LINKS = tuple(Shape(20, 10 + 5 * number) for number in range(4))
MINUTE = 60.0
RESIDENT, IDLE = 34.0, 0.3


def run(bench: Bench) -> list[Measure]:
    rows = {
        "resident": Measure("footprint resident", "MB", "lower", limit=RESIDENT),
        "private": Measure("footprint private", "MB", "lower"),
        "idle": Measure("footprint idle", "% of a core", "lower", limit=IDLE),
        "calls": Measure("footprint system calls", "calls/min", "lower"),
        "answers": Measure("footprint start until it answers", "ms", "lower"),
        "active": Measure("footprint start until active", "ms", "lower"),
    }
    with agent(LINKS, build=isp) as net:
        router = net.client
        time.sleep(1 if bench.quick else 20)  # the first verdicts, the LAN's first look
        pid = router.agent_pid
        before, began = cpu(pid), time.monotonic()
        time.sleep(2 if bench.quick else MINUTE)
        share = (cpu(pid) - before) / (time.monotonic() - began)
        rows["idle"].values.append(100 * share)
        memory = rollup(pid)
        rows["resident"].values.append(memory["Rss"])
        rows["private"].values.append(memory["Private_Clean"] + memory["Private_Dirty"])
        bench.say(f"idle {100 * share:.2f} % of a core, {memory['Rss']:.1f} MB resident")
        rows["calls"].values.append(system_calls(router, pid, 2 if bench.quick else 20))
        for _ in range(bench.repeats):
            router.kill_agent()
            began = time.monotonic()
            router.start_agent()
            rows["answers"].values.append(1000 * (time.monotonic() - began))
            router.wait_state("active")
            rows["active"].values.append(1000 * (time.monotonic() - began))
    return list(rows.values())


def cpu(pid: int) -> float:
    """Seconds of processor time of all threads, to the nanosecond."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def rollup(pid: int) -> dict[str, float]:
    """Memory of a process in MB, by kind."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) / 1000 for line in lines}


def system_calls(router: Router, pid: int, seconds: float) -> float:
    """Calls per minute of all threads."""
    argv = ["timeout", "-s", "INT", str(seconds), "strace", "-f", "-c", "-p", str(pid)]
    text = router.run(*argv, check=False, timeout=seconds + 30).stderr
    table = text[text.index("% time") :]
    total = next(line for line in table.splitlines() if line.split()[-1:] == ["total"])
    return float(int(total.split()[3])) * MINUTE / seconds
