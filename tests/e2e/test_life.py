# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent's life: it is killed, stopped, started again, and its bus dies under it."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest
from e2e.support import (
    SING_BOX,
    SIZE,
    Log,
    ask,
    assert_bonded,
    cli,
    cpu,
    fetch,
    memory,
    opened,
    pids,
    problem,
    reconfigure,
    settle,
    start_agents,
    wait_state,
    wait_status,
)
from lab.router import Router
from lab.snapshot import Snapshot, leftovers, snapshot
from lab.topology import Network
from lab.traffic import start
from lab.uci import Package
from toolkit.waiting import wait_until


def without_agent(router: Router) -> Snapshot:
    """A snapshot that an agent which was killed, or started anew, does not change."""
    found = snapshot(router)
    found["process"] = [line for line in found["process"] if "mptcp-agent run" not in line]
    return found


@pytest.mark.parametrize("end", ["client", "server"])
def test_killed_and_started_again_it_changes_nothing(net: Network, end: str) -> None:
    """No byte is lost, no process restarted, and the new agent finds all as it should be."""
    router = net.client if end == "client" else net.server
    settle(router)
    before, processes = without_agent(router), pids(router)
    stream = start(net.client_host, "get", net.target, size=2 * SIZE)
    wait_until(lambda: net.wires[0].bytes()[1] > 1_000_000, 10, "the transfer")
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


def test_a_second_agent_takes_over_from_one_that_procd_has_lost(net: Network) -> None:
    """As when ujail is killed. The first leaves all in place, the second finds it so."""
    client, lost = net.client, net.client.agent
    assert lost
    settle(client)
    before, processes = without_agent(client), pids(client)
    stream = start(net.client_host, "get", net.target, size=2 * SIZE)
    wait_until(lambda: net.wires[0].bytes()[1] > 1_000_000, 10, "the transfer")
    log = Log(client)
    client.start_agent()
    wait_until(lambda: lost.poll() is not None, 10, "the end of the first")
    wait_state(client, "active")
    settle(client)
    transfer = stream.result()
    assert transfer.ok, transfer.report.error
    assert "; this one takes over" in log.text()
    assert "all is left in place" in log.text()
    assert pids(client) == processes
    assert leftovers(before, without_agent(client)) == []


def by_name(net: Network, hosts: str) -> Package:
    """The client's configuration with a host name for its peer; what /etc/hosts says of it, no
    other resolver can be reached."""
    client = net.client
    client.path("/etc/resolv.conf").write_text("nameserver 192.0.2.1\noptions timeout:1\n")
    say(client, hosts)
    wans = [i for i in net.interfaces["client"] if i.name.startswith("wan")]
    return SING_BOX.client_package(SING_BOX.peer("r7000", ["vps.example"]), wans)


def say(router: Router, *hosts: str) -> None:
    lines = ["127.0.0.1 localhost", *(f"{address} vps.example" for address in hosts if address)]
    router.path("/etc/hosts").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("memory", ["with its answers", "without"])
def test_killed_and_started_again_while_dns_is_silent(memory: str) -> None:
    """The address of the peer is remembered, or what runs stays until there is an answer."""
    with opened() as net:
        client = net.client
        client.write_config("mptcp-proxy", by_name(net, "10.1.1.70"))
        start_agents(net)
        settle(client)
        before, processes = without_agent(client), pids(client)
        stream = start(net.client_host, "get", net.target, size=2 * SIZE)
        wait_until(lambda: net.wires[0].bytes()[1] > 1_000_000, 10, "the transfer")
        say(client)
        client.kill_agent()
        if memory == "without":
            client.path("/var/run/mptcp-proxy/names.json").unlink()
        log = Log(client)
        client.start_agent()
        if memory == "without":
            wait_until(
                lambda: "no answer yet for vps.example" in log.text(), 5, "the agent waiting"
            )
            assert problem(ask(client, "status"), "names")
        else:
            wait_state(client, "active")
            settle(client)
        transfer = stream.result()
        assert transfer.ok, transfer.report.error
        assert transfer.report.bytes == 2 * SIZE
        fetch(net)
        say(client, "10.1.1.70")
        wait_state(client, "active")
        settle(client)
        assert log.changes() == []
        assert pids(client) == processes
        assert leftovers(before, without_agent(client)) == []
        client.stop_agent()
        assert not client.path("/var/run/mptcp-proxy").exists()


def test_a_name_in_the_place_of_an_address(net: Network) -> None:
    """It comes into force with its first answer; another answer ends no connection."""
    client = net.client
    old = client.path("/etc/config/mptcp-proxy").read_text()
    processes = pids(client)
    reconfigure(client, by_name(net, ""))
    wait_status(client, lambda s: problem(s, "names"), "the configuration waiting")
    stream = start(net.client_host, "get", net.target, size=3 * SIZE)
    wait_until(lambda: net.wires[0].bytes()[1] > 1_000_000, 10, "the transfer")
    say(client, "10.1.1.70")
    ask(client, "reload")
    wait_status(client, lambda s: not problem(s, "names"), "the configuration in force")
    say(client, "10.2.2.70")
    ask(client, "reload")
    names = client.path("/var/run/mptcp-proxy/names.json")
    wait_until(lambda: "10.2.2.70" in names.read_text(), 5, "the other answer")
    settle(client)
    transfer = stream.result()
    assert transfer.ok, transfer.report.error
    assert ask(client, "status")["client"]["address"] == "10.1.1.70"
    assert pids(client) == processes
    # Nothing runs any more: the new answer is followed.
    wait_status(client, lambda s: s["client"]["address"] == "10.2.2.70", "the other address", 30)
    reconfigure(client, old)
    wait_state(client, "active")
    settle(client)


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
    wait_until(lambda: "ubusd is gone" in log.text(), 5, "the agent noticing")
    assert "error" in ask(client, "status")
    client.popen(str(client.python), "-m", "openwrt.broker", log=client.log("broker"))
    wait_until(client.path("/var/run/ubus/ubus.sock").exists, 5, "ubusd")
    wait_until(lambda: "error" not in ask(client, "status"), 2, "the agent on ubus")
    # The other daemons come back to the bus in their own time; until then they are missed.
    wait_until(lambda: ask(client, "status")["state"] == state, 5, "the state of before")
    assert "luci.mptcp_proxy" in client.run("ubus", "list").stdout.split()
    transfer = stream.result()
    assert transfer.ok, transfer.report.error
    assert pids(client) == processes
    assert log.changes() == []
    settle(client)


def test_flood_of_address_changes(net: Network) -> None:
    """Four thousand events cost a look now and then; what is true at their end is seen."""
    client = net.client
    lines = [
        f"address {verb} 172.20.{n // 250}.{n % 250 + 1}/32 dev wan2"
        for n in range(2000)
        for verb in ("add", "del")
    ]
    lines.append("address del 10.2.2.78/24 dev wan2")
    agent = client.agent_pid
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
    wait_until(lambda: "10.2.2.78" not in client.ip("mptcp", "endpoint"), 5, "the address missed")
    assert answers
    assert cpu(agent) - busy < 0.5 * (time.monotonic() - began) + 0.5
    assert memory(agent) - resident < 4_000_000
    client.ip("address", "add", "10.2.2.78/24", "broadcast", "+", "dev", "wan2")
    wait_until(lambda: "10.2.2.78" in client.ip("mptcp", "endpoint"), 5, "the address back")
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
        # An agent that procd has lost is ended; it would put everything back.
        start_agents(net)
        for router, old in zip(net.routers, before, strict=True):
            assert cli(router, "cleanup") == (0, "", "")
            assert leftovers(old, snapshot(router)) == []
        fetch(net)
