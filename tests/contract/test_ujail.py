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

_ENTER = """
mount -t tmpfs run /run && mkdir /run/ubus && mount --bind "$0" /run/ubus && exec "$@"
"""


@pytest.fixture(params=variants("UJAIL"))
def ujail(request: pytest.FixtureRequest) -> str:
    return str(real("UJAIL")) if request.param == "real" else str(OPENWRT / "bin" / "ujail")


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


def test_a_signal_that_ends_the_service_is_in_the_exit_code(start: Start) -> None:
    made = start("sleep 100")
    os.kill(made.pid(), signal.SIGKILL)
    assert made.process.wait(10) in (137, 9)  # of 2026-08 and later; of the releases before


def test_the_service_dies_with_ujail(start: Start) -> None:
    made = start("sleep 100")
    pid = made.pid()
    made.process.kill()
    made.process.wait()
    wait_until(lambda: not _runs(pid), 10, "gone")


def _runs(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
