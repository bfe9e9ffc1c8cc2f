# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs are found, and started, without anything in the agent's own environment."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from mptcp_agent.system import programs


@pytest.fixture
def jail(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ujail leaves of an environment."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    monkeypatch.setenv("container", "ujail")


def _program(place: Path, mode: int = 0o755) -> str:
    file = place / "nft"
    file.write_text("#!/bin/sh\n")
    file.chmod(mode)
    return str(file)


@pytest.mark.usefixtures("jail")
def test_without_a_path_the_usual_places_are_searched(tmp_path: Path) -> None:
    assert programs.find("nft", ("/no/such", str(tmp_path))) is None
    found = _program(tmp_path)
    assert programs.find("nft", ("/no/such", str(tmp_path))) == found


@pytest.mark.usefixtures("jail")
def test_what_cannot_be_run_is_no_program(tmp_path: Path) -> None:
    _program(tmp_path, 0o644)
    assert programs.find("nft", (str(tmp_path),)) is None


def test_the_callers_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    _program(second)
    monkeypatch.setenv("PATH", f":{first}")
    assert programs.find("nft", (str(second),)) == str(second / "nft")
    nearer = _program(first)
    assert programs.find("nft", (str(second),)) == nearer
    assert programs.path(("/sbin", str(first))) == f"{first}:/sbin"


@pytest.mark.usefixtures("jail")
def test_a_program_started_in_a_jail_finds_others() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", "echo $PATH $LC_ALL $container"],
        env=programs.environment(LC_ALL="C"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [":".join(programs.PLACES), "C", "ujail"]
