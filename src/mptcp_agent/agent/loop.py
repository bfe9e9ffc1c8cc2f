# SPDX-License-Identifier: GPL-2.0-or-later
"""The loop:  event -> observe -> plan -> diff -> apply -> publish.

Level-triggered: an event (netlink, ubus, a signal, a probe's verdict, a timer) only says which
part to look at again; lost and doubled ones cost one more look. Nothing raises past a turn: a
part that fails is a problem in the status, tried again with backoff.

ubus is used from this thread alone (its binding is not thread-safe); what blocks in the
kernel runs in one worker thread.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ..core.config import Config, uci_files
from ..core.config.options import Schema
from ..core.diff import Change, diff
from ..core.network.topology import uplink_devices
from ..core.plan import Plan, buffers, plan
from ..core.problem import Problem
from ..core.snapshot import Capabilities, Choice, Snapshot
from ..core.state import EVERY_PART, KERNEL_PARTS, Part, Process
from ..core.view import View
from ..errors import ConfigError, ServiceError
from ..monitor.hostnames import Names
from ..monitor.kernel import KERNEL, Kernel
from ..monitor.monitor import Monitor
from ..monitor.ports import INTERVAL as PORTS_INTERVAL
from ..monitor.sampler import Sampler
from ..system.engines.trial import EngineBuilds
from ..system.files import NAMES, STATE_DIRECTORY
from ..system.netlink.events import NetlinkEvents
from ..system.resolver import resolve
from ..system.ubus.bus import Bus
from ..system.ubus.services import lives
from .applier import Applier
from .capabilities import engine_builds, find_builds, find_capabilities, read_config
from .configuration import Configuration
from .lookout import INTERVAL, Lookout
from .machine import Machine, Observation, part_of
from .openwrt import Daemons
from .other_redirectors import OtherRedirectors
from .publisher import Publisher
from .retry import supervise
from .schedule import Schedule
from .snapshots import Snapshots

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds between attempts to reach ubusd again, between looks at a proxy that is to start, and
#: after a look that failed by a bug.
RECONNECT, WATCH_START, FAULT_PAUSE = 0.5, 0.1, 1.0
#: Left in the state directory by the init script: stop without cleaning up, another agent takes
#: over at once.
HANDOVER = "handover"


@dataclass(frozen=True)
class Edge:
    """What the agent stands on: the real things, others in tests. ``events`` makes a listener
    to netlink, ``lookout`` what looks where there are no events; ``clock`` gives seconds and never
    goes back, ``unix`` the time of day; ``directory`` is where the agent leaves word to the one
    after it."""

    machine: Machine = field(default_factory=Machine)
    engines: EngineBuilds = field(default_factory=engine_builds)
    kernel: Kernel = KERNEL
    events: Callable[[], NetlinkEvents] = NetlinkEvents
    lookout: Callable[[], Lookout] = Lookout
    resolve: Callable[[str], tuple[str, ...]] = resolve
    clock: Callable[[], float] = time.monotonic
    unix: Callable[[], float] = time.time
    directory: str = STATE_DIRECTORY


class Agent:
    """One router's agent. ``run`` returns when it is told to stop."""

    def __init__(self, schema: Schema, bus: Bus, edge: Edge | None = None) -> None:
        edge = edge or Edge()
        clock = edge.clock
        self._schema = schema
        self._bus = bus
        self._events = edge.events
        self._lookout = edge.lookout
        self._handover = Path(edge.directory, HANDOVER)
        self._schedule = Schedule(clock)
        request = self._schedule.request
        self._machine = machine = edge.machine
        self._others = OtherRedirectors(machine, lambda: self._view)
        self.publisher = Publisher(
            bus,
            self.view,
            self.examine,
            self.preview,
            self.reload,
            lambda: self._others.found,
            clock,
            edge.unix,
            edge.kernel,
        )
        self._daemons = Daemons(bus, schema, request, self.publisher.register)
        self._engines = edge.engines
        self._worker = ThreadPoolExecutor(1, "kernel")
        self._names = Names(
            request,
            lambda: self._configuration.look_again(),
            f"{edge.directory}/{NAMES}",
            edge.resolve,
        )
        self._configuration = Configuration(self._named, self._find, self._in_force)
        only_forked = edge.kernel.only_forked
        self._applier = Applier(machine, self._daemons.services, self._work, only_forked, clock)
        self._monitor = Monitor(request, self._applier.restart_redirector, edge.kernel, clock)
        opened = self._monitor.connections_opened
        self._sampler = Sampler(machine.redirected, opened, edge.kernel, clock)
        self._snapshots = Snapshots(
            self._daemons,
            self._monitor,
            self._sampler,
            self._names,
            self._applier,
            lambda: (p for p in (self._fault, self._names.waiting) if p),
        )
        self._observation = Observation()
        self._view = View(Snapshot(), Plan())
        """Of the last turn: what was planned, and from what."""
        self._configured_choice: Choice | None = None
        self._fault: Problem | None = None
        self._publish_pending = False
        """The last turn changed something, and has not told what became of it."""
        self._reloading = False
        self._stopping = False

    # --- Life ------------------------------------------------------------------------------

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        # Before ubus.connect(), which takes over signals that are still at their default.
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._handover.unlink(missing_ok=True)  # it was meant for the agent before this one

        events = self._events()
        for descriptor in events.filenos():
            loop.add_reader(descriptor, self._heard, events)
        background = (
            self._configuration.run,
            self._names.run,
            self._sample,
            self._look_out,
            self._others.run,
            *self._monitor.tasks(),
        )
        helpers = [asyncio.create_task(supervise(task, FAULT_PAUSE)) for task in background]
        try:
            while not self._stopping:
                await self._turn()
                await self._schedule.wait(*self._alarm())
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            for descriptor in events.filenos():
                loop.remove_reader(descriptor)
            events.close()
            await self._leave()

    def stop(self) -> None:
        self._stopping = True
        self._schedule.request()

    def reload(self) -> None:
        """Read the configuration again, and see again what there is to work with."""
        self._engines.forget()
        self._reloading = True
        self._schedule.request(Part.CONFIG)

    async def _leave(self) -> None:
        """Clean up, unless another agent takes over (then its first look finds all in place)."""
        if not self._handover.exists():
            await self._work(self._machine.release)
            try:
                await self._applier.end_processes()
            except ServiceError as error:
                log.error("%s", error)
            for failure in await self._work(self._machine.sweep):
                log.error("cleaning up: %s", failure)
            log.info("stopped; every trace removed from kernel and files")
        else:
            log.info("stopped; all is left in place for the next agent")
        self._monitor.close()
        self._daemons.disconnect(orderly=True)
        self._worker.shutdown()
        self._machine.close()

    async def _work(self, call: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, call, *arguments)

    # --- When to look ----------------------------------------------------------------------

    def _heard(self, events: NetlinkEvents) -> None:
        parts = events.drain()
        if Part.FIREWALL in parts:
            self._schedule.request(Part.FIREWALL)
            self._others.look_again()
            self._monitor.firewall_changed()
            self._look_at_files()
        if Part.LINKS in parts:
            self._schedule.links_changed()
        elif Part.ROUTING in parts:
            self._schedule.routing_changed()

    def _look_at_files(self) -> None:
        if self._daemons.files_changed():
            self._schedule.request(Part.CONFIG)

    def _alarm(self) -> tuple[float, frozenset[Part]]:
        """In how many seconds another turn is due although nothing was heard, and what it looks
        at then. (Of procd a turn asks by itself while a proxy starts.)"""
        retries = self._applier.retries
        soon = [retries.next_in(), *[RECONNECT] * (not self._bus.connected)]
        soon += [WATCH_START] * self._starting() + [PORTS_INTERVAL] * self._monitor.ports_taken
        again = not self._bus.connected or retries.pending()
        return min(soon), KERNEL_PARTS if again else frozenset()

    def _starting(self) -> bool:
        """A proxy process should run, or listen, or be changed, and is only being started."""
        planned = {p.name for p in self._view.plan.state.processes}
        running = {r.name for r in self._daemons.running or () if r.running}
        if planned - running or self._applier.postponed:
            return True
        return "client" in planned and not self._monitor.redirector_listens

    # --- One turn --------------------------------------------------------------------------

    async def _turn(self) -> None:
        """A bug must not end the agent: it is said once, and another turn follows, which looks at
        everything. What this one was to look at may be a link that died."""
        before, self._fault = self._fault, None
        try:
            await self._reconcile()
            return
        except Exception as error:
            self._fault = Problem("agent", f"{type(error).__name__}: {error}", "a bug")
            if self._fault != before:
                log.exception("this look at the router failed; another one follows")
        with suppress(Exception):
            self.publisher.publish(self.view())
        await asyncio.sleep(FAULT_PAUSE)
        self._schedule.request(*EVERY_PART)

    async def _reconcile(self) -> None:
        self._daemons.connect()
        if self._starting() or self._applier.retries.pending():
            self._schedule.request(Part.SERVICES)
        dirty = self._schedule.begin()
        self._daemons.ask(dirty)
        self._configuration.read(self._daemons.config)
        if self._reloading:
            self._reloading = False
            self._configuration.look_again()
        observe = self._machine.observe
        self._observation = await self._work(
            observe, self._observation, dirty & KERNEL_PARTS, self._uplinks()
        )
        config = self._configuration.config
        if config is not None and self._known():
            running = self._daemons.running
            self._monitor.watch_processes({r.name: r.pid for r in running or () if r.pid})
            await self._monitor.redirector(config, None if running is None else lives(running))
            self._view = view = self.view()
            self._configured_choice = view.plan.configured or self._configured_choice
            self._monitor.follow(config, view.plan)
            if await self._apply(view) and not self._publish_pending:
                # What has become of it is seen in the next turn, at once.
                self._publish_pending = True
                self.publisher.publish_if_degraded(view)
                return
        elif self._daemons.config is not None and config is None:  # in force in a moment
            return
        else:
            # Nothing is known of what should be: touch nothing that may be carrying traffic.
            self._view = self.view()
        self._publish_pending = False
        self.publisher.publish(self._view)

    def view(self) -> View:
        """A snapshot of this moment, from memory, and what is planned from it."""
        return self._view_of(self._configuration.config)

    def _view_of(self, config: Config | None) -> View:
        snapshot = self._snapshots.take(
            self._observation,
            config,
            self._configuration.capabilities,
            self._configured_choice,
            before=self._view.plan,
        )
        return View(snapshot, plan(snapshot) if self._known() else Plan())

    def _uplinks(self) -> tuple[str, ...]:
        config = self._configuration.config
        wans = (wan.interface for wan in config.wans) if config else ()
        return uplink_devices(self._daemons.interfaces or (), wans)

    def _known(self) -> bool:
        """Whether netifd has answered once: without it every WAN looks gone."""
        return self._daemons.interfaces is not None

    def _changes(self, view: View) -> tuple[Change, ...]:
        """None before all have answered: what carries traffic may be another peer's proxy than
        the one that is planned without knowing."""
        if view.snapshot.config is None or view.snapshot.processes is None or not self._known():
            return ()
        return diff(view.snapshot.observed, view.plan.state)

    async def _apply(self, view: View) -> bool:
        """Carry out what is due; whether anything was."""
        running = view.snapshot.observed.processes
        problems = self._applier.problems()
        due = await self._applier.apply(self._changes(view), view.plan.state, running)
        if any(isinstance(c.item, Process) and c.item.name == "client" for c in due):
            self._monitor.redirector_gone()
        if due:
            # Read back what was written, and no more: the last changes for a dead path shall not
            # wait for a look at the firewall. (Sysctls may have been put back.)
            self._schedule.request(Part.SYSCTLS, *(part_of(change.item) for change in due))
        elif self._applier.problems() != problems:
            self._schedule.request()  # what is over is told by another snapshot
        return bool(due)

    def examine(self) -> View:
        """This moment for somebody who has just mended a file, and wants to know."""
        self._daemons.ask((Part.CONFIG,))
        self._schedule.request()
        return self.view()

    def preview(self) -> tuple[tuple[Change, ...], tuple[Problem, ...]]:
        """What a reload would change: the configuration is read, nothing is applied. What is
        not committed is no part of it, and is said."""
        config: Config | None = self._configuration.config
        problems: tuple[Problem, ...]
        try:
            config, problems = read_config(self._bus.call, self._schema)
        except ConfigError as error:
            problems = (uci_files.unreadable(error.package, error.complaint),)
        view = self._view_of(config)
        return self._changes(view), (*problems, *view.plan.problems)

    # --- Beside the loop -------------------------------------------------------------------

    def _named(self, config: Config) -> bool:
        logging.getLogger(__name__.partition(".")[0]).setLevel(config.globals.log_level.upper())
        return self._names.request(config, self._daemons.running)

    async def _find(self, config: Config) -> Capabilities:
        builds = await asyncio.to_thread(find_builds, config, self._engines)
        found = await self._work(find_capabilities, config, builds, self._machine)
        await self._work(self._sampler.ignore_so_far)
        return found

    def _in_force(self) -> None:
        self._applier.unsettle()
        self._schedule.request()

    async def _look_out(self) -> None:
        """For what others undo without an event."""
        with closing(self._lookout()) as lookout:
            while True:
                backends = self._configuration.capabilities.backends
                if parts := lookout.changed(legacy="iptables" in backends):
                    self._schedule.request(*parts)
                await asyncio.sleep(INTERVAL)

    async def _sample(self) -> None:
        """Counters and rates, at an interval; what costs more only while somebody looks."""
        while True:
            config, watched = self._configuration.config, self.publisher.watched()
            await self._work(self._sampler.sample, config, self._view.plan, watched)
            measured = self._sampler.sampled.measured
            if max(measured.send_rate, measured.receive_rate) > buffers.MIN_RATE:
                self._schedule.request(Part.SYSCTLS)  # the buffers follow
            if watched:
                self._look_at_files()
            await asyncio.sleep(self._sampler.interval)
