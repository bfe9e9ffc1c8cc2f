# SPDX-License-Identifier: GPL-2.0-or-later
"""Connections that cannot go on as they are, on a kernel that ends nobody's sockets but its own
(no CONFIG_INET_DIAG_DESTROY, as on OpenWrt)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Literal

import pytest
from e2e.support import (
    SIZE,
    assert_bonded,
    endpoints,
    pids,
    running,
    settle,
    wait_state,
)
from lab.router import Router
from lab.topology import Network
from lab.traffic import Running, start
from toolkit.command import tool
from toolkit.waiting import wait_until


@pytest.fixture(autouse=True)
def well(net: Network) -> None:
    """Each test begins with both links in use."""
    wait_state(net.client, "active")
    wait_until(lambda: len(endpoints(net.client)) >= 2, 20, "both WANs in use")
    settle(net.client)


def test_calls_over_a_wan_that_has_just_died_get_through(net: Network) -> None:
    """Without anybody's calling again: they go on over the other WAN, as MPTCP, before any
    engine's patience ends."""
    fallbacks = counter(net.client, "MPTcpExtMPCapableSYNTXDrop")
    net.wires[0].blackhole(True)
    try:
        calls = [start(net.client_host, "get", net.target, size=8000) for _ in range(5)]
        found = [call.result() for call in calls]
    finally:
        net.wires[0].blackhole(False)
    assert [f.report.error for f in found] == [""] * 5
    assert max(f.report.first_byte_ms for f in found) < 4500
    assert counter(net.client, "MPTcpExtMPCapableSYNTXDrop") == fallbacks


@pytest.mark.parametrize("what", ["get", "put"])
def test_a_stream_outlives_a_restart_of_the_firewall(
    net: Network, what: Literal["get", "put"]
) -> None:
    """What it tracked is forgotten, and what it does not know is refused with a reset: all
    subflows are gone, at one end at least, and no end is told."""
    stream = under_way(net, what)
    with resetting(net.client):
        time.sleep(0.3)  # as long as a restart takes
    transfer = stream.result()
    assert transfer.ok, transfer.report.error
    if what == "get":
        assert transfer.stall_ms(0) < 3000
    assert_bonded(net, ["down"])


def test_what_the_far_end_knows_no_more_is_ended() -> None:
    """The far end lost its connections and told nobody, as by a loss of power: the LAN client
    hears of it in seconds, not in a minute."""
    with running() as net:
        settle(net.client)
        stream = under_way(net, "put", patience=50)
        with silenced(net.server):
            net.server.run("kill", "-9", str(pids(net.server)["server"]))
            # Not on the router, whose kernel would refuse.
            tool("ip", "netns", "exec", net.server.netns, "ss", "-K", "sport = 8388")
        began = time.monotonic()
        transfer = stream.result()
        assert not transfer.ok
        assert "timed out" not in (transfer.report.error or "")
        assert time.monotonic() - began < 20
        patience = ("sysctl", "-n", "net.mptcp.close_timeout")
        wait_until(lambda: net.client.run(*patience).stdout == "60\n", 10, "patience as before")


def under_way(net: Network, what: Literal["get", "put"], patience: float = 30) -> Running:
    before = [sum(wire.bytes()) for wire in net.wires]
    stream = start(net.client_host, what, net.target, size=4 * SIZE, patience=patience)
    wait_until(
        lambda: all(
            sum(wire.bytes()) > b + 500_000 for wire, b in zip(net.wires, before, strict=True)
        ),
        10,
        "the transfer over both links",
    )
    return stream


@contextlib.contextmanager
def rule(router: Router, hook: str, words: str) -> Iterator[None]:
    chain = f"type filter hook {hook} priority -10\n{words}"
    text = f"table inet foreign {{\nchain c {{\n{chain}\n}}\n}}\n"
    path = router.path("/tmp/foreign.nft")
    path.write_text(text)
    router.run("nft", "-f", str(path))
    try:
        yield
    finally:
        router.run("nft", "delete", "table", "inet", "foreign")


def resetting(router: Router) -> contextlib.AbstractContextManager[None]:
    devices = 'iifname { "wan1", "wan2" }'
    return rule(router, "input", f"{devices} tcp sport 8388 reject with tcp reset")


def silenced(router: Router) -> contextlib.AbstractContextManager[None]:
    return rule(router, "output", "tcp sport 8388 drop")


def counter(router: Router, name: str) -> int:
    lines = router.run("nstat", "-asz", name).stdout.splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))
