# SPDX-License-Identifier: GPL-2.0-or-later
"""What the agent changes, kernel and files, with netlink and engines beside them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from mptcp_agent.agent.lookout import Lookout
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

from .clock import FakeClock


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
        self.first: tuple[str, ...] = ()
        """Chains of another proxy."""
        self.looked_for_others: list[tuple[str, ...]] = []
        self.seen = (0, 0)
        """What ``redirected`` gives."""
        self.closed = False
        self._before: dict[str, str] = {}

    def close(self) -> None:
        self.closed = True

    # --- What is ---------------------------------------------------------------------------

    def first_takers(self, devices: Iterable[str]) -> tuple[str, ...]:
        self.looked_for_others += [tuple(devices)]
        return self.first

    def most_endpoints(self) -> int:
        return 8

    def backends(self, wanted: str) -> tuple[tuple[Backend, ...], dict[str, str]]:
        missing: dict[str, str] = {}
        names: tuple[Backend, ...] = ("nftables", "iptables")
        for name in names:
            if wanted in ("auto", name):
                if name not in self.missing:
                    return (name,), missing
                missing[name] = self.missing[name]
        return (), missing

    def observe(self, before: Observation, parts: frozenset[Part], *_: object) -> Observation:
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
                    facts = replace(self.facts, sysctls=facts.sysctls, memory=facts.memory)
                case Part.ROUTING:
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


class FakeLookout(Lookout):
    """Nobody changes anything unheard."""

    def changed(self, legacy: bool) -> frozenset[Part]:
        return frozenset()


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
