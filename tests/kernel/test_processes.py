# SPDX-License-Identifier: GPL-2.0-or-later
"""Real processes, as the agent sees them from outside."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from toolkit.waiting import wait_until

from mptcp_agent.system.processes import only_forked


def test_a_child_is_only_forked_until_it_runs_its_program() -> None:
    ready, go = os.pipe()
    child = os.fork()
    if not child:
        os.read(ready, 1)
        os.execv("/bin/sleep", ["sleep", "60"])
    try:
        assert only_forked(child)
        os.write(go, b"x")
        wait_until(lambda: not only_forked(child), 5, "the program runs")
        assert Path(f"/proc/{child}/cmdline").read_bytes().startswith(b"sleep")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(go)
    assert not only_forked(child), "it has ended"
    assert not only_forked(os.getpid())
