# SPDX-License-Identifier: GPL-2.0-or-later
"""The ordered list of changes that turns the observed router into the planned one.

The order is the order of duties (never cut the LAN off, never lose a connection, use all
links), so each step leaves the router in a working state:

1. a jump into SSREDIR that must go, goes first: from then on the LAN is on its own feet;
2. sysctls, limits and files, which the later steps rely on;
3. endpoints of failed WANs: the kernel sends their unacknowledged data again on the others
   (seen on 6.1, 6.12, 6.18 and 7.3);
4. new routes, then new rules (a rule must never lead to an empty table), then old rules,
   then old routes;
5. new endpoints: only now do their address, table and rules stand; an attempt to join
   before that is burnt and not repeated (multipath-tcp/mptcp_net-next issue 416; seen on 6.18);
6. the firewall, then the proxy processes: nobody reaches a server before its access list
   stands. A jump is only ever planned to a redirector that already listens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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
    switched_off = _without_stray_jumps(observed.firewalls, planned.firewalls)
    # A default route's gateway must be reachable when it is added: networks come first.
    routes = sorted(planned.routes, key=lambda r: r.gateway is not None)
    return (
        *_stale(observed.firewalls, planned.firewalls, lambda x: x.backend),
        *_keyed(observed.firewalls, switched_off, lambda x: x.backend),
        *_keyed(observed.sysctls, planned.sysctls, lambda x: x.key),
        *_limits(observed.limits, planned.limits),
        *_keyed(observed.files, planned.files, lambda x: x.path),
        *_removed(observed.endpoints, planned.endpoints),
        *_keyed(observed.routes, routes, _place),
        *_added(observed.rules, planned.rules),
        *_removed(observed.rules, planned.rules),
        *_stale(observed.routes, planned.routes, _place),
        *_added(observed.endpoints, planned.endpoints),
        *_keyed(switched_off, planned.firewalls, lambda x: x.backend),
        # procd is told of all instances at once and compares them itself.
        *_keyed(observed.processes, planned.processes, lambda x: x.name),
        *_stale(observed.processes, planned.processes, lambda x: x.name),
        *_stale(observed.files, planned.files, lambda x: x.path),
    )


_T = TypeVar("_T", bound=Item)


def _added(old: Iterable[_T], new: Iterable[_T]) -> Iterator[Change]:
    had = set(old)
    return (Change("add", item) for item in new if item not in had)


def _removed(old: Iterable[_T], new: Iterable[_T]) -> Iterator[Change]:
    keep = set(new)
    return (Change("remove", item) for item in old if item not in keep)


def _keyed(old: Iterable[_T], new: Iterable[_T], key: Callable[[_T], object]) -> Iterator[Change]:
    """What there is one of for each key: the new one takes the place of the old one."""
    had = {key(item): item for item in old}
    for item in new:
        now = had.get(key(item))
        if now != item:
            yield Change("set", item, old=now)


def _stale(old: Iterable[_T], new: Iterable[_T], key: Callable[[_T], object]) -> Iterator[Change]:
    """What there is under keys that are not planned."""
    keep = {key(item) for item in new}
    return (Change("remove", item) for item in old if key(item) not in keep)


def _place(route: Route) -> tuple[int, str]:
    """What makes two routes the same slot of a table: the kernel replaces within it."""
    return (route.table, route.destination)


def _without_stray_jumps(
    observed: tuple[Firewall, ...], planned: tuple[Firewall, ...]
) -> tuple[Firewall, ...]:
    """Of the firewalls that stay what is left when jumps that are not planned are taken out."""
    wanted = {f.backend: bool(f.redirect and f.redirect.jumps) for f in planned}
    return tuple(
        replace(f, redirect=replace(f.redirect, jumps=()))
        if f.redirect and not wanted[f.backend]
        else f
        for f in observed
        if f.backend in wanted
    )


def _limits(observed: Limits | None, planned: Limits | None) -> Iterator[Change]:
    if planned is not None and planned != observed:
        yield Change("set", planned, old=observed)
