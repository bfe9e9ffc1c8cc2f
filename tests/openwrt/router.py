# SPDX-License-Identifier: GPL-2.0-or-later
"""A router's OpenWrt in the namespaces it is started in: `python -m openwrt.router --log-dir D`.

Starts ubusd, rpcd's `uci`, procd and netifd as one process each, says "ready" on stdout once all
their objects are on the bus, and ends them on SIGTERM (netifd takes its addresses back, procd ends
its services).  Each can be killed and started again alone, by the pid in D/NAME.pid:

    kill -9 $(cat D/broker.pid); python -m openwrt.broker &

`--no-broker`, `--no-uci`, `--no-network`, `--no-service` leave a place to a real daemon.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from .broker import DEFAULT_SOCKET
from .jail import UJAIL

_PATIENCE = 15.0  # seconds for all objects to appear
_GRACE = 10.0  # seconds for a part to end by itself, longer than a service's term_timeout
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>

_PARTS = {"broker": "broker", "uci": "uci", "service": "procd", "network": "netifd"}
"""Name -> module, in the order of starting."""


class _End(Exception):
    pass


def _start(name: str, options: argparse.Namespace) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"openwrt.{_PARTS[name]}", "-s", options.socket]
    if name != "broker":
        ready = _ready_file(name, options)
        ready.unlink(missing_ok=True)
        command += ["--ready", str(ready)]
    if name in ("uci", "network"):
        command += ["-c", str(options.config)]
    if name == "uci" and options.save is not None:
        command += ["--save", str(options.save)]
    if name == "service":
        command += ["--ujail", options.ujail]
        command += ["--keep-children"] if options.keep_children else []
    tests = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [tests, os.environ.get("PYTHONPATH")]))
    with (options.log_dir / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # a ^C at the terminal is for this process to pass on
            preexec_fn=_die_with_parent,
        )
    (options.log_dir / f"{name}.pid").write_text(f"{process.pid}\n")
    return process


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _ready_file(name: str, options: argparse.Namespace) -> Path:
    return Path(options.log_dir / f"{name}.ready")


def _wait_ready(
    parts: dict[str, subprocess.Popen[bytes]], options: argparse.Namespace
) -> str | None:
    """None when all are ready, else what is wrong."""
    end = time.monotonic() + _PATIENCE
    waiting = [name for name in parts if name != "broker"]
    while waiting := [name for name in waiting if not _ready_file(name, options).exists()]:
        for name, process in parts.items():
            if process.poll() is not None:
                log = (options.log_dir / f"{name}.log").read_text(errors="replace").strip()
                return f"{name} ended with status {process.returncode}: {log[-500:]}"
        if time.monotonic() > end:
            return f"not ready after {_PATIENCE:.0f} s: {', '.join(waiting)}"
        time.sleep(0.02)
    return None


def _stop(parts: dict[str, subprocess.Popen[bytes]], options: argparse.Namespace) -> None:
    """Last started, first ended."""
    for name, process in reversed(parts.items()):
        process.terminate()
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        (options.log_dir / f"{name}.pid").unlink(missing_ok=True)
        _ready_file(name, options).unlink(missing_ok=True)


def _end(number: int, frame: FrameType | None) -> None:
    raise _End


def main() -> int:
    parser = argparse.ArgumentParser(prog="openwrt.router", description=(__doc__ or "")[:90])
    parser.add_argument("--log-dir", type=Path, required=True, help="for logs and pid files")
    parser.add_argument("-s", dest="socket", default=DEFAULT_SOCKET, help="ubus socket")
    parser.add_argument("-c", dest="config", type=Path, default=Path("/etc/config"))
    parser.add_argument("--save", type=Path, help="for UCI changes not committed yet")
    parser.add_argument("--keep-children", action="store_true", help="services outlive procd")
    parser.add_argument("--ujail", default=UJAIL, help="the program; need not exist")
    for name in _PARTS:
        parser.add_argument(f"--no-{name}", action="store_true", help=f"no {_PARTS[name]}")
    options = parser.parse_args()
    options.log_dir.mkdir(parents=True, exist_ok=True)
    parts: dict[str, subprocess.Popen[bytes]] = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    try:
        for name in _PARTS:
            if not getattr(options, f"no_{name}"):
                parts[name] = _start(name, options)
        problem = _wait_ready(parts, options)
        if problem is not None:
            print(f"router: {problem}", file=sys.stderr)
            return 1
        print("ready", flush=True)
        while True:
            signal.pause()
    except _End:
        return 0
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        _stop(parts, options)


if __name__ == "__main__":
    sys.exit(main())
