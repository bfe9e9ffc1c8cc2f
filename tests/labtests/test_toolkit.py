# SPDX-License-Identifier: GPL-2.0-or-later
"""What all tests stand on: it waits, looks, stops and enters as it says."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from toolkit.command import LabError
from toolkit.namespace import NETNS, Namespace, pids_in
from toolkit.sampling import SamplingThread
from toolkit.stopping import end, paused
from toolkit.waiting import NotInTime, wait_until, wait_until_async


def own() -> int:
    return Path("/proc/thread-self/ns/net").stat().st_ino


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_the_first_true_value_is_returned() -> None:
    values = iter([0, "", None, "here"])
    assert wait_until(lambda: next(values), 5, "a value", interval=0) == "here"
    numbers = iter([0, 7])
    assert asyncio.run(wait_until_async(lambda: next(numbers), 5, "a number", interval=0)) == 7


def test_what_does_not_come_is_named() -> None:
    with pytest.raises(NotInTime, match=r"^not within 0\.01 s: the bus$"):
        wait_until(lambda: False, 0.01, "the bus")
    with pytest.raises(NotInTime, match="the bus"):
        asyncio.run(wait_until_async(lambda: False, 0.01, "the bus"))
    looks: list[None] = []
    with pytest.raises(NotInTime, match=r"the third of [12]$"):
        wait_until(lambda: looks.append(None), 0, lambda: f"the third of {len(looks)}")


def test_a_condition_that_is_true_needs_no_time() -> None:
    assert wait_until(lambda: True, 0, "nothing", interval=1000)


def test_samples_are_taken_until_the_end_of_the_block() -> None:
    class Clock(SamplingThread):
        def __init__(self) -> None:
            super().__init__(0.001)
            self.seen: list[float] = []

        def sample(self) -> None:
            self.seen.append(time.monotonic())

    with Clock() as clock:
        wait_until(lambda: len(clock.seen) >= 3, 5, "three samples")
    taken = len(clock.seen)
    time.sleep(0.01)
    assert len(clock.seen) == taken


def test_a_process_is_ended_and_its_pipes_are_closed() -> None:
    process = subprocess.Popen(["sleep", "1000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with paused(process.pid):
        wait_until(lambda: state(process.pid) == "T", 5, "the pause")
    wait_until(lambda: state(process.pid) == "S", 5, "its end")
    assert end(process, signal.SIGTERM) == -signal.SIGTERM == end(process)
    assert process.stdin and process.stdin.closed
    assert process.stdout and process.stdout.closed


def test_a_process_that_is_gone_is_not_resumed() -> None:
    process = subprocess.Popen(["sleep", "1000"])
    with paused(process.pid):
        end(process)


@pytest.mark.parametrize("name", ["", f"toolkit-{os.getpid()}"], ids=["nameless", "named"])
def test_what_is_done_inside_is_done_there(name: str) -> None:
    home = own()
    with contextlib.closing(Namespace(name)) as space:
        there = space.call(own)
        assert there == Path(space.path).stat().st_ino != home == own()
        assert space.sh("stat -Lc %i /proc/self/ns/net").strip() == str(there)
        assert "LOOPBACK,UP" in space.ip("link", "show", "lo")
        space.sysctl("net/ipv4/ip_forward", 1)
        assert space.sh("cat /proc/sys/net/ipv4/ip_forward") == "1\n"
        space.batch(["address add 192.0.2.1/32 dev lo", "address add 192.0.2.2/32 dev lo"])
        with space:
            socket.create_server(("192.0.2.2", 0)).close()
            sleeper = subprocess.Popen(["sleep", "1000"])
        try:
            assert sleeper.pid in space.pids()
        finally:
            end(sleeper)
        for attempt in (space.sh, space.ip):
            with pytest.raises(LabError, match="nonsense"):
                attempt("nonsense")
    assert not name or not (NETNS / name).exists()
    assert pids_in(NETNS / "no-such-name") == []


def test_namespaces_are_entered_one_in_another_and_by_each_thread_for_itself() -> None:
    home = own()
    with (
        contextlib.closing(Namespace()) as first,
        contextlib.closing(Namespace()) as second,
        ThreadPoolExecutor(1) as elsewhere,
    ):
        assert elsewhere.submit(own).result() == home
        with first, second, first:
            assert own() == first.call(own)
            assert elsewhere.submit(own).result() == home
            assert elsewhere.submit(second.call, own).result() == second.call(own)
            assert elsewhere.submit(own).result() == home
        with first:
            with pytest.raises(ZeroDivisionError), second:
                raise ZeroDivisionError
            assert own() == first.call(own)
        assert own() == home
