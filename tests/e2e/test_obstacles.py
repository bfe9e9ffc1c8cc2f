# SPDX-License-Identifier: GPL-2.0-or-later
"""What can be missing, full, killed or undone on a router, and what the LAN has of it."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from e2e.support import (
    LIBEV,
    SIZE,
    Log,
    ask,
    assert_bonded,
    cli,
    fetch,
    opened,
    pids,
    problem,
    reconfigure,
    redirected,
    settle,
    start_agents,
    wait_state,
    wait_status,
)
from lab.snapshot import snapshot
from lab.topology import Network
from lab.traffic import start
from toolkit.stopping import end
from toolkit.waiting import wait_until


def test_killed_proxy_lets_the_lan_out_at_once(net: Network) -> None:
    """Direct as long as procd waits before it starts the proxy again, proxied afterwards."""
    pid = pids(net.client)["client"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not redirected(net.client), 1, "the jump's removal")
    fetch(net)
    wait_status(net.client, lambda s: s["state"] == "active", "the proxy again")
    assert pids(net.client)["client"] != pid
    assert redirected(net.client)
    assert_bonded(net, ["down"])


def test_killed_server_proxy_returns(net: Network) -> None:
    pid = pids(net.server)["server"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pids(net.server).get("server", pid) != pid, 10, "the server's proxy")
    wait_state(net.server, "active")
    wait_state(net.client, "active")
    wait_until(lambda: redirected(net.client), 10, "the redirect")
    assert_bonded(net, ["up"])


def test_foreign_flush_of_the_ruleset(net: Network) -> None:
    """Somebody runs `nft flush ruleset`, as some scripts do before they load their own."""
    show = ("nft", "-s", "list", "table", "inet", "mptcp_proxy")
    ours = net.client.run(*show).stdout
    net.client.run("nft", "flush", "ruleset")
    wait_until(lambda: redirected(net.client), 1, "the table back")
    wait_until(lambda: net.client.run(*show).stdout == ours, 5, "the table as it was")
    assert_bonded(net, ["down"])


def test_foreign_changes_are_mended(net: Network) -> None:
    """Endpoints flushed, a rule and a table deleted, limits lowered, rp_filter set back."""
    before = snapshot(net.client)
    for words in (
        "mptcp endpoint flush",
        "mptcp limits set subflows 2 add_addr_accepted 0",
        "rule delete priority 720 from 10.2.2.78",
        "route flush table 10902",
    ):
        net.client.ip(*words.split())
    net.client.sysctl(net__ipv4__conf__wan2__rp_filter=1)

    def mended() -> bool:
        after = snapshot(net.client)
        return all(after[k] == before[k] for k in ("endpoint", "limit", "rule", "route", "sysctl"))

    wait_until(mended, 10, "all as before")
    assert_bonded(net, ["down"])


FOREIGN = {
    "endpoints flushed": "ip mptcp endpoint flush",
    "limits at 0": "ip mptcp limits set subflows 0 add_addr_accepted 0",
    "both": "ip mptcp endpoint flush; ip mptcp limits set subflows 0 add_addr_accepted 0",
}


@pytest.mark.parametrize("what", FOREIGN)
def test_what_another_program_does_to_mptcp_is_mended_within_a_second(
    net: Network, what: str
) -> None:
    """And the stream under way goes on: a connection without any subflow is joined anew."""
    settle(net.client)

    def now() -> list[list[str]]:
        return [sorted(net.client.ip("mptcp", x).splitlines()) for x in ("endpoint", "limits")]

    before, began = now(), net.wires[0].bytes()[1]
    stream = start(net.client_host, "get", net.target, size=3 * SIZE)
    wait_until(lambda: net.wires[0].bytes()[1] > began + 1_000_000, 10, "the transfer")
    net.client.run("sh", "-c", FOREIGN[what])
    assert now() != before
    wait_until(lambda: now() == before, 1.3, "all as before")  # a second, and a look by `ip`
    transfer = stream.result()
    assert transfer.ok, transfer.report.error
    assert transfer.stall_ms(0) < 3000


def test_full_var_keeps_the_last_good_state(net: Network) -> None:
    """A change that cannot be written is a problem; the old configuration goes on carrying."""
    before, package = pids(net.client), net.client.path("/etc/config/mptcp-proxy").read_text()
    filler = ["dd", "if=/dev/zero", "of=/var/run/filler", "bs=4k"]
    assert "No space left" in net.client.run(*filler, check=False).stderr
    reconfigure(net.client, package.replace("'1080'", "'1090'"))
    status = wait_status(net.client, lambda s: "full" in json.dumps(s["problems"]), "the problem")
    assert "make room" in json.dumps(status["problems"])
    assert pids(net.client) == before
    fetch(net)
    net.client.path("/var/run/filler").unlink()
    wait_until(lambda: pids(net.client).get("client") not in (None, before["client"]), 20, "1090")
    wait_status(net.client, lambda s: s["state"] == "active" and not s["problems"], "no problem")
    reconfigure(net.client, package)
    wait_status(net.client, lambda s: s["client"]["redirect"]["port"] == 1080, "1080 again")
    wait_state(net.client, "active")
    assert_bonded(net, ["down"])


def test_started_again_while_run_is_full_it_restarts_nothing(net: Network) -> None:
    """What the engine can do is found out all the same; there is nothing to mend afterwards."""
    client = net.client
    settle(client)
    before = pids(client)
    stream = start(net.client_host, "get", net.target, size=3 * SIZE)
    wait_until(lambda: net.wires[0].bytes()[1] > 1_000_000, 10, "the transfer")
    filler = ["dd", "if=/dev/zero", "of=/var/run/filler", "bs=4k"]
    assert "No space left" in client.run(*filler, check=False).stderr
    client.kill_agent()
    client.start_agent()
    status = wait_state(client, "active")
    settle(client)
    assert status["problems"] == []
    client.path("/var/run/filler").unlink()
    ask(client, "reload")
    settle(client)
    transfer = stream.result()
    assert transfer.ok, transfer.report.error
    assert pids(client) == before


def test_engine_missing() -> None:
    with opened(LIBEV) as net:
        net.client.uninstall("ss-redir")
        net.client.start_agent()
        where = "mptcp-proxy.globals.engine"
        status = wait_status(net.client, lambda s: problem(s, where), "the problem")
        found = problem(status, where)
        assert status["state"] == "bypassed"
        assert "shadowsocks-libev" in found["message"]
        assert "install" in found["message"] + found["hint"]
        assert "install" in status["reason"]
        assert not redirected(net.client)
        fetch(net)
        assert cli(net.client, "check")[0] == 1


def test_nft_missing() -> None:
    """`auto` takes the other back end; where nftables is demanded the way out is told."""
    with opened() as net:
        net.client.uninstall("nft")
        start_agents(net)
        assert ask(net.client, "status")["client"]["redirect"]["backend"] == "iptables"
        package = net.client.path("/etc/config/mptcp-proxy").read_text()
        reconfigure(net.client, package.replace("redirect 'auto'", "redirect 'nftables'"))
        where = "mptcp-proxy.globals.redirect"
        status = wait_status(net.client, lambda s: problem(s, where), "the problem")
        found = problem(status, where)
        assert status["state"] == "bypassed"
        assert "nft" in found["message"]
        assert "install nftables" in found["hint"]
        fetch(net)


def test_ubus_daemons_missing() -> None:
    """Without netifd and procd nothing is known and nothing is touched; the agent waits."""
    with opened() as net:
        for name in ("network", "service", "uci"):
            os.kill(net.client.daemon_pid(name), signal.SIGKILL)
        before = snapshot(net.client)
        net.client.start_agent()
        status = wait_state(net.client, "error")
        assert problem(status, "uci")["message"]
        after = snapshot(net.client)
        assert {k: v for k, v in before.items() if k != "process"} == {
            k: v for k, v in after.items() if k != "process"
        }
        fetch(net)


@pytest.mark.parametrize("role", ["client", "server"])
def test_a_port_that_somebody_else_holds(role: str) -> None:
    """One state that says who; nothing flaps, nobody is redirected there; all is well once the
    port is free."""
    port, option = {"client": (1080, "client.local_port"), "server": (8388, "server.port")}[role]
    with opened() as net:
        router, other = net.client, net.server
        if role == "server":
            router, other = other, router
        holding = f"""
import socket, time
s = socket.create_server(("", {port}))
print("holds", flush=True)
time.sleep(300)
"""
        log = router.log("holder")
        holder = router.popen(str(router.python), "-c", holding, log=log)
        router.wait(lambda: "holds" in log.read_text(), 10, "the port held", holder)
        other.start_agent()
        router.start_agent()
        status = wait_status(router, lambda s: f"port {port} is held by" in s["reason"], "who", 20)
        assert status["state"] == {"client": "bypassed", "server": "error"}[role]
        assert problem(status, f"mptcp-proxy.{option}")["severity"] == "error"
        assert f"port {port} is held by" in cli(router, "check")[1]
        said = Log(router)
        time.sleep(4)
        assert said.text() == "", "nothing flaps"
        if role == "client":
            fetch(net)
        end(holder)
        wait_state(router, "active")
        fetch(net)
