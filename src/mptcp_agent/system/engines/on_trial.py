# SPDX-License-Identifier: GPL-2.0-or-later
"""A program on trial: started for a moment, with a configuration file that is in no directory.

Nothing is left of it, however the agent ends. Its files are memory, so that a full /run is no
obstacle either; the kernel kills it when the agent dies; and one that has become somebody else
meanwhile, which makes the kernel forget that (prctl(2), PR_SET_PDEATHSIG), is found by the next
agent: the path of its configuration is a descriptor of an agent that is not its parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ...engines import Rendered
from .. import programs

#: linux/memfd.h; unknown before Linux 6.3, wanted where vm.memfd_noexec says so.
_MFD_NOEXEC_SEAL = 0x0008
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None)

#: What stands on the command line. The dot tells it from what anybody else would write.
_PATH = "/proc/{0}/./fd/{1}"
_MARK = re.compile(rb"(?:^|\0)/proc/(\d+)/\./fd/\d+\0")


@contextlib.contextmanager
def started(rendered: Rendered) -> Iterator[tuple[subprocess.Popen[bytes], IO[str]]]:
    """The program running, and what it says; ended when the block is left. Raises OSError."""
    with _memory() as config, _memory() as output:
        config.write(rendered.config)
        config.flush()
        agent = os.getpid()
        process = subprocess.Popen(
            rendered.command(_PATH.format(agent, config.fileno())),
            env=programs.environment(**dict(rendered.environment)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=lambda: _die_with(agent),
        )
        try:
            yield process, output
        finally:
            _end(process)


def end_leftovers() -> None:
    """Kill programs that an agent before this one has left on trial."""
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone by now
            agent = _MARK.search((directory / "cmdline").read_bytes())
            if agent and int(agent[1]) != _parent(directory):
                os.kill(int(directory.name), signal.SIGKILL)


def _parent(directory: Path) -> int:
    return int((directory / "stat").read_text("ascii", "replace").rpartition(")")[2].split()[1])


def _memory() -> IO[str]:
    """An empty file that has no name, for root alone."""
    try:
        descriptor = os.memfd_create("trial", os.MFD_CLOEXEC | _MFD_NOEXEC_SEAL)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        descriptor = os.memfd_create("trial")
    os.fchmod(descriptor, 0o600)
    # The program writes on where it was, whoever reads from the beginning meanwhile.
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)
    return os.fdopen(descriptor, "w+", encoding="utf-8", errors="replace")


def _die_with(agent: int) -> None:
    """In the child, before it becomes the program."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != agent:
        os._exit(1)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(0.5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
