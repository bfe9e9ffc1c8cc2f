# SPDX-License-Identifier: GPL-2.0-or-later
"""Replies as text for a terminal."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.examples import BRIDGE_BOTH, ISP, ISP_CLIENT, READY
from unit.test_status import ONE, view

from mptcp_agent.agent.publisher import plan_document
from mptcp_agent.cli import render
from mptcp_agent.core import describe
from mptcp_agent.core.diff import Change, diff
from mptcp_agent.core.problem import Problem
from mptcp_agent.core.state import (
    Access,
    Endpoint,
    File,
    Firewall,
    Limits,
    Process,
    Redirect,
    Route,
    RouterState,
    Rule,
    Sysctl,
)
from mptcp_agent.core.status import document
from mptcp_agent.core.verdict import judge
from mptcp_agent.core.view import Moment

PLAIN = render.Painter(False)
COLOUR = render.Painter(True)
ESCAPE = "\x1b["


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        (0, "0 bit/s"),
        (999, "999 bit/s"),
        (1000, "1.0 kbit/s"),
        (12_345, "12.3 kbit/s"),
        (456_000, "456 kbit/s"),
        (50_200_000, "50.2 Mbit/s"),
        (940_000_000, "940 Mbit/s"),
        (2_500_000_000, "2.50 Gbit/s"),
    ],
)
def test_rate(bits: float, words: str) -> None:
    assert render.rate(bits) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536 << 20, "1.5 GiB"),
        (2 << 40, "2.0 TiB"),
    ],
)
def test_size(count: float, words: str) -> None:
    assert render.size(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0 s"),
        (0.9, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3600 + 59, "1 h"),
        (7260, "2 h 1 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_duration(seconds: float, words: str) -> None:
    assert render.duration(seconds) == words


def test_columns() -> None:
    rows = [("a", "bbb", "c"), ("aaaa", "b", "")]
    assert list(render.columns(rows)) == ["a     bbb  c", "aaaa  b"]
    assert list(render.columns([])) == []


def test_paint() -> None:
    assert COLOUR("up", "up") == "\x1b[32mup\x1b[0m"
    assert COLOUR("up", "no such colour") == "up"
    assert PLAIN("up", "up") == "up"


def status(seen: object = None) -> list[str]:
    found = view(BRIDGE_BOTH, ONE)
    state, reason = judge(found)
    return list(render.status(document(found, Moment(100.0, 100.0), state, reason, 35.0), PLAIN))


def test_status() -> None:
    assert status() == [
        "degraded: WAN down: wan1 (device eth1 has no carrier) (for 1 min 5 s)",
        "",
        "WAN   DEVICE  ADDRESS    RTT  DOWN     UP       SUBFLOWS  STATE",
        "wan1  eth1    -          -    0 bit/s  0 bit/s  0         "
        "down (device eth1 has no carrier)",
        "wan2  eth2    10.2.2.78  -    0 bit/s  0 bit/s  0         up",
        "",
        "client    proxy, peer r7000 (10.1.1.70:8388)",
        "redirect  nftables, from br-lan to port 1080, 0 connections",
        "server    port 8388, 0 clients with 0 connections",
        "engine    sing-box 1.14.4 (client pid 4711, server pid 4712)",
        "MPTCP     0 connections, 0 fell back to TCP",
    ]


def test_status_with_nothing_to_show() -> None:
    found = view(None, problems=(Problem("uci", "rpcd is away", "start rpcd"),))
    lines = list(
        render.status(document(found, Moment(1.0, 1.0), "error", "no configuration", 1.0), PLAIN)
    )
    assert lines == [
        "error: no configuration (for 0 s)",
        "",
        "MPTCP  0 connections, 0 fell back to TCP",
        "",
        "error: uci: rpcd is away",
        "  start rpcd",
    ]


def test_colour_adds_escape_codes_and_nothing_else() -> None:
    found = view(ISP_CLIENT, ISP, READY, problems=(Problem("nft", "slow", severity="warning"),))
    shown = document(found, Moment(1.0, 1.0), "active", "all is well", 1.0)
    checks = {"checks": [{"name": "a", "result": "failed", "message": "m", "hint": "h"}]}
    changes = plan_document(diff(RouterState(), found.plan.state), found.problems)
    for show, what in ((render.status, shown), (render.check, checks), (render.plan, changes)):
        plain, painted = "\n".join(show(what, PLAIN)), "\n".join(show(what, COLOUR))
        assert ESCAPE not in plain
        assert ESCAPE in painted
        for code in ("0", "1", "2", "31", "32", "33"):
            painted = painted.replace(f"{ESCAPE}{code}m", "")
        assert painted == plain


def test_check() -> None:
    rows = [
        {"name": "kernel MPTCP", "result": "ok", "message": "present", "hint": ""},
        {"name": "engine", "result": "failed", "message": "missing", "hint": "install it"},
    ]
    assert list(render.check({"checks": rows}, PLAIN)) == [
        "ok       kernel MPTCP  present",
        "failed   engine        missing",
        "                       -> install it",
    ]
    assert list(render.check({"checks": []}, PLAIN)) == []


def test_plan_reads_like_a_diff() -> None:
    changes = (
        Change("remove", Rule(710, 4, 10901, oif="eth1")),
        Change("set", Sysctl("net.a", "1"), Sysctl("net.a", "0")),
        Change("add", Endpoint("10.1.1.78", "eth1", frozenset({"subflow"}), 101)),
    )
    problems = (Problem("mptcp-proxy.wan", "no wan section in use", "add one"),)
    assert list(render.plan(plan_document(changes, problems), PLAIN)) == [
        "- rule priority 710 oif eth1 lookup 10901",
        "- sysctl net.a=0",
        "+ sysctl net.a=1",
        "+ mptcp endpoint 10.1.1.78 dev eth1 id 101 subflow",
        "! mptcp-proxy.wan: no wan section in use; add one",
    ]
    assert list(render.plan(plan_document((), ()), PLAIN)) == ["nothing to change"]


# --- In the field's own words --------------------------------------------------------------------

REDIRECT = Redirect(1080, ("10.0.0.0/8",), ("br-lan",))
LINES = [
    (
        Endpoint("10.1.1.78", "eth1", frozenset({"signal", "backup", "subflow"}), 101),
        "endpoint",
        "mptcp endpoint 10.1.1.78 dev eth1 id 101 subflow backup signal",
    ),
    (Limits(8, 8), "limits", "mptcp limits subflows 8 add_addr_accepted 8"),
    (
        Route(10901, "0.0.0.0/0", "eth1", "10.1.1.1", "10.1.1.78"),
        "route",
        "route 0.0.0.0/0 via 10.1.1.1 dev eth1 src 10.1.1.78 table 10901",
    ),
    (Route(10901, "::/0", type="throw"), "route", "route throw ::/0 table 10901"),
    (
        Rule(700, 6, 10901, destination="2001:db8::/64", iif="lo", sport=8388),
        "rule",
        "rule -6 priority 700 to 2001:db8::/64 iif lo ipproto tcp sport 8388 lookup 10901",
    ),
    (
        Firewall("nftables", REDIRECT, Access(8388, ())),
        "firewall",
        "nftables: chain SSREDIR redirect to port 1080, from br-lan, leaving alone 10.0.0.0/8; "
        "server port 8388 open to everyone",
    ),
    (
        Firewall("iptables", replace(REDIRECT, jumps=(), mode="block")),
        "firewall",
        "iptables: chain SSREDIR refuse, switched off, leaving alone 10.0.0.0/8",
    ),
    (Firewall("nftables"), "firewall", "nftables: nothing"),
    (
        Process("client", ("ss-redir", "-c", "x.json")),
        "process",
        "process client: ss-redir -c x.json",
    ),
    (File("/var/etc/x.json", "s3cr3t"), "file", "file /var/etc/x.json"),
    (Sysctl("net.mptcp.enabled", "1"), "sysctl", "sysctl net.mptcp.enabled=1"),
]


@pytest.mark.parametrize(("item", "kind", "line"), LINES, ids=[line[2][:30] for line in LINES])
def test_describe(item: object, kind: str, line: str) -> None:
    assert describe.line(item) == line  # type: ignore[arg-type]
    assert describe.kind(item) == kind  # type: ignore[arg-type]


def test_a_file_is_named_and_not_shown() -> None:
    old, new = File("/x", "old s3cr3t"), File("/x", "new s3cr3t")
    change = Change("set", new, old)
    assert describe.change_lines(change) == ("+ file /x",)
    assert describe.log_line(change) == "set file /x"
    assert "s3cr3t" not in repr(change)
