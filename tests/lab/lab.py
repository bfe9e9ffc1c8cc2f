# SPDX-License-Identifier: GPL-2.0-or-later
"""One lab: its name, its namespaces, and the promise that they go away.

Network namespaces have names (`ip netns`), so that a person can enter them; a name outlives its
processes, so each lab keeps a directory under /run that says who owns it. A lab whose owner is
dead is swept by the next lab that starts, and by `make clean`. A living owner's is never touched.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from toolkit.namespace import NETNS, Namespace, pids_in
from toolkit.waiting import NotInTime, wait_until

from lab.paths import BUILD

STATE = Path("/run/mptcp-agent-lab")
_numbers = itertools.count(1)


class Lab:
    """A set of namespaces with one owner, this process. Use as a context manager."""

    def __init__(self) -> None:
        sweep()
        self.name = f"lab{os.getpid()}x{next(_numbers)}"
        self.directory = STATE / self.name
        self.directory.mkdir(parents=True)
        (self.directory / "owner").write_text(f"{os.getpid()} {start_time(os.getpid())}\n")
        self.logs = BUILD / "logs" / self.name
        self.keep_logs = bool(os.environ.get("LAB_KEEP_LOGS"))
        self._closing: list[Callable[[], None]] = []
        self._closed = False
        atexit.register(self.close)
        _end_on_sigterm()

    def add_namespace(self, role: str) -> Namespace:
        """Make a network namespace called `LAB-ROLE`, as in `ip netns exec LAB-ROLE`."""
        made = Namespace(f"{self.name}-{role}")
        # IPv6 addresses work at once, instead of after a second's look for duplicates.
        for scope in ("all", "default"):
            made.sysctl(f"net/ipv6/conf/{scope}/accept_dad", 0)
        return made

    def on_close(self, action: Callable[[], None]) -> None:
        """Run `action` when the lab closes, last one first, before its processes are killed."""
        self._closing.append(action)

    def close(self) -> None:
        """End every process of this lab and remove its namespaces. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        with _signals_wait():
            for action in reversed(self._closing):
                with contextlib.suppress(OSError, subprocess.SubprocessError):
                    action()
            remove(self.name)
            if not self.keep_logs:
                shutil.rmtree(self.logs, ignore_errors=True)
                with contextlib.suppress(OSError):
                    self.logs.parent.rmdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self.keep_logs = self.keep_logs or (kind is not None and issubclass(kind, Exception))
        self.close()


def start_time(pid: int) -> str:
    """Return when `pid` started, in clock ticks since boot: with the pid, a process's identity."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def sweep() -> list[str]:
    """Remove what labs left whose owner is dead; return their names."""
    dead = [directory.name for directory in sorted(STATE.glob("*")) if not _owned(directory)]
    for name in dead:
        remove(name)
    return dead


def _owned(directory: Path) -> bool:
    try:
        pid, started = (directory / "owner").read_text().split()
    except (OSError, ValueError):
        # Just being made, or already being removed: leave it alone for a moment.
        return not directory.exists() or time.time() - directory.stat().st_mtime < 5
    try:
        return start_time(int(pid)) == started
    except (OSError, ValueError):
        return False


def remove(name: str) -> None:
    """Kill the processes of the lab called `name`, then take its namespaces and directory away."""
    deadline = time.monotonic() + 10
    for namespace in NETNS.glob(f"{name}-*"):
        with contextlib.suppress(NotInTime):
            wait_until(partial(_kill, namespace), deadline - time.monotonic(), name, interval=0.01)
        # Deleted even with a process that cannot die: the kernel frees it when that goes.
        subprocess.run(["ip", "netns", "delete", namespace.name], capture_output=True)
    shutil.rmtree(STATE / name, ignore_errors=True)
    with contextlib.suppress(OSError):
        STATE.rmdir()


def _kill(namespace: Path) -> bool:
    """Kill the processes of a namespace; whether there were none left."""
    pids = pids_in(namespace)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return not pids


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """A second Ctrl-C must not stop the cleaning half-way."""
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def _end_on_sigterm() -> None:
    """Turn SIGTERM and SIGHUP into an exception, so that `with` blocks and atexit run."""

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        with contextlib.suppress(ValueError):  # not the main thread: somebody else's business
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, leave)
