# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent's loop: what it does, and in which order, when something happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from unit.examples import BRIDGE_CLIENT, CLIENT, section
from unit.fakes import until
from unit.fakes.router import Router, kind_of, living

from mptcp_agent.agent import loop
from mptcp_agent.agent.applier import Applier
from mptcp_agent.agent.machine import Observation
from mptcp_agent.agent.other_redirectors import PAUSE
from mptcp_agent.agent.publisher import Publisher
from mptcp_agent.agent.snapshots import Snapshots
from mptcp_agent.core.plan import Plan, plan
from mptcp_agent.core.snapshot import Snapshot
from mptcp_agent.core.state import Part
from mptcp_agent.monitor.monitor import Monitor

FAST_OPEN = {**BRIDGE_CLIENT, "client": {**CLIENT, "fast_open": "1"}}


# --- Starting ----------------------------------------------------------------------------------


def test_everything_stands_before_the_proxy_starts_and_the_lan_is_switched_last() -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        assert [data["state"] for name, data in router.bus.sent if "state" in name] == [
            *("bypassed", "active")
        ], "nothing is told before the configuration is in force"
        assert list(dict.fromkeys(map(kind_of, router.done))) == [
            *("sysctl", "mptcp", "file", "route", "rule", "off", "procd", "on")
        ]
        first_endpoint = next(i for i, x in enumerate(router.done) if "endpoint" in x)
        assert all(
            kind_of(x) in ("mptcp", "off", "procd", "on") for x in router.done[first_endpoint:]
        )

    living(work)


def test_a_router_in_order_is_left_alone() -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        router.journal.clear()
        await asyncio.sleep(600)
        assert router.done == [] and len(router.looks) == 10, "but the slow timer's"
        assert [line for line in router.journal if line.startswith("event")] == []

    living(work)


def test_check_is_told_of_other_proxies_without_listing_all_rules() -> None:
    """A handler holds the loop up; so they are looked for beside it, when rules have changed."""

    async def work(router: Router) -> None:
        def told() -> list[str]:
            rows: Any = router.bus.handlers["mptcp_proxy"]["check"]()
            named = "other transparent proxy"
            return [row["message"] for row in rows["checks"] if row["name"] == named]

        await router.becomes("active")
        router.machine.first = ("ip homeproxy pre",)
        router.events.put(Part.FIREWALL)
        await asyncio.sleep(2 * PAUSE)
        looks = len(router.machine.looked_for_others)
        assert looks and set(router.machine.looked_for_others) == {("br-lan",)}
        assert "homeproxy" in told()[0] and told() == told()
        await asyncio.sleep(600)
        assert len(router.machine.looked_for_others) == looks, "nothing has changed"
        router.machine.first = ()
        for _ in range(50):
            router.events.put(Part.FIREWALL)
            await asyncio.sleep(0.01)
        await asyncio.sleep(2 * PAUSE)
        assert told() == []
        assert len(router.machine.looked_for_others) <= looks + 2, "a burst is one look, or two"

    living(work)


# --- Links -------------------------------------------------------------------------------------


def test_a_lost_link_is_dealt_with_in_one_look_and_told_before_the_next() -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        router.journal.clear()
        router.cut("eth1")
        assert await router.becomes("degraded") < 0.01
        journal = router.journal
        assert router.endpoints == {"eth2"}
        assert journal[0] == "look links"
        assert journal[1] == "removed mptcp endpoint 10.1.1.78 dev eth1 id 101 subflow"
        told = journal.index("event state degraded")
        assert journal[told + 1] == "event wan wan1 down"
        assert not any(line.startswith("look") for line in journal[1:told])

    living(work)


def test_what_was_changed_is_read_back_and_no_more() -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        router.journal.clear()
        router.cut("eth1")
        await asyncio.sleep(0.04)  # netifd is asked, and the kernel again, after that
        assert router.looks == ["links", "routing sysctls"]

    living(work)


def test_what_the_lan_meets_is_told_after_it_was_read_back() -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        router.journal.clear()
        router.cut("eth1")
        router.cut("eth2")
        await router.becomes("bypassed")
        journal = router.journal
        off = next(n for n, line in enumerate(journal) if kind_of(line) == "off")
        read = next(n for n, line in enumerate(journal) if line.startswith("look firewall"))
        assert off < read < journal.index("event state bypassed")

    living(work)


def test_a_router_that_never_rests_is_told_of_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        look, links = router.machine.observe, router.machine.facts.links
        dark = tuple(replace(x, carrier=x.name == "br-lan") for x in links)

        def other_each_time(*arguments: Any) -> Observation:
            facts = router.machine.facts
            router.machine.facts = replace(facts, links=dark if facts.links == links else links)
            router.events.put(Part.LINKS)
            return look(*arguments)

        monkeypatch.setattr(router.machine, "observe", other_each_time)
        router.events.put(Part.LINKS)
        await router.becomes("bypassed", 2)

    living(work)


def test_a_link_that_is_back_is_used_again() -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        router.cut("eth1")
        await router.becomes("degraded")
        await asyncio.sleep(5)
        router.heal("eth1")
        assert await router.becomes("active") < 0.5
        assert router.endpoints == {"eth1", "eth2"}

    living(work)


def test_what_somebody_else_takes_away_is_put_back() -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        await asyncio.sleep(5)  # what was set a moment ago and is gone did not stick
        router.machine.state = replace(router.machine.state, rules=(), firewalls=())
        router.events.put(Part.ROUTING, Part.FIREWALL)
        assert await until(lambda: len(router.machine.state.rules) == 8 and router.jumps) < 0.1
        router.machine.state = replace(router.machine.state, files=())  # no event tells of that
        assert await until(lambda: router.machine.state.files, 70) > 30

    living(work)


def test_a_flood_of_events_is_a_few_looks() -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        router.journal.clear()
        for _ in range(1000):
            router.events.put(Part.ROUTING)
            await asyncio.sleep(0.005)
        assert len(router.looks) < 5 / 0.04 + 25

    living(work)


# --- Configuration -----------------------------------------------------------------------------


def test_what_a_reload_would_do_is_shown_and_not_done() -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        router.journal.clear()
        bad = {"wan9": section("wan", interface="wan9", role="main")}
        router.bus.packages["mptcp-proxy"] = {**FAST_OPEN, **bad}
        shown: Any = router.bus.handlers["mptcp_proxy"]["plan"]()
        assert {c["kind"] for c in shown["changes"]} >= {"file", "process"}
        assert "mptcp-proxy.wan9.role" in str(shown["problems"])
        await asyncio.sleep(5)
        assert router.done == []

    living(work)


def test_switched_off_by_the_configuration_everything_goes() -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        router.journal.clear()
        router.configure({**BRIDGE_CLIENT, "globals": section("globals", enabled="0")})
        await router.becomes("disabled")
        state = router.machine.state
        assert not (
            state.endpoints or state.routes or state.rules or state.firewalls or state.files
        )
        assert not router.procd.pids and router.machine.originals() == {}
        assert router.done[0].startswith("removed nftables")

    living(work)


# --- One turn, one world -----------------------------------------------------------------------


def spied(monkeypatch: pytest.MonkeyPatch, where: Any, name: str) -> list[tuple[Any, ...]]:
    """Arguments and result of each call from now on."""
    calls: list[tuple[Any, ...]] = []
    real: Callable[..., Any] = getattr(where, name)

    def spy(*arguments: Any, **more: Any) -> Any:
        result = real(*arguments, **more)
        calls.append((*arguments, result))
        return result

    monkeypatch.setattr(where, name, spy)
    return calls


def test_a_turn_is_planned_applied_and_told_from_one_snapshot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        turns = spied(monkeypatch, Monitor, "follow")
        health = spied(monkeypatch, Monitor, "health")
        taken = spied(monkeypatch, Snapshots, "take")
        planned = spied(monkeypatch, loop, "plan")
        changes = spied(monkeypatch, loop, "diff")
        applied = spied(monkeypatch, Applier, "apply")
        told = spied(monkeypatch, Publisher, "publish")
        router.cut("eth1")
        await router.becomes("degraded")
        await asyncio.sleep(2)
        router.heal("eth1")
        await router.becomes("active")
        assert len(turns) > 5
        assert len(health) == len(taken) == len(planned) == len(applied) == len(turns)
        snapshots: list[Snapshot] = [call[-1] for call in taken]
        plans: list[Plan] = [call[-1] for call in planned]
        for n, snapshot in enumerate(snapshots):
            assert snapshot.health is health[n][-1]
            assert planned[n][0] is snapshot
            assert changes[n][0] is snapshot.observed and changes[n][1] is plans[n].state
            assert applied[n][1] == changes[n][-1] and applied[n][2] is plans[n].state
            assert plans[n] == plan(snapshot)
        seen = {id(s): p for s, p in zip(snapshots, plans, strict=True)}
        views = [call[1] for call in told]
        assert views and all(view.plan is seen[id(view.snapshot)] for view in views)

    living(work)
