# SPDX-License-Identifier: GPL-2.0-or-later
"""What OpenWrt's daemons say, and what is believed while one of them says nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from unit.examples import BRIDGE, BRIDGE_CLIENT, LAN, SCHEMA, config, section
from unit.fakes import FakeBus, FakeClock, simulate

from mptcp_agent.agent.openwrt import Daemons
from mptcp_agent.core.state import UBUS_PARTS, Part, Process
from mptcp_agent.errors import BusError
from mptcp_agent.system.ubus.services import Services

#: The question for each part, and who is asked.
DAEMONS = {
    Part.CONFIG: ("uci", "uci"),
    Part.INTERFACES: ("network.interface", "netifd"),
    Part.SERVICES: ("service", "procd"),
}
every_daemon = pytest.mark.parametrize("part", DAEMONS, ids=lambda part: part.value)
PROXY = Process("client", ("/usr/bin/sing-box", "run"), config_path="/c.json", digest="d1")


class World:
    """The daemons of a bridge client, whose proxy runs."""

    def __init__(self) -> None:
        self.bus = FakeBus(BRIDGE_CLIENT, BRIDGE.interfaces)
        self.requests: list[frozenset[Part]] = []
        self.registered = 0
        self.refusal = ""
        self.daemons = Daemons(self.bus, SCHEMA, self.request, self.connected)
        instances = {"client": {"command": list(PROXY.command), "data": {"digest": "d1"}}}
        self.bus.procd.answer("set", {"name": "mptcp-proxy-engine", "instances": instances})

    def request(self, *parts: Part) -> None:
        self.requests.append(frozenset(parts))

    def connected(self) -> None:
        if self.refusal:
            raise BusError(self.refusal)
        self.registered += 1

    def known(self) -> tuple[object, ...]:
        told = self.daemons
        return told.config, told.interfaces, told.running, told.instances

    @property
    def problems(self) -> list[str]:
        return [p.where for p in self.daemons.problems]

    async def hears(self) -> list[frozenset[Part]]:
        """What is requested because of what arrived."""
        self.requests.clear()
        await asyncio.sleep(0.01)
        return self.requests


def living(work: Callable[[World], Awaitable[None]], *, connected: bool = True) -> None:
    async def run(clock: FakeClock) -> None:
        world = World()
        if connected:
            world.daemons.connect()
            world.daemons.ask(UBUS_PARTS)
        await work(world)
        world.daemons.disconnect(orderly=True)

    simulate(run)


# --- The connection ----------------------------------------------------------------------------


def test_each_new_connection_registers_once_and_asks_for_all() -> None:
    async def work(world: World) -> None:
        assert world.known() == (None, None, None, ())
        world.daemons.connect()
        world.daemons.connect()
        assert world.registered == 1 and world.requests == [UBUS_PARTS]

    living(work, connected=False)


def test_without_ubusd_that_is_the_problem_until_it_is_there() -> None:
    async def work(world: World) -> None:
        world.bus.die()
        world.daemons.connect()
        world.daemons.ask(UBUS_PARTS)
        assert world.problems == ["ubus"] and world.bus.called == [] and world.requests == []
        world.bus.rise()
        world.daemons.connect()
        assert world.problems == [] and world.registered == 1

    living(work, connected=False)


def test_where_the_object_cannot_be_registered_another_connection_is_tried() -> None:
    async def work(world: World) -> None:
        world.refusal = "could not add the ubus object: Permission denied"
        world.daemons.connect()
        assert not world.bus.connected and world.problems == ["ubus"]
        world.refusal = ""
        world.daemons.connect()
        assert world.bus.connected and world.problems == []

    living(work, connected=False)


def test_the_end_of_ubusd_is_heard_and_what_was_known_stays() -> None:
    async def work(world: World) -> None:
        before = world.known()
        world.bus.die()
        assert await world.hears() == [{Part.SERVICES}]
        assert not world.bus.connected
        assert await world.hears() == [], "a descriptor that stays readable is watched no longer"
        world.daemons.connect()
        assert world.problems == ["ubus"] and world.known() == before
        world.bus.rise()
        world.daemons.connect()
        world.bus.emit("network.interface", action="ifup")
        assert await world.hears() == [{Part.INTERFACES}], "it listens again"
        assert world.registered == 2

    living(work)


# --- Questions ---------------------------------------------------------------------------------


def test_all_answers_are_kept() -> None:
    async def work(world: World) -> None:
        told = world.daemons
        assert told.config == config(BRIDGE_CLIENT)
        assert told.interfaces == tuple(sorted(BRIDGE.interfaces, key=lambda i: i.name))
        assert [(r.name, r.running) for r in told.running or ()] == [("client", True)]
        assert [p.digest for p in told.instances] == ["d1"]
        assert told.problems == ()

    living(work)


@every_daemon
def test_only_who_is_meant_is_asked(part: Part) -> None:
    async def work(world: World) -> None:
        world.bus.called.clear()
        world.daemons.ask({part, Part.LINKS})
        assert {object_ for object_, _, _ in world.bus.called} == {DAEMONS[part][0]}

    living(work)


@every_daemon
def test_who_falls_silent_is_a_problem_and_believed_to_be_as_before(part: Part) -> None:
    async def work(world: World) -> None:
        object_, name = DAEMONS[part]
        before = world.known()
        world.bus.away.add(object_)
        world.bus.interfaces = (LAN,)
        world.bus.packages["mptcp-proxy"] = {}
        Services(world.bus.call).set(()) if part != Part.SERVICES else None
        world.daemons.ask({part})
        assert world.known() == before and world.problems == [name]
        world.daemons.ask(UBUS_PARTS - {part})
        assert world.problems == [name], "others answer for themselves"
        world.bus.away.clear()
        world.daemons.ask({part})
        assert world.problems == [] and world.known() != before

    living(work)


def test_what_is_wrong_with_the_configuration_is_a_problem_until_it_is_mended() -> None:
    async def work(world: World) -> None:
        sections = {**BRIDGE_CLIENT, "wan9": section("wan", interface="wan9", role="main")}
        world.bus.packages["mptcp-proxy"] = sections
        world.daemons.ask({Part.CONFIG})
        assert world.problems == ["mptcp-proxy.wan9.role"]
        world.bus.packages["mptcp-proxy"] = BRIDGE_CLIENT
        world.daemons.ask({Part.CONFIG})
        assert world.problems == []

    living(work)


def test_no_configuration_file_is_an_empty_configuration() -> None:
    async def work(world: World) -> None:
        del world.bus.packages["mptcp-proxy"]
        world.daemons.ask({Part.CONFIG})
        assert world.problems == [] and world.daemons.config == config({})

    living(work)


# --- Events ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "data", "parts"),
    [
        ("network.interface", {"action": "ifup", "interface": "wan1"}, {Part.INTERFACES}),
        *(("ubus.object.add", {"path": o}, UBUS_PARTS) for o, _ in DAEMONS.values()),
        ("ubus.object.add", {"path": "hostapd.wlan0"}, None),
        ("ubus.object.remove", {"path": "uci"}, None),
        ("dhcp.ack", {}, None),
    ],
)
def test_an_event_and_what_is_asked_because_of_it(
    event: str, data: dict[str, object], parts: set[Part] | None
) -> None:
    async def work(world: World) -> None:
        world.bus.emit(event, **data)
        assert await world.hears() == ([parts] if parts else [])

    living(work)
