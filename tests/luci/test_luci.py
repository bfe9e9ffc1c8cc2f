# SPDX-License-Identifier: GPL-2.0-or-later
"""The LuCI app: its JavaScript tests, each counted here, and its password fields against the agent.

``pure/`` runs under node alone, ``browser/`` in headless Chromium on the stand-in of LuCI in
``runtime/``, or on a real one where LUCI_URL, LUCI_USER and LUCI_PASSWORD are given.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from mptcp_agent.engines import ClientSettings, ServerSettings
from mptcp_agent.engines.base import KEY_BYTES, password_problems

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("*/*.test.mjs"))
NAME = re.compile(r"^test\('((?:[^'\\]|\\.)*)'", re.MULTILINE)
CASES = [
    pytest.param(file, name, id=f"{file.parent.name}/{file.name}: {name}")
    for file in FILES
    for name in NAME.findall(file.read_text("utf-8"))
]

#: Seconds for one file on a machine that is busy with other things too.
PATIENCE = 600


@dataclass(frozen=True)
class Outcome:
    failure: str = ""
    skipped: str = ""


def node(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    if not (HERE / "node_modules").is_dir():
        pytest.fail("tests/luci/setup.sh has not run: no node_modules here")
    return subprocess.run(
        ["node", *arguments],
        cwd=HERE,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, "NO_COLOR": "1", "FORCE_COLOR": "0"},
    )


def outcomes(file: Path) -> dict[str, Outcome]:
    """Run one file; what became of each of its tests."""
    run = node("--test", "--test-reporter=junit", str(file))
    found = {}
    for case in ET.fromstring(run.stdout).iter("testcase"):
        failure, skipped = case.find("failure"), case.find("skipped")
        found[case.get("name", "")] = Outcome(
            failure="" if failure is None else (failure.text or failure.get("message") or "failed"),
            skipped="" if skipped is None else skipped.get("message") or "skipped",
        )
    return found


NO_CASE = SimpleNamespace(params={})


@pytest.fixture(scope="session")
def runs(request: pytest.FixtureRequest) -> Iterator[dict[Path, Future[dict[str, Outcome]]]]:
    """The files that are asked for, two at a time: a page waits more than it works."""
    asked = [item for item in request.session.items if isinstance(item, pytest.Function)]
    wanted = {getattr(item, "callspec", NO_CASE).params.get("file") for item in asked}
    with ThreadPoolExecutor(2) as pool:
        longest_first = sorted(set(FILES) & wanted, key=lambda file: -file.stat().st_size)
        yield {file: pool.submit(outcomes, file) for file in longest_first}


@pytest.mark.parametrize(("file", "name"), CASES)
def test_javascript(runs: dict[Path, Future[dict[str, Outcome]]], file: Path, name: str) -> None:
    found = runs[file].result()
    outcome = found.get(name)
    if outcome is None:
        pytest.fail(f"did not run; those that did: {', '.join(found)}")
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    if outcome.failure:
        pytest.fail(outcome.failure, pytrace=False)


def test_every_javascript_file_has_tests() -> None:
    assert {case.values[0] for case in CASES} == set(FILES)


def test_eslint() -> None:
    run = subprocess.run(
        ["npm", "run", "--silent", "lint"],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert run.returncode == 0, run.stdout


# --- A form takes the passwords that the agent takes ------------------------------------------


def passwords() -> list[tuple[str, str, bool]]:
    keys = [base64.b64encode(bytes(n)).decode() for n in (0, 1, 15, 16, 17, 31, 32, 33)]
    texts = [
        *keys,
        f"{keys[3]}:{keys[3]}",
        f"{keys[6]}:{keys[6]}",
        ":",
        "secret",
        "a\tb",
        "=",
        "AA=A",
    ]
    methods = ["none", "aes-128-gcm", *KEY_BYTES]
    return [(m, text, client) for m in methods for text in texts for client in (True, False)]


def agent_takes(method: str, password: str, client: bool) -> bool:
    settings: ClientSettings | ServerSettings
    if client:
        settings = ClientSettings(
            server="10.1.1.70", server_port=8388, method=method, password=password, local_port=1080
        )
    else:
        settings = ServerSettings(listen=("0.0.0.0",), port=8388, method=method, password=password)
    return not list(password_problems(settings, "mptcp-proxy.x"))


def test_a_password_field_takes_what_the_agent_takes() -> None:
    run = node("pure/judge.mjs", stdin=json.dumps(passwords()))
    assert run.returncode == 0, run.stderr
    verdicts = json.loads(run.stdout)
    different = [
        case for case, form in zip(passwords(), verdicts, strict=True) if form != agent_takes(*case)
    ]
    assert different == []
