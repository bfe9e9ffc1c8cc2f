"""The machine: every edge of ``system`` behind two verbs, observe and apply.

Blocking, and used from one worker thread only (the loop stays free for ubus). An edge that
fails is a problem of the part it stands for; the other parts go on.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from ..core import describe
from ..core.diff import Change, Item
from ..core.firewall import CHAIN, FirewallBackend, only_jumps_differ
from ..core.network import Facts
from ..core.plan.sysctls import keys
from ..core.problem import Problem
from ..core.state import (
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
from ..errors import AgentError, FileError, KernelError
from ..system import files, sysctl
from ..system.counters import memory_total
from ..system.firewall.iptables import Iptables
from ..system.firewall.nftables import Nftables
from ..system.netlink.endpoints import PathManager
from ..system.netlink.routes import Routing


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


#: Key of the path manager's limits among the remembered values.
_LIMITS = "mptcp limits"


@dataclass(frozen=True)
class Observation:
    """One look: the kernel's share of the facts, what is ours, and what could not be read, by
    part."""

    facts: Facts = field(default_factory=Facts)
    state: RouterState = field(default_factory=RouterState)
    problems: tuple[tuple[Part, Problem], ...] = ()


class Machine:
    """This router's kernel and files. Processes belong to procd (``system.ubus.services``)."""

    def __init__(
        self,
        state_directory: str = files.STATE_DIRECTORY,
        config_directory: str = files.CONFIG_DIRECTORY,
    ) -> None:
        self._state_directory = state_directory
        self._originals_path = f"{state_directory}/originals.json"
        self._config_directory = config_directory
        self._routing = Routing()
        self._paths = PathManager()
        self._backends: dict[Backend, FirewallBackend] = {
            "nftables": Nftables(),
            "iptables": Iptables(),
        }
        self._watched: set[Backend] = {"nftables", "iptables"}
        """Back ends in which something of ours may be, also from an agent before this one."""
        self._chosen: Backend | None = None

    def close(self) -> None:
        self._routing.close()
        self._paths.close()

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

    def observe(self, before: Observation, parts: frozenset[Part]) -> Observation:
        """Look at ``parts`` again; the others stay as they were."""
        facts, state = before.facts, before.state
        problems = {part: p for part, p in before.problems if part not in parts}

        def look(part: Part, where: str, reading: Callable[[], None]) -> None:
            if part not in parts:
                return
            try:
                reading()
            except AgentError as error:
                problems[part] = Problem(where, str(error))

        def links() -> None:
            nonlocal facts, parts
            found = self._routing.links()
            if {link.name for link in found} != {link.name for link in facts.links}:
                parts |= {Part.SYSCTLS}  # a new device has settings of its own
            facts = replace(facts, links=found, addresses=self._routing.addresses())

        def routing() -> None:
            nonlocal state
            routes, rules = self._routing.observe()
            state = replace(
                state,
                routes=routes,
                rules=rules,
                endpoints=self._paths.observe(),
                limits=self._paths.limits(),
            )

        def firewall() -> None:
            nonlocal state
            kept = {f.backend: f for f in state.firewalls}
            state = replace(state, firewalls=())
            for name in sorted(self._watched):
                try:
                    found = self._backends[name].observe()
                except AgentError as error:  # the other one is seen all the same
                    problems[Part.FIREWALL] = Problem("firewall", str(error))
                    found = kept.get(name)
                if found is not None:
                    state = replace(state, firewalls=(*state.firewalls, found))
                elif name != self._chosen and Part.FIREWALL not in problems:
                    self._watched.discard(name)

        def generated() -> None:
            nonlocal state
            state = replace(state, files=tuple(self._files()))

        def sysctls() -> None:
            nonlocal facts, state
            values = tuple(
                (key, value)
                for key in keys(link.name for link in facts.links)
                if (value := sysctl.read(key)) is not None
            )
            facts = replace(facts, sysctls=values, memory=facts.memory or memory_total())
            state = replace(state, sysctls=tuple(Sysctl(k, v) for k, v in values))

        look(Part.LINKS, "kernel", links)
        look(Part.ROUTING, "kernel", routing)
        look(Part.FIREWALL, "firewall", firewall)
        look(Part.FILES, self._config_directory, generated)
        look(Part.SYSCTLS, "sysctl", sysctls)
        return Observation(facts, state, tuple(sorted(problems.items(), key=lambda p: p[0].value)))

    def redirected(self) -> tuple[int, int]:
        """Packets (one for each connection) and bytes the redirect rule has seen; (0, 0)
        where it does not stand or cannot be read."""
        try:
            seen = self._backends[self._chosen].counters() if self._chosen else ()
        except AgentError:
            seen = ()
        rows = [c for c in seen if (c.chain, c.rule) == (CHAIN, "redirect")]
        return sum(c.packets for c in rows), sum(c.bytes for c in rows)

    def _files(self) -> Iterable[File]:
        for path in files.listing(self._config_directory):
            content = files.read(path)
            if content is not None:
                yield File(path, content, files.owner(path))

    def originals(self) -> dict[str, str]:
        """What the agent has changed and did not make: values before, by sysctl key."""
        text = files.read(self._originals_path)
        try:
            values = json.loads(text) if text else {}
        except ValueError as error:
            raise FileError(
                f"{self._originals_path} is damaged ({error}); remove it: sysctls the "
                "agent has changed then stay so until the next boot"
            ) from error
        return {str(k): str(v) for k, v in values.items()} if isinstance(values, dict) else {}

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
                self._paths.add(item)
            case Limits():
                self._remember(_LIMITS, _limits_text(self._paths.limits()))
                self._paths.set_limits(item)
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
                self._sysctl(item)
            case _:
                raise KernelError(f"{describe.line(item)}: not a part of the kernel")

    def _remove(self, item: Item) -> None:
        match item:
            case Endpoint():
                self._paths.remove(item)
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

    def _sysctl(self, item: Sysctl) -> None:
        present = sysctl.read(item.key)
        if present is None:
            raise KernelError(f"sysctl {item.key}: this kernel does not have it")
        self._remember(item.key, present)
        sysctl.write(item.key, item.value)

    def _remember(self, key: str, present: str) -> None:
        """Note a value before its first change: ``cleanup`` must know it after a crash."""
        originals = self.originals()
        if key not in originals:
            self._save_originals({**originals, key: present})

    def _save_originals(self, originals: dict[str, str]) -> None:
        if originals:
            files.write_private(self._originals_path, json.dumps(originals, indent=1))
        else:
            files.remove(self._originals_path)

    def restore(self, wanted: RouterState) -> None:
        """Put back sysctls and limits the agent has changed and does not want any more."""
        originals = self.originals()
        keep = {s.key for s in wanted.sysctls} | ({_LIMITS} if wanted.limits else set())
        gone = {key: value for key, value in originals.items() if key not in keep}
        if not gone:
            return
        failed: dict[str, str] = {}
        for key, value in gone.items():
            try:
                if key == _LIMITS:
                    self._paths.set_limits(_limits_of(value))
                elif sysctl.read(key) is not None:  # a device may have left with its settings
                    sysctl.write(key, value)
            except AgentError as error:
                failed[key] = str(error)
        self._save_originals({k: v for k, v in originals.items() if k in keep or k in failed})
        if failed:
            raise KernelError("; ".join(failed.values()))

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
            self._paths.forget_implicit()
        try:
            self.restore(RouterState())
            files.remove(f"{self._state_directory}/{files.NAMES}")
            files.remove_empty(self._config_directory)
            files.remove_empty(self._state_directory)
        except AgentError as error:
            failed.append(str(error))
        return (*(str(p) for _, p in seen.problems), *failed)


def _limits_text(limits: Limits) -> str:
    return f"{limits.subflows} {limits.add_addr_accepted}"


def _limits_of(text: str) -> Limits:
    subflows, _, accepted = text.partition(" ")
    if not (subflows.isdecimal() and accepted.isdecimal()):
        raise FileError(f"the limits noted before the first change are damaged: {text!r}")
    return Limits(int(subflows), int(accepted))
