# SPDX-License-Identifier: GPL-2.0-or-later
"""What others are told: each change once, and the truth of this moment to whoever asks."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from unit.examples import (
    BRIDGE,
    BRIDGE_CLIENT,
    ISP,
    ISP_CLIENT,
    READY,
    SECRET,
    WAN2,
    health,
    schema,
    section,
)
from unit.fakes import FakeBus, FakeClock, FakeKernel
from unit.test_status import DARK, ONE, TWO, view

from mptcp_agent.agent.publisher import HISTORY, WATCHED, Preview, Publisher
from mptcp_agent.core.diff import Change, diff
from mptcp_agent.core.network import Facts
from mptcp_agent.core.problem import Problem
from mptcp_agent.core.state import RouterState, Sysctl
from mptcp_agent.core.view import View

WHOLE = view(BRIDGE_CLIENT)
HALF = view(BRIDGE_CLIENT, ONE)
NOTHING = view(BRIDGE_CLIENT, DARK)
SECOND = view(TWO, BRIDGE, replace(READY, dead_peers=frozenset({"r7000"})))


class World:
    """A publisher on a bus; ``view`` is what the agent knows at the moment."""

    def __init__(self, now: View = WHOLE) -> None:
        self.clock = FakeClock()
        self.bus = FakeBus(BRIDGE_CLIENT, BRIDGE.interfaces)
        self.bus.connect()
        self.kernel = FakeKernel(self.clock)
        self.view = now
        self.reloads = 0
        self.first: tuple[str, ...] = ()
        self.would: Preview = lambda: ((), ())
        self.publisher = Publisher(
            self.bus,
            lambda: self.view,
            lambda: self.view,
            lambda: self.would(),
            self.reload,
            lambda: self.first,
            self.clock,
            self.clock.unix,
            self.kernel.edge,
        )
        self.publisher.register()

    def reload(self) -> None:
        self.reloads += 1

    def ask(self, method: str) -> dict[str, Any]:
        return dict(self.bus.handlers["mptcp_proxy"][method]())

    def publish(self, *views: View) -> list[tuple[str, ...]]:
        """What is sent of these, one after the other, a second apart."""
        self.bus.sent.clear()
        for one in views:
            self.clock.now += 1
            self.view = one
            self.publisher.publish(one)
        return [(event.rpartition(".")[2], *map(str, d.values())) for event, d in self.bus.sent]

    @property
    def history(self) -> list[tuple[str, str, str]]:
        """Newest first."""
        return [(e.what, e.before, e.after) for e in self.publisher.history]


# --- Events ------------------------------------------------------------------------------------


def test_a_state_is_told_once() -> None:
    told = World().publish(WHOLE, WHOLE, HALF, HALF, NOTHING, WHOLE)
    assert [what for what in told if what[0] == "state"] == [
        ("state", "active", "2 WANs in use (wan1, wan2), peer r7000"),
        ("state", "degraded", "WAN down: wan1 (device eth1 has no carrier)"),
        ("state", "bypassed", "no WAN is up; the LAN goes out directly"),
        ("state", "active", "2 WANs in use (wan1, wan2), peer r7000"),
    ]


def test_a_wan_is_told_once_with_its_reason() -> None:
    world = World()
    told = world.publish(WHOLE, WHOLE, HALF, HALF)
    assert [what for what in told if what[0] == "wan"] == [
        ("wan", "wan1", "up", "10.1.1.78"),
        ("wan", "wan2", "up", "10.2.2.78"),
        ("wan", "wan1", "down", "device eth1 has no carrier"),
    ]
    assert ("wan wan1", "up", "down") in world.history


def test_a_wan_that_was_taken_out_of_use_and_comes_back_is_news() -> None:
    off = view({**BRIDGE_CLIENT, "wan2": {**WAN2, "role": "off"}})
    told = World().publish(WHOLE, off, WHOLE)
    assert [what[1:3] for what in told if what[0] == "wan"] == [
        ("wan1", "up"),
        ("wan2", "up"),
        ("wan2", "up"),
    ]


def test_a_path_that_is_not_known_yet_is_no_news_of_its_wan() -> None:
    known = view(BRIDGE_CLIENT, BRIDGE, health(up=[("wan1", "10.1.1.70"), ("wan2", "10.2.2.70")]))
    assert World().publish(WHOLE, known, WHOLE)[3:] == []


def test_another_peer_is_noted_with_the_reason() -> None:
    world = World()
    world.publish(view(TWO), view(TWO), SECOND, NOTHING)
    peers = [e for e in world.publisher.history if e.what == "peer"]
    assert [(e.before, e.after, e.reason) for e in reversed(peers)] == [
        ("none", "r7000", "the first that answers"),
        ("r7000", "r6000", "the first that answers"),
        ("r6000", "none", "none of them answers"),
    ]


def test_no_peer_at_the_start_is_no_news() -> None:
    world = World()
    world.publish(NOTHING)
    assert "peer" not in [what for what, _, _ in world.history]


def test_the_history_is_bounded_and_newest_first() -> None:
    world = World()
    world.publish(*[WHOLE, HALF] * HISTORY)
    assert len(world.history) == HISTORY
    assert world.history[0] == ("wan wan1", "up", "down")
    times = [e.time for e in world.publisher.history]
    assert times == sorted(times, reverse=True) and times[0] == world.clock.now


def test_a_lost_link_is_told_at_once_and_nothing_else_is() -> None:
    world = World()
    world.publish(WHOLE)
    world.bus.sent.clear()
    for other in (WHOLE, NOTHING, view(None), view({})):
        world.publisher.publish_if_degraded(other)
        assert world.bus.sent == []
    world.publisher.publish_if_degraded(HALF)
    assert [event for event, _ in world.bus.sent] == ["mptcp_proxy.state", "mptcp_proxy.wan"]


def test_changes_are_in_the_log_once(caplog: pytest.LogCaptureFixture) -> None:
    """A WAN that went says all there is to say of the state."""
    with caplog.at_level(logging.INFO):
        World().publish(WHOLE, WHOLE, HALF, HALF)
    assert caplog.messages == [
        "state: active (2 WANs in use (wan1, wan2), peer r7000)",
        "peer: none -> r7000 (the first that answers)",
        "wan wan1: unknown -> up (10.1.1.78)",
        "wan wan2: unknown -> up (10.2.2.78)",
        "wan wan1: up -> down (device eth1 has no carrier)",
    ]


def test_without_ubusd_what_happens_is_in_the_history_all_the_same() -> None:
    world = World()
    world.bus.disconnect(orderly=False)
    assert world.publish(WHOLE, HALF) == []
    assert ("state", "active", "degraded") in world.history


# --- Answers -----------------------------------------------------------------------------------


def test_every_method_is_there_for_programs_and_for_luci() -> None:
    methods = {"status", "connections", "plan", "check", "reload"}
    handlers = World().bus.handlers
    assert {name: set(found) for name, found in handlers.items()} == {
        "mptcp_proxy": methods,
        "luci.mptcp_proxy": methods,
    }


def test_the_status_is_of_this_moment_though_nothing_was_told_yet() -> None:
    world = World()
    world.publish(WHOLE)
    began = world.clock.unix()
    world.clock.now += 60
    status = world.ask("status")
    assert (status["state"], status["since"], status["time"]) == ("active", began, began + 60)
    world.view = HALF
    status = world.ask("status")
    assert (status["state"], status["since"]) == ("degraded", began + 60)
    assert status["history"][0]["what"] != "state", "that is told at the end of a turn"
    world.publish(HALF)
    assert world.ask("status")["since"] == began + 61
    Draft202012Validator(schema("status")).validate(world.ask("status"))


def test_what_was_before_the_clock_was_set_is_dated_when_it_is_right() -> None:
    """A router without a battery begins in another year."""
    world = World()
    world.publish(WHOLE)
    first = world.ask("status")
    world.clock.now += 60
    world.publish(HALF)
    world.clock.now += 5
    years = 31 * 365 * 86400.0
    for step in (years, -years, 3600.0):
        before = world.ask("status")
        world.clock.epoch += step
        after = world.ask("status")
        assert after["time"] == before["time"] + step
        assert after["time"] - after["since"] == 5
        assert after["since"] == before["since"] + step
        ages = [after["time"] - event["time"] for event in after["history"]]
        assert ages == [before["time"] - event["time"] for event in before["history"]]
    assert first["time"] - first["since"] == 0


def test_dates_hold_still_while_the_clock_is_only_trimmed() -> None:
    world = World()
    world.publish(WHOLE)
    before = world.ask("status")
    for _ in range(10):
        world.clock.epoch += 0.09
        assert world.ask("status")["history"] == before["history"]
    world.clock.epoch += 0.2
    moved = world.ask("status")
    assert moved["since"] == pytest.approx(before["since"] + 1.1)


def test_somebody_looks_for_a_while_after_each_question() -> None:
    world = World()
    assert not world.publisher.watched()
    world.ask("check")
    assert not world.publisher.watched()
    world.ask("status")
    world.clock.now += WATCHED - 1
    assert world.publisher.watched()
    world.clock.now += 1
    assert not world.publisher.watched()


def test_the_plan_is_what_a_reload_would_change() -> None:
    world = World()
    before, after = Sysctl("net.mptcp.enabled", "0"), Sysctl("net.mptcp.enabled", "1")
    world.would = lambda: (
        (Change("set", after, before),),
        (Problem("mptcp-proxy.wan", "none", "add one"),),
    )
    assert world.ask("plan") == {
        "changes": [
            {
                "action": "set",
                "kind": "sysctl",
                "text": "- sysctl net.mptcp.enabled=0\n+ sysctl net.mptcp.enabled=1",
            }
        ],
        "problems": ["mptcp-proxy.wan: none; add one"],
    }
    Draft202012Validator(schema("plan")).validate(world.ask("plan"))


def test_connections_are_read_when_somebody_asks() -> None:
    world = World()
    world.kernel.opens("10.1.1.78", "10.1.1.70", token=7)
    world.kernel.opens("10.2.2.78", "10.2.2.70", "join-local", token=7)
    world.kernel.opens("10.1.1.78", "192.0.2.1", token=8)
    found = world.ask("connections")["connections"]
    assert [len(c["subflows"]) for c in found] == [2]
    assert world.kernel.walks == 1
    Draft202012Validator(schema("connections")).validate(world.ask("connections"))
    world.view = view(None)
    assert world.ask("connections")["connections"] == []


def test_check_and_reload_are_passed_on() -> None:
    world = World()
    rows = world.ask("check")["checks"]
    assert {r["name"]: r["result"] for r in rows}["kernel MPTCP"] == "ok"
    world.ask("reload")
    assert world.reloads == 1


@pytest.mark.parametrize("facts", [ISP, replace(ISP, links=())], ids=["up", "down"])
def test_secrets_are_told_to_nobody(facts: Facts, caplog: pytest.LogCaptureFixture) -> None:
    two = {**ISP_CLIENT, "globals": section("globals", log_level="debug")}
    seen = view(two, facts)
    world = World(seen)
    planned = seen.plan.state
    world.would = lambda: (
        (*diff(RouterState(), planned), *diff(planned, RouterState())),
        seen.problems,
    )
    with caplog.at_level(logging.DEBUG):
        world.publish(seen)
    answers = [world.ask(method) for method in world.bus.handlers["mptcp_proxy"]]
    assert SECRET in planned.files[0].content
    assert SECRET not in json.dumps([answers, world.bus.sent]) + caplog.text + str(world.history)
