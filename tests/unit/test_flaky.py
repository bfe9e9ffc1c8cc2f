# SPDX-License-Identifier: GPL-2.0-or-later
"""The plugin that runs failures once more and alone: what the last lines of a run say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[1]


def run(directory: Path, *arguments: str, **files: str) -> tuple[int, list[str]]:
    """Exit code and lines of a pytest run on these files."""
    (directory / "pytest.ini").write_text("[pytest]\naddopts = -ra\n")
    for name, text in files.items():
        (directory / f"test_{name}.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "flaky", *arguments],
        cwd=directory,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")},
            "PYTHONPATH": str(PLUGIN),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # faster
            "NO_COLOR": "1",
        },
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout.splitlines()


def closing(lines: list[str]) -> str:
    return re.sub(r" in [\d.]+s", "", lines[-1].strip("= "))


@pytest.fixture
def race(tmp_path: Path) -> str:
    """The file of a test that passes only while ``alone`` exists, which its failing makes."""
    mark = tmp_path / "alone"
    return (
        f"import pathlib\nmark = pathlib.Path({str(mark)!r})\n"
        "def test_race():\n"
        "    alone = mark.exists()\n"
        "    mark.touch()\n"
        "    assert alone, 'too late'\n"
        "def test_steady(): pass\n"
    )


def test_what_passes_alone_is_named_and_the_run_is_good(tmp_path: Path, race: str) -> None:
    code, lines = run(tmp_path, race=race)
    assert code == 0
    assert closing(lines) == "1 passed, 1 flaky"
    assert lines[-2] == "flaky: 1: test_race.py::test_race"
    assert "E       AssertionError: too late" in lines  # what there is to mend


def test_what_fails_alone_too_fails_the_run(tmp_path: Path, race: str) -> None:
    """With two workers, as in ``make test``."""
    wrong = "def test_wrong(): assert 1 == 2, 'always'\n"
    code, lines = run(tmp_path, "-p", "xdist", "-n", "2", race=race, wrong=wrong)
    assert code == 1
    assert closing(lines) == "1 failed, 1 passed, 1 flaky"
    assert "FAILED test_wrong.py::test_wrong - AssertionError: always" in lines
    assert lines[-2] == "flaky: 1: test_race.py::test_race"


def test_many_failures_and_unreadable_files_are_not_run_again(tmp_path: Path) -> None:
    many = "import pytest\n@pytest.mark.parametrize('n', range(11))\ndef test(n): assert 0\n"
    code, lines = run(
        tmp_path, "--continue-on-collection-errors", many=many, broken="import nothing_such\n"
    )
    assert code == 1
    assert closing(lines) == "11 failed, 1 error"
    assert not any(line.startswith("once more, alone") for line in lines)
