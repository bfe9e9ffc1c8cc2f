# SPDX-License-Identifier: GPL-2.0-or-later
"""Links, peers and proxies that die without a word, and what the LAN has of it."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

import pytest
from e2e.support import (
    SIZE,
    assert_bonded,
    cli,
    endpoints,
    fetch,
    pids,
    problem,
    reconfigure,
    redirected,
    running,
    settle,
    wait_state,
    wait_status,
    wan,
)
from lab.proxy import Proxy
from lab.topology import Network
from lab.traffic import start
from lab.uci import Section
from toolkit.stopping import end, paused
from toolkit.waiting import wait_until

DETECTED = 5
"""Seconds for what takes half a second while nothing else keeps the machine busy."""


def has_endpoint(net: Network, number: int) -> bool:
    return any(f"dev wan{number}" in line for line in endpoints(net.client))


@pytest.mark.parametrize("number", [1, 2])
def test_silent_death_under_a_download(net: Network, number: int) -> None:
    """No interface notices; the endpoint goes and comes back, the transfer is whole, nothing
    is restarted, and everybody is told."""
    processes, wire = pids(net.client), net.wires[number - 1]
    listener = net.client.popen("ubus", "listen", "mptcp_proxy.wan", stdout=subprocess.PIPE)
    stream = start(net.client_host, "get", net.target, size=2 * SIZE)
    wait_until(lambda: wire.bytes()[1] > 500_000, 10, "the transfer")
    wire.blackhole(True)
    wait_until(lambda: not has_endpoint(net, number), DETECTED, "the endpoint's removal")
    status = wait_state(net.client, "degraded")
    assert f"wan{number} (" in status["reason"] and "probes lost" in status["reason"]
    assert wan(status, f"wan{number}")["health"]["state"] == "down"
    assert wan(status, f"wan{3 - number}")["health"]["state"] != "down"
    wire.blackhole(False)
    wait_until(lambda: has_endpoint(net, number), 2 * DETECTED, "the endpoint back")
    transfer = stream.result()
    assert transfer.ok, transfer.report.error
    wait_state(net.client, "active")
    assert pids(net.client) == processes

    def told(status: dict[str, Any]) -> bool:
        events = [e for e in status["history"] if e["what"] == f"wan wan{number}"][:2]
        seen = [(e["to"], "probes" in e["reason"]) for e in events]
        return seen == [("up", True), ("down", True)]

    wait_status(net.client, told, "the history of it", 2)
    assert listener.stdout
    heard = [json.loads(listener.stdout.readline())["mptcp_proxy.wan"] for _ in range(2)]
    end(listener)
    assert [(h["name"], h["state"]) for h in heard] == [(f"wan{number}", s) for s in ("down", "up")]
    settle(net.client)
    assert_bonded(net, ["down"])


def test_backup() -> None:
    """Carries nothing while the other WAN is healthy, and everything at once when it is not."""
    with running(Proxy(engine="sing-box", client={"wan2": {"role": "backup"}})) as net:
        first, second = net.wires
        before = second.bytes()[1]
        fetch(net, SIZE)
        assert second.bytes()[1] - before < 0.05 * SIZE
        stream = start(net.client_host, "get", net.target, size=2 * SIZE)
        wait_until(lambda: first.bytes()[1] > SIZE + 500_000, 10, "the transfer")
        first.blackhole(True)
        transfer = stream.result()
        assert transfer.ok, transfer.report.error
        assert second.bytes()[1] - before > SIZE / 2
        wait_state(net.client, "degraded")
        fetch(net)
        first.blackhole(False)
        wait_state(net.client, "active")
        settle(net.client)
        before = second.bytes()[1]
        fetch(net, SIZE)
        assert second.bytes()[1] - before < 0.05 * SIZE


def test_server_hangs(net: Network) -> None:
    """It accepts connections, so that every path is well; the LAN is let out directly."""
    with paused(pids(net.server)["server"]):
        asked = time.monotonic()
        stream = start(net.client_host, "get", net.target, size=100_000, patience=20)
        wait_state(net.client, "bypassed")
        fetch(net)
        assert time.monotonic() - asked < 2 * DETECTED
        assert not redirected(net.client)
        assert all(has_endpoint(net, n) for n in (1, 2)), "no WAN is to blame"
        end(stream.process)
    wait_state(net.client, "active")
    assert_bonded(net, ["down"])


def test_redirector_hangs(net: Network) -> None:
    """It is restarted."""
    pid = pids(net.client)["client"]
    with paused(pid):
        stream = start(net.client_host, "get", net.target, size=100_000, patience=20)
        wait_until(lambda: pids(net.client).get("client", pid) != pid, 3 * DETECTED, "another one")
        end(stream.process)
    fetch(net)
    wait_state(net.client, "active")
    assert_bonded(net, ["down"])


def second_peer(net: Network) -> None:
    """The server's other family as a peer of its own, after the first."""
    text = net.client.path("/etc/config/mptcp-proxy").read_text()
    six = [line for line in text.splitlines() if "list address" in line and ":" in line]
    for line in six:
        text = text.replace(f"{line}\n", "")
    text = text.replace("list peer 'r7000'", "list peer 'r7000'\n\tlist peer 'other'")
    peer = Section("peer", "other", Proxy(engine="sing-box").secret())
    reconfigure(net.client, "\n".join([text, str(peer).rstrip(), *six, ""]))


CUT = "table ip cut { chain c { type filter hook input priority -10; tcp dport 8388 drop; }; }"


def test_next_peer_and_back_again(net: Network) -> None:
    """The first peer's addresses are cut off, the second's are not. Back when nothing runs."""
    good = net.client.path("/etc/config/mptcp-proxy").read_text()
    second_peer(net)
    wait_status(net.client, lambda s: len(s["client"]["peers"]) == 2, "two peers")
    wait_state(net.client, "active")
    net.server.run("nft", "-f", "-", stdin=CUT)
    try:
        status = wait_status(net.client, lambda s: s["client"]["peer"] == "other", "the other peer")
        status = wait_state(net.client, "degraded")
        assert "r7000 does not answer, other is in use" in status["reason"]
        wait_until(lambda: redirected(net.client), DETECTED, "the redirect")
        assert_bonded(net, ["down"])
    finally:
        net.server.run("nft", "delete", "table", "ip", "cut")
    wait_status(net.client, lambda s: s["client"]["peer"] == "r7000", "the first peer", 40)
    status = wait_state(net.client, "active")
    assert [e["to"] for e in status["history"] if e["what"] == "peer"][:2] == ["r7000", "other"]
    reconfigure(net.client, good)
    wait_status(net.client, lambda s: len(s["client"]["peers"]) == 1, "one peer")
    wait_state(net.client, "active")


@pytest.mark.parametrize("when_down", ["bypass", "block"])
def test_no_peer_left(net: Network, when_down: str) -> None:
    """bypass: the LAN goes out directly, and its direct connections survive the peer's return.
    block: it is refused promptly, and nothing goes out directly."""
    client, server = (r.path("/etc/config/mptcp-proxy") for r in net.routers)
    good, served = client.read_text(), server.read_text()
    reconfigure(net.client, good.replace("'bypass'", f"'{when_down}'"))
    wait_state(net.client, "active")
    try:
        reconfigure(net.server, served.replace("option enabled '1'", "option enabled '0'"))
        if when_down == "block":
            wait_state(net.client, "blocked")
            began = time.monotonic()
            refused = start(net.client_host, "get", net.target, size=1000).result()
            assert "ConnectionRefused" in refused.report.error
            assert time.monotonic() - began < 3
            direct = None
        else:
            wait_state(net.client, "bypassed")
            direct = start(net.client_host, "get", net.target, seconds=600)
            carried = net.wires[0].bytes()[1] + 500_000
            wait_until(lambda: net.wires[0].bytes()[1] > carried, 10, "the direct download")
    finally:
        reconfigure(net.server, served)
    wait_state(net.client, "active")
    wait_until(lambda: redirected(net.client), DETECTED, "the redirect")
    fetch(net)
    if direct is not None:
        assert direct.process.poll() is None
        end(direct.process)
    reconfigure(net.client, good)
    wait_state(net.client, "active")
    assert_bonded(net, ["down"])


STRIP = """
table inet strip {{
    chain i {{ type filter hook prerouting priority -300; iifname wan{0} reset tcp option mptcp; }}
    chain o {{ type filter hook postrouting priority 300; oifname wan{0} reset tcp option mptcp; }}
}}
"""


@pytest.mark.parametrize(
    ("number", "sign"), [(1, "are plain TCP, not MPTCP"), (2, "no subflow completes here")]
)
def test_a_middlebox_that_strips_mptcp_is_named(net: Network, number: int, sign: str) -> None:
    """Connections go on without the WAN; status and check say which it is and what to do."""
    where = f"wan wan{number}"
    net.server.run("nft", "-f", "-", stdin=STRIP.format(number))
    streams = [start(net.client_host, "get", net.target, seconds=30) for _ in range(3)]
    try:
        status = wait_status(net.client, lambda s: problem(s, where), "the problem", 30)
        found = problem(status, where)
        assert sign in found["message"]
        assert "strips" in found["hint"]
        assert found["severity"] == "warning"
        code, out, _ = cli(net.client, "check")
        assert code == 0, out
        assert sign in out
    finally:
        net.server.run("nft", "delete", "table", "inet", "strip")
        for stream in streams:
            end(stream.process)
    again = start(net.client_host, "get", net.target, seconds=8)
    wait_status(net.client, lambda s: not problem(s, where), "the problem's end")
    transfer = again.result()
    assert transfer.ok, transfer.report.error
    assert_bonded(net, ["down"])
