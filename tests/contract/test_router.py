# SPDX-License-Identifier: GPL-2.0-or-later
"""What only the stand-ins have: logs, and parts that can be killed one by one."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

from contract.router import running
from contract.service import SLEEP, Service, shell
from contract.tools import Caller
from openwrt.wire import Status
from toolkit.stopping import end
from toolkit.waiting import wait_until


def test_output_goes_to_the_log() -> None:
    with running("stand-in") as router, router.caller() as call:
        service = Service(call, router)
        service.set(
            a=shell("echo out; echo err >&2", stdout=True, stderr=True),
            quiet=shell("echo nowhere", stdout=False),
        )
        log = router.config.parent / "log" / "service.log"
        wait_until(lambda: log.read_text().count("]: ") == 2, 10, "lines")
        lines = log.read_text()
        assert "contract: sh[" in lines
        assert "]: out\n" in lines and "]: err\n" in lines and "nowhere" not in lines


def test_services_die_with_procd() -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with running("stand-in") as router, router.caller() as call:
            service = Service(call, router)
            service.set(a=SLEEP)
            pid = service.pid()
            procd = int((router.config.parent / "log" / "service.pid").read_text())
            os.kill(procd, number)
            wait_until(partial(_ended, pid), 10, "ended")


def test_all_parts_come_back_after_the_broker() -> None:
    """Within a second of its return, with services and interfaces untouched."""
    with running("stand-in") as router:
        with router.caller() as call:
            service = Service(call, router)
            service.set(a=SLEEP)
            pid = service.pid()
        log = router.config.parent / "log"
        os.kill(int((log / "broker.pid").read_text()), signal.SIGKILL)
        time.sleep(0.5)
        command = _command_line(int((log / "uci.pid").read_text()))
        broker = subprocess.Popen([command[0], "-m", "openwrt.broker", "-s", router.socket],
                                  env={**os.environ, "PYTHONPATH": _tests()})  # fmt: skip
        try:
            wait_until(
                lambda: Path(router.socket).exists() and _answers(router.socket), 10, "broker"
            )
            started = time.monotonic()
            with router.caller() as call:
                for path in ("uci", "service", "network.interface", "network.interface.loopback"):
                    wait_until(partial(_is_there, call, path), 10, path)
                assert time.monotonic() - started < 2  # 1 s on a quiet machine
                assert Service(call, router).pid() == pid
        finally:
            end(broker, signal.SIGTERM, 5)


def _ended(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def _is_there(call: Caller, path: str) -> bool:
    return call.context.lookup_id(path)[0] == Status.OK


def _command_line(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def _tests() -> str:
    return str(Path(__file__).resolve().parents[1])


def _answers(path: str) -> bool:
    try:
        with Caller.connect(path):
            return True
    except OSError:
        return False
