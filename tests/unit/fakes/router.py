# SPDX-License-Identifier: GPL-2.0-or-later
"""A whole router of glass, and its agent:

    async def work(router: Router) -> None:
        await router.becomes("active")
        router.cut("eth1")
        await router.becomes("degraded")

    living(work)

In simulated time, of course.
"""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from unit.examples import BRIDGE, BRIDGE_CLIENT, SCHEMA, SING_BOX, Sections

from mptcp_agent.agent.loop import Agent, Edge
from mptcp_agent.core.network import Facts
from mptcp_agent.core.state import Part

from .bus import FakeBus, FakeProcd
from .clock import FakeClock, simulate, until
from .kernel import FakeKernel
from .machine import FakeEngines, FakeEvents, FakeLookout, FakeMachine

#: What the guide's client listens on, and after how many seconds it does.
REDIRECTOR, DELAY = 1080, 0.3


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
            lookout=FakeLookout,
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

    async def restart(self, form: Mapping[str, object] | None = None) -> None:
        """As the init script does; the next one starts with an empty journal. The proxies' files
        are in the ``form`` of another version, with these members instead of ours."""
        self.handover.touch()
        await self.stop()
        if form:
            files = self.machine.state.files
            other = (replace(f, content=json.dumps(json.loads(f.content) | form)) for f in files)
            self.machine.state = replace(self.machine.state, files=tuple(other))
            for instances in self.procd.services.values():
                for instance in instances.values():
                    instance["data"] = {**instance["data"], "digest": "another version's"}
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
    def jumps(self) -> tuple[str, ...]:
        """Devices whose TCP is redirected, or refused."""
        chains = (f.redirect for f in self.machine.state.firewalls if f.redirect)
        return tuple(device for chain in chains for device in chain.jumps)

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


def kind_of(line: str) -> str:
    """What a line of the journal changes; ``off`` and ``on``: the redirect."""
    kind = line.removeprefix("set ").removeprefix("added ").split()[0]
    if kind == "nftables:":
        return "off" if "switched off" in line else "on"
    return kind


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
