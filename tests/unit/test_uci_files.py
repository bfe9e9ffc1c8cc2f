# SPDX-License-Identifier: GPL-2.0-or-later
"""What is said of uci's files: changes that wait, and one that cannot be read."""

from __future__ import annotations

from dataclasses import replace

from unit.examples import BRIDGE_CLIENT, SCHEMA, SECRET, config, section, values
from unit.fakes import FakeBus

from mptcp_agent.agent.capabilities import read_config
from mptcp_agent.core import router_firewall
from mptcp_agent.core.config import uci_files

HIDDEN = uci_files.secrets(SCHEMA)


def test_changes_are_told_in_ucis_own_words() -> None:
    (found,) = uci_files.uncommitted(
        "mptcp-proxy",
        [
            ("set", "client", "enabled", "0"),
            ("add", "cfg0a", "wan"),
            ("remove", "wan2"),
            ("remove", "client", "bypass"),
            ("list-add", "client", "lan", "guest"),
            ("list-del", "client", "lan", "lan"),
        ],
        HIDDEN,
    )
    assert found.message == (
        "6 changes are not committed, and not in force: "
        "mptcp-proxy.client.enabled='0', mptcp-proxy.cfg0a='wan', -mptcp-proxy.wan2, "
        "-mptcp-proxy.client.bypass, mptcp-proxy.client.lan+='guest', "
        "mptcp-proxy.client.lan-='lan'"
    )
    assert found.hint == "uci commit mptcp-proxy; or, to forget them, uci revert mptcp-proxy"
    assert found.severity == "warning"


def test_a_password_that_waits_is_told_nobody() -> None:
    (found,) = uci_files.uncommitted("mptcp-proxy", [("set", "r7000", "password", SECRET)], HIDDEN)
    assert SECRET not in str(found)
    assert "1 change is not committed" in found.message
    assert "mptcp-proxy.r7000.password=(hidden)" in found.message


def test_of_many_changes_some_are_told() -> None:
    many = [("set", "client", "timeout", str(n)) for n in range(20)]
    (found,) = uci_files.uncommitted("mptcp-proxy", many, HIDDEN)
    assert found.message.endswith("mptcp-proxy.client.timeout='5' and 14 more")


def test_garbage_is_no_crash() -> None:
    assert uci_files.uncommitted("firewall", [], HIDDEN) == ()
    assert uci_files.uncommitted("firewall", [("set",), ("remove",), ("what", "x")], HIDDEN)


def test_only_what_is_committed_is_read() -> None:
    """Of both packages."""
    shut = {"lan": section("zone", name="lan", network=["lan"], input="REJECT")}
    opened = {"lan": section("zone", name="lan", network=["lan"], input="ACCEPT")}
    bus = FakeBus(BRIDGE_CLIENT)
    bus.packages["firewall"] = shut
    bus.uncommitted = {"mptcp-proxy": {}, "firewall": opened}
    bus.connect()
    found, problems = read_config(bus.call, SCHEMA)
    bus.disconnect()
    committed = router_firewall.sections(values(shut))
    assert found == replace(config(BRIDGE_CLIENT), firewall=committed)
    assert [p.where for p in problems] == ["mptcp-proxy", "firewall"]
