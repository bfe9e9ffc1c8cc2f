# SPDX-License-Identifier: GPL-2.0-or-later
"""Connections whose data nobody reads any more: core.health.abandoned, monitor.abandoned."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from unit.examples import BRIDGE_CLIENT, BRIDGE_SERVER, Sections, config
from unit.fakes import FakeClock, FakeKernel, simulate, until

from mptcp_agent.core.health.abandoned import abandoned
from mptcp_agent.core.sockets import ClosedConnection
from mptcp_agent.monitor.abandoned import (
    AGAIN,
    ARRIVED,
    IDLE,
    LATER,
    MOVING,
    TRIES,
    UNTOLD,
    Abandoned,
)

GONE = ClosedConnection(token=1, owned=False, unread=100_000)


async def at_once(call: Callable[..., Any], *arguments: object) -> Any:
    return call(*arguments)


class Watch:
    """The part under test, with a kernel where 10 MB have just arrived for each look."""

    def __init__(self, sections: Sections = BRIDGE_CLIENT) -> None:
        self.kernel = FakeKernel(FakeClock())
        self.abandoned = Abandoned(at_once, self.kernel.edge)
        self.abandoned.follow(config(sections))

    def arrives(self, size: int) -> None:
        received, sent = self.kernel.links.get("wan1", (0, 0))
        self.kernel.links["wan1"] = received + size, sent

    def look(self, arrived: int = 10_000_000) -> float:
        self.arrives(arrived)
        return asyncio.run(self.abandoned.look())


# --- Which ones ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("connection", "ends"),
    [
        (GONE, True),
        # A half-closed upload whose answer still comes: a process waits for it.
        (ClosedConnection(token=1, owned=True, unread=100_000), False),
        # The usual end: the other one is about to close too.
        (ClosedConnection(token=1, owned=False, unread=0), False),
        (ClosedConnection(token=1, owned=True, unread=0), False),
    ],
)
def test_what_no_process_will_read_is_ended(connection: ClosedConnection, ends: bool) -> None:
    assert abandoned([connection]) == ({1} if ends else set())


# --- When they are looked for --------------------------------------------------------------------


def test_all_subflows_of_an_abandoned_connection_are_reset_and_of_no_other() -> None:
    watch = Watch()
    for token in (1, 2):
        for local in ("10.1.1.78", "10.2.2.78"):
            watch.kernel.opens(local, "10.1.1.70", token=token)
    watch.kernel.closed = [GONE]
    assert watch.look() == AGAIN
    ((*found,),) = watch.kernel.resets
    assert [(s.local, s.subflow.token_local) for s in found if s.subflow] == [
        ("10.1.1.78", 1),
        ("10.2.2.78", 1),
    ]


def test_nothing_is_asked_while_nothing_arrives() -> None:
    watch = Watch()
    assert watch.look() == MOVING
    assert watch.look(ARRIVED // 3) == IDLE
    assert watch.look(ARRIVED // 3) == IDLE
    assert len(watch.kernel.asked_closed) == 1
    assert watch.look(ARRIVED // 2) == MOVING
    assert len(watch.kernel.asked_closed) == 2


@pytest.mark.parametrize(("sections", "patience"), [(BRIDGE_CLIENT, UNTOLD), (BRIDGE_SERVER, IDLE)])
def test_an_idle_client_waits_to_be_told(sections: Sections, patience: float) -> None:
    """That its connections move; a server, whose connections nobody follows, looks itself."""

    async def work(clock: FakeClock) -> None:
        watch = Watch(sections)
        running = asyncio.create_task(watch.abandoned.run())
        await asyncio.sleep(0)
        watch.arrives(10 * ARRIVED)
        assert await until(lambda: watch.kernel.asked_closed != []) == pytest.approx(
            patience + MOVING, 0.1
        )
        await asyncio.sleep(2 * UNTOLD)
        watch.arrives(10 * ARRIVED)
        watch.abandoned.client_moves()
        assert await until(lambda: len(watch.kernel.asked_closed) > 1) < 2 * MOVING
        running.cancel()

    simulate(work)


def test_what_a_reset_missed_is_reset_again_also_when_nothing_arrives() -> None:
    watch = Watch()
    watch.kernel.opens("10.1.1.78", "10.1.1.70", token=1)
    watch.kernel.closed = [GONE]
    watch.look()
    watch.look(0)
    assert len(watch.kernel.resets) == 2
    watch.kernel.closed = []
    assert watch.look(0) == MOVING
    assert watch.look(0) == IDLE


def test_what_resets_do_not_end_is_left_to_the_kernel() -> None:
    watch = Watch()
    watch.kernel.opens("10.1.1.78", "10.1.1.70", token=1)
    watch.kernel.closed = [GONE]
    looks = [watch.look() for _ in range(2 * TRIES)]
    assert len(watch.kernel.resets) == TRIES
    assert looks == [AGAIN] * TRIES + [MOVING] * TRIES


def test_a_kernel_that_cannot_tell_is_seldom_asked() -> None:
    watch = Watch()
    watch.kernel.closed = None
    assert watch.look() == LATER
    assert watch.kernel.resets == []


@pytest.mark.parametrize(
    ("sections", "ports"),
    [(BRIDGE_CLIENT, [(0, 8388)]), (BRIDGE_SERVER, [(8388, 0)]), ({}, [])],
)
def test_each_role_looks_at_its_own_port(sections: Sections, ports: list[tuple[int, int]]) -> None:
    watch = Watch(sections)
    watch.look()
    assert watch.kernel.asked_closed == ports
