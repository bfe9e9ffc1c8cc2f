# SPDX-License-Identifier: GPL-2.0-or-later
"""A cable does what its shape says, in both directions, and its switches work while it runs."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from lab.host import Host
from lab.lab import Lab
from lab.traffic import Sampler, TalkServer, iperf, start
from lab.wire import Cabling, Shape, Wire

PLAIN = 0.9564
"""TCP payload per Ethernet frame at an MTU of 1500."""


class Pair:
    """Two hosts, one cable."""

    def __init__(self, lab: Lab) -> None:
        self.a, self.b = Host(lab, "a"), Host(lab, "b")
        self.wire: Wire = Cabling(lab).shaped((self.a, "eth0"), (self.b, "eth0"), Shape(50))
        for host, address in ((self.a, "10.0.0.1/24"), (self.b, "10.0.0.2/24")):
            host.ip("address", "add", address, "dev", "eth0")
        self.server = TalkServer(self.b)

    def rtt_ms(self) -> float:
        found = [start(self.a, "get", "10.0.0.2", size=8).result() for _ in range(5)]
        assert all(each.ok for each in found), found
        return min(each.report.connect_ms for each in found)


@pytest.fixture(scope="module")
def module_pair() -> Iterator[Pair]:
    with Lab() as lab:
        yield Pair(lab)


@pytest.fixture
def pair(module_pair: Pair) -> Iterator[Pair]:
    yield module_pair
    module_pair.wire.set(Shape(50))
    module_pair.wire.blackhole(False)
    module_pair.wire.carrier(True, "both")


@pytest.mark.parametrize("shape", [Shape(50), Shape(20, delay=10), Shape(100, up=10)], ids=str)
def test_rate(pair: Pair, shape: Shape) -> None:
    pair.wire.set(shape)
    down = iperf(pair.a, pair.b, "10.0.0.2", "down", seconds=2)
    up = iperf(pair.a, pair.b, "10.0.0.2", "up", seconds=2)
    assert down == pytest.approx(shape.rate * PLAIN, rel=0.04)
    assert up == pytest.approx(shape.rate_of("up") * PLAIN, rel=0.04)


def test_delay_is_one_way(pair: Pair) -> None:
    assert pair.rtt_ms() < 5
    pair.wire.set(Shape(50, delay=30))
    assert 60 <= pair.rtt_ms() < 70


def test_rate_changes_while_running(pair: Pair) -> None:
    stream = start(pair.a, "get", "10.0.0.2", seconds=3)
    time.sleep(1)
    pair.wire.rate(10, "down")
    changed = time.monotonic()
    result = stream.result()
    assert result.ok, result.report.error
    assert result.rate(result.report.started + 0.2, changed) == pytest.approx(48, rel=0.1)
    assert result.rate(changed + 0.5, result.report.ended) == pytest.approx(9.6, rel=0.1)


@pytest.mark.parametrize("direction", ["up", "down", "both"])
def test_blackhole_is_silent(pair: Pair, direction: str) -> None:
    stream = start(pair.a, "get", "10.0.0.2", seconds=2.5)
    time.sleep(0.7)
    cut = time.monotonic()
    pair.wire.blackhole(True, direction)  # type: ignore[arg-type]
    time.sleep(0.5)
    assert "NO-CARRIER" not in pair.a.ip("link", "show", "eth0")
    carried = pair.wire.bytes()
    time.sleep(0.1)
    now = pair.wire.bytes()
    assert direction == "down" or now[0] == carried[0]
    assert direction == "up" or now[1] == carried[1]
    pair.wire.blackhole(False)
    result = stream.result()
    assert result.ok, result.report.error
    assert result.stall_ms(cut) >= 400
    assert pair.wire.counters("down" if direction == "down" else "up").blackhole_drops > 0


def test_carrier_is_lost_at_one_end_only(pair: Pair) -> None:
    pair.wire.carrier(False, "a")
    assert "NO-CARRIER" in pair.a.ip("link", "show", "eth0")
    assert "NO-CARRIER" not in pair.b.ip("link", "show", "eth0")
    pair.wire.carrier(True, "a")
    assert "NO-CARRIER" not in pair.a.ip("link", "show", "eth0")
    assert start(pair.a, "get", "10.0.0.2", size=80000).result().ok


def test_sampler_sees_what_the_cable_carries(pair: Pair) -> None:
    with Sampler([pair.wire]) as sampler:
        assert start(pair.a, "put", "10.0.0.2", seconds=1.5).result().ok
    rates = sorted(sample.up[0] for sample in sampler.samples)
    assert rates[len(rates) // 2] == pytest.approx(50, rel=0.1)


def test_echo_survives_half_close(pair: Pair) -> None:
    result = start(pair.a, "echo", "10.0.0.2", size=1_000_000).result()
    assert result.ok, result.report.error
    assert result.report.bytes == 1_000_000


def test_mptcp_client_against_plain_server_falls_back(pair: Pair) -> None:
    result = start(pair.a, "get", "10.0.0.2", size=8000, mptcp=True).result()
    assert result.ok, result.report.error
    assert not result.report.mptcp
