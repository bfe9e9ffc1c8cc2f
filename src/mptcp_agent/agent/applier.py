# SPDX-License-Identifier: GPL-2.0-or-later
"""Carries out changes: those of kernel and files in the worker thread, procd's in the loop.

A failure stops nothing else; it is told once, and tried again later and later (``retry``).

procd is left alone while one of our processes is only forked: until a child runs its program it has
procd's own handlers of signals, and one that is told to end then (by a ``set`` that changes it or
leaves it out, by ``delete``) boots the router (seen with procd of 2026-06 and 2026-08: instance.c,
signal.c). That takes milliseconds, and the next look finds the same change.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Iterable
from itertools import groupby
from typing import Any

from ..core import describe
from ..core.diff import Change
from ..core.plan.proxies import runnable
from ..core.problem import Problem
from ..core.state import Process, RouterState
from ..errors import AgentError, ServiceError
from ..system.ubus.services import Services
from .machine import Machine
from .retry import Retries

log = logging.getLogger(__name__)

#: Seconds between looks at a process that is only forked, and how long it is waited for at the end.
FORK, LONGEST_FORK = 0.02, 2.0
#: Seconds that proxies have to start, and their peers to answer, before that is news. A sing-box on
#: a slow router takes two or three.
START = 10.0


class Applier:
    """``work`` runs a call in the worker thread, ``only_forked`` tells whether a process does not
    run its program yet."""

    def __init__(
        self,
        machine: Machine,
        services: Services,
        work: Callable[..., Awaitable[Any]],
        only_forked: Callable[[int], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._machine = machine
        self._services = services
        self._work = work
        self._only_forked = only_forked
        self._clock = clock
        self.postponed = False
        """procd has not been told of a change, since it is starting a process."""
        self._restoring: Problem | None = None
        self._started_at = clock()
        self._settled = False
        """What a former configuration had changed is put back."""
        self.retries = Retries(clock)

    def unsettle(self) -> None:
        """Another configuration: something may have to be put back."""
        self._settled = False

    def problems(self) -> tuple[Problem, ...]:
        return (*([self._restoring] if self._restoring else ()), *self.retries.problems())

    def starting(self) -> bool:
        """Whether the agent, or a proxy process, was started only a moment ago."""
        return self._clock() - self._started_at < START

    async def apply(
        self, changes: tuple[Change, ...], planned: RouterState, running: tuple[Process, ...]
    ) -> tuple[Change, ...]:
        """Carry out what is due of ``changes``; those that were tried."""
        due = self.retries.due(changes)
        failed: list[tuple[Change, str]] = []
        kept: list[Change] = []
        self.postponed = False
        for of_procd, group in groupby(due, lambda c: isinstance(c.item, Process)):
            some = tuple(group)
            if of_procd:
                failing = [*self.retries.failing(), *(c.item for c, _ in failed)]
                wanted = runnable(planned.processes, running, failing)
                kept += [c for c in some if (c.item in wanted) == (c.action == "remove")]
                todo = [c for c in some if c not in kept]
                self.postponed = bool(todo) and self._procd_is_starting()
                if self.postponed:
                    kept += todo
                else:
                    failed += self._tell_procd(wanted, todo)
            else:
                failed += await self._work(self._machine.apply, some)
        if due or not self._settled:
            await self._restore(planned)
        # What waits for the failure of something else, or for procd, was not tried.
        tried = tuple(c for c in due if c not in kept)
        for change in tried:
            why = next((w for c, w in failed if c is change), None)
            if why is None:
                level = logging.DEBUG if describe.is_detail(change.item) else logging.INFO
                log.log(level, "%s", describe.log_line(change))
            elif self.retries.is_new(change, why):
                log.error("%s: %s", describe.label(change.item), why)
        self.retries.note(tried, {describe.log_line(c): w for c, w in failed})
        return tried

    async def end_processes(self) -> None:
        """procd ends them all. Raises ServiceError."""
        until = self._clock() + LONGEST_FORK
        while self._procd_is_starting() and self._clock() < until:
            await asyncio.sleep(FORK)
        self._services.set(())

    def _procd_is_starting(self) -> bool:
        """Asked for anew: it may have started one again by itself."""
        try:
            _, running = self._services.observe()
        except ServiceError:
            return False  # and so it is told when it is told of the change
        return any(one.pid and self._only_forked(one.pid) for one in running)

    def restart_redirector(self) -> None:
        """By SIGKILL, which no handler of procd's catches."""
        try:
            self._services.restart("client", signal.SIGKILL)
        except ServiceError as error:
            log.error("%s", error)

    def _tell_procd(
        self, wanted: Iterable[Process], changes: Iterable[Change]
    ) -> list[tuple[Change, str]]:
        """procd is told of all processes at once."""
        try:
            self._services.set(wanted)
            self._started_at = self._clock()
        except ServiceError as error:
            return [(change, str(error)) for change in changes]
        return []

    async def _restore(self, planned: RouterState) -> None:
        try:
            await self._work(self._machine.restore, planned)
            self._settled, self._restoring = True, None
        except AgentError as error:
            self._restoring = Problem("sysctl", str(error))
