# SPDX-License-Identifier: GPL-2.0-or-later
"""What the log tells at ``info``: cli.repeats, and which changes are details."""

from __future__ import annotations

import logging

import pytest

from mptcp_agent.cli.repeats import MOST, REMEMBERED, WINDOW, Repeats
from mptcp_agent.core.describe import is_detail
from mptcp_agent.core.diff import Item
from mptcp_agent.core.state import Endpoint, File, Limits, Route, Rule, Sysctl


def told(*lines: tuple[float, str], level: int = logging.INFO) -> list[str]:
    """What is left of lines, each with its time."""
    repeats, left = Repeats(), []
    for at, text in lines:
        record = logging.LogRecord("test", level, __file__, 1, "%s", (text,), None)
        record.created = at
        if repeats.filter(record):
            left.append(record.getMessage())
    return left


def test_a_line_that_repeats_itself_is_told_a_few_times_and_then_counted() -> None:
    flaps = [(float(n), f"wan wan2: {what}") for n in range(20) for what in ("down", "up")]
    left = told(*flaps, (WINDOW + 1, "wan wan2: down"))
    assert left[: 2 * MOST - 2] == ["wan wan2: down", "wan wan2: up"] * (MOST - 1)
    assert left[2 * MOST - 2 :] == [
        "wan wan2: down (again; for a minute this is only counted)",
        "wan wan2: up (again; for a minute this is only counted)",
        f"wan wan2: down (and {20 - MOST} times more before)",
    ]


def test_lines_that_differ_or_come_rarely_are_all_told() -> None:
    different = [(0.0, f"line {n}") for n in range(3 * REMEMBERED)]
    assert told(*different) == [text for _, text in different]
    rare = [(n * WINDOW, "the same") for n in range(20)]
    assert told(*rare) == ["the same"] * 20


def test_a_clock_that_is_set_back_silences_nobody() -> None:
    assert len(told(*[(1e9 + n, "x") for n in range(10)], (0.0, "x"))) == MOST + 1


def test_who_asked_for_debug_gets_every_line() -> None:
    assert len(told(*[(0.0, "x")] * 50, level=logging.DEBUG)) == 50


@pytest.mark.parametrize(
    ("item", "detail"),
    [
        (Endpoint("10.1.1.78", "wan1", frozenset({"subflow"}), 101), True),
        (Route(10901, "0.0.0.0/0", "wan1"), True),
        (Rule(720, 4, 10901, "10.1.1.78/32"), True),
        (Sysctl("net.ipv4.tcp_wmem", "4096 16384 524288"), True),
        (Sysctl("net.mptcp.enabled", "1"), False),
        (Limits(8, 8), False),
        (File("/var/etc/mptcp-proxy/client.json", ""), False),
    ],
)
def test_details_are_what_changes_with_a_wan_or_the_traffic(item: Item, detail: bool) -> None:
    assert is_detail(item) is detail
