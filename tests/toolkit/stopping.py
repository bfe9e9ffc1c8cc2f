# SPDX-License-Identifier: GPL-2.0-or-later
"""Ending a process, for good or for a while."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator


def end(
    process: subprocess.Popen[str] | subprocess.Popen[bytes],
    how: signal.Signals = signal.SIGKILL,
    timeout: float = 10,
) -> int:
    """Send a signal unless it has ended, wait, close its pipes, and return the exit code.

    Raises subprocess.TimeoutExpired where the process outlives the signal.
    """
    process.send_signal(how)
    code = process.wait(timeout)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):  # words it will not read any more
                pipe.close()
    return code


@contextlib.contextmanager
def paused(pid: int) -> Iterator[None]:
    """A process that hangs: its sockets are open, and nobody serves them."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
