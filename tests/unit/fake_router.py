"""A whole router of glass for the agent: kernel and files, netlink, engines, around ``fakes``.

    async def work(router: Router) -> None:
        await router.becomes("active")
        router.cut("eth1")
        await router.becomes("degraded")

    living(work)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from unit.examples import BRIDGE, BRIDGE_CLIENT, SCHEMA, SING_BOX, Sections
from unit.fakes import FakeBus, FakeClock, FakeKernel, FakeProcd, simulate, until

from mptcp_agent.agent.loop import Agent, Edge
from mptcp_agent.agent.machine import Machine, Observation
from mptcp_agent.core import describe
from mptcp_agent.core.diff import Change, Item
from mptcp_agent.core.network import Facts
from mptcp_agent.core.problem import Problem
from mptcp_agent.core.state import (
    Backend,
    Endpoint,
    File,
    Firewall,
    Limits,
    Part,
    Route,
    RouterState,
    Rule,
    Sysctl,
)
from mptcp_agent.engines import Build
from mptcp_agent.errors import KernelError
from mptcp_agent.system.engines.trial import EngineBuilds
from mptcp_agent.system.netlink.events import NetlinkEvents

#: What the guide's client listens on, and after how many seconds it does.
REDIRECTOR, DELAY = 1080, 0.3


class FakeMachine(Machine):
    """Kernel and files. Each look and each change is a line of ``journal``.

    Things go by their ``describe.label``: ``fails`` are the reasons for which some cannot be
    changed, ``loses`` those that are gone again at once. ``unreadable`` are the reasons for which
    parts cannot be read; so many of the next looks end by ``bugs``.
    """

    def __init__(self, facts: Facts, journal: list[str]) -> None:
        self.facts = replace(facts, interfaces=())  # those are netifd's
        self.state = RouterState(limits=Limits(2, 0))
        self.journal = journal
        self.fails: dict[str, str] = {}
        self.loses: set[str] = set()
        self.unreadable: dict[Part, str] = {}
        self.bugs = 0
        self.missing: dict[Backend, str] = {"iptables": "not installed"}
        self.seen = (0, 0)
        """What ``redirected`` gives."""
        self.closed = False
        self._before: dict[str, str] = {}

    def close(self) -> None:
        self.closed = True

    # --- What is ---------------------------------------------------------------------------

    def backends(self, wanted: str) -> tuple[tuple[Backend, ...], dict[str, str]]:
        names: tuple[Backend, ...] = ("nftables", "iptables")
        asked = [n for n in names if wanted in ("auto", n)]
        found = [n for n in asked if n not in self.missing]
        return tuple(found[:1]), {n: self.missing[n] for n in asked if n in self.missing}

    def observe(
        self, before: Observation, parts: frozenset[Part], uplinks: tuple[str, ...] = ()
    ) -> Observation:
        if parts:
            self.journal.append(f"look {' '.join(sorted(p.value for p in parts))}")
        if self.bugs:
            self.bugs -= 1
            raise ZeroDivisionError("a rate of nothing")
        facts, state, now = before.facts, before.state, self.state
        problems = {part: p for part, p in before.problems if part not in parts}
        for part in parts:
            if part in self.unreadable:
                problems[part] = Problem(part.value, self.unreadable[part])
                continue
            match part:
                case Part.LINKS:
                    facts = replace(facts, links=self.facts.links, addresses=self.facts.addresses)
                case Part.ROUTING:
                    facts = replace(facts, main=self.facts.main, ways_out=self.facts.ways_out)
                    state = replace(
                        state,
                        routes=now.routes,
                        rules=now.rules,
                        endpoints=now.endpoints,
                        limits=now.limits,
                    )
                case Part.FIREWALL:
                    state = replace(state, firewalls=now.firewalls)
                case Part.FILES:
                    state = replace(state, files=now.files)
                case Part.SYSCTLS:
                    facts = replace(facts, sysctls=self.facts.sysctls, memory=self.facts.memory)
                    values = tuple(Sysctl(k, v) for k, v in self.facts.sysctls)
                    state = replace(state, sysctls=values)
        return Observation(facts, state, tuple(sorted(problems.items(), key=lambda p: p[0].value)))

    def redirected(self) -> tuple[int, int]:
        return self.seen

    def originals(self) -> dict[str, str]:
        return dict(self._before)

    # --- What should be --------------------------------------------------------------------

    def apply(self, changes: Iterable[Change]) -> tuple[tuple[Change, str], ...]:
        failed: list[tuple[Change, str]] = []
        for change in changes:
            if why := self.fails.get(describe.label(change.item)):
                failed.append((change, why))
                continue
            self.journal.append(describe.log_line(change))
            if describe.label(change.item) not in self.loses:
                self._change(change.item, present=change.action != "remove")
        return tuple(failed)

    def _change(self, item: Item, present: bool) -> None:
        """There is exactly one of its kind and key, or none."""
        now = self.state
        match item:
            case Endpoint():
                self.state = replace(now, endpoints=_with(now.endpoints, item, present))
            case Rule():
                self.state = replace(now, rules=_with(now.rules, item, present))
            case Route():
                others = [r for r in now.routes if _slot(r) != _slot(item)]
                self.state = replace(now, routes=_with(others, item, present))
            case Firewall():
                rest = [f for f in now.firewalls if f.backend != item.backend]
                self.state = replace(now, firewalls=(*rest, *([item] if present else ())))
            case File():
                files = [f for f in now.files if f.path != item.path]
                self.state = replace(now, files=(*files, *([item] if present else ())))
            case Limits():
                self.state = replace(now, limits=item)
            case Sysctl():
                self._before.setdefault(item.key, self.facts.sysctl(item.key) or "")
                self.sysctl(item.key, item.value)

    def sysctl(self, key: str, value: str) -> None:
        """Somebody sets it."""
        known = {**dict(self.facts.sysctls), key: value}
        self.facts = replace(self.facts, sysctls=tuple(known.items()))

    def restore(self, wanted: RouterState) -> None:
        if why := self.fails.get("restore"):
            raise KernelError(why)
        keep = {s.key for s in wanted.sysctls}
        for key in [k for k in self._before if k not in keep]:
            self.journal.append(f"restored sysctl {key}={self._before[key]}")
            self.sysctl(key, self._before.pop(key))

    def release(self) -> None:
        self.journal.append("release")
        self.state = replace(self.state, firewalls=())

    def sweep(self) -> tuple[str, ...]:
        self.journal.append("sweep")
        self.state = RouterState(limits=self.state.limits)
        self.restore(self.state)
        return ()


def _with(items: Iterable[Any], item: Any, present: bool) -> tuple[Any, ...]:
    kept = [i for i in items if i != item]
    return (*kept, *([item] if present else ()))


def _slot(route: Route) -> tuple[int, str]:
    return route.table, route.destination


class FakeEvents(NetlinkEvents):
    """Netlink: ``put`` what has changed."""

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK)
        self._parts: set[Part] = set()

    def put(self, *parts: Part) -> None:
        self._parts.update(parts)
        os.eventfd_write(self._descriptor, 1)

    def close(self) -> None:
        os.close(self._descriptor)

    def filenos(self) -> tuple[int, ...]:
        return (self._descriptor,)

    def drain(self) -> frozenset[Part]:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._descriptor)
        found, self._parts = frozenset(self._parts), set()
        return found


class FakeEngines(EngineBuilds):
    """Installed engines; a trial takes ``seconds``, what was tried is not tried again. ``bug`` is
    raised by the next trial."""

    def __init__(self, clock: FakeClock, *builds: Build, seconds: float = 0.5) -> None:
        self._clock = clock
        self.builds = {b.engine: b for b in builds}
        self.seconds = seconds
        self.trials = 0
        self.bug: Exception | None = None
        self._tried: set[object] = set()

    def find(self, names: Collection[str], methods: Collection[str]) -> dict[str, Build]:
        if self.bug:
            bug, self.bug = self.bug, None
            raise bug
        asked = (frozenset(names), frozenset(methods))
        if asked not in self._tried:
            self._tried.add(asked)
            self.trials += 1
            self._clock.spend(self.seconds)
        return {n: b for n, b in self.builds.items() if n in names}

    def forget(self) -> None:
        self._tried.clear()


class Router:
    """A bridge client, unless said otherwise, and its agent. ``journal`` tells what the agent
    did, in order, of kernel, procd and events."""

    def __init__(self, clock: FakeClock, directory: str, sections: Sections, facts: Facts) -> None:
        self.clock = clock
        self.directory = directory
        self.journal: list[str] = []
        self.kernel = FakeKernel(clock)
        self.procd = FakeProcd(self.kernel, {"client": REDIRECTOR, "server": 8388}, DELAY)
        self.bus = FakeBus(sections, facts.interfaces, self.procd, self.journal)
        self.machine = FakeMachine(facts, self.journal)
        self.engines = FakeEngines(clock, SING_BOX)
        self.events: FakeEvents
        self.dns: dict[str, tuple[str, ...]] = {}
        self.agent: Agent
        self.running: asyncio.Task[None] | None = None

    # --- The agent -------------------------------------------------------------------------

    def start(self) -> Agent:
        self.events = FakeEvents()
        edge = Edge(
            machine=self.machine,
            engines=self.engines,
            kernel=self.kernel.edge,
            events=lambda: self.events,
            resolve=lambda name: self.dns.get(name, ()),
            clock=self.clock,
            unix=self.clock.unix,
            directory=self.directory,
        )
        self.agent = Agent(SCHEMA, self.bus, edge)
        self.running = asyncio.create_task(self.agent.run())
        return self.agent

    async def stop(self) -> None:
        """As procd does."""
        assert self.running
        await asyncio.sleep(0)  # it may have been started just now
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL, "it would end the tests"
        signal.raise_signal(signal.SIGTERM)
        await self.running

    async def restart(self) -> None:
        """As the init script does; the next one starts with an empty journal."""
        self.handover.touch()
        await self.stop()
        self.journal.clear()
        self.bus.sent.clear()
        self.start()

    @property
    def handover(self) -> Path:
        return Path(self.directory, "handover")

    # --- What is seen ----------------------------------------------------------------------

    @property
    def state(self) -> str | None:
        """The last one told on the bus."""
        told = [data["state"] for event, data in self.bus.sent if event == "mptcp_proxy.state"]
        return str(told[-1]) if told else None

    async def becomes(self, state: str, timeout: float = 10.0) -> float:
        """Seconds until it was told."""
        return await until(lambda: self.state == state, timeout)

    def status(self) -> dict[str, Any]:
        return dict(self.bus.handlers["mptcp_proxy"]["status"]())

    @property
    def problems(self) -> dict[str, str]:
        if not self.bus.handlers:
            return {}
        return {p["where"]: p["message"] for p in self.status()["problems"]}

    @property
    def endpoints(self) -> set[str]:
        """Their devices."""
        return {e.device for e in self.machine.state.endpoints}

    @property
    def done(self) -> list[str]:
        """What was changed, without the looks and the events."""
        return [line for line in self.journal if line.split()[0] not in ("look", "event")]

    @property
    def looks(self) -> list[str]:
        return [line[5:] for line in self.journal if line.startswith("look ")]

    # --- What happens ----------------------------------------------------------------------

    def cut(self, device: str) -> None:
        """Its carrier goes."""
        self._carrier(device, False)

    def heal(self, device: str) -> None:
        self._carrier(device, True)

    def _carrier(self, device: str, carrier: bool) -> None:
        facts = self.machine.facts
        links = (replace(x, carrier=carrier) if x.name == device else x for x in facts.links)
        self.machine.facts = replace(facts, links=tuple(links))
        self.events.put(Part.LINKS)

    def configure(self, sections: Sections) -> None:
        """Somebody commits it, and procd's trigger calls reload."""
        self.bus.packages["mptcp-proxy"] = sections
        self.agent.reload()


def living(
    work: Callable[[Router], Awaitable[None]],
    sections: Sections = BRIDGE_CLIENT,
    facts: Facts = BRIDGE,
    *,
    start: bool = True,
) -> None:
    """Run it beside an agent (to be started by ``work``, unless ``start``), in simulated time."""

    async def run(clock: FakeClock) -> None:
        with tempfile.TemporaryDirectory() as directory:
            router = Router(clock, directory, sections, facts)
            if start:
                router.start()
            try:
                await work(router)
            finally:
                if router.running and not router.running.done():
                    await router.stop()

    children = signal.getsignal(signal.SIGCHLD)
    try:
        simulate(run)
    finally:
        signal.signal(signal.SIGCHLD, children)
