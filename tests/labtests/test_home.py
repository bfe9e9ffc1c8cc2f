# SPDX-License-Identifier: GPL-2.0-or-later
"""A home's load sees what happens to it: on plain routers, without an agent."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from lab.bridge import bridge
from lab.home import Account, Home, Load
from lab.household import EVERY, SILENT
from lab.topology import Network
from toolkit.waiting import wait_until

LOAD = Load(open=20, new=20, dns=20)


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with bridge((50,)) as made:
        yield made


@pytest.fixture(scope="module")
def home(net: Network) -> Iterator[Home]:
    with Home(net, LOAD, [net.target, net.target6]) as made:
        made.wait_open()
        yield made


def watched(home: Home, seconds: float) -> Account:
    since = time.monotonic()
    time.sleep(seconds)  # this long it is watched
    return home.account(since, time.monotonic())


def test_an_undisturbed_load_is_whole_and_of_the_size_it_says(home: Home) -> None:
    seen = watched(home, 3)
    assert home.open == LOAD.open
    assert not seen.failed and not seen.lost, seen
    assert len(seen.short) == pytest.approx(3 * LOAD.new, rel=0.2)
    assert len(seen.dns) == pytest.approx(3 * LOAD.dns, rel=0.2)
    assert {way: len(heard) for way, heard in seen.call.items()} == pytest.approx(
        {"down": 150, "up": 150}, rel=0.2
    )


def test_a_link_that_falls_silent_shows_in_everything(net: Network, home: Home) -> None:
    since = time.monotonic()
    net.wires[0].blackhole(True)
    seen = watched(home, 3)
    net.wires[0].blackhole(False)
    silent = seen.until - seen.since
    assert seen.since >= since
    assert min(seen.short_gap, seen.dns_gap, seen.call_gap) == pytest.approx(silent, rel=0.1)
    assert seen.failed_share == pytest.approx(100)
    assert not seen.lost, "a pause is no loss"


def test_silence_one_way_is_heard_by_one_half_of_the_call(net: Network, home: Home) -> None:
    net.wires[0].blackhole(True, "up")
    seen = watched(home, 1)
    net.wires[0].blackhole(False)
    up = replace(seen, call={"up": seen.call["up"]})
    down = replace(seen, call={"down": seen.call["down"]})
    assert up.call_gap > 3 * down.call_gap


def test_open_connections_that_break_are_told_and_opened_again(net: Network, home: Home) -> None:
    since = time.monotonic()
    net.server_host.run("ss", "-K", "state", "established", "sport", "=", ":7200")
    wait_until(lambda: home.open < LOAD.open, 5, "the loss")
    home.wait_open()
    lost = home.account(since, time.monotonic()).lost
    assert len(lost) == LOAD.open


def test_it_ends_when_nobody_holds_its_input_any_more(net: Network) -> None:
    """As it is when its owner was killed."""
    argv = (sys.executable, "-m", "lab.household", "lan", net.target, "--open=5", "--new=5")
    left = net.client_host.popen(*argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert left.stdout and left.stdin
    assert left.stdout.readline() == "ready\n"
    left.stdin.close()
    assert left.wait(5) == 0
    left.stdout.close()


def test_what_is_silent_at_the_end_is_lost() -> None:
    with bridge((50,)) as net, Home(net, LOAD) as made:
        made.wait_open()
        net.wires[0].blackhole(True)
        time.sleep(EVERY + SILENT + 1)  # each has said something by then, and waited for long
        made.stop()
        assert len(made.lost) == LOAD.open, made.lost
        assert all(each.error.startswith("silent for") for each in made.lost)
