"""The agent's life: it is killed, stopped, started again, and its bus dies under it."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest
from e2e.support import (
    SIZE,
    Log,
    ask,
    assert_bonded,
    cli,
    cpu,
    eventually,
    fetch,
    memory,
    opened,
    pids,
    settle,
    start_agents,
    wait_state,
)
from lab.router import Router
from lab.snapshot import Snapshot, leftovers, snapshot
from lab.topology import Network
from lab.traffic import start


def without_agent(router: Router) -> Snapshot:
    """A snapshot that an agent which was killed, or started anew, does not change."""
    found = snapshot(router)
    found["process"] = [line for line in found["process"] if "mptcp_agent" not in line]
    return found


@pytest.mark.parametrize("end", ["client", "server"])
def test_killed_and_started_again_it_changes_nothing(net: Network, end: str) -> None:
    """No byte is lost, no process restarted, and the new agent finds all as it should be."""
    router = net.client if end == "client" else net.server
    settle(router)
    before, processes = without_agent(router), pids(router)
    stream = start(net.client_host, "get", net.target, size=2 * SIZE)
    eventually(lambda: net.wires[0].bytes()[1] > 1_000_000, 10, "the transfer")
    router.kill_agent()
    log = Log(router)
    router.start_agent()
    wait_state(router, "active")
    settle(router)
    transfer = stream.result()
    assert transfer.ok, transfer.report.error
    assert transfer.report.bytes == 2 * SIZE
    assert log.changes() == []
    assert pids(router) == processes
    assert leftovers(before, without_agent(router)) == []


def test_started_again_it_removes_what_no_longer_belongs(net: Network) -> None:
    """Objects of the agent's own making that nobody wants any more; others' stay."""
    client = net.client
    client.kill_agent()
    client.ip("route", "add", "203.0.113.0/24", "dev", "wan1", "table", "10907", "proto", "109")
    client.ip("route", "add", "198.51.100.0/24", "dev", "wan1", "table", "200")
    ours = client.ip("rule", "show").count("\n")
    client.ip("rule", "add", "priority", "99", "from", "203.0.113.9", "lookup", "200")
    client.ip("mptcp", "endpoint", "delete", "id", "101")
    client.start_agent()
    wait_state(client, "active")
    settle(client)
    assert "10.1.1.78 id 101 subflow" in client.ip("mptcp", "endpoint")
    assert client.ip("rule", "show").count("\n") == ours + 1
    assert client.ip("route", "show", "table", "10907") == ""
    assert client.ip("route", "show", "table", "200")
    client.ip("rule", "delete", "priority", "99")
    client.ip("route", "flush", "table", "200")


def test_ubusd_dies_and_returns(net: Network) -> None:
    """The agent is back on the bus within two seconds; traffic does not notice."""
    client, processes = net.client, pids(net.client)
    stream = start(net.client_host, "get", net.target, size=3 * SIZE)
    log = Log(client)
    state = ask(client, "status")["state"]
    os.kill(client.daemon_pid("broker"), signal.SIGKILL)
    eventually(lambda: "ubusd is gone" in log.text(), 5, "the agent noticing")
    assert "error" in ask(client, "status")
    client.popen(str(client.python), "-m", "openwrt.broker", log=client.log("broker"))
    eventually(client.path("/var/run/ubus/ubus.sock").exists, 5, "ubusd")
    eventually(lambda: "error" not in ask(client, "status"), 2, "the agent on ubus")
    # The other daemons come back to the bus in their own time; until then they are missed.
    eventually(lambda: ask(client, "status")["state"] == state, 5, "the state of before")
    assert "luci.mptcp_proxy" in client.run("ubus", "list").stdout.split()
    transfer = stream.result()
    assert transfer.ok, transfer.report.error
    assert pids(client) == processes
    assert log.changes() == []
    settle(client)


def test_flood_of_address_changes(net: Network) -> None:
    """Four thousand events cost a look now and then; what is true at their end is seen."""
    client = net.client
    assert client.agent
    lines = [
        f"address {verb} 172.20.{n // 250}.{n % 250 + 1}/32 dev wan2"
        for n in range(2000)
        for verb in ("add", "del")
    ]
    lines.append("address del 10.2.2.78/24 dev wan2")
    agent = client.agent.pid
    fetch(net)
    resident, busy, began, answers = memory(agent), cpu(agent), time.monotonic(), 0
    flood = client.popen("ip", "-batch", "-", stdin=subprocess.PIPE)
    assert flood.stdin
    flood.stdin.write("\n".join(lines))
    flood.stdin.close()
    while flood.poll() is None:
        assert ask(client, "status")["state"] == "active"
        answers += 1
    assert flood.returncode == 0
    eventually(lambda: "10.2.2.78" not in client.ip("mptcp", "endpoint"), 5, "the address missed")
    assert answers
    assert cpu(agent) - busy < 0.5 * (time.monotonic() - began) + 0.5
    assert memory(agent) - resident < 4_000_000
    client.ip("address", "add", "10.2.2.78/24", "broadcast", "+", "dev", "wan2")
    eventually(lambda: "10.2.2.78" in client.ip("mptcp", "endpoint"), 5, "the address back")
    settle(client)
    assert_bonded(net, ["down"])


def test_cleanup_after_a_crash_leaves_nothing() -> None:
    """`mptcp-agent cleanup` without an agent; a second call has nothing to do."""
    with opened() as net:
        before = [snapshot(router) for router in net.routers]
        start_agents(net)
        for router, old in zip(net.routers, before, strict=True):
            router.kill_agent()
            for _ in range(2):
                assert cli(router, "cleanup") == (0, "", "")
                assert leftovers(old, snapshot(router)) == []
        fetch(net)
