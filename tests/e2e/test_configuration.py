# SPDX-License-Identifier: GPL-2.0-or-later
"""/etc/config/mptcp-proxy changes under a running agent, for the better and for the worse."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from e2e.support import (
    SING_BOX,
    Log,
    ask,
    assert_bonded,
    cli,
    endpoints,
    fetch,
    opened,
    pids,
    problem,
    reconfigure,
    running,
    settle,
    wait_state,
    wait_status,
    wan,
)
from lab.paths import TOP
from lab.topology import Network
from lab.uci import Package, Section, Value
from toolkit.waiting import wait_until

SCHEMA = json.loads((TOP / "schema" / "mptcp-proxy.schema.json").read_text())["$defs"]

HOSTILE: dict[str, list[Value]] = {
    "boolean": ["maybe", "'; reboot; '", "-1", ["1", "0"]],
    "integer": ["-1", "0x10", "99999999999999999999", "1e3", "१", "8388; reboot", ["1", "2"]],
    "enum": ["$(reboot)", "ACTIVE", " ", "../../etc/passwd"],
    "pattern": ["AES 128", "none\nnone", "`reboot`", "é", '"', "none,"],
    "address": ["1.2.3", "::1%lo", "10.0.0.1/24", "0.0.0.0 nonsense", "1.2.3.4;", "x" * 5000],
    "network": ["10.0.0.0/33", "fd00::/129", "0.0.0.0/0/0", "10.1.1.0/-1", "10.1.1.0/24 }"],
    "host": ["exa mple..org", "-h", "1.2.3.4.5", "a" * 300, "pc$(reboot)", "[::1]"],
    "interface": ["wan 1; x", "../lo", "'", "x" * 40, "wan1\twan2\\"],
    "section": ["no/such", "$HOME", "r7000'", "x" * 40],
}
"""Values that no option of a kind allows."""

SECTIONS = {
    "globals": "globals",
    "peer": "spare",
    "client": "client",
    "server": "extra",
    "wan": "wan2",
}


def hostile(rule: dict[str, Any]) -> list[Value]:
    rule = rule.get("items", rule)
    for key in ("format", "type"):
        if rule.get(key) in HOSTILE:
            return HOSTILE[rule[key]]
    return HOSTILE["enum" if "enum" in rule else "pattern"]


def client_package(net: Network) -> Package:
    """The client router's configuration with all section types: a spare peer, a server."""
    wans = [i for i in net.interfaces["client"] if i.name.startswith("wan")]
    addresses = [i.of(4) for i in net.interfaces["server"] if i.name.startswith("wan")]
    package = SING_BOX.client_package(SING_BOX.peer("r7000", addresses[:1]), wans)
    package["client"].options["peer"] = ["r7000", "spare"]
    package.add(SING_BOX.peer("spare", addresses[1:]))
    package.add(
        Section("server", "extra", {"enabled": "1", "port": 8400, "allow": ["10.1.1.0/24"]})
    )
    return package


@pytest.fixture(autouse=True)
def good(net: Network) -> Iterator[Package]:
    """Each test begins and ends with the good configuration."""
    package = client_package(net)
    reconfigure(net.client, package)
    wait_status(net.client, lambda s: s["state"] == "active" and not s["problems"], "all is well")
    wait_until(lambda: set(pids(net.client)) == {"client", "server"}, 10, "both proxies")
    settle(net.client)
    yield package


def where(section: str, option: str) -> str:
    return f"mptcp-proxy.{section}.{option}"


def shown(value: Value) -> str:
    """The start of a value as a message quotes it."""
    return "'" + (" ".join(value) if isinstance(value, list) else str(value))[:20]


@pytest.mark.parametrize("kind", SECTIONS)
def test_garbage_is_named_and_the_rest_runs(net: Network, good: Package, kind: str) -> None:
    """Hostile values in every option: which one, what it was, what is allowed."""
    section, before = SECTIONS[kind], pids(net.client)
    rules = {  # every text is a password: see test_any_text_is_a_password
        option: rule for option, rule in SCHEMA[kind]["properties"].items() if option != "password"
    }
    for number in range(max(len(hostile(rule)) for rule in rules.values())):
        values = {o: hostile(rule)[number % len(hostile(rule))] for o, rule in rules.items()}
        good.update({section: values})
        reconfigure(net.client, good)

        def unnamed(status: dict[str, Any], values: dict[str, Value] = values) -> set[str]:
            return {
                option
                for option, value in values.items()
                if shown(value)
                not in (found := problem(status, where(section, option))).get("message", "")
                or not found["hint"]
            }

        status = wait_status(net.client, lambda s: not unnamed(s), f"{values} named", 5)
    assert status["state"] == "degraded"
    gone = {"client": "client", "server": "server"}.get(kind)
    assert pids(net.client) == {role: pid for role, pid in before.items() if role != gone}
    devices = {line.split("dev ")[1].strip() for line in endpoints(net.client)}
    assert devices == ({"wan1"} if kind == "wan" else {"wan1", "wan2"})
    fetch(net)


def test_a_file_that_is_no_uci_leaves_all_running(net: Network, good: Package) -> None:
    """What uci cannot read is said in its own words, and the last good configuration goes on."""
    before, log = pids(net.client), Log(net.client)
    reconfigure(net.client, "config client 'client'\n\nconfig peer 'r-7000'\n")
    words = "Parse error (invalid character in name field) at line 3, byte 21"
    status = wait_status(net.client, lambda s: problem(s, "mptcp-proxy"), "uci's complaint")
    assert problem(status, "mptcp-proxy")["message"] == f"/etc/config/mptcp-proxy: {words}"
    assert "uci show mptcp-proxy" in problem(status, "mptcp-proxy")["hint"]
    assert (status["state"], cli(net.client, "status")[0]) == ("degraded", 1)
    code, said, _ = cli(net.client, "check")
    assert code == 1
    assert words in said and "is complete" not in said
    code, said, _ = cli(net.client, "plan")
    assert code == 1 and words in said
    assert pids(net.client) == before
    assert log.changes() == []
    assert_bonded(net, ["down"])


def test_a_file_that_is_no_uci_from_the_start() -> None:
    """The same words, from the agent and without one; nothing is done, and all is mended by
    mending the file."""
    words = "/etc/config/mptcp-proxy: Parse error (EOF with unterminated ') at line 2"
    with opened() as net:
        package = net.client.path("/etc/config/mptcp-proxy")
        text = package.read_text()
        package.write_text("config globals 'globals'\n\toption enabled '1\n")
        code, said, _ = cli(net.client, "check")
        assert code == 1 and words in said and "not read yet" not in said
        net.client.start_agent()
        status = wait_state(net.client, "error")
        assert words in status["reason"]
        code, said, _ = cli(net.client, "check")
        assert code == 1 and words in said and "not read yet" not in said
        package.write_text(text)
        assert words not in cli(net.client, "check")[1]
        net.server.start_agent()
        wait_state(net.client, "active")


def test_what_is_not_committed_is_told_and_not_in_force(net: Network, good: Package) -> None:
    """`uci set` alone changes nothing, whatever the agent looks at meanwhile."""
    before, log = pids(net.client), Log(net.client)
    client = net.client
    client.run("uci", "set", "mptcp-proxy.globals.enabled=0")
    client.run("uci", "set", "mptcp-proxy.wan2.role=off")
    client.run("uci", "set", "mptcp-proxy.r7000.password=canary")
    ask(client, "reload")
    told = "3 changes are not committed, and not in force: mptcp-proxy.globals.enabled='0'"
    status = wait_status(client, lambda s: problem(s, "mptcp-proxy"), "what waits")
    assert problem(status, "mptcp-proxy")["message"].startswith(told)
    assert status["state"] == "active"
    for command in ("plan", "check"):
        said = cli(client, command)[1]
        assert told in said and "canary" not in said
    assert ask(client, "plan")["changes"] == []

    client.run("uci", "revert", "mptcp-proxy")
    assert "not committed" not in cli(client, "check")[1]
    wait_status(client, lambda s: not s["problems"], "nothing that waits")
    assert (pids(client), log.changes()) == (before, [])

    client.run("uci", "set", "mptcp-proxy.wan2.role=off")
    client.run("uci", "commit", "mptcp-proxy")
    ask(client, "reload")
    wait_until(lambda: len(endpoints(client)) == 1, 5, "what is committed counts")


def test_unknown_sections_and_options_are_warnings(net: Network, good: Package) -> None:
    good["client"].options["colour"] = "blue"
    good.add(Section("wlan", "w", {"x": "y"}))
    reconfigure(net.client, good)
    status = wait_status(net.client, lambda s: len(s["problems"]) == 2, "two warnings")
    assert {p["severity"] for p in status["problems"]} == {"warning"}
    assert problem(status, "mptcp-proxy.client.colour")
    assert problem(status, "mptcp-proxy.w")
    assert status["state"] == "active"


def test_only_what_changed_restarts(net: Network, good: Package) -> None:
    before = pids(net.client)

    good["client"].options["bypass"] = ["203.0.113.0/24"]
    good["wan2"].options["role"] = "backup"
    reconfigure(net.client, good)
    wait_until(lambda: any("backup" in line for line in endpoints(net.client)), 5, "backup")
    wait_until(lambda: "203.0.113.0/24" in net.client.run("nft", "list", "ruleset").stdout,
               5, "the bypass")  # fmt: skip
    assert pids(net.client) == before

    good["extra"].options["port"] = 8401
    reconfigure(net.client, good)
    wait_until(lambda: pids(net.client).get("server", 0) not in (0, before["server"]),
               10, "another server")  # fmt: skip
    assert pids(net.client)["client"] == before["client"]

    good["client"].options["local_port"] = 1090
    reconfigure(net.client, good)
    wait_until(lambda: pids(net.client).get("client", 0) not in (0, before["client"]),
               10, "another client")  # fmt: skip
    status = wait_state(net.client, "active")
    assert status["client"]["redirect"]["port"] == 1090
    fetch(net)


def test_role_off_and_disabled(net: Network, good: Package) -> None:
    good["wan2"].options["role"] = "off"
    reconfigure(net.client, good)
    wait_until(lambda: len(endpoints(net.client)) == 1, 5, "one endpoint")
    wait_status(net.client, lambda s: wan(s, "wan2")["endpoints"] == [], "it in the status")
    wait_state(net.client, "active")
    good["globals"].options["enabled"] = "0"
    reconfigure(net.client, good)
    wait_state(net.client, "disabled")
    settle(net.client)
    assert endpoints(net.client) == []
    assert pids(net.client) == {}
    fetch(net)


def test_a_wan_section_that_goes_and_returns_leaves_the_others_alone(
    net: Network, good: Package
) -> None:
    """The first of them: endpoint, table and subflows of the second stay as they are."""
    kept = [e for e in endpoints(net.client) if "wan2" in e]
    good["globals"].options["log_level"] = "debug"
    reconfigure(net.client, good)
    wait_state(net.client, "active")
    settle(net.client)
    log, first = Log(net.client), good["wan1"]
    others = [s for s in good.sections if s is not first]

    def arrange(sections: list[Section], wans: int) -> None:
        good.sections = sections
        reconfigure(net.client, good)
        wait_status(net.client, lambda s: len(s["wans"]) == wans, f"{wans} WANs")
        settle(net.client)
        assert [e for e in endpoints(net.client) if "wan2" in e] == kept

    arrange(others, 1)
    arrange([*others, first], 2)
    removed = [c for c in log.changes() if c.startswith("DEBUG removed mptcp endpoint")]
    assert len(removed) == 1 and "10.1.1.78" in removed[0]
    assert_bonded(net, ["down"])


def test_lists_and_options_as_people_write_them(net: Network, good: Package) -> None:
    """A list in one option, one option as a list, sections without a name."""
    wait_state(net.client, "active")  # the test before may have left another log level
    before = pids(net.client)
    good["client"].options["peer"] = "r7000 spare"
    good["client"].options["local_port"] = ["1080"]
    good["wan2"].name = ""
    reconfigure(net.client, good)
    status = wait_status(net.client, lambda s: s["wans"][1]["name"] != "wan2", "an anonymous wan")
    assert status["state"] == "active"
    assert status["problems"] == []
    assert pids(net.client) == before
    assert_bonded(net, ["down"])


def test_any_text_is_a_password() -> None:
    """Quotes, backslashes, shell and JSON: it reaches the engines as it is."""
    password = "\"'\\ $(reboot) {}[]<&>% é ツ"
    with running(replace(SING_BOX, method="aes-128-gcm", password=password)) as net:
        fetch(net)
        path = net.client.path("/var/etc/mptcp-proxy/sing-box-client.json")
        assert [o["password"] for o in json.loads(path.read_text())["outbounds"]] == [password]


def test_without_any_configuration() -> None:
    """A freshly installed package: nothing is done, and nobody complains."""
    with opened() as net:
        net.client.path("/etc/config/mptcp-proxy").unlink()
        net.client.start_agent()
        status = wait_state(net.client, "disabled")
        assert status["problems"] == []
        fetch(net)


def test_a_zone_that_was_opened_is_seen_within_seconds(net: Network, good: Package) -> None:
    """`service firewall reload` sends nothing over the bus, but the kernel tells of new rules."""
    client = net.client
    zone = Section("zone", "", {"name": "lan", "network": "lan", "input": "REJECT"})
    rule = Section("rule", "", {"src": "lan", "dest_port": 1080, "target": "ACCEPT"})
    with contextlib.ExitStack() as after:
        after.callback(client.path("/etc/config/firewall").unlink)
        client.write_config("firewall", Package([zone]))
        ask(client, "reload")
        wait_status(client, lambda s: problem(s, "mptcp-proxy.client.lan"), "the warning")
        settle(client)
        client.write_config("firewall", Package([zone, rule]))
        client.run("nft", "add table inet fw4; add chain inet fw4 input")
        after.callback(client.run, "nft", "delete table inet fw4")
        wait_status(client, lambda s: not problem(s, "mptcp-proxy.client"), "no warning", 5)
        wait_state(client, "active")


def test_others_with_a_say_are_named_by_check(net: Network, good: Package) -> None:
    """A transparent proxy that comes first, and an option that OpenWrt does not read."""
    client, network = net.client, net.client.path("/etc/config/network")
    before = network.read_text()
    with contextlib.ExitStack() as after:
        after.callback(network.write_text, before)
        client.run("uci", "set", "network.wan2.multipath=backup")
        client.run("uci", "commit", "network")
        client.run(
            "nft",
            "add table ip other; "
            "add chain ip other pre { type nat hook prerouting priority dstnat - 5; }; "
            "add rule ip other pre meta l4proto tcp redirect to :5331",
        )
        after.callback(client.run, "nft", "delete table ip other")
        takes = "chain ip other pre of nftables takes TCP connections of the LAN"
        # It is looked for beside the loop, some seconds after the last time.
        wait_until(lambda: takes in cli(client, "check")[1], 15, "who comes first is named")
        assert "'backup' does nothing: OpenWrt does not read it" in cli(client, "check")[1]
    wait_until(lambda: "other pre" not in cli(client, "check")[1], 15, "nobody comes first")
