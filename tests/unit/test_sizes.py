# SPDX-License-Identifier: GPL-2.0-or-later
"""What size of packets a path carries: how it is searched, when it is asked, what follows.

Real connections: tests/kernel/test_path_mtu.py.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.fakes import until
from unit.test_prober import BOTH, NEAR, ONE, SETTINGS, WAN1, Rig, probing

from mptcp_agent.monitor.sizes import AGAIN, PAUSE, PAUSE_SMALL
from mptcp_agent.system.path_mtu import largest

SMALLEST, LEAST, MOST = 40, 576, 1500


def search(limit: int) -> tuple[int | None, list[int]]:
    """What is found of a path that carries so many bytes, and what was sent."""
    sent: list[int] = []

    async def passes(size: int) -> bool:
        sent.append(size)
        return size <= limit

    return asyncio.run(largest(passes, LEAST, MOST, SMALLEST)), sent


@given(st.integers(LEAST, MOST))
def test_the_largest_size_is_found(limit: int) -> None:
    found, sent = search(limit)
    assert found == limit
    assert len(sent) <= 13


def test_a_path_like_its_device_costs_one_packet() -> None:
    assert search(MOST) == (MOST, [MOST])


@pytest.mark.parametrize("limit", [0, SMALLEST, LEAST - 1])
def test_what_acknowledges_nothing_teaches_nothing(limit: int) -> None:
    assert search(limit)[0] is None


def test_it_is_asked_at_first_after_trouble_and_rarely_otherwise() -> None:
    async def steps(rig: Rig) -> None:
        await rig.quiet()
        assert len(rig.kernel.sized) == 1
        rig.prober.suspect("wan1")
        await asyncio.sleep(1)
        assert len(rig.kernel.sized) == 1, "it was asked a moment ago"
        await until(lambda: len(rig.kernel.sized) == 2, 2 * PAUSE + SETTINGS.interval)
        began = rig.clock()
        await until(lambda: len(rig.kernel.sized) == 3, 2 * AGAIN)
        assert rig.clock() - began > AGAIN - PAUSE

    probing(steps)


def test_a_path_that_is_another_one_is_asked_anew() -> None:
    async def steps(rig: Rig) -> None:
        await rig.quiet()
        rig.prober.follow({ONE: replace(WAN1, down="no carrier")})
        rig.prober.follow({ONE: WAN1})
        await until(lambda: len(rig.kernel.sized) == 2)
        rig.prober.follow({ONE: replace(WAN1, source="10.1.1.79")})
        await until(lambda: len(rig.kernel.sized) == 3)

    probing(steps)


def test_the_size_is_told_and_stands_until_another_is_found() -> None:
    async def steps(rig: Rig) -> None:
        await rig.quiet()
        assert [p.mtu for p in rig.prober.health()] == [0, 0]
        rig.kernel.mtus["eth2"] = 1400
        await asyncio.sleep(PAUSE)
        calls = rig.calls
        rig.prober.suspect("wan2")
        await until(lambda: rig.path(("wan2", NEAR)).mtu == 1400)
        assert rig.calls > calls
        assert rig.path().mtu == 0
        rig.kernel.mtus["eth2"] = None  # nobody acknowledges
        await asyncio.sleep(PAUSE_SMALL)
        rig.prober.suspect("wan2")
        await asyncio.sleep(1)
        assert rig.path(("wan2", NEAR)).mtu == 1400
        rig.kernel.mtus["eth2"] = 0
        await asyncio.sleep(PAUSE_SMALL)
        rig.prober.suspect("wan2")
        await until(lambda: rig.path(("wan2", NEAR)).mtu == 0)

    probing(steps, BOTH)
