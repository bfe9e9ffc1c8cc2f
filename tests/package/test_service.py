# SPDX-License-Identifier: GPL-2.0-or-later
"""The package's service on a router: the init script, procd and its jail, and the agent in it.

What files/mptcp-proxy.init asks of procd is taken as it is; rc.common, procd and ujail are the
lab's (tests/openwrt/README.md says how they differ from the real ones).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.support import ask, fetch, opened, pids, redirected, settle, wait_state
from lab.paths import TOP
from lab.router import AGENT, JAIL, Router
from lab.snapshot import leftovers, snapshot
from lab.topology import Network
from lab.traffic import start
from openwrt import capabilities
from openwrt.process import ENVIRONMENT
from toolkit.waiting import wait_until

INIT = "/etc/init.d/mptcp-proxy"
CONFINED = set(json.loads((TOP / "files/mptcp-proxy.capabilities").read_text())["bounding"])


def listed(router: Router) -> dict[str, object]:
    """What procd says of the agent; {} without one."""
    service = ask(router, "list", "service", name="mptcp-proxy").get("mptcp-proxy", {})
    found: dict[str, object] = service.get("instances", {}).get("agent", {})
    return found


def procd_pid(router: Router) -> int:
    """Of the process that procd started: ujail, where there is one."""
    return int(str(wait_until(lambda: listed(router).get("pid"), 10, "procd's process")))


def agent_pid(router: Router) -> int:
    pid = procd_pid(router)
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if words(pid)[1:2] == ["/sbin/ujail"] else pid


def agents(router: Router) -> set[int]:
    """The agents of this router, whoever knows of them."""
    return set(filter(runs_agent, router.pids()))


def runs_agent(pid: int) -> bool:
    try:
        return words(pid)[1:] == [*AGENT]
    except OSError:
        return False


def words(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]


def environment(pid: int) -> dict[str, str]:
    text = Path(f"/proc/{pid}/environ").read_text()
    return dict(entry.split("=", 1) for entry in text.split("\0")[:-1])


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with opened() as network:
        for router in network.routers:
            router.uninstall_modules("iptc")  # in no feed of OpenWrt's
            router.run(INIT, "start")
        for router in network.routers:
            wait_state(router, "active")
        yield network


def test_it_works_in_the_jail(net: Network) -> None:
    """Neither PATH nor HOME nor LANG; a few capabilities; and the LAN is redirected."""
    for router in net.routers:
        pid = agent_pid(router)
        assert environment(pid) == {"container": "ujail"}
        told = status(pid)
        assert told["NoNewPrivs"] == "1"
        for name in ("CapBnd", "CapPrm", "CapEff"):
            assert set(capabilities.names(int(told[name], 16))) == CONFINED
        found = ask(router, "status")
        assert (found["state"], found["problems"]) == ("active", [])
    assert ask(net.client, "status")["client"]["redirect"]["backend"] == "nftables"
    assert redirected(net.client)
    fetch(net)


def test_the_lab_starts_the_agent_as_procd_does(net: Network) -> None:
    """Router.start_agent(), by which all other tests start it."""
    pid = procd_pid(net.client)
    assert words(pid)[1:] == [*JAIL, *AGENT]
    assert environment(pid).items() >= ENVIRONMENT.items()


def test_the_proxies_have_procds_environment_and_no_jail(net: Network) -> None:
    for router in net.routers:
        for pid in pids(router).values():
            assert environment(pid).items() >= ENVIRONMENT.items()
            more = environment(pid).keys() - ENVIRONMENT.keys()
            assert more <= {"GODEBUG", "LC_CTYPE"}  # the latter by the Python that starts it


def test_a_trigger_reloads_it(net: Network) -> None:
    """procd runs the init script when the configuration is changed."""
    client = net.client
    package = client.path("/etc/config/mptcp-proxy").read_text()
    client.write_config("mptcp-proxy", package.replace("enabled '1'", "enabled '0'", 1))
    ask(client, "event", "service", type="config.change", data={"package": "mptcp-proxy"})
    wait_state(client, "disabled")
    client.write_config("mptcp-proxy", package)
    ask(client, "event", "service", type="config.change", data={"package": "mptcp-proxy"})
    wait_state(client, "active")


def test_restart_hands_over_under_a_transfer(net: Network) -> None:
    client, processes, old = net.client, pids(net.client), procd_pid(net.client)
    stream = start(net.client_host, "get", net.target, size=12_000_000)
    wait_until(lambda: net.wires[0].bytes()[1] > 1_000_000, 10, "the transfer")
    client.run(INIT, "restart")
    wait_until(lambda: procd_pid(client) != old, 10, "another agent")
    wait_state(client, "active")
    settle(client)
    transfer = stream.result()
    assert transfer.ok, transfer.report.error
    assert pids(client) == processes


def test_commands_of_the_init_script(net: Network) -> None:
    """As from a root shell, and as from procd, which has no HOME of root's."""
    told = net.client.run(INIT, "status").stdout
    assert "active" in told
    assert net.client.run(INIT, "plan").stdout
    assert net.client.run(INIT, "check", check=False).returncode in (0, 1)


def test_killed_it_is_started_again_in_a_jail(net: Network) -> None:
    client = net.client
    old = agent_pid(client)
    client.run("kill", "-9", str(old))
    wait_until(lambda: listed(client).get("running") is False, 5, "its end")
    wait_until(lambda: listed(client).get("running") is True, 10, "procd's respawn")
    wait_state(client, "active")
    assert environment(agent_pid(client)) == {"container": "ujail"}


def test_without_sources(net: Network, tmp_path: Path) -> None:
    """Compiled modules alone, as in OpenWrt's packages of Python programs."""
    client = net.client
    client.install_compiled(tmp_path / "compiled")
    try:
        old = procd_pid(client)
        client.run(INIT, "restart")
        wait_until(lambda: procd_pid(client) != old, 10, "another agent")
        wait_state(client, "active")
        told = client.run(INIT, "check", check=False)
        assert told.stdout and "Traceback" not in told.stderr
        fetch(net)
    finally:
        client.uninstall_compiled()


def test_an_agent_that_procd_lost_gives_way_to_the_next(net: Network) -> None:
    """ujail alone is killed, and is as in the releases: its agent goes on, and procd starts another
    one. That one takes over, and nothing is cut off."""
    client = net.client
    try:
        old = procd_pid(client)
        client.install_ujail("ujail-25.12")
        client.run(INIT, "restart")
        wait_until(lambda: procd_pid(client) != old, 10, "another agent")
        wait_state(client, "active")
        settle(client)
        jail, lost, processes = procd_pid(client), agent_pid(client), pids(client)
        client.run("kill", "-9", str(jail))
        wait_until(lambda: listed(client).get("running") is False, 5, "its end")
        assert agents(client) == {lost}
        wait_until(lambda: listed(client).get("running") is True, 10, "procd's respawn")
        wait_until(lambda: lost not in agents(client), 20, "the end of the first")
        wait_state(client, "active")
        assert agents(client) == {agent_pid(client)}
        assert pids(client) == processes
        assert ask(client, "status")["problems"] == []
        fetch(net)
    finally:
        client.install_ujail("ujail")


def test_stop_ends_an_agent_that_was_not_told(net: Network) -> None:
    """procd's TERM is lost while ujail prepares the service, and no KILL follows: the instance
    stays. Here ujail does not get to handing it on."""
    client = net.client
    init = client.path(INIT)
    text = init.read_text()
    assert "seconds=20" in text
    init.write_text(text.replace("seconds=20", "seconds=1"))
    jail, left = procd_pid(client), agent_pid(client)
    client.run("kill", "-STOP", str(jail))
    try:
        client.run(INIT, "stop")
        assert left not in agents(client)
        assert "mptcp" not in client.run("nft", "list", "tables").stdout
    finally:
        client.run("kill", "-CONT", str(jail))
        init.write_text(text)
    wait_until(lambda: listed(client) == {}, 10, "the instance gone")
    client.run(INIT, "start")
    wait_state(client, "active")


def test_stop_leaves_nothing() -> None:
    with opened() as net:
        before = [snapshot(router) for router in net.routers]
        for router in net.routers:
            router.run(INIT, "start")
        for router in net.routers:
            wait_state(router, "active")
        for router, old in zip(net.routers, before, strict=True):
            router.run(INIT, "stop")
            assert listed(router) == {}
            assert leftovers(old, snapshot(router)) == []
        fetch(net)


def test_a_router_without_ujail() -> None:
    """procd-ujail is not in images for small flash: procd's own environment, and no limits."""
    with opened() as net:
        for router in net.routers:
            router.path("/usr/sbin/ujail").unlink()
            router.run(INIT, "start")
        for router in net.routers:
            wait_state(router, "active")
            pid = agent_pid(router)
            assert words(pid)[1:] == [*AGENT]
            assert environment(pid) == ENVIRONMENT
            assert status(pid)["NoNewPrivs"] == "0"
        fetch(net)
