# SPDX-License-Identifier: GPL-2.0-or-later
"""The look at the router without an agent: it says what one would do, and does nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from unit.examples import (
    BRIDGE,
    BRIDGE_CLIENT,
    ISP,
    ISP_CLIENT,
    MEANS,
    READY,
    SCHEMA,
    SECRET,
    SING_BOX,
    Sections,
    config,
    section,
)
from unit.fakes import FakeBus, FakeClock
from unit.fakes.machine import FakeEngines, FakeMachine
from unit.fakes.router import Router, living

from mptcp_agent.agent.publisher import plan_document
from mptcp_agent.cli.oneshot import OneShot
from mptcp_agent.core.describe import kind
from mptcp_agent.core.network import Facts
from mptcp_agent.core.plan import plan
from mptcp_agent.core.state import Part


class World:
    """A router on which no agent has been."""

    def __init__(self, sections: Sections = BRIDGE_CLIENT, facts: Facts = BRIDGE) -> None:
        self.bus = FakeBus(sections, facts.interfaces)
        self.machine = FakeMachine(facts, self.bus.journal)
        self.engines = FakeEngines(FakeClock(), SING_BOX)
        self.listens = False
        self.dns: dict[str, tuple[str, ...]] = {}

    def look(self) -> OneShot:
        return OneShot(
            SCHEMA,
            self.bus,
            self.machine,
            self.engines,
            lambda port: self.listens,
            lambda name: self.dns.get(name, ()),
        )

    @property
    def done(self) -> list[str]:
        return [line for line in self.bus.journal if not line.startswith("look")]


def test_a_bare_router_would_get_everything_and_gets_nothing() -> None:
    world = World()
    look = world.look()
    changes, problems = look.preview()
    assert {kind(c.item) for c in changes} == {
        *("sysctl", "limits", "file", "route", "rule", "endpoint", "firewall", "process")
    }
    assert problems == () and world.done == [] and world.machine.closed
    assert look.view.plan.mode == "starting"


def test_where_an_agent_has_left_all_in_place_nothing_would_change() -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        router.handover.touch()
        await router.stop()
        look = OneShot(
            SCHEMA, router.bus, router.machine, router.engines, router.kernel.listening.__contains__
        )
        assert look.preview() == ((), ())
        assert look.view.plan.mode == "proxy" and look.view.snapshot.runs("client")

    living(work)


def test_it_plans_from_the_same_snapshot_as_an_agent_would() -> None:
    world = World()
    world.listens = True
    view = world.look().view
    seen = view.snapshot
    assert (seen.config, seen.capabilities) == (config(BRIDGE_CLIENT), MEANS)
    assert set(seen.facts.interfaces) == set(BRIDGE.interfaces)
    assert replace(seen.facts, interfaces=()) == replace(BRIDGE, interfaces=())
    assert seen.health == READY and view.plan == plan(seen)


def test_without_ubusd_nothing_is_known_to_change() -> None:
    world = World()
    world.bus.die()
    look = world.look()
    changes, problems = look.preview()
    assert changes == () and [p.where for p in problems] == ["ubus"]
    assert world.machine.closed


@pytest.mark.parametrize("silent", ["uci", "network.interface", "service"])
def test_while_a_daemon_is_silent_nothing_that_stands_would_go(silent: str) -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        router.handover.touch()
        await router.stop()
        router.bus.away.add(silent)
        look = OneShot(SCHEMA, router.bus, router.machine, router.engines, lambda port: True)
        changes, problems = look.preview()
        assert changes == ()
        assert any(silent in p.message for p in problems)

    living(work)


def test_names_are_resolved_once_and_one_without_an_answer_is_a_problem() -> None:
    peer = section("peer", address=["vps.example", "10.2.2.70"])
    world = World({**BRIDGE_CLIENT, "r7000": peer})
    assert [p.addresses for p in world.look().view.plan.peers] == [("10.2.2.70",)]
    world.dns["vps.example"] = ("198.51.100.7",)
    view = world.look().view
    assert [p.addresses for p in view.plan.peers] == [("198.51.100.7", "10.2.2.70")]
    world = World({**BRIDGE_CLIENT, "r7000": section("peer", address="vps.example")})
    assert "mptcp-proxy.r7000.address" in {p.where for p in world.look().view.problems}


@pytest.mark.parametrize(
    ("harm", "where"),
    [
        (lambda w: w.engines.builds.clear(), "mptcp-proxy.globals.engine"),
        (lambda w: w.machine.missing.update(nftables="no nft"), "mptcp-proxy.globals.redirect"),
        (lambda w: w.machine.unreadable.update({Part.ROUTING: "not permitted"}), "routing"),
    ],
    ids=["engine", "firewall", "kernel"],
)
def test_what_is_missing_is_a_problem(harm: Callable[[World], object], where: str) -> None:
    world = World()
    harm(world)
    assert where in [p.where for p in world.look().view.problems]


def test_where_the_agent_is_switched_off_no_engine_is_tried() -> None:
    world = World({**BRIDGE_CLIENT, "globals": section("globals", enabled="0")})
    assert world.look().preview() == ((), ()) and world.engines.builds.keys() == {"sing-box"}
    assert world.engines.trials == 0


def test_secrets_are_not_shown() -> None:
    look = World(ISP_CLIENT, ISP).look()
    assert SECRET in look.view.plan.state.files[0].content
    assert SECRET not in json.dumps(plan_document(*look.preview()))
