# SPDX-License-Identifier: GPL-2.0-or-later
"""The run: faults in an order given by the seed, while the crowd goes on, and a home's load beside
it; then the account."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from e2e.support import OPEN, ask, start_agents, wait_status
from lab.bridge import bridge
from lab.home import HOME, Home, Load
from lab.home import Account as HomeAccount
from lab.proxy import Proxy
from lab.router import Router
from lab.snapshot import Snapshot, leftovers, snapshot
from lab.topology import Network
from lab.traffic import TalkServer
from soak.clients import PATIENCE, Told
from soak.faults import FAULTS, Fault, Scene
from toolkit.command import LabError
from toolkit.stopping import end
from toolkit.waiting import NotInTime, wait_until

LINKS = (25, 20)
"""Mbit/s: what a shared machine of two cores carries besides everything else."""

TWICE = 0.2
"""How often a second fault comes while the first one lasts."""

CALM = 8.0
"""Seconds at the end, in which every connection that is alive shows it."""

RECOVERY = 40.0
"""Seconds in which both routers are active again after a fault."""


@dataclass(frozen=True)
class Blow:
    """One fault, or two at once, that will happen."""

    number: int
    faults: tuple[Fault, ...]
    hold: float
    pause: float

    @property
    def name(self) -> str:
        return " + ".join(f.name for f in self.faults)


@dataclass
class Happened:
    """What came of it; times of the monotonic clock."""

    blow: Blow
    began: float
    ended: float = 0.0
    recovered: float = 0.0

    @property
    def bound(self) -> float:
        """Seconds. A paused or dead agent cannot act on what else happens meanwhile."""
        faults = self.blow.faults
        bound = sum(f.bound for f in faults)
        together = len(faults) > 1 and any("agent" in f.parts for f in faults)
        if together or any(f.dark for f in faults):
            bound += self.ended - self.began
        return bound


@dataclass
class Account:
    """The result. ``broken`` says why it is no success."""

    seed: str
    happened: list[Happened] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    home: dict[int, HomeAccount] = field(default_factory=dict)
    """What became of the load during each blow, by its number."""

    def outage(self, one: Happened, until: float) -> float:
        """Longest time in which no new connection of the LAN worked, seconds."""
        works = sorted(
            t.began
            for t in self.told
            if t.kind.startswith("short") and not t.error and one.began <= t.began <= until
        )
        return max(b - a for a, b in pairwise([one.began, *works, until]))

    def errors(self, one: Happened, until: float) -> str:
        """What became of the short connections that failed."""
        found = Counter(
            t.error.partition(":")[0] + (" after data" if t.bytes else "")
            for t in self.told
            if t.kind.startswith("short") and t.error and one.began - 2 <= t.began <= until
        )
        return ", ".join(f"{n} {error}" for error, n in found.most_common())

    def stall(self, one: Happened, until: float) -> tuple[float, str]:
        """Longest pause of a long connection that survived, in seconds, and of what kind it is.

        One that began while the LAN went out directly has a single link, and waits for it.
        """
        long = (t for t in self.told if not t.error and not t.kind.startswith("short"))
        found = ((s, t.kind) for t in long for s in t.stalls)
        during = ((length, kind) for (at, length), kind in found if one.began <= at < until)
        return max(during, default=(0.0, ""))

    def lost(self) -> tuple[list[Told], list[Told]]:
        """Connections that carried data and then broke: those that could have been kept, and
        those that lived while a fault happened that ends connections."""
        kept: list[Told] = []
        ended: list[Told] = []
        for told in self.told:
            if told.error and told.bytes and not told.kind.startswith("short"):
                (ended if self._excused(told) else kept).append(told)
        return kept, ended

    def _excused(self, told: Told) -> bool:
        return any(
            any(f.ends for f in one.blow.faults)
            and told.began <= one.recovered
            and one.began <= told.ended <= one.recovered + PATIENCE + 1
            for one in self.happened
        )


def schedule(seed: str, seconds: float, faults: Sequence[Fault]) -> list[Blow]:
    """As much as fits, each kind about equally often, in an order that the seed alone decides."""
    chance = random.Random(seed)
    blows: list[Blow] = []
    left: list[Fault] = []
    while seconds > 0:
        if not left:
            left = chance.sample(faults, len(faults))
        first = left.pop()
        others = [f for f in faults if not f.parts & first.parts and not f.ends]
        together = others and chance.random() < TWICE and not first.ends and not first.dark
        chosen = (first, chance.choice(others)) if together else (first,)
        hold = max(chance.uniform(*f.hold) for f in chosen)
        blow = Blow(len(blows) + 1, chosen, hold, chance.uniform(0.2, 3))
        blows.append(blow)
        # What starting and recovering take besides, on average.
        seconds -= blow.hold + blow.pause + 3
    return blows


class Marathon:
    """``say`` gets one line for each thing that happens."""

    def __init__(
        self,
        seed: str,
        seconds: float,
        say: Callable[[str], None],
        faults: Sequence[Fault] = FAULTS,
        load: Load = HOME,
    ) -> None:
        self._seed, self._say, self._load = seed, say, load
        self._blows = schedule(seed, seconds, faults)
        self.account = Account(seed)

    def run(self) -> Account:
        debug = {"globals": {"log_level": "debug"}}
        with bridge(LINKS, Proxy(engine="sing-box", client=debug, server=debug)) as net:
            OPEN.append(net)
            try:
                self._run(net)
            finally:
                OPEN.remove(net)
                net.lab.keep_logs = net.lab.keep_logs or bool(self.account.broken)
                if net.lab.keep_logs:
                    self._say(f"logs: build/logs/{net.lab.name}")
        return self.account

    def _run(self, net: Network) -> None:
        for router in net.routers:
            router.start_openwrt()
            _cycle(net, router)
        TalkServer(net.server_host)
        before = [_quiet(snapshot(router)) for router in net.routers]
        start_agents(net)
        crowd = _Crowd(net, self._seed, self.account.told)
        crowd.wait(3)
        home = Home(net, self._load, [net.target, net.target6])
        home.wait_open()
        self._say(f"with {self._load}")
        began = time.monotonic()
        try:
            for blow in self._blows:
                self._strike(net, blow, began)
        except (AssertionError, LabError, OSError, subprocess.SubprocessError) as error:
            self.account.broken.append(f"{type(error).__name__}: {error}")
        else:
            time.sleep(CALM)  # the crowd goes on
        crowd.stop()
        self._account_for(home, began)
        for router, old in zip(net.routers, before, strict=True):
            code = router.stop_agent(30)
            if code:
                self.account.broken.append(f"{router}: the agent ended with {code}")
            self.account.leftovers += leftovers(old, _quiet(snapshot(router)))
        self._judge()

    def _strike(self, net: Network, blow: Blow, began: float) -> None:
        chance = random.Random(f"{self._seed} {blow.number}")
        scene = Scene(net, chance)
        self._say(f"{time.monotonic() - began:6.1f} s  {blow.number}. {blow.name}")
        happened = Happened(blow, time.monotonic())
        self.account.happened.append(happened)
        with ExitStack() as stack:
            # What is entered last is mended first: links are put right by netifd, over ubus.
            for fault in sorted(blow.faults, key=lambda each: "ubus" in each.parts):
                stack.enter_context(fault.work(scene))
            time.sleep(blow.hold)  # this long it lasts
        happened.ended = time.monotonic()
        for router in net.routers:
            wait_status(router, _well, f"recovery from: {blow.name}", RECOVERY)
        happened.recovered = time.monotonic()
        time.sleep(blow.pause)

    def _account_for(self, home: Home, began: float) -> None:
        """Its open connections are held to what the crowd's long ones are."""
        account = self.account
        for one, until in windows(account.happened):
            account.home[one.blow.number] = home.account(one.began, min(until, time.monotonic()))
        whole = home.account(began, time.monotonic())
        errors = ", ".join(f"{n} {error}" for error, n in whole.errors.most_common())
        self._say(f"load: {whole}{f' ({errors})' if errors else ''}")
        home.stop()
        account.told += [Told("open", e.began, e.ended, 1, e.error, []) for e in home.lost]

    def _judge(self) -> None:
        account = self.account
        for one, until in windows(account.happened):
            outage = account.outage(one, until)
            if outage > one.bound:
                account.broken.append(
                    f"{one.blow.number}. {one.blow.name}: no Internet for {outage:.1f} s, "
                    f"the bound is {one.bound:.1f} ({account.errors(one, until)})"
                )
        for told in account.lost()[0]:
            during = [
                h.blow.name
                for h in account.happened
                if h.began < told.ended and h.recovered > told.ended - PATIENCE - 1
            ]
            account.broken.append(
                f"{told.kind} lost after {told.ended - told.began:.1f} s and {told.bytes} bytes "
                f"({told.error}), lately: {', '.join(during) or 'nothing'}"
            )
        account.broken += [f"left: {line}" for line in account.leftovers]


def windows(happened: list[Happened]) -> list[tuple[Happened, float]]:
    """Each with the time until which it is to blame."""
    ends = [h.began for h in happened[1:]]
    return [
        (one, min(end, one.recovered + 2) if one.recovered else end)
        for one, end in zip(happened, [*ends, float("inf")], strict=True)
        if one.recovered
    ]


def _cycle(net: Network, router: Router) -> None:
    """Let netifd configure the links as it will do after a fault; the lab did it before."""
    role = "client" if router is net.client else "server"
    for interface in net.interfaces[role]:
        for method in ("down", "up"):
            ask(router, method, "network.interface", interface=interface.name)
    found = ask(router, "dump", "network.interface")["interface"]
    assert all(one["up"] for one in found), found


def _well(status: dict[str, Any]) -> bool:
    return bool(status["state"] == "active")


def _quiet(found: Snapshot) -> Snapshot:
    """Without what the faults themselves start anew."""
    found["process"] = [line for line in found["process"] if "openwrt" not in line]
    return found


class _Crowd:
    """The clients of the LAN, in one process on the host behind the client router."""

    def __init__(self, net: Network, seed: str, told: list[Told]) -> None:
        argv = (sys.executable, "-m", "soak.clients", net.target, net.target6, seed)
        self._process = net.client_host.popen(
            *argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            log=net.client_host.log("clients"),
        )
        self._told = told
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._told.append(Told(**json.loads(line)))

    def wait(self, seconds: float) -> None:
        """Until the first ones have come back, at most so many seconds."""
        with suppress(NotInTime):
            wait_until(lambda: len(self._told) >= 5, seconds, "the first ones", interval=0.05)

    def stop(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._reader.join(30)
        end(self._process)
