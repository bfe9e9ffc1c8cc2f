"""The loop:  event -> observe -> plan -> diff -> apply -> publish.

Level-triggered: an event (netlink, ubus, a signal, a probe's verdict, a timer) only says which
part to look at again; lost and doubled ones cost one more look. Nothing raises past ``_turn``:
a part that fails is a problem in the status, tried again with backoff.

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
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from ..core.config import Config
from ..core.config.options import Schema
from ..core.diff import Change, diff
from ..core.health import mptcp_blocked
from ..core.network import Facts
from ..core.plan import Capabilities, Plan, buffers, plan
from ..core.plan.peers import Choice
from ..core.problem import Problem
from ..core.snapshot import ProcessView, View
from ..core.state import RouterState
from ..errors import ServiceError
from ..monitor.hostnames import Names
from ..monitor.sampler import Sampler
from ..monitor.watcher import Watcher
from ..system.files import STATE_DIRECTORY
from ..system.netlink.events import NetlinkEvents
from ..system.ubus.bus import Bus
from .applier import Applier
from .capabilities import engine_builds, find_builds, find_capabilities, read_config
from .machine import PARTS, Machine, Observation, part_of
from .openwrt import ASKED, Daemons
from .publisher import Publisher
from .rate_limiter import RateLimiter
from .retry import supervise

log = logging.getLogger(__name__)

T = TypeVar("T")

EVERYTHING = PARTS | ASKED

#: Seconds. A look at everything although nothing was heard: for changes that make no event
#: (a sysctl, a file, iptables rules).
SLOW_TIMER = 60.0
#: Routes are read and netifd is asked so long (s) after the kernel told of a link or an address:
#: netifd needs a moment itself, and what is dead in the kernel is dead whatever netifd says.
REST_LATER = 0.05
#: Seconds between attempts to reach ubusd again, between looks at a proxy that is to start, and
#: after a look that failed by a bug.
RECONNECT, WATCH_START, FAULT_PAUSE = 0.5, 0.1, 1.0
#: Seconds until it is looked again for what was not found to work with.
CAPABILITIES_AGAIN = 30.0
#: Left here by the init script: stop without cleaning up, another agent takes over at once.
HANDOVER = f"{STATE_DIRECTORY}/handover"


class Agent:
    """One router's agent. ``run`` returns when it is told to stop."""

    def __init__(self, schema: Schema, socket_path: str | None = None) -> None:
        self._schema = schema
        self._bus = Bus(socket_path)
        self.publisher = Publisher(self._bus, self.view, self.preview, self.reload)
        self._daemons = Daemons(self._bus, schema, self.look, self.publisher.register)
        self._machine = Machine()
        self._engines = engine_builds(STATE_DIRECTORY)
        self._worker = ThreadPoolExecutor(1, "kernel")
        self._news = asyncio.Event()
        self._dirty: set[str] = set(EVERYTHING)
        self._pace = RateLimiter()
        self._rest_due: asyncio.TimerHandle | None = None
        self._everything_at = time.monotonic() + SLOW_TIMER
        self._stopping = False

        self._asked = asyncio.Event()
        self._config: Config | None = None
        """In force, with these means."""
        self._means = Capabilities()
        self._sight = Observation()
        self._plan = Plan()
        self._choice: Choice | None = None
        self._applier = Applier(self._machine, self._daemons.services, self._work)
        self._fault: Problem | None = None
        self._untold = False  # the last turn changed something

        self._names = Names(self.look)
        self._watcher = Watcher(self.look, self._applier.restart_redirector)
        self._sampler = Sampler(self._machine.redirected, self._watcher.opened)

    # --- Life ------------------------------------------------------------------------------

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        # Before ubus.connect(), which takes over signals that are still at their default.
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        Path(HANDOVER).unlink(missing_ok=True)  # it was meant for the agent before this one

        events = NetlinkEvents()
        for descriptor in events.filenos():
            loop.add_reader(descriptor, self._heard, events)
        beside = (self._adopt, self._names.run, self._sample, *self._watcher.tasks())
        helpers = [asyncio.create_task(supervise(task, FAULT_PAUSE)) for task in beside]
        try:
            while not self._stopping:
                try:
                    await self._turn()
                    self._fault = None
                except Exception as error:  # a bug must not end the agent
                    log.exception("this look at the router failed; another one follows")
                    self._fault = Problem("agent", f"{type(error).__name__}: {error}", "a bug")
                    with suppress(Exception):
                        self.publisher.publish()
                    await asyncio.sleep(FAULT_PAUSE)
                await self._wait()
        finally:
            for task in helpers:
                task.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            for descriptor in events.filenos():
                loop.remove_reader(descriptor)
            events.close()
            await self._leave()

    def stop(self) -> None:
        self._stopping = True
        self._news.set()

    def reload(self) -> None:
        """Read the configuration again, and see again what there is to work with."""
        self._engines.forget()
        self.look("config", "means")

    def look(self, *parts: str) -> None:
        """Look at these parts again, soon."""
        self._dirty.update(parts)
        self._news.set()

    async def _leave(self) -> None:
        """Clean up, unless another agent takes over (then its first look finds all in place)."""
        if not Path(HANDOVER).exists():
            await self._work(self._machine.release)
            try:
                self._daemons.services.set(())
            except ServiceError as error:
                log.error("%s", error)
            for failure in await self._work(self._machine.sweep):
                log.error("cleaning up: %s", failure)
            log.info("stopped; every trace removed from kernel and files")
        else:
            log.info("stopped; all is left in place for the next agent")
        self._watcher.close()
        self._daemons.disconnect(orderly=True)
        self._worker.shutdown()
        self._machine.close()

    async def _work(self, call: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, call, *arguments)

    async def _wait(self) -> None:
        """Until there is news, or something is due, and another turn is allowed."""
        await self._pace.allowed()
        if self._dirty or self._stopping:
            return
        try:
            async with asyncio.timeout(self._patience()):
                await self._news.wait()
        except TimeoutError:
            now = time.monotonic()
            if now >= self._everything_at:
                self._everything_at = now + SLOW_TIMER
                self._dirty |= EVERYTHING
            elif not self._bus.connected or self._applier.retries.pending():
                self._dirty |= PARTS
            # else a proxy process is starting: each turn asks procd for it

    def _patience(self) -> float:
        soon = [RECONNECT] * (not self._bus.connected) + [WATCH_START] * self._starting()
        slow = self._everything_at - time.monotonic()
        return max(0.0, min(slow, self._applier.retries.next_in(), *soon))

    def _starting(self) -> bool:
        """A proxy process should run, or listen, and does not yet."""
        planned = {p.name for p in self._plan.state.processes}
        running = {r.name for r in self._daemons.running or () if r.running}
        if planned - running:
            return True
        return "client" in planned and not self._watcher.redirector_listens

    # --- Events ----------------------------------------------------------------------------

    def _heard(self, events: NetlinkEvents) -> None:
        parts = events.drain()
        if "firewall" in parts:
            self.look("firewall")
        if parts & {"links", "addresses"}:
            # What is dead is acted on at once; what the kernel did besides shows a little later.
            self.look("links")
            if self._rest_due is None:
                later = asyncio.get_running_loop().call_later
                self._rest_due = later(REST_LATER, self._look_at_the_rest)
        elif parts & {"routes", "rules"} and self._rest_due is None:
            self.look("routing", "sysctls")

    def _look_at_the_rest(self) -> None:
        self._rest_due = None
        self.look("routing", "sysctls", "interfaces")

    # --- One turn --------------------------------------------------------------------------

    async def _turn(self) -> None:
        self._news.clear()
        self._pace.begin()
        self._daemons.connect()
        if self._starting() or self._applier.retries.pending():
            self._dirty.add("services")
        dirty, self._dirty = frozenset(self._dirty), set()
        if self._daemons.ask(dirty) or "means" in dirty:
            self._asked.set()
        self._sight = await self._work(self._machine.observe, self._sight, dirty & PARTS)
        config = self._config
        if config is not None and self._daemons.interfaces is not None:
            running = self._daemons.running
            self._watcher.watch_processes({r.name: r.pid for r in running or () if r.pid})
            await self._watcher.redirector(config, running is not None)
            self._plan = self._make_plan(config)
            if self._restarts_redirector():
                # The LAN goes out directly meanwhile, rather than being refused.
                self._watcher.redirector_gone()
                self._plan = self._make_plan(config)
            self._choice = self._plan.configured or self._choice
            self._watcher.follow(config, self._plan)
            if await self._apply(self._changes(self._plan.state)) and not self._untold:
                self._untold = True  # what has become of it is seen in the next turn, at once
                self.publisher.publish_loss()
                return
        elif self._daemons.config is not None and config is None:  # in force in a moment
            return
        # else nothing is known of what should be: touch nothing that may be carrying traffic.
        self._untold = False
        self.publisher.publish()

    async def _adopt(self) -> None:
        """Take over what is configured once it is known what there is to do it with: trying an
        engine takes seconds, in which links are watched and all stays as it was."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            config = self._daemons.config
            if config is None or not self._names.ready(config, self._daemons.running):
                continue
            logging.getLogger(__package__).setLevel(config.globals.log_level.upper())
            try:
                builds = await asyncio.to_thread(find_builds, config, self._engines)
                means = await self._work(find_capabilities, config, builds, self._machine)
                await self._work(self._sampler.ignore_so_far)
            except Exception:
                self._asked.set()  # once more, after this is said
                raise
            if means.incomplete(config):
                # A busy moment, or MPTCP was off until the agent switched it on.
                asyncio.get_running_loop().call_later(CAPABILITIES_AGAIN, self.look, "means")
            if (config, means) == (self._config, self._means):
                continue
            self._config, self._means = config, means
            self._applier.unsettle()
            log.info("configuration read")
            self.look()

    def _restarts_redirector(self) -> bool:
        planned = [p for p in self._plan.state.processes if p.name == "client"]
        return self._watcher.redirector_listens and planned != [
            p for p in self.observed().processes if p.name == "client"
        ]

    def _make_plan(self, config: Config) -> Plan:
        # Not where an agent before this one has left the LAN redirected.
        now, health = self.observed(), self._watcher.health()
        lost = self._plan.choice is None and now.lan != "proxy"
        made = plan(config, self.facts(), health, self._means, self._choice, lost, now)
        can = self._applier.runnable(made.state.processes, now.processes)
        return replace(made, state=replace(made.state, processes=can))

    def facts(self) -> Facts:
        sampled = self._sampler.sampled
        return replace(
            self._names.known(self._sight.facts),
            interfaces=self._daemons.interfaces or (),
            send_rate=sampled.send_rate,
            receive_rate=sampled.receive_rate,
            steady=sampled.steady,
            round_trip=sampled.round_trip,
            subflows_per_connection=sampled.subflows_per_connection,
        )

    def observed(self) -> RouterState:
        return replace(self._sight.observed.state, processes=self._daemons.instances)

    def _changes(self, planned: RouterState) -> tuple[Change, ...]:
        if self._daemons.running is None:  # procd has not answered yet: its part stays as it is
            planned = replace(planned, processes=self._daemons.instances)
        return diff(self.observed(), planned)

    async def _apply(self, changes: tuple[Change, ...]) -> bool:
        """Carry out what is due; whether anything was."""
        due = await self._applier.apply(changes, self._plan.state, self._daemons.instances)
        if due:
            # Read back what was written, and no more: the last changes for a dead path shall not
            # wait for a look at the firewall. (Sysctls may have been put back.)
            self._dirty |= {"sysctls", *(part_of(c.item) or "services" for c in due)}
        return bool(due)

    # --- What others see -------------------------------------------------------------------

    def view(self) -> View:
        """Everything known now, from memory."""
        return View(
            config=self._config,
            facts=self.facts(),
            health=self._watcher.health(),
            plan=self._plan,
            observed=replace(self._sight.observed, state=self.observed()),
            problems=(
                *self._daemons.problems,
                *self._plan.problems,
                *(p for _, p in self._sight.problems),
                *(p for p in (self._fault, self._names.waiting) if p),
                *self._applier.problems(),
                *mptcp_blocked.problems(self._sampler.sampled.blocked_wans),
            ),
            processes=tuple(
                ProcessView(r.name, r.running, r.pid) for r in self._daemons.running or ()
            ),
            sampled=self._sampler.sampled,
            history=tuple(self.publisher.history),
        )

    def preview(self) -> tuple[tuple[Change, ...], tuple[Problem, ...]]:
        """What a reload would change: the configuration is read, nothing is applied."""
        config, problems = read_config(self._bus.call, self._schema)
        planned = self._make_plan(config)
        return self._changes(planned.state), (*problems, *planned.problems)

    async def _sample(self) -> None:
        """Counters and rates, at an interval; what costs more only while somebody looks."""
        while True:
            await self._work(
                self._sampler.sample, self._config, self._plan, self.publisher.watched()
            )
            moving = self._sampler.sampled.send_rate, self._sampler.sampled.receive_rate
            if max(moving) > buffers.MIN_RATE:
                self.look("sysctls")  # the buffers follow
            await asyncio.sleep(self._sampler.interval)
