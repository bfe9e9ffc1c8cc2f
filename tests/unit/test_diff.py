# SPDX-License-Identifier: GPL-2.0-or-later
"""The order of changes, on a model of a router to which they are applied one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from typing import Any, Literal

from hypothesis import given
from hypothesis import strategies as st

from mptcp_agent.core.diff import Change, diff
from mptcp_agent.core.state import (
    Access,
    Backend,
    Endpoint,
    EndpointFlag,
    File,
    Firewall,
    Limits,
    Process,
    Redirect,
    Route,
    RouterState,
    Rule,
    Sysctl,
)

DEVICES = {10901: "eth1", 10902: "eth2"}
ADDRESSES = {"eth1": "10.1.1.78", "eth2": "10.2.2.78"}
GATEWAYS = {"eth1": "10.1.1.70", "eth2": "10.2.2.70"}


def some(items: Iterable[Any], key: Callable[[Any], object]) -> st.SearchStrategy[tuple[Any, ...]]:
    """A few of the items, one in each place."""
    return st.lists(st.sampled_from(list(items)), max_size=4, unique_by=key).map(tuple)


ROUTES = [
    route
    for table, device in DEVICES.items()
    for destination in ("0.0.0.0/0", "10.1.1.0/24", "10.9.9.9/32")
    for route in (
        Route(table, destination, device, None, ADDRESSES[device]),
        Route(table, destination, device, GATEWAYS[device], ADDRESSES[device]),
        Route(table, destination, type="throw"),
    )
]
RULES = [
    rule
    for table, device in DEVICES.items()
    for rule in (
        Rule(710, 4, table, oif=device),
        Rule(720, 4, table, source=f"{ADDRESSES[device]}/32"),
        Rule(730, 4, table, destination="10.9.9.9/32", iif="lo"),
    )
]
FLAGS: tuple[set[EndpointFlag], ...] = ({"subflow"}, {"subflow", "backup"}, {"signal"})
ENDPOINTS = [
    Endpoint(address, device, frozenset(flags), number)
    for number, (device, address) in zip((101, 103), ADDRESSES.items(), strict=True)
    for flags in FLAGS
]
MODES: tuple[Literal["proxy", "block"], ...] = ("proxy", "block")
BACKENDS: tuple[Backend, ...] = ("nftables", "iptables")
REDIRECTS = [
    None,
    *(
        Redirect(port, (), jumps, mode)
        for port in (1080, 1081)
        for jumps in ((), ("br-lan",), ("br-guest", "br-lan"))
        for mode in MODES
    ),
]
FIREWALLS = [
    Firewall(backend, redirect, access)
    for backend in BACKENDS
    for redirect in REDIRECTS
    for access in (None, Access(8388, ("10.1.1.0/24",)))
]
PROCESSES = [Process(n, ("sing-box",), digest=d) for n in ("client", "server") for d in "ab"]
FILES = [File(f"/{name}.json", content) for name in "ab" for content in "12"]
SYSCTLS = [Sysctl(f"net.{name}", value) for name in "ab" for value in "01"]
LIMITS = [None, Limits(2, 0), Limits(8, 8)]

#: In which tuple of the state a thing lives, and what makes two things the same place.
PLACES: dict[type, tuple[str, Callable[[Any], object]]] = {
    Endpoint: ("endpoints", lambda e: e.id),
    Route: ("routes", lambda r: (r.table, r.destination)),
    Rule: ("rules", lambda r: r),
    Firewall: ("firewalls", lambda f: f.backend),
    Process: ("processes", lambda p: p.name),
    File: ("files", lambda f: f.path),
    Sysctl: ("sysctls", lambda s: s.key),
}


states = st.builds(
    RouterState,
    endpoints=some(ENDPOINTS, PLACES[Endpoint][1]),
    limits=st.sampled_from(LIMITS),
    routes=some(ROUTES, PLACES[Route][1]),
    rules=some(RULES, PLACES[Rule][1]),
    firewalls=some(FIREWALLS, PLACES[Firewall][1]),
    processes=some(PROCESSES, PLACES[Process][1]),
    files=some(FILES, PLACES[File][1]),
    sysctls=some(SYSCTLS, PLACES[Sysctl][1]),
)


def apply(state: RouterState, change: Change) -> RouterState:
    """What the change does to a router, refusing what a router would refuse."""
    item = change.item
    if isinstance(item, Limits):
        assert change.old == state.limits
        return replace(state, limits=item)
    name, key = PLACES[type(item)]
    there = {key(i): i for i in getattr(state, name)}
    if change.action == "remove":
        assert there.pop(key(item)) == item
    else:
        assert there.get(key(item)) == change.old
        there[key(item)] = item
    things: dict[str, Any] = {name: tuple(there.values())}
    return replace(state, **things)


def trail(observed: RouterState, planned: RouterState) -> list[tuple[Change, RouterState]]:
    """Each change with the state after it."""
    found, state = [], observed
    for change in diff(observed, planned):
        state = apply(state, change)
        found.append((change, state))
    return found


def same(one: RouterState, other: RouterState) -> bool:
    return all(
        set(getattr(one, f.name) or ()) == set(getattr(other, f.name) or ())
        for f in fields(one)
        if f.name != "limits"
    )


@given(states, states)
def test_all_changes_together_make_the_planned_router(
    observed: RouterState, planned: RouterState
) -> None:
    steps = trail(observed, planned)
    end = steps[-1][1] if steps else observed
    kept = {s.key for s in planned.sysctls}
    foreign = tuple(s for s in observed.sysctls if s.key not in kept)
    assert same(end, replace(planned, sysctls=(*planned.sysctls, *foreign)))
    assert end.limits == (planned.limits or observed.limits)
    assert diff(end, planned) == ()


@given(states)
def test_nothing_to_do_is_no_change(state: RouterState) -> None:
    assert diff(state, state) == ()


@given(states, states)
def test_each_thing_is_touched_once_and_only_where_it_differs(
    observed: RouterState, planned: RouterState
) -> None:
    changes = diff(observed, planned)
    for change in changes:
        if not isinstance(change.item, Firewall):  # switched off first, then written
            assert changes.count(change) == 1
        if not isinstance(change.item, Limits | Sysctl):
            name, _ = PLACES[type(change.item)]
            before, after = getattr(observed, name), getattr(planned, name)
            assert not (change.item in before and change.item in after)


@given(states, states)
def test_a_jump_that_goes_goes_before_anything_else(
    observed: RouterState, planned: RouterState
) -> None:
    def on(state: RouterState) -> set[str]:
        return {f.backend for f in state.firewalls if f.redirect and f.redirect.jumps}

    going = on(observed) - on(planned)
    state, changes = observed, list(diff(observed, planned))
    while on(state) & going:
        change = changes.pop(0)
        assert isinstance(change.item, Firewall), change
        state = apply(state, change)


@given(states, states)
def test_no_rule_leads_to_an_empty_table(observed: RouterState, planned: RouterState) -> None:
    """As long as neither end has such a rule: on the way no packet falls between two chairs."""

    def empty(state: RouterState) -> set[int]:
        return {r.table for r in state.rules} - {r.table for r in state.routes}

    if empty(observed) or empty(planned):
        return
    for change, state in trail(observed, planned):
        assert not empty(state), change


@given(states, states)
def test_networks_come_before_the_gateways_that_lie_on_them(
    observed: RouterState, planned: RouterState
) -> None:
    set_now = [c.item for c in diff(observed, planned) if c.action == "set"]
    gateways = [r.gateway is not None for r in set_now if isinstance(r, Route)]
    assert gateways == sorted(gateways)


@given(states, states)
def test_endpoints_come_last_and_go_first(observed: RouterState, planned: RouterState) -> None:
    """One is added when its routes and rules stand, and removed before anything of its WAN."""
    steps = trail(observed, planned)
    for number, (change, state) in enumerate(steps):
        if isinstance(change.item, Endpoint) and change.action == "add":
            assert set(state.routes) == set(planned.routes)
            assert set(state.rules) == set(planned.rules)
        if isinstance(change.item, Endpoint) and change.action == "remove":
            earlier = [c.item for c, _ in steps[:number]]
            assert not any(isinstance(item, Route | Rule) for item in earlier)


@given(states, states)
def test_a_process_starts_after_its_file_and_the_access_list(
    observed: RouterState, planned: RouterState
) -> None:
    for change, state in trail(observed, planned):
        if isinstance(change.item, Process) and change.action == "set":
            assert set(planned.files) <= set(state.files)
            assert set(state.firewalls) == set(planned.firewalls)
