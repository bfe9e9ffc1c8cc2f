# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: exit status 0 fine, 1 something to mend, 2 wrong usage; as a program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mptcp_agent import __version__

SOURCE = Path(__file__).parents[2] / "src"


def agent(
    *arguments: str, socket: str = "/nowhere/ubus.sock", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run mptcp-agent where no ubusd is."""
    words = ["--socket", socket, *arguments] if socket else [*arguments]
    return subprocess.run(
        [sys.executable, "-m", "mptcp_agent", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(SOURCE), **environment},
    )


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["reboot"],
        ["status", "now"],
        ["status", "--colour"],
        ["run", "--json"],
        ["cleanup", "--json"],
        ["--socket"],
    ],
    ids=" ".join,
)
def test_wrong_usage(arguments: list[str]) -> None:
    done = agent(*arguments, socket="")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("usage: mptcp-agent")
    assert "Traceback" not in done.stderr


def test_version_and_help() -> None:
    version = agent("--version", socket="")
    assert (version.returncode, version.stdout) == (0, f"{__version__}\n")
    help_ = agent("--help", socket="")
    assert help_.returncode == 0
    for command in ("run", "status", "plan", "check", "cleanup"):
        assert command in help_.stdout


def test_status_without_an_agent_says_so_in_one_line() -> None:
    done = agent("status")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "mptcp-agent: the agent does not run: service mptcp-proxy start\n"


SHOW = """
from argparse import Namespace
from mptcp_agent.cli import render
from mptcp_agent.cli import _show
row = {"name": "kernel", "result": "ok", "message": "fine", "hint": ""}
_show(Namespace(json=False), {"checks": [row]}, render.check)
"""


def shown(*, terminal: bool, **environment: str) -> str:
    """What a reply looks like on a terminal or in a pipe."""
    ours, theirs = os.openpty() if terminal else os.pipe()  # reading end first
    try:
        clean = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
        subprocess.run(
            [sys.executable, "-c", SHOW],
            stdout=theirs,
            env={**clean, "PYTHONPATH": str(SOURCE), **environment},
            check=True,
            timeout=60,
        )
        return os.read(ours, 4096).decode()
    finally:
        os.close(ours)
        os.close(theirs)


def test_colour_is_for_terminals_that_want_it() -> None:
    assert "\x1b[32mok" in shown(terminal=True)
    assert "\x1b" not in shown(terminal=True, NO_COLOR="1")
    assert "\x1b" not in shown(terminal=False)
    assert "\x1b[32mok" in shown(terminal=True, NO_COLOR="")  # no-color.org: when not empty
