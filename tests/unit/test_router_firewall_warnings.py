# SPDX-License-Identifier: GPL-2.0-or-later
"""What people are told of the router's firewall: ports that it rejects, LANs that stay inside, and
what is left alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from mptcp_agent.core import router_firewall
from mptcp_agent.core.config import Client, Config, Globals, Server, Wan
from mptcp_agent.core.network import Interface
from mptcp_agent.core.problem import Problem
from mptcp_agent.core.router_firewall.judgement import Judgement, judge
from mptcp_agent.core.router_firewall.warnings import problems

GLOBALS = Globals(True, "auto", "auto", "info", "auto")
SERVER = Server("server", True, ("0.0.0.0",), 8388, "none", "", ("10.1.1.0/24",), 300, False)
CLIENT = Client("client", True, ("r",), 1080, ("lan", "guest"), (), "bypass", 300, False)
WANS = tuple(Wan(f"w{n}", f"wan{n}", "subflow", 5, 2000, 3, 2) for n in (1, 2))
ROLE_SERVER = Config(GLOBALS, server=SERVER, wans=WANS)
ROLE_CLIENT = Config(GLOBALS, client=CLIENT, wans=WANS)

#: OpenWrt's own zones, with the second WAN added.
ZONES: tuple[Mapping[str, object], ...] = (
    {".type": "defaults", "input": "REJECT"},
    {".type": "zone", "name": "lan", "network": ["lan"], "input": "ACCEPT"},
    {".type": "zone", "name": "wan", "network": ["wan1", "wan2"], "input": "REJECT"},
)
OUT = {".type": "forwarding", "src": "lan", "dest": "wan"}
INTERFACES = tuple(
    Interface(name, device, True)
    for name, device in (
        ("guest", "br-guest"),
        ("lan", "br-lan"),
        ("wan1", "eth1"),
        ("wan2", "eth2"),
    )
)
ACCEPT = {".type": "rule", "src": "wan", "proto": "tcp", "dest_port": "8388", "target": "ACCEPT"}


def told(config: Config, *sections: Mapping[str, object]) -> tuple[Problem, ...]:
    values = {f"cfg{i:02}": {**s, ".index": i} for i, s in enumerate(sections)}
    config = replace(config, firewall=router_firewall.sections(values))
    return problems(config, INTERFACES, judged(config))


def judged(config: Config) -> Judgement:
    lans = config.client.lan if config.client else ()
    return judge(config.firewall, INTERFACES, lans, ("eth1", "eth2"), 1080)


def said(config: Config, *sections: Mapping[str, object]) -> list[str]:
    return [p.message for p in told(config, *sections)]


def test_openwrts_default_rejects_the_server() -> None:
    (message,) = said(ROLE_SERVER, *ZONES)
    assert "zone 'wan' rejects TCP port 8388" in message


def test_the_way_out_is_exact() -> None:
    (problem,) = told(ROLE_SERVER, *ZONES)
    assert problem.where == "mptcp-proxy.server.port"
    assert problem.hint.split("; ") == [
        "uci set firewall.mptcp_proxy_wan=rule",
        "uci set firewall.mptcp_proxy_wan.name='MPTCP proxy'",
        "uci set firewall.mptcp_proxy_wan.src='wan'",
        "uci set firewall.mptcp_proxy_wan.proto='tcp'",
        "uci set firewall.mptcp_proxy_wan.dest_port='8388'",
        "uci add_list firewall.mptcp_proxy_wan.src_ip='10.1.1.0/24'",
        "uci set firewall.mptcp_proxy_wan.target='ACCEPT'",
        "uci commit firewall",
        "service firewall reload",
    ]


@pytest.mark.parametrize(
    "rule",
    [
        ACCEPT,
        {**ACCEPT, "src": "*"},
        {**ACCEPT, "src_ip": ["10.1.1.0/24"]},
        {**ACCEPT, "proto": ["udp", "tcp"]},
        {**ACCEPT, "proto": "all"},
        {k: v for k, v in ACCEPT.items() if k != "proto"},
        {**ACCEPT, "dest_port": "8000-9000"},
        {**ACCEPT, "dest_port": ["22", "8388"]},
        {k: v for k, v in ACCEPT.items() if k != "dest_port"},
    ],
)
def test_rules_that_let_it_in(rule: Mapping[str, object]) -> None:
    assert said(ROLE_SERVER, *ZONES, rule) == []


@pytest.mark.parametrize(
    "rule",
    [
        {**ACCEPT, "enabled": "0"},
        {**ACCEPT, "src": "lan"},
        {**ACCEPT, "dest": "lan"},
        {**ACCEPT, "proto": "udp"},
        {**ACCEPT, "dest_port": "8389"},
        {**ACCEPT, "dest_port": "ssh"},
        {**ACCEPT, "target": "NOTRACK"},
    ],
)
def test_rules_that_do_not(rule: Mapping[str, object]) -> None:
    assert len(said(ROLE_SERVER, *ZONES, rule)) == 1


def test_first_match_first() -> None:
    reject = {**ACCEPT, "target": "REJECT"}
    assert said(ROLE_SERVER, *ZONES, ACCEPT, reject) == []
    assert len(said(ROLE_SERVER, *ZONES, reject, ACCEPT)) == 1
    assert said(ROLE_SERVER, *ZONES, {**reject, "src_ip": "192.0.2.1"}, ACCEPT) == []


def test_zones() -> None:
    accepting = {**ZONES[2], "input": "ACCEPT"}
    assert said(ROLE_SERVER, *ZONES[:2], accepting) == []
    inherits = {k: v for k, v in ZONES[2].items() if k != "input"}
    assert len(said(ROLE_SERVER, *ZONES[:2], inherits)) == 1
    text = {**ZONES[2], "network": "wan1 wan2"}  # option instead of list
    assert len(said(ROLE_SERVER, *ZONES[:2], text)) == 1
    second_apart = {**ZONES[2], "network": ["wan1"]}
    (first, second) = said(ROLE_SERVER, *ZONES[:2], second_apart)
    assert "zone 'wan'" in first
    assert "no zone has wan2" in second


def ways_out(config: Config, *sections: Mapping[str, object]) -> list[list[str]]:
    return [p.hint.split("; ") for p in told(config, *sections)]


RELOAD = ["uci commit firewall", "service firewall reload"]


def test_a_wan_in_no_zone_joins_that_of_the_others() -> None:
    first = {**ZONES[2], "network": ["wan1"]}
    (lines,) = ways_out(ROLE_SERVER, *ZONES[:2], first, ACCEPT)
    assert lines == ["uci add_list firewall.@zone[1].network='wan2'", *RELOAD]
    radio = {**first, "name": "radio", ".name": "radio", ".anonymous": False}
    rule = {**ACCEPT, "src": "radio"}
    (lines,) = ways_out(ROLE_SERVER, *ZONES[:2], {**ZONES[2], "network": []}, radio, rule)
    assert lines == ["uci add_list firewall.radio.network='wan2'", *RELOAD]


def test_else_the_zone_called_wan_wherever_it_stands() -> None:
    wan = {**ZONES[2], "network": "wan"}  # an option: add_list would make 'wan', not 'wan wan1'
    (lines,) = ways_out(ROLE_SERVER, ZONES[0], wan, ZONES[1])
    assert lines[0] == "uci set firewall.@zone[0].network='wan wan1 wan2'"
    assert lines[1:3] == [
        "uci set firewall.mptcp_proxy_wan=rule",
        "uci set firewall.mptcp_proxy_wan.name='MPTCP proxy'",
    ]
    assert lines[-2:] == RELOAD
    empty = {k: v for k, v in ZONES[2].items() if k != "network"}
    (lines,) = ways_out(ROLE_SERVER, *ZONES[:2], empty, ACCEPT)
    assert lines == [
        "uci add_list firewall.@zone[1].network='wan1'",
        "uci add_list firewall.@zone[1].network='wan2'",
        *RELOAD,
    ]


def test_no_zone_is_guessed() -> None:
    (lines,) = ways_out(ROLE_SERVER, *ZONES[:2])
    assert lines == [
        "put wan1, wan2 into a zone: LuCI, Network, Firewall, or option network of a zone in "
        "/etc/config/firewall"
    ]


def test_a_lan_in_no_zone() -> None:
    (message,) = said(ROLE_CLIENT, *ZONES, OUT)
    assert "(no zone has guest)" in message and message.endswith("guest goes out directly")
    ((line, *rest),) = ways_out(ROLE_CLIENT, *ZONES, OUT)
    assert (line, rest) == ("uci add_list firewall.@zone[0].network='guest'", RELOAD)


def test_a_guest_network_rejects_the_redirector() -> None:
    guest = {".type": "zone", "name": "guest", "network": ["guest"], "input": "REJECT"}
    (message,) = said(ROLE_CLIENT, *ZONES, OUT, guest)
    assert "zone 'guest' rejects TCP port 1080" in message


def test_nothing_to_say() -> None:
    assert said(ROLE_SERVER) == []  # no firewall at all
    assert said(Config(GLOBALS, wans=WANS), *ZONES) == []
    off = Config(Globals(False, "auto", "auto", "info", "auto"), server=SERVER, wans=WANS)
    assert said(off, *ZONES) == []


def test_a_network_that_is_forwarded_nowhere() -> None:
    guest = {".type": "zone", "name": "guest", "network": ["guest"], "input": "ACCEPT"}
    (problem,) = told(ROLE_CLIENT, *ZONES, OUT, guest)
    assert problem.message == (
        "the firewall zone 'guest' forwards nothing to a WAN; guest is not redirected either"
    )
    assert problem.hint.endswith(
        "uci set firewall.mptcp_proxy_guest_out=forwarding; "
        "uci set firewall.mptcp_proxy_guest_out.src='guest'; "
        "uci set firewall.mptcp_proxy_guest_out.dest='wan'; "
        "uci commit firewall; service firewall reload"
    )
