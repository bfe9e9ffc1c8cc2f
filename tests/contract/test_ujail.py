# SPDX-License-Identifier: GPL-2.0-or-later
"""ujail by itself, beside a ubusd that comes and goes.  The stand-in and the real one.

Each ujail runs in a mount namespace where ubusd's socket is at its usual place.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from contract.tools import OPENWRT, Ubusd, real, variants
from toolkit.waiting import wait_until

RELEASED = "ujail-25.12"
"""The stand-in of what all releases up to then have."""

_ENTER = """
mount -t tmpfs run /run && mkdir /run/ubus && mount --bind "$0" /run/ubus && exec "$@"
"""


@pytest.fixture(params=variants("UJAIL"))
def ujail(request: pytest.FixtureRequest) -> str:
    if request.param == "real":
        return str(real("UJAIL"))
    return str(OPENWRT / "bin" / (RELEASED if request.param == RELEASED else "ujail"))


#: For what the releases do otherwise: their stand-in as well.
both_ujails = pytest.mark.parametrize("ujail", [*variants("UJAIL"), RELEASED], indirect=True)


class Jail:
    """A shell in a jail; it writes its pid, then does what `script` says."""

    def __init__(self, ujail: str, bus: str, directory: Path, script: str, *options: str) -> None:
        self.file = directory / "said"
        allowed = directory / "capabilities.json"
        allowed.write_text(json.dumps({"bounding": ["CAP_KILL"]}))
        jail = [ujail, "-n", "contract", "-C", str(allowed), *options, "--"]
        service = ["/bin/sh", "-c", f"exec >> {self.file}; echo $$; {script}"]
        enter = ["unshare", "--mount", "sh", "-c", _ENTER, str(Path(bus).parent)]
        self.process = subprocess.Popen([*enter, *jail, *service])

    def said(self) -> list[str]:
        return self.file.read_text().split() if self.file.exists() else []

    def pid(self) -> int:
        return int(wait_until(self.said, 10, "it runs")[0])


Start = Callable[..., Jail]


@pytest.fixture
def start(ujail: str, ubusd: Ubusd, tmp_path: Path) -> Iterator[Start]:
    """Start one; whatever is left is killed."""
    made: list[Jail] = []

    def begin(script: str, *options: str) -> Jail:
        made.append(Jail(ujail, ubusd.path, tmp_path, script, *options))
        return made[-1]

    yield begin
    for each in made:
        each.process.kill()
        each.process.wait()


POLITE = "trap 'echo term; exit 3' TERM; echo ready; while :; do sleep 0.05; done"


def test_it_does_not_start_without_ubusd(start: Start, ubusd: Ubusd) -> None:
    ubusd.kill()
    made = start("sleep 100")
    assert made.process.wait(10) == 145
    assert made.said() == []


def test_when_ubusd_goes_the_service_goes_on(start: Start, ubusd: Ubusd) -> None:
    made = start(POLITE, "-t", "20")
    wait_until(lambda: "ready" in made.said(), 10, "ready")
    ubusd.kill()
    time.sleep(1.5)  # what would be an end would be one by then
    assert made.process.poll() is None
    assert "term" not in made.said()
    made.process.terminate()
    assert made.process.wait(10) == 3
    assert "term" in made.said()


@both_ujails
def test_a_signal_that_ends_the_service_is_in_the_exit_code(start: Start, ujail: str) -> None:
    made = start("sleep 100")
    os.kill(made.pid(), signal.SIGKILL)
    newer, released = 137, 9
    told = made.process.wait(10)
    if ujail == real("UJAIL"):
        assert told in (newer, released)
    else:
        assert told == (released if ujail.endswith(RELEASED) else newer)


@both_ujails
def test_when_ujail_is_killed(start: Start, ujail: str) -> None:
    """With the one of 2026-08 the service dies. Under those of the releases it goes on, and init,
    or whoever stands in for it, has it: nobody knows it for a service any more."""
    made = start("exec sleep 100")
    pid = made.pid()
    wait_until(lambda: _words(pid) == ["sleep", "100"], 10, "it sleeps")
    made.process.kill()
    made.process.wait()
    if ujail == real("UJAIL"):
        wait_until(lambda: not _runs(pid) or _parent(pid) != made.process.pid, 10, "either")
    elif ujail.endswith(RELEASED):
        time.sleep(0.5)  # what would be its end would have been by then
        assert _runs(pid) and _parent(pid) != made.process.pid
    else:
        wait_until(lambda: not _runs(pid), 10, "gone")
    if _runs(pid):
        os.kill(pid, signal.SIGKILL)


def test_a_signal_while_it_connects_ends_it(start: Start, ubusd: Ubusd) -> None:
    """ubusd, stopped, keeps it there. (A moment later a signal is lost.)"""
    assert ubusd.process is not None
    ubusd.process.send_signal(signal.SIGSTOP)
    try:
        made = start(POLITE, "-t", "1")
        wait_until(lambda: _catches(made.process.pid, signal.SIGTERM), 10, "it has begun")
        made.process.terminate()
        assert made.process.wait(10) == 145
    finally:
        ubusd.process.send_signal(signal.SIGCONT)
    assert made.said() == []


def _catches(pid: int, number: signal.Signals) -> bool:
    """That it is ujail by now: the shell before it has no handler."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
    return bool(caught >> (number - 1) & 1)


def _words(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def _runs(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
