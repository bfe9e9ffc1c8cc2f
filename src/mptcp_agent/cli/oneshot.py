# SPDX-License-Identifier: GPL-2.0-or-later
"""One look at the router without an agent: for ``plan`` and ``check`` on the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..agent.capabilities import engine_builds, find_builds, find_capabilities, read_config
from ..agent.machine import Machine, Observation
from ..agent.other_redirectors import first_takers
from ..agent.snapshots import process_views
from ..core.config import Config, uci_files
from ..core.config.options import Schema, is_address
from ..core.diff import Change, diff
from ..core.health import Health
from ..core.network import Interface, netifd
from ..core.network.topology import uplink_devices
from ..core.plan import plan
from ..core.problem import Problem
from ..core.snapshot import Capabilities, Snapshot
from ..core.state import KERNEL_PARTS, Process
from ..core.view import View
from ..errors import AgentError, BusError, ConfigError
from ..system import processes
from ..system.engines.trial import EngineBuilds
from ..system.resolver import resolve
from ..system.ubus.bus import Bus
from ..system.ubus.services import Running, Services


class OneShot:
    """Everything is read once, when it is made; whoever does not answer is a problem. The machine
    is closed then, the bus stays open for ``call``."""

    def __init__(
        self,
        schema: Schema,
        bus: Bus,
        machine: Machine | None = None,
        engines: EngineBuilds | None = None,
        listens: Callable[[int], bool] = processes.listens,
        ask_dns: Callable[[str], tuple[str, ...]] = resolve,
    ) -> None:
        machine = machine or Machine()
        self.call = bus.call
        problems: list[Problem] = []
        config: Config | None = None
        interfaces: tuple[Interface, ...] = ()
        instances: tuple[Process, ...] = ()
        running: tuple[Running, ...] | None = None
        try:
            bus.connect()
        except BusError as error:
            problems.append(Problem("ubus", str(error)))
        else:
            try:
                config, found = read_config(bus.call, schema)
                problems += found
            except ConfigError as error:
                problems.append(uci_files.unreadable(error.package, error.complaint))
            except AgentError as error:
                problems.append(Problem("uci", str(error)))
            try:
                interfaces = netifd.interfaces(bus.call("network.interface", "dump", {}))
                instances, running = Services(bus.call).observe()
            except AgentError as error:
                problems.append(Problem("ubus", str(error)))
        names = {a for p in config.client_peers for a in p.address} if config else set()
        health, capabilities = Health(), Capabilities()
        if config:
            if config.client:
                health = Health(redirector=listens(config.client.local_port))
            builds = find_builds(config, engines or engine_builds())
            capabilities = find_capabilities(config, builds, machine)
        wans = (wan.interface for wan in config.wans) if config else ()
        seen = machine.observe(Observation(), KERNEL_PARTS, uplink_devices(interfaces, wans))
        snapshot = Snapshot(
            config=config,
            capabilities=capabilities,
            facts=replace(
                seen.facts,
                interfaces=interfaces,
                resolved=tuple((n, ask_dns(n)) for n in sorted(names) if not is_address(n)),
            ),
            health=health,
            observed=replace(seen.state, processes=instances),
            processes=None if running is None else process_views(running),
            problems=tuple(problems),
            failures=tuple(p for _, p in seen.problems),
        )
        self.view = View(snapshot, plan(snapshot))
        self._machine = machine
        machine.close()

    def first_takers(self) -> tuple[str, ...]:
        """Chains of others that take the LAN's connections before ours would."""
        return first_takers(self._machine, self.view)

    def preview(self) -> tuple[tuple[Change, ...], tuple[Problem, ...]]:
        """What an agent would change: nothing before all daemons have answered."""
        snapshot = self.view.snapshot
        known = snapshot.config is not None and snapshot.processes is not None  # asked in a row
        changes = diff(snapshot.observed, self.view.plan.state) if known else ()
        return changes, self.view.problems
