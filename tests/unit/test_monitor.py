# SPDX-License-Identifier: GPL-2.0-or-later
"""monitor.monitor: all parts together on a kernel of glass, in simulated time.

Each test takes what the loop gives (a plan, what procd says) and what the kernel shows, and looks
at the health that comes of it. The parts by themselves: test_prober.py, test_tunnel.py and so on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from unit.examples import BRIDGE, BRIDGE_CLIENT, config, plan
from unit.fakes import FakeClock, FakeKernel, Way, simulate, until

from mptcp_agent.core.health import Health
from mptcp_agent.core.health.backlog import HUNG
from mptcp_agent.core.plan import Plan
from mptcp_agent.core.snapshot import Choice
from mptcp_agent.core.state import Part
from mptcp_agent.monitor.failover import GRACE, IDLE_LONG
from mptcp_agent.monitor.monitor import Monitor

CONFIG = config(BRIDGE_CLIENT)
PLAN = plan(CONFIG, BRIDGE)
(PEER,) = CONFIG.client_peers
NEAR, FAR = PEER.address
HERE, THERE = "10.1.1.78", "10.2.2.78"
PIDS = {"client": 4001}
PORT = 1080


class Rig:
    """A router on which all is well: peers answer, the redirector listens."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.kernel = FakeKernel(clock)
        self.kernel.processes = set(PIDS.values())
        self.kernel.listening = {PORT}
        self.requests: list[tuple[Part, ...]] = []
        self.restarts: list[float] = []
        self.monitor = Monitor(
            lambda *parts: self.requests.append(parts),
            lambda: self.restarts.append(clock()),
            self.kernel.edge,
            clock,
        )

    @property
    def health(self) -> Health:
        return self.monitor.health()

    async def turn(self, made: Plan = PLAN) -> None:
        """As the loop does it."""
        self.monitor.watch_processes(PIDS)
        await self.monitor.redirector(CONFIG, {"client": "runs"})
        self.monitor.follow(CONFIG, made)

    async def well(self) -> None:
        await self.turn()
        await until(lambda: all(p.state == "up" for p in self.health.paths))
        await asyncio.sleep(2)

    def silent(self, *devices: str) -> None:
        for device in devices:
            for address in (NEAR, FAR):
                self.kernel.ways[device, address] = Way("lost")

    def state(self, wan: str, address: str = NEAR) -> str:
        return self.health.path(wan, address).state

    async def downloads(self, *cookies: int, seconds: float) -> None:
        end = self.clock() + seconds
        while self.clock() < end:
            for cookie in cookies:
                self.kernel.moves(cookie, received=20_000)
            await asyncio.sleep(0.01)


def monitoring(steps: Callable[[Rig], Awaitable[None]]) -> None:
    async def work(clock: FakeClock) -> None:
        rig = Rig(clock)
        tasks = [asyncio.create_task(task()) for task in rig.monitor.tasks()]
        await steps(rig)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        rig.monitor.close()

    simulate(work)


# --- Well --------------------------------------------------------------------------------------


def test_a_router_on_which_all_is_well() -> None:
    async def steps(rig: Rig) -> None:
        assert (rig.health.paths, rig.health.redirector) == ((), False)
        await rig.well()
        assert rig.monitor.redirector_listens
        found = rig.health
        assert {(p.wan, p.address) for p in found.paths} == {
            (w, a) for w in ("wan1", "wan2") for a in (NEAR, FAR)
        }
        assert found.redirector
        assert found.accepting == found.accepting_for_a_while == {NEAR, FAR}
        assert (found.refused, found.dead_peers) == (frozenset(), frozenset())
        assert found.idle
        assert () in rig.requests, "a plan is asked for when paths come up"

    monitoring(steps)


def test_its_own_probes_of_paths_are_no_connections() -> None:
    async def steps(rig: Rig) -> None:
        await rig.well()
        probes = len([p for p in rig.kernel.probes if p[1]])
        assert probes >= 4
        assert rig.monitor.connections_opened() == rig.kernel.opened - probes

    monitoring(steps)


# --- A WAN -------------------------------------------------------------------------------------


def test_a_wan_that_dies_silently_under_a_download_is_known_in_a_fraction_of_a_second() -> None:
    async def steps(rig: Rig) -> None:
        await rig.well()
        one, two = rig.kernel.opens(HERE, NEAR), rig.kernel.opens(THERE, NEAR)
        await rig.downloads(one, two, seconds=2)
        rig.silent("eth1")
        began = rig.clock()
        rig.requests.clear()
        rest = asyncio.create_task(rig.downloads(two, seconds=2))
        await until(lambda: rig.state("wan1") == "down")
        assert rig.clock() - began < 0.45
        assert () in rig.requests
        await rest
        assert (rig.state("wan2"), rig.health.redirector) == ("up", True)

    monitoring(steps)


def test_while_data_moves_its_path_is_not_probed() -> None:
    async def steps(rig: Rig) -> None:
        await rig.well()
        cookie = rig.kernel.opens(HERE, NEAR)
        before = len(rig.kernel.probes)
        await rig.downloads(cookie, seconds=15)
        asked = [(d, a) for _, d, a in rig.kernel.probes[before:]]
        assert ("eth1", NEAR) not in asked
        assert ("eth2", NEAR) in asked

    monitoring(steps)


def test_who_calls_over_a_wan_that_died_is_left_to_the_kernel() -> None:
    """Which takes it to the other one."""

    async def steps(rig: Rig) -> None:
        await rig.well()
        for local in (HERE, THERE, "192.168.78.1"):
            rig.kernel.opens(local, NEAR, state="syn-sent")
        rig.silent("eth1")
        await until(lambda: rig.state("wan1") == "down", 2)
        await asyncio.sleep(1)
        assert rig.kernel.destroyed == []

    monitoring(steps)


def test_a_connection_that_lost_all_its_subflows_is_joined_anew_within_a_second() -> None:
    async def steps(rig: Rig) -> None:
        await rig.well()
        rig.kernel.opens(HERE, NEAR, token=7)
        rig.kernel.opens(THERE, NEAR, token=7)
        await asyncio.sleep(2)
        rig.kernel.sockets.clear()
        rig.kernel.orphans = {7}
        assert await until(lambda: bool(rig.kernel.rejoined)) < 1
        rig.kernel.orphans = set()
        assert rig.kernel.rejoined[0][1:] == (101, 103)
        await asyncio.sleep(20)
        assert len(rig.kernel.rejoined) == 1

    monitoring(steps)


def test_a_download_that_stops_when_the_firewall_changes_is_joined_anew() -> None:
    async def steps(rig: Rig) -> None:
        await rig.well()
        one, two = rig.kernel.opens(HERE, NEAR), rig.kernel.opens(THERE, NEAR)
        await rig.downloads(one, two, seconds=2)
        await asyncio.sleep(5)
        assert rig.kernel.rejoined == [], "it has nothing more to say"
        await rig.downloads(one, two, seconds=2)
        rig.monitor.firewall_changed()
        assert await until(lambda: bool(rig.kernel.rejoined)) < 1

    monitoring(steps)


# --- The peer ----------------------------------------------------------------------------------


def test_a_peer_that_hangs_is_left_out_and_on_probation_afterwards(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def steps(rig: Rig) -> None:
        await rig.well()
        rig.kernel.tunnel = Way("lost")
        request = rig.kernel.opens(HERE, NEAR)
        await asyncio.sleep(0.5)
        rig.kernel.moves(request, acked=300)
        rig.requests.clear()
        took = await until(lambda: rig.health.dead_peers == {PEER.name})
        assert took < 2.5
        assert rig.requests == [()], "another plan, at once"
        assert not rig.health.redirector, "the LAN is not led there"
        assert caplog.messages[-1:] == [
            f"peer {PEER.name} accepts connections, but nothing comes through"
        ]
        assert rig.state("wan1") == rig.state("wan2") == "up"
        rig.kernel.tunnel = Way()
        await until(lambda: rig.health.redirector, 5)
        assert rig.health.dead_peers == frozenset()

    caplog.set_level(logging.WARNING, "mptcp_agent")
    monitoring(steps)


def test_a_peer_that_no_wan_reaches_does_not_hang(caplog: pytest.LogCaptureFixture) -> None:
    async def steps(rig: Rig) -> None:
        await rig.well()
        rig.kernel.tunnel = Way("lost")
        rig.silent("eth1", "eth2")
        await until(lambda: all(p.state == "down" for p in rig.health.paths))
        assert rig.health.dead_peers == frozenset(), "the tunnel's probes were on those WANs"
        await rig.turn(replace(PLAN, choice=None))
        await asyncio.sleep(60)
        assert rig.health.redirector, "it is not on probation"
        assert caplog.messages == []
        rig.kernel.tunnel = Way()
        rig.kernel.ways.clear()
        await until(lambda: not rig.health.dead_peers, 3)

    caplog.set_level(logging.WARNING, "mptcp_agent")
    monitoring(steps)


def test_a_server_that_stops_is_refused_by_at_once() -> None:
    async def steps(rig: Rig) -> None:
        await rig.well()
        rig.kernel.stop_listening(NEAR, "eth1", "eth2")
        await until(lambda: rig.health.refused == {NEAR}, 0.5)
        assert rig.health.accepting == {FAR}

    monitoring(steps)


def test_standby_addresses_are_those_the_redirector_is_not_told_of() -> None:
    async def steps(rig: Rig) -> None:
        await rig.well()
        await rig.turn(replace(PLAN, choice=Choice(PEER, FAR)))
        await asyncio.sleep(30)
        before = len(rig.kernel.probes)
        await rig.turn(replace(PLAN, choice=None))  # the redirector still is
        await asyncio.sleep(60)
        asked = [a for _, d, a in rig.kernel.probes[before:] if d == "eth1"]
        assert asked.count(FAR) >= 5 * asked.count(NEAR) > 0

    monitoring(steps)


def test_grace_and_idle_follow_the_plan_and_the_traffic() -> None:
    async def steps(rig: Rig) -> None:
        await rig.well()
        cookie = rig.kernel.opens(HERE, NEAR)
        await until(lambda: not rig.health.idle, 1)
        await rig.turn(replace(PLAN, choice=None))
        assert rig.health.in_grace_period
        rig.requests.clear()
        await asyncio.sleep(GRACE + 0.2)
        assert not rig.health.in_grace_period
        assert not rig.health.idle
        assert () in rig.requests
        rig.kernel.closes(cookie)
        assert await until(lambda: rig.health.idle) < IDLE_LONG + 0.3

    monitoring(steps)


# --- The redirector ----------------------------------------------------------------------------


def test_the_end_of_the_redirector_is_known_at_once() -> None:
    async def steps(rig: Rig) -> None:
        await rig.well()
        rig.requests.clear()
        rig.kernel.end(PIDS["client"])
        await asyncio.sleep(0.001)
        assert not rig.health.redirector
        assert rig.requests == [(Part.SERVICES,)]

    monitoring(steps)


def test_the_tunnel_of_another_redirector_is_probed_at_once() -> None:
    async def steps(rig: Rig) -> None:
        await rig.well()
        rig.monitor.redirector_gone()
        assert not rig.monitor.redirector_listens
        await asyncio.sleep(3)
        before = len(rig.kernel.probes)
        await rig.turn()
        await asyncio.sleep(0.01)
        assert [p[1:] for p in rig.kernel.probes[before:]] == [("", "")]

    monitoring(steps)


def test_a_redirector_that_accepts_nothing_is_restarted(caplog: pytest.LogCaptureFixture) -> None:
    async def steps(rig: Rig) -> None:
        await rig.well()
        rig.kernel.tunnel = Way("lost")
        rig.kernel.waiting = 3
        rig.kernel.opened += 3
        began = rig.clock()
        await until(lambda: rig.restarts, 6)
        assert HUNG <= rig.restarts[0] - began < HUNG + 1.2
        assert "the redirector accepts no connections; it is restarted" in caplog.messages

    caplog.set_level(logging.WARNING, "mptcp_agent")
    monitoring(steps)


def test_a_busy_redirector_is_left_alone() -> None:
    """Connections wait, and the tunnel's probe comes through."""

    async def steps(rig: Rig) -> None:
        await rig.well()
        rig.kernel.tunnel = Way(rtt=1.0)
        rig.kernel.waiting = 3
        rig.kernel.opened += 3
        before = len(rig.kernel.probes)
        await asyncio.sleep(20)
        assert not rig.restarts
        tunnel = [p for p in rig.kernel.probes[before:] if not p[1]]
        assert len(tunnel) > 4, "though it is looked at"

    monitoring(steps)


def test_close_leaves_nothing_open() -> None:
    async def steps(rig: Rig) -> None:
        await rig.well()
        assert rig.kernel.held(NEAR) == 2
        rig.monitor.close()
        assert (rig.kernel.held(NEAR), rig.kernel.held(FAR)) == (0, 0)
        rig.kernel.end(PIDS["client"])
        await asyncio.sleep(0.001)
        assert (Part.SERVICES,) not in rig.requests

    monitoring(steps)
