"""The ordered list of changes that turns the observed router into the planned one.

The order is the order of duties (never cut the LAN off, never lose a connection, use all
links), so each step leaves the router in a working state:

1. a jump into SSREDIR that must go, goes first: from then on the LAN is on its own feet;
2. sysctls, limits and files, which the later steps rely on;
3. endpoints of failed WANs: the kernel sends their unacknowledged data again on the others;
4. new routes, then new rules (a rule must never lead to an empty table), then old rules,
   then old routes;
5. new endpoints: only now do their address, table and rules stand; an attempt to join
   before that is burnt and not repeated (multipath-tcp/mptcp_net-next issue 416);
6. the firewall, then the proxy processes: nobody reaches a server before its access list
   stands. A jump is only ever planned to a redirector that already listens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from .state import Endpoint, File, Firewall, Limits, Process, Route, RouterState, Rule, Sysctl

Item = Endpoint | File | Firewall | Limits | Process | Route | Rule | Sysctl


@dataclass(frozen=True)
class Change:
    """One step. ``old`` is what a ``set`` replaces (None where there was nothing)."""

    action: Literal["add", "remove", "set"]
    item: Item
    old: Item | None = None


def diff(observed: RouterState, planned: RouterState) -> tuple[Change, ...]:
    """All changes from observed to planned, in order; empty where nothing differs."""
    return (
        *_switch_off(observed, planned),
        *_sysctls(observed, planned),
        *_limits(observed, planned),
        *_files(observed, planned),
        *_removed(observed.endpoints, planned.endpoints),
        *_routes(observed, planned),
        *_added(observed.rules, planned.rules),
        *_removed(observed.rules, planned.rules),
        *_stale_routes(observed, planned),
        *_added(observed.endpoints, planned.endpoints),
        *_firewalls(observed, planned),
        *_processes(observed, planned),
        *_stale_files(observed, planned),
    )


_T = TypeVar("_T", Endpoint, Rule)


def _added(old: Iterable[_T], new: Iterable[_T]) -> Iterator[Change]:
    had = set(old)
    return (Change("add", item) for item in new if item not in had)


def _removed(old: Iterable[_T], new: Iterable[_T]) -> Iterator[Change]:
    keep = set(new)
    return (Change("remove", item) for item in old if item not in keep)


def _switch_off(observed: RouterState, planned: RouterState) -> Iterator[Change]:
    """Take out jumps that are not planned, and back ends that are not planned at all."""
    wanted = {f.backend: f for f in planned.firewalls}
    for now in observed.firewalls:
        plan = wanted.get(now.backend)
        if plan is None:
            yield Change("remove", now)
        elif now.redirect and now.redirect.jumps and not (plan.redirect and plan.redirect.jumps):
            yield Change("set", replace(now, redirect=replace(now.redirect, jumps=())), old=now)


def _firewalls(observed: RouterState, planned: RouterState) -> Iterator[Change]:
    had = {f.backend: f for f in observed.firewalls}
    for plan in planned.firewalls:
        now = had.get(plan.backend)
        if (
            now
            and now.redirect
            and now.redirect.jumps
            and not (plan.redirect and plan.redirect.jumps)
        ):
            now = replace(now, redirect=replace(now.redirect, jumps=()))
        if now != plan:
            yield Change("set", plan, old=now)


def _sysctls(observed: RouterState, planned: RouterState) -> Iterator[Change]:
    now = {s.key: s for s in observed.sysctls}
    for plan in planned.sysctls:
        if now.get(plan.key) != plan:
            yield Change("set", plan, old=now.get(plan.key))


def _limits(observed: RouterState, planned: RouterState) -> Iterator[Change]:
    if planned.limits is not None and planned.limits != observed.limits:
        yield Change("set", planned.limits, old=observed.limits)


def _files(observed: RouterState, planned: RouterState) -> Iterator[Change]:
    now = {f.path: f for f in observed.files}
    for plan in planned.files:
        if now.get(plan.path) != plan:
            yield Change("set", plan, old=now.get(plan.path))


def _stale_files(observed: RouterState, planned: RouterState) -> Iterator[Change]:
    keep = {f.path for f in planned.files}
    return (Change("remove", f) for f in observed.files if f.path not in keep)


def _key(route: Route) -> tuple[int, str]:
    """What makes two routes the same slot of a table: the kernel replaces within it."""
    return (route.table, route.destination)


def _routes(observed: RouterState, planned: RouterState) -> Iterator[Change]:
    now = {_key(r): r for r in observed.routes}
    # A default route's gateway must be reachable when it is added: networks come first.
    for plan in sorted(planned.routes, key=lambda r: r.gateway is not None):
        if now.get(_key(plan)) != plan:
            yield Change("set", plan, old=now.get(_key(plan)))


def _stale_routes(observed: RouterState, planned: RouterState) -> Iterator[Change]:
    keep = {_key(r) for r in planned.routes}
    return (Change("remove", r) for r in observed.routes if _key(r) not in keep)


def _processes(observed: RouterState, planned: RouterState) -> Iterator[Change]:
    """procd is told of all instances at once and diffs them itself; a change is per instance."""
    now = {p.name: p for p in observed.processes}
    plan = {p.name: p for p in planned.processes}
    for name, process in plan.items():
        if now.get(name) != process:
            yield Change("set", process, old=now.get(name))
    for name, process in now.items():
        if name not in plan:
            yield Change("remove", process)
