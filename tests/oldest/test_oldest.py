# SPDX-License-Identifier: GPL-2.0-or-later
"""What depends on library versions, on the oldest ones the agent promises to run on.

The newest are what everything else runs on. The files run as they are, each in a pytest of its own
whose findings are told here: so that one closing line stands for everything.
"""

from __future__ import annotations

import os
import subprocess

import pytest
from lab.paths import BUILD, TOP

PYTHON = BUILD / "venv-oldest" / "bin" / "python"

#: pyroute2 and python-iptables in tests/kernel, jsonschema in tests/unit.
FILES = (
    *(f"tests/kernel/test_{n}.py" for n in ("routes", "endpoints", "plan_apply")),
    *(f"tests/kernel/test_{n}.py" for n in ("netlink_library", "iptables")),
    *(f"tests/unit/test_{n}.py" for n in ("reader", "schema", "options")),
    *(f"tests/unit/test_{n}.py" for n in ("status", "validation", "engines_documents")),
)


@pytest.mark.parametrize("file", FILES)
def test_on_the_oldest_libraries(file: str) -> None:
    if not PYTHON.exists():
        pytest.fail(f"no {PYTHON.relative_to(TOP)}: run `make setup`")
    done = subprocess.run(
        [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", file],
        cwd=TOP,
        # Programs which these tests start in turn know nothing of pytest's pythonpath.
        env={**os.environ, "PYTHONPATH": f"{TOP / 'src'}:{TOP / 'tests'}"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.fail(done.stdout + done.stderr, pytrace=False)
