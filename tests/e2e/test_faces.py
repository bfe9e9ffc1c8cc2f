# SPDX-License-Identifier: GPL-2.0-or-later
"""What people and other programs see: ubus, events, the command line, files; and no secret."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from e2e.support import (
    LIBEV,
    SING_BOX,
    Log,
    ask,
    assert_fits,
    cli,
    endpoints,
    fetch,
    pids,
    running,
    settle,
    wait_state,
    wait_status,
)
from lab.proxy import Proxy
from lab.topology import Network
from lab.traffic import start
from toolkit.stopping import end
from toolkit.waiting import wait_until

from mptcp_agent.agent.lookout import INTERVAL
from mptcp_agent.agent.other_redirectors import PAUSE

SECRET = "canary-7Rk2-in-a-coal-mine"


@pytest.fixture(scope="module", params=[SING_BOX, LIBEV], ids=lambda p: str(p.engine))
def secret_net(request: pytest.FixtureRequest) -> Iterator[Network]:
    """The bridge with each engine and a password that must not be seen anywhere."""
    proxy: Proxy = request.param
    with running(replace(proxy, method="aes-128-gcm", password=SECRET)) as network:
        fetch(network)
        yield network


def test_every_reply_fits_its_schema(secret_net: Network) -> None:
    """While a stream runs, so that there is something to tell."""
    stream = start(secret_net.client_host, "get", secret_net.target, seconds=60)
    before = secret_net.wires[1].bytes()[1]
    wait_until(lambda: secret_net.wires[1].bytes()[1] > before + 500_000, 10, "the transfer")
    for router in secret_net.routers:
        for method in ("status", "connections", "plan", "check"):
            assert_fits(router.ubus("mptcp_proxy", method), method)
            assert_fits(router.ubus("luci.mptcp_proxy", method, ubus_rpc_session="0" * 32), method)
    wait_status(
        secret_net.server, lambda s: s["server"]["clients"] == 1, "the server seeing one client"
    )
    connections = ask(secret_net.client, "connections")["connections"]
    assert {s["wan"] for c in connections for s in c["subflows"]} >= {"wan1", "wan2"}
    end(stream.process)


def test_status_tells_what_there_is(secret_net: Network) -> None:
    status = ask(secret_net.client, "status")
    packets = status["client"]["redirect"]["packets"]
    fetch(secret_net)
    status = wait_status(
        secret_net.client, lambda s: s["client"]["redirect"]["packets"] > packets, "the counter"
    )
    assert all(w["rx_bytes"] > 0 for w in status["wans"])
    assert status["mptcp"]["enabled"]
    assert status["mptcp"]["limits"] == {"subflows": 8, "add_addr_accepted": 8}


def test_no_secret_anywhere(secret_net: Network) -> None:
    for router in secret_net.routers:
        said = [json.dumps(router.ubus("mptcp_proxy", m)) for m in ("status", "plan", "check")]
        said += [cli(router, name)[1] for name in ("status", "plan", "check")]
        said += [router.log("agent").read_text()]
        for pid in router.pids():
            said.append(Path(f"/proc/{pid}/cmdline").read_text())
            said.append(Path(f"/proc/{pid}/environ").read_text())
        assert not [text for text in said if SECRET in text]


def test_generated_files(secret_net: Network) -> None:
    """Private, strict JSON, as the schemas of the engines' documentation have it."""
    for router in secret_net.routers:
        files = list(router.path("/var/etc/mptcp-proxy").iterdir())
        assert files
        for file in files:
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            document = json.loads(file.read_text(), parse_constant=pytest.fail)
            assert SECRET in json.dumps(document)
            assert_fits(document, f"engines/{file.stem}")


def test_processes_are_unprivileged(secret_net: Network) -> None:
    for router in secret_net.routers:
        for pid in pids(router).values():
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            fields = dict(line.split(":\t") for line in lines if ":\t" in line)
            assert "0" not in fields["Uid"].split()
            assert int(fields["CapEff"], 16) == 0


def test_command_line_with_an_agent(secret_net: Network) -> None:
    client = secret_net.client
    wait_until(lambda: cli(client, "plan")[0] == 0, 10, "nothing left to do")
    code, out, err = cli(client, "status")
    assert (code, err) == (0, "")
    assert "active" in out.splitlines()[0]
    assert "wan1" in out
    assert "wan2" in out
    assert "\x1b" not in out
    code, out, _ = cli(client, "check")
    assert code == 0, out
    assert "ok" in out
    for name in ("status", "plan", "check"):
        code, out, _ = cli(client, name, "--json")
        assert code == 0
        assert_fits(json.loads(out), name)
    assert cli(client, "--version")[0] == 0
    for wrong in ([], ["fly"], ["status", "--wrong"], ["plan", "now"]):
        code, _, err = cli(client, *wrong)
        assert code == 2
        assert "usage" in err


def test_plan_shows_what_a_reload_would_change(secret_net: Network) -> None:
    """A UCI change that was not told: the plan is a diff, and nothing happens."""
    path = secret_net.client.path("/etc/config/mptcp-proxy")
    text = path.read_text()
    path.write_text(text.replace("option role 'subflow'", "option role 'off'"))
    before = endpoints(secret_net.client)
    code, out, _ = cli(secret_net.client, "plan")
    assert code == 1
    assert any(line.startswith("- mptcp endpoint 10.2.2.78") for line in out.splitlines())
    assert endpoints(secret_net.client) == before
    path.write_text(text)
    wait_until(lambda: cli(secret_net.client, "plan")[0] == 0, 10, "nothing left to do")


def test_command_line_without_an_agent(secret_net: Network) -> None:
    """`plan` and `check` look for themselves; the proxies go on meanwhile."""
    secret_net.client.kill_agent()
    code, out, err = cli(secret_net.client, "status")
    assert (code, out) == (1, "")
    assert "does not run" in err
    code, out, err = cli(secret_net.client, "plan")
    assert (code, err) == (0, ""), out
    code, out, _ = cli(secret_net.client, "check")
    assert "does not run" in out
    secret_net.client.start_agent()
    wait_state(secret_net.client, "active")


def test_a_quiet_agent_does_nothing(secret_net: Network) -> None:
    """No program is run, nothing is written; the kernel is only asked for sockets' counters, and
    about once a second whether the path manager's endpoints and limits are as they were.

    Twenty seconds, or E2E_QUIET. Nobody looks: who asks for the status has nft counters read.
    """
    client = secret_net.client
    client.stop_agent()
    log = Log(client)
    client.launch_agent()
    wait_until(lambda: "active (" in log.text(), 20, "the agent active")
    # … and whoever else takes the LAN's connections looked for.
    wait_until(lambda: quiet_for(log, PAUSE + 1), 40, "a quiet agent")
    log, seconds = Log(client), os.environ.get("E2E_QUIET", "20")
    calls = "trace=execve,fork,vfork,sendto,sendmsg,unlink,rename,mkdir,openat"
    trace = client.run(
        *("timeout", "-s", "INT", seconds),
        *("strace", "-f", "-yy", "-e", calls, "-p", str(client.agent_pid)),
        check=False,
    ).stderr
    assert "attached" in trace
    lines = trace.splitlines()
    doing = ("execve(", "fork(", "unlink", "rename", "mkdir", "O_WRONLY", "O_RDWR", "O_CREAT")
    assert [line for line in lines if any(word in line for word in doing)] == []
    told = [line for line in lines if "send" in line and "NETLINK" in line]
    diag = ("SOCK_DIAG", "nlmsg_type=0x14 ")  # strace knows its name only where it saw the bind
    looks = [line for line in told if "NETLINK:[GENERIC" in line]
    assert len(looks) <= 2 * float(seconds) / INTERVAL + 2, "two questions a look"
    assert [line for line in told if line not in looks and not any(w in line for w in diag)] == []
    assert log.text() == ""


def quiet_for(log: Log, seconds: float) -> bool:
    """Whether the agent has said nothing for so long."""
    return time.time() - log.changed() > seconds


def test_events(secret_net: Network) -> None:
    """A link goes and returns: `ubus listen` hears of the WAN and of the state."""
    listener = secret_net.client.popen("ubus", "listen", "mptcp_proxy.*", stdout=subprocess.PIPE)
    assert listener.stdout
    try:
        wait_until(lambda: "listen" in Path(f"/proc/{listener.pid}/cmdline").read_text(), 5, "ubus")
        secret_net.client.run("ubus", "wait_for", "mptcp_proxy")
        secret_net.wires[1].carrier(False)
        wait_state(secret_net.client, "degraded")
        secret_net.wires[1].carrier(True)
        wait_state(secret_net.client, "active")
        heard = [json.loads(listener.stdout.readline()) for _ in range(4)]
    finally:
        end(listener)
    states = [h["mptcp_proxy.state"]["state"] for h in heard if "mptcp_proxy.state" in h]
    wans = [h["mptcp_proxy.wan"] for h in heard if "mptcp_proxy.wan" in h]
    assert states == ["degraded", "active"]
    assert [(w["name"], w["state"]) for w in wans] == [("wan2", "down"), ("wan2", "up")]
    # The kernel tells of a lost carrier up to a second later (net/core/link_watch.c).
    assert "carrier" in wans[0]["reason"] or "probes lost" in wans[0]["reason"]
    settle(secret_net.client)


def test_command_line_tells_of_trouble(secret_net: Network) -> None:
    secret_net.wires[1].carrier(False)
    wait_state(secret_net.client, "degraded")
    code, out, _ = cli(secret_net.client, "status")
    assert code == 1
    assert "no carrier" in out
    secret_net.wires[1].carrier(True)
    wait_state(secret_net.client, "active")
    settle(secret_net.client)
