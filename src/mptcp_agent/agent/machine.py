# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine: every edge of ``system`` behind two verbs, observe and apply.

Blocking, and used from one worker thread only (the loop stays free for ubus). An edge that
fails is a problem of the part it stands for; the other parts go on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from ..core import describe
from ..core.diff import Change, Item
from ..core.firewall import CHAIN, FirewallBackend, only_jumps_differ
from ..core.network import MAIN_LIMIT, Facts
from ..core.plan.sysctls import keys
from ..core.problem import Problem
from ..core.state import (
    FEWEST_ENDPOINTS,
    KERNEL_PARTS,
    Backend,
    Endpoint,
    File,
    Firewall,
    Limits,
    Part,
    Process,
    Route,
    RouterState,
    Rule,
    Sysctl,
)
from ..errors import AgentError, KernelError
from ..system import files, sysctl
from ..system.counters import memory_total
from ..system.firewall.iptables import Iptables
from ..system.firewall.nftables import Nftables
from ..system.netlink.endpoints import PathManager
from ..system.netlink.main_table import main_routes, ways_out
from ..system.netlink.routes import Routing
from .originals import Originals


def part_of(item: Item) -> Part:
    """The part in which a change of the item shows."""
    match item:
        case Firewall():
            return Part.FIREWALL
        case File():
            return Part.FILES
        case Sysctl():
            return Part.SYSCTLS
        case Process():
            return Part.SERVICES
        case _:
            return Part.ROUTING


@dataclass(frozen=True)
class Observation:
    """One look: the kernel's share of the facts, what is ours, and what could not be read, by
    part."""

    facts: Facts = field(default_factory=Facts)
    state: RouterState = field(default_factory=RouterState)
    problems: tuple[tuple[Part, Problem], ...] = ()

    def noting(self, part: Part, problem: Problem | None) -> Observation:
        """The same with this problem in the place of the part's last one."""
        found = {p: said for p, said in self.problems if p is not part}
        if problem:
            found[part] = problem
        return replace(self, problems=tuple(sorted(found.items(), key=lambda p: p[0].value)))


class Machine:
    """This router's kernel and files. Processes belong to procd (``system.ubus.services``)."""

    def __init__(
        self,
        state_directory: str = files.STATE_DIRECTORY,
        config_directory: str = files.CONFIG_DIRECTORY,
    ) -> None:
        self._state_directory = state_directory
        self._config_directory = config_directory
        self._routing = Routing()
        self._path_manager = PathManager()
        self._originals = Originals(f"{state_directory}/originals.json", self._path_manager)
        self._nftables = Nftables()
        self._backends: dict[Backend, FirewallBackend] = {
            "nftables": self._nftables,
            "iptables": Iptables(),
        }
        self._watched: set[Backend] = {"nftables", "iptables"}
        """Back ends in which something of ours may be, also from an agent before this one."""
        self._chosen: Backend | None = None
        self._main_over: tuple[str, ...] | None = ()
        """Over which devices main's routes were last read; None: over any."""

    def close(self) -> None:
        self._routing.close()
        self._path_manager.close()

    # --- What is ---------------------------------------------------------------------------

    def backends(self, wanted: str) -> tuple[tuple[Backend, ...], dict[str, str]]:
        """The back end for ``option redirect``, and why others do not work.

        iptables is only looked at where it is asked for or nftables does not work: its
        library alone takes more memory than the agent.
        """
        missing: dict[str, str] = {}
        for name, backend in self._backends.items():
            if wanted not in ("auto", name):
                continue
            why = backend.available()
            if not why:
                self._watched.add(name)
                self._chosen = name
                return (name,), missing
            missing[name] = why
        return (), missing

    def most_endpoints(self) -> int:
        """How many endpoints the kernel holds at once."""
        with contextlib.suppress(KernelError):
            return self._path_manager.most()
        return FEWEST_ENDPOINTS  # without MPTCP, which status says

    def first_takers(self, devices: Iterable[str]) -> tuple[str, ...]:
        """Chains of others that take the devices' connections before ours. FirewallError."""
        return self._nftables.first_takers(devices)

    def observe(
        self, before: Observation, parts: frozenset[Part], uplinks: tuple[str, ...] = ()
    ) -> Observation:
        """Look at ``parts`` again; the others stay as they were. Of the main table that is read
        which leaves by ``uplinks``; all of it where iptables, which cannot ask the kernel for
        the way of a packet, has to be told."""
        over = None if self._chosen == "iptables" else uplinks
        if over != self._main_over:
            self._main_over = over
            parts |= {Part.ROUTING}
        seen = before
        if Part.LINKS in parts:
            seen = self._look(seen, Part.LINKS, "kernel", self._links)
            if _devices(seen) != _devices(before):
                parts |= {Part.SYSCTLS}  # a new device has settings of its own
        for part, where, reading in (
            (Part.ROUTING, "kernel", self._own_routing),
            (Part.FIREWALL, "firewall", self._firewalls),
            (Part.FILES, self._config_directory, self._generated),
            (Part.SYSCTLS, "sysctl", self._sysctls),
        ):
            if part in parts:
                seen = self._look(seen, part, where, reading)
        return seen

    def _look(
        self,
        before: Observation,
        part: Part,
        where: str,
        reading: Callable[[Observation], Observation],
    ) -> Observation:
        """What cannot be read stays as it was."""
        before = before.noting(part, None)
        try:
            return reading(before)
        except AgentError as error:
            return before.noting(part, Problem(where, str(error)))

    def _links(self, before: Observation) -> Observation:
        found, addresses = self._routing.links(), self._routing.addresses()
        return replace(before, facts=replace(before.facts, links=found, addresses=addresses))

    def _own_routing(self, before: Observation) -> Observation:
        main = main_routes(self._main_over, MAIN_LIMIT)
        facts = replace(before.facts, main=main, ways_out=ways_out())
        routes, rules = self._routing.observe()
        state = replace(
            before.state,
            routes=routes,
            rules=rules,
            endpoints=self._path_manager.observe(),
            limits=self._path_manager.limits(),
        )
        return replace(before, facts=facts, state=state)

    def _firewalls(self, before: Observation) -> Observation:
        """Each back end for itself: where one cannot be read, the other is seen all the same."""
        kept = {f.backend: f for f in before.state.firewalls}
        firewalls: list[Firewall] = []
        problem: Problem | None = None
        for name in sorted(self._watched):
            try:
                found = self._backends[name].observe()
            except AgentError as error:
                problem = Problem("firewall", str(error))
                found = kept.get(name)
            if found is not None:
                firewalls.append(found)
            elif name != self._chosen and problem is None:
                self._watched.discard(name)
        state = replace(before.state, firewalls=tuple(firewalls))
        return replace(before, state=state).noting(Part.FIREWALL, problem)

    def _generated(self, before: Observation) -> Observation:
        found = tuple(
            File(path, content, files.owner(path))
            for path in files.listing(self._config_directory)
            if (content := files.read(path)) is not None
        )
        return replace(before, state=replace(before.state, files=found))

    def _sysctls(self, before: Observation) -> Observation:
        values = tuple(
            (key, value)
            for key in keys(link.name for link in before.facts.links)
            if (value := sysctl.read(key)) is not None
        )
        memory = before.facts.memory or memory_total()
        written = tuple(sorted(self._originals.written.items()))
        return replace(
            before,
            facts=replace(before.facts, sysctls=values, written=written, memory=memory),
            state=replace(before.state, sysctls=tuple(Sysctl(k, v) for k, v in values)),
        )

    def redirected(self) -> tuple[int, int]:
        """Packets (one for each connection) and bytes the redirect rule has seen; (0, 0)
        where it does not stand or cannot be read."""
        try:
            seen = self._backends[self._chosen].counters() if self._chosen else ()
        except AgentError:
            seen = ()
        rows = [c for c in seen if (c.chain, c.rule) == (CHAIN, "redirect")]
        return sum(c.packets for c in rows), sum(c.bytes for c in rows)

    # --- What should be --------------------------------------------------------------------

    def apply(self, changes: Iterable[Change]) -> tuple[tuple[Change, str], ...]:
        """Carry out the changes in order; those that failed, with the reason.

        A failure does not stop the others: each part of the router is worth having.
        """
        failed: list[tuple[Change, str]] = []
        for change in changes:
            try:
                if change.action == "remove":
                    self._remove(change.item)
                else:
                    self._set(change.item, change.old)
            except (AgentError, OSError) as error:
                failed.append((change, str(error)))
        return tuple(failed)

    def _set(self, item: Item, old: Item | None) -> None:
        match item:
            case Endpoint():
                self._path_manager.add(item)
            case Limits():
                self._originals.set_limits(item)
            case Route():
                self._routing.set_route(item)
            case Rule():
                self._routing.add_rule(item)
            case Firewall():
                backend = self._backends[item.backend]
                now = old if isinstance(old, Firewall) else None
                if item.redirect and only_jumps_differ(now, item):
                    backend.set_jumps(item.redirect)
                else:
                    backend.apply(item)
            case File():
                files.write_private(item.path, item.content, item.user)
            case Sysctl():
                self._originals.set_sysctl(item)
            case _:
                raise KernelError(f"{describe.line(item)}: not a part of the kernel")

    def _remove(self, item: Item) -> None:
        match item:
            case Endpoint():
                self._path_manager.remove(item)
            case Route():
                self._routing.remove_route(item)
            case Rule():
                self._routing.remove_rule(item)
            case Firewall():
                self._backends[item.backend].remove()
            case File():
                files.remove(item.path)
            case _:
                raise KernelError(f"{describe.line(item)}: cannot be removed")

    def restore(self, wanted: RouterState) -> None:
        """Put back sysctls and limits the agent has changed and does not want any more."""
        self._originals.restore(wanted)

    def release(self) -> None:
        """Let the LAN out directly, before the proxies end. Without a look first: a jump has to
        go also where the rules cannot be listed. What fails is told by ``sweep``."""
        for name in sorted(self._watched):
            with contextlib.suppress(AgentError):
                self._backends[name].remove()

    def sweep(self) -> tuple[str, ...]:
        """Remove every trace of the agent from kernel and files; what could not be removed.

        Looks for itself instead of trusting anybody's memory, so that it works after a crash
        and with no agent running.
        """
        seen = self.observe(Observation(), KERNEL_PARTS)
        state = seen.state
        changes = [
            *(Change("remove", f) for f in state.firewalls),
            *(Change("remove", e) for e in state.endpoints),
            *(Change("remove", r) for r in state.rules),
            *(Change("remove", r) for r in state.routes),
            *(Change("remove", f) for f in state.files),
        ]
        failed = [f"{describe.line(change.item)}: {why}" for change, why in self.apply(changes)]
        with contextlib.suppress(KernelError):  # it was found by observing, too
            self._path_manager.forget_implicit()
        try:
            self.restore(RouterState())
            files.remove(f"{self._state_directory}/{files.NAMES}")
            files.remove_empty(self._config_directory)
            files.remove_empty(self._state_directory)
        except AgentError as error:
            failed.append(str(error))
        return (*(str(p) for _, p in seen.problems), *failed)


def _devices(seen: Observation) -> set[str]:
    return {link.name for link in seen.facts.links}
