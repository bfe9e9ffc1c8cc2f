# SPDX-License-Identifier: GPL-2.0-or-later
"""Carrying out changes: in order, procd told once, and a failure stops nothing else."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from unit.examples import BRIDGE, BRIDGE_BOTH, ISP, ISP_CLIENT, SECRET, config, plan
from unit.fakes import FakeBus, FakeClock, simulate
from unit.fakes.machine import FakeMachine

from mptcp_agent.agent.applier import LONGEST_FORK, Applier
from mptcp_agent.agent.machine import Observation
from mptcp_agent.agent.retry import FIRST
from mptcp_agent.core.describe import label
from mptcp_agent.core.diff import Change, diff
from mptcp_agent.core.state import KERNEL_PARTS, Limits, Process, RouterState
from mptcp_agent.system.ubus.services import Services

#: Both roles: two processes with a file each.
PLANNED = plan(config(BRIDGE_BOTH), BRIDGE).state
CLIENT, SERVER = PLANNED.processes
START = diff(RouterState(), PLANNED)


class World:
    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.bus = FakeBus(BRIDGE_BOTH, BRIDGE.interfaces)
        self.bus.connect()
        self.machine = FakeMachine(BRIDGE, self.bus.journal)
        self.services = Services(self.bus.call)
        self.only_forked: set[int] = set()
        self.applier = Applier(
            self.machine, self.services, self.work, self.only_forked.__contains__, clock
        )

    async def work(self, call: Callable[..., Any], *arguments: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(None, call, *arguments)

    async def apply(self, planned: RouterState = PLANNED) -> tuple[Change, ...]:
        """What an agent would that sees everything."""
        processes, _ = self.services.observe()
        seen = self.machine.observe(Observation(), KERNEL_PARTS).state
        now = replace(seen, processes=processes)
        return await self.applier.apply(diff(now, planned), planned, processes)

    @property
    def journal(self) -> list[str]:
        """What was changed."""
        return [line for line in self.bus.journal if not line.startswith("look")]

    @property
    def runs(self) -> set[str]:
        return {name for _, name in self.bus.procd.pids}

    def pid(self, name: str) -> int:
        return next(pid for (_, one), pid in self.bus.procd.pids.items() if one == name)

    @property
    def problems(self) -> dict[str, str]:
        return {p.where: p.message for p in self.applier.problems()}


def living(work: Callable[[World], Awaitable[None]]) -> None:
    async def run(clock: FakeClock) -> None:
        await work(World(clock))

    simulate(run)


def of_procd(changes: Iterable[Change]) -> list[Change]:
    return [c for c in changes if isinstance(c.item, Process)]


def test_changes_are_carried_out_in_their_order_and_procd_is_told_once() -> None:
    async def work(world: World) -> None:
        tried = await world.apply()
        order = [label(c.item) for c in START]
        wanted = [label(c.item) for c in tried]
        assert wanted == [x for x in order if x in wanted] and set(order) - set(wanted) == {
            "sysctl net.mptcp.enabled"
        }, "that is so already"
        assert wanted[-2:] == ["process client", "process server"]
        assert len(world.journal) == len(tried) - 1
        assert world.journal[-1] == "procd set client server"
        assert world.runs == {"client", "server"}
        assert world.machine.state.firewalls == PLANNED.firewalls

    living(work)


def test_files_that_are_left_over_go_after_their_process() -> None:
    async def work(world: World) -> None:
        await world.apply()
        world.clock.now += 10
        world.bus.journal.clear()
        await world.apply(RouterState(limits=PLANNED.limits))
        procd = world.journal.index("procd delete")
        assert world.journal[0].startswith("removed nftables")
        files = [n for n, line in enumerate(world.journal) if line.startswith("removed file")]
        assert len(files) == 2 and min(files) > procd

    living(work)


def test_procd_is_left_alone_while_it_starts_a_process() -> None:
    """A child that has not begun its program has procd's handlers: told to end, it boots all.

    Everything else is carried out, nothing is told to have failed, and the next look does it.
    """

    async def work(world: World) -> None:
        await world.apply()
        world.clock.now += 10
        other = replace(CLIENT, digest="another")
        changed = replace(PLANNED, processes=(other, SERVER), limits=Limits(4, 4))
        world.only_forked.add(world.pid("server"))
        world.bus.journal.clear()
        tried = await world.apply(changed)
        assert of_procd(tried) == [] and len(tried) == 1
        assert world.applier.postponed and not world.applier.retries.pending()
        assert not any(line.startswith("procd") for line in world.journal)
        world.only_forked.clear()
        assert len(of_procd(await world.apply(changed))) == 1
        assert not world.applier.postponed
        assert world.journal[-1] == "procd set client server"

    living(work)


def test_the_last_word_to_procd_waits_for_what_it_starts_and_not_for_ever() -> None:
    async def work(world: World) -> None:
        await world.apply()
        world.only_forked.add(world.pid("client"))
        began = world.clock.now
        asyncio.get_running_loop().call_later(0.1, world.only_forked.clear)
        await world.applier.end_processes()
        assert 0.1 <= world.clock.now - began < 0.2
        assert world.runs == set()
        world.clock.now += 10
        await world.apply()
        world.only_forked.add(world.pid("client"))
        began = world.clock.now
        await world.applier.end_processes()
        assert LONGEST_FORK <= world.clock.now - began < 2 * LONGEST_FORK
        assert world.runs == set()

    living(work)


def test_a_failure_stops_nothing_else_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    async def work(world: World) -> None:
        world.machine.fails["endpoint 10.1.1.78"] = "the kernel refused"
        await world.apply()
        assert world.runs == {"client", "server"}
        assert [e.device for e in world.machine.state.endpoints] == ["eth2"]
        assert world.problems == {"endpoint 10.1.1.78": "the kernel refused"}
        assert await world.apply() == (), "it waits"
        for _ in range(3):
            world.clock.now += 100
            assert [label(c.item) for c in await world.apply()] == ["endpoint 10.1.1.78"]
        world.machine.fails["endpoint 10.1.1.78"] = "another reason"
        world.clock.now += 100
        await world.apply()

    with caplog.at_level(logging.ERROR):
        living(work)
    assert caplog.messages == [
        "endpoint 10.1.1.78: the kernel refused",
        "endpoint 10.1.1.78: another reason",
    ]


def test_each_change_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def work(world: World) -> None:
        tried = await world.apply()
        assert len(caplog.messages) == len(tried)
        levels = {record.getMessage(): record.levelno for record in caplog.records}
        endpoint = "added mptcp endpoint 10.1.1.78 dev eth1 id 101 subflow signal"
        assert levels[endpoint] == logging.DEBUG
        assert levels["set mptcp limits subflows 8 add_addr_accepted 8"] == logging.INFO
        caplog.clear()
        world.clock.now += 10
        assert await world.apply() == () and caplog.messages == []

    with caplog.at_level(logging.DEBUG, "mptcp_agent.agent.applier"):
        living(work)


def test_a_process_whose_file_cannot_be_written_stays_as_it_is() -> None:
    async def work(world: World) -> None:
        await world.apply()
        world.clock.now += 10
        world.machine.fails[CLIENT.config_path] = "no space left"
        other = replace(CLIENT, digest="another")
        file = next(f for f in PLANNED.files if f.path == CLIENT.config_path)
        files = (replace(file, content="another"), *(f for f in PLANNED.files if f != file))
        pids = dict(world.bus.procd.pids)
        await world.apply(replace(PLANNED, processes=(other, SERVER), files=files))
        assert world.bus.procd.pids == pids
        assert world.problems == {CLIENT.config_path: "no space left"}

    living(work)


def test_nothing_is_started_behind_a_firewall_that_does_not_stand(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work(world: World) -> None:
        world.machine.fails["nftables"] = "no such table"
        assert of_procd(await world.apply()) == []
        assert world.runs == set() and "set process" not in caplog.text
        world.machine.fails.clear()
        world.clock.now += FIRST
        await world.apply()
        await world.apply()  # the firewall stands
        assert world.runs == {"client", "server"}

    with caplog.at_level(logging.INFO):
        living(work)


def test_where_procd_refuses_each_process_has_failed() -> None:
    async def work(world: World) -> None:
        world.bus.procd.refuses = "ubus error occured: Permission denied"
        await world.apply()
        assert world.problems.keys() == {"process client", "process server"}
        assert "Permission denied" in world.problems["process client"]
        assert world.machine.state.endpoints == PLANNED.endpoints
        world.bus.procd.refuses = ""
        world.clock.now += FIRST
        assert len(of_procd(await world.apply())) == 2 and world.runs == {"client", "server"}

    living(work)


# --- What a former configuration had changed ---------------------------------------------------


def test_what_is_not_planned_any_more_is_put_back_with_other_changes_or_once_after_news() -> None:
    async def work(world: World) -> None:
        await world.apply()
        world.clock.now += 10
        assert world.machine.originals()
        assert await world.applier.apply((), RouterState(), ()) == ()
        assert world.machine.originals(), "nothing happened and nothing is new"
        world.applier.unsettle()
        await world.applier.apply((), RouterState(), ())
        assert world.machine.originals() == {}
        assert world.machine.facts.sysctl("net.mptcp.stale_loss_cnt") == "4"

    living(work)


def test_what_cannot_be_put_back_is_a_problem_and_tried_in_each_turn() -> None:
    async def work(world: World) -> None:
        await world.apply()
        world.clock.now += 10
        world.applier.unsettle()
        world.machine.fails["restore"] = "read-only file system"
        for _ in range(2):
            await world.applier.apply((), RouterState(), ())
            assert world.problems == {"sysctl": "read-only file system"}
        world.machine.fails.clear()
        await world.applier.apply((), RouterState(), ())
        assert world.problems == {} and world.machine.originals() == {}

    living(work)


# --- Besides -----------------------------------------------------------------------------------


def test_a_redirector_that_hangs_is_killed_and_nobody_else() -> None:
    async def work(world: World) -> None:
        await world.apply()
        server = world.bus.procd.pids["mptcp-proxy-engine", "server"]
        world.applier.restart_redirector()
        assert world.bus.procd.signals == [("client", signal.SIGKILL)]
        assert world.bus.procd.pids == {("mptcp-proxy-engine", "server"): server}

    living(work)


def test_procd_that_does_not_restart_it_is_an_error_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work(world: World) -> None:
        world.bus.away.add("service")
        world.applier.restart_redirector()

    living(work)
    assert "procd did not signal client" in caplog.text


def test_secrets_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def work(world: World) -> None:
        planned = plan(config(ISP_CLIENT), ISP).state
        assert SECRET in planned.files[0].content
        world.machine.fails[planned.files[0].path] = "no space left"
        await world.apply(planned)
        assert SECRET not in caplog.text + str(world.problems) + str(world.journal)

    with caplog.at_level(logging.DEBUG):
        living(work)
