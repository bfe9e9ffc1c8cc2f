"""One look at the router without an agent: for ``plan`` and ``check`` on the command line."""

from __future__ import annotations

from dataclasses import replace

from ..agent.capabilities import engine_builds, find_builds, find_capabilities, read_config
from ..agent.machine import PARTS, Machine, Observation
from ..core.config import Config
from ..core.config.options import Schema, is_address
from ..core.diff import Change, diff
from ..core.health import Health
from ..core.network import Interface, netifd
from ..core.plan import Plan, plan
from ..core.problem import Problem
from ..core.snapshot import ProcessView, View
from ..core.state import Process
from ..errors import AgentError, BusError
from ..system import processes
from ..system.files import STATE_DIRECTORY
from ..system.resolver import resolve
from ..system.ubus.bus import Bus
from ..system.ubus.services import Running, Services


class OneShot:
    """Everything is read once, when it is made; whoever does not answer is a problem."""

    def __init__(self, schema: Schema, socket_path: str | None) -> None:
        bus = Bus(socket_path)
        machine = Machine()
        self.call = bus.call
        problems: list[Problem] = []
        self._config: Config | None = None
        interfaces: tuple[Interface, ...] = ()
        instances: tuple[Process, ...] = ()
        running: tuple[Running, ...] = ()
        try:
            bus.connect()
        except BusError as error:
            problems.append(Problem("ubus", str(error)))
        else:
            try:
                self._config, found = read_config(bus.call, schema)
                problems += found
                interfaces = netifd.interfaces(bus.call("network.interface", "dump", {}))
                instances, running = Services(bus.call).observe()
            except AgentError as error:
                problems.append(Problem("ubus", str(error)))
        sight = machine.observe(Observation(), PARTS)
        config = self._config
        names = {a for p in config.client_peers for a in p.address} if config else set()
        self._facts = replace(
            sight.facts,
            interfaces=interfaces,
            resolved=tuple((n, resolve(n)) for n in sorted(names) if not is_address(n)),
        )
        self._observed = replace(
            sight.observed, state=replace(sight.observed.state, processes=instances)
        )
        self._health = Health()
        self._plan = Plan()
        if config:
            if config.client:
                self._health = Health(redirector=processes.listens(config.client.local_port))
            builds = find_builds(config, engine_builds(STATE_DIRECTORY))
            means = find_capabilities(config, builds, machine)
            now = self._observed.state
            self._plan = plan(config, self._facts, self._health, means, now=now)
        self._processes = tuple(ProcessView(r.name, r.running, r.pid) for r in running)
        self._problems = (*problems, *(p for _, p in sight.problems), *self._plan.problems)
        machine.close()

    def view(self) -> View:
        return View(
            config=self._config,
            facts=self._facts,
            health=self._health,
            plan=self._plan,
            observed=self._observed,
            problems=self._problems,
            processes=self._processes,
        )

    def preview(self) -> tuple[tuple[Change, ...], tuple[Problem, ...]]:
        """What an agent would change. Without a configuration nothing is known to change."""
        changes = diff(self._observed.state, self._plan.state) if self._config else ()
        return changes, self._problems
