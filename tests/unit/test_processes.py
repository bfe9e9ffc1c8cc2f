# SPDX-License-Identifier: GPL-2.0-or-later
"""monitor.processes: the end of a proxy is heard of, its start is looked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from unit.examples import BRIDGE_CLIENT, BRIDGE_SERVER, config
from unit.fakes import FakeClock, FakeKernel, simulate, until

from mptcp_agent.monitor.processes import ProxyProcesses

CLIENT, SERVER = config(BRIDGE_CLIENT), config(BRIDGE_SERVER)
PORT = 1080
PIDS = {"client": 4001, "server": 4002}


class Rig:
    def __init__(self, clock: FakeClock) -> None:
        self.kernel = FakeKernel(clock)
        self.kernel.processes = set(PIDS.values())
        self.kernel.listening = {PORT}
        self.ends = 0
        self.asked: list[object] = []
        self.processes = ProxyProcesses(self._ended, self._work, self.kernel.edge)

    def _ended(self) -> None:
        self.ends += 1

    async def _work(self, call: Callable[..., Any], *arguments: object) -> Any:
        self.asked += arguments
        return call(*arguments)


def watching(steps: Callable[[Rig], Awaitable[None]]) -> None:
    async def work(clock: FakeClock) -> None:
        rig = Rig(clock)
        rig.processes.follow(PIDS)
        await steps(rig)
        rig.processes.close()

    simulate(work)


async def soon() -> None:
    await asyncio.sleep(0.001)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_one_that_listens_at_another_port_than_configured_is_none() -> None:
    """Its file could not be written, so it runs with the settings of before."""
    moved = config({**BRIDGE_CLIENT, "client": {**BRIDGE_CLIENT["client"], "local_port": "1090"}})

    async def steps(rig: Rig) -> None:
        assert await rig.processes.find_redirector(CLIENT, True)
        assert not await rig.processes.find_redirector(moved, True)
        assert not rig.processes.redirector_listens
        assert await rig.processes.find_redirector(CLIENT, True)

    watching(steps)


def test_the_redirector_is_looked_for_until_it_listens() -> None:
    async def steps(rig: Rig) -> None:
        rig.kernel.listening = set()
        assert not await rig.processes.find_redirector(CLIENT, True)
        assert not rig.processes.redirector_listens
        rig.kernel.listening = {PORT}
        assert await rig.processes.find_redirector(CLIENT, True), "it began to"
        assert rig.processes.redirector_listens
        assert not await rig.processes.find_redirector(CLIENT, True), "it did so before"
        assert rig.asked == [PORT, PORT], "asked no more: its end is heard of"

    watching(steps)


def test_its_end_is_heard_of_at_once() -> None:
    async def steps(rig: Rig) -> None:
        await rig.processes.find_redirector(CLIENT, True)
        rig.kernel.end(PIDS["client"])
        await soon()
        assert (rig.ends, rig.processes.redirector_listens) == (1, False)

    watching(steps)


def test_the_end_of_a_server_says_nothing_of_the_redirector() -> None:
    async def steps(rig: Rig) -> None:
        await rig.processes.find_redirector(CLIENT, True)
        rig.kernel.end(PIDS["server"])
        await soon()
        assert (rig.ends, rig.processes.redirector_listens) == (1, True)

    watching(steps)


def test_a_process_that_is_followed_no_longer_is_not_heard_of() -> None:
    async def steps(rig: Rig) -> None:
        rig.processes.follow({"client": 4003})
        rig.kernel.end(PIDS["client"])
        rig.kernel.end(PIDS["server"])
        await soon()
        assert rig.ends == 0

    watching(steps)


def test_one_that_has_ended_already_is_no_matter() -> None:
    async def steps(rig: Rig) -> None:
        rig.processes.follow({"client": 9999})
        await soon()
        assert rig.ends == 0
        rig.kernel.processes.add(9999)
        rig.processes.follow({"client": 9999})
        rig.kernel.end(9999)
        await soon()
        assert rig.ends == 1, "it was not ended after all, only late"

    watching(steps)


def test_no_descriptor_stays_behind() -> None:
    async def steps(rig: Rig) -> None:
        rig.processes.close()
        for pid in PIDS.values():
            rig.kernel.end(pid)
        none = descriptors()
        rig.kernel.processes = set(PIDS.values())
        rig.processes.follow(PIDS)
        one_each = descriptors()
        rig.processes.follow(PIDS)
        assert descriptors() == one_each
        rig.kernel.end(PIDS["client"])
        await soon()
        rig.processes.follow({})
        rig.kernel.end(PIDS["server"])
        assert descriptors() == none

    watching(steps)


def test_without_its_process_the_redirector_is_gone() -> None:
    async def steps(rig: Rig) -> None:
        await rig.processes.find_redirector(CLIENT, True)
        rig.processes.follow({"server": PIDS["server"]})
        assert not await rig.processes.find_redirector(CLIENT, True)
        assert not rig.processes.redirector_listens

    watching(steps)


def test_before_procd_has_answered_what_listens_counts() -> None:
    """An agent that was restarted leaves a LAN that is redirected as it is."""

    async def steps(rig: Rig) -> None:
        rig.processes.follow({})
        assert await rig.processes.find_redirector(CLIENT, False)
        await rig.processes.find_redirector(CLIENT, False)
        assert rig.processes.redirector_listens

    watching(steps)


def test_without_a_client_there_is_no_redirector() -> None:
    async def steps(rig: Rig) -> None:
        await rig.processes.find_redirector(CLIENT, True)
        assert not await rig.processes.find_redirector(SERVER, True)
        assert not rig.processes.redirector_listens

    watching(steps)


def test_one_that_is_about_to_be_replaced_listens_no_more() -> None:
    async def steps(rig: Rig) -> None:
        await rig.processes.find_redirector(CLIENT, True)
        rig.processes.redirector_gone()
        assert not rig.processes.redirector_listens
        assert await rig.processes.find_redirector(CLIENT, True), "and is looked for again"

    watching(steps)


def test_what_a_redirector_takes_in_ahead_is_bounded_once() -> None:
    """Also that of one which ran before procd said which process it is; not with buffers off."""
    off = config({**BRIDGE_CLIENT, "globals": {".type": "globals", "buffers": "off"}})

    async def steps(rig: Rig) -> None:
        rig.processes.follow({})
        await rig.processes.find_redirector(CLIENT, False)
        await soon()
        assert rig.kernel.bounded == []
        rig.processes.follow(PIDS)
        await rig.processes.find_redirector(off, True)
        assert rig.kernel.bounded == []
        for _ in range(2):
            await rig.processes.find_redirector(CLIENT, True)
        assert await until(lambda: rig.kernel.bounded != [], 1) is not None
        rig.kernel.processes.add(4003)
        rig.processes.follow({"client": 4003})
        await rig.processes.find_redirector(CLIENT, True)
        assert await until(lambda: len(rig.kernel.bounded) > 1, 1) is not None
        assert rig.kernel.bounded == [(4001, PORT), (4003, PORT)]

    watching(steps)
