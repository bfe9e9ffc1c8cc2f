"""The LuCI app: its JavaScript tests, each counted here, and its forms held against the agent.

``pure/`` runs under node alone, ``browser/`` in headless Chromium on the stand-in of LuCI in
``runtime/``, or on a real one where LUCI_URL, LUCI_USER and LUCI_PASSWORD are given.
"""

from __future__ import annotations

import base64
import json
import os
import random
import re
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mptcp_agent.core.config import options
from mptcp_agent.engines import ENGINES, ClientSettings, ServerSettings
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


# --- The forms allow what the agent allows ------------------------------------------------------

SEEDS = (
    "10.1.1.70", "0.0.0.0", "255.255.255.255", "10.1.1.0/24", "10.0.0.1/255.255.255.0",
    "10.0.0.0/0.0.0.255", "::", "::1", "fe80::1%eth0", "2001:db8::70", "2001:DB8:0:0:0:0:0:1",
    "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4:5:6:10.0.0.1", "::ffff:10.0.0.1",
    "2001:db8::/32", "::/0", "vps.example.org", "vps.example.org.", "a-b", "-a", "a-", "1.2.3",
    "1.2.3.x", "router_1", "xn--bcher-kva.example", "wan1", "eth0.2", "br-lan", "r7000", "a" * 32,
    "a" * 33, "a" * 63 + ".b", "a" * 64 + ".b", "b." * 126 + "c", "b." * 127 + "c", "", " ", ".",
    "..", "/", "/24", "10.0.0.1/", "01.2.3.4", "10.1.1.256", "ü.example", "10.1.1.70\n",
)  # fmt: skip


def mutations(count: int) -> list[str]:
    """The seeds, and what chance makes of them: always the same."""
    chance = random.Random(2026)
    alphabet = "0123456789abcdefF.:/-_% x\t٣"
    made = list(SEEDS)
    while len(made) < count:
        text = list(chance.choice(SEEDS)) or ["0"]
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(text) + 1)
            text[at : at + chance.randint(0, 2)] = chance.choices(alphabet, k=chance.randint(0, 2))
        made.append("".join(text))
    return made


FLAGS = (
    "1", "0", "on", "off", "true", "false", "yes", "no", "enabled", "disabled", "Yes", " 1 ",
    "TRUE", "", " ", "2", "01", "y", "n", "1 0", "null", "constructor",
)  # fmt: skip


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


@cache
def judged() -> dict[str, Any]:
    formats = [(name, text) for name in options.FORMATS for text in mutations(4000)]
    asked = {"formats": formats, "passwords": passwords(), "flags": FLAGS}
    run = node("pure/judge.mjs", stdin=json.dumps(asked))
    assert run.returncode == 0, run.stderr
    verdicts = json.loads(run.stdout)
    return {**verdicts, "formats": list(zip(formats, verdicts["formats"], strict=True))}


@pytest.mark.parametrize("name", sorted(options.FORMATS))
def test_a_field_takes_what_the_agent_takes(name: str) -> None:
    is_valid, _ = options.FORMATS[name]
    different = [
        text
        for (kind, text), form in judged()["formats"]
        if kind == name and form != is_valid(text)
    ]
    assert different == []


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
    different = [
        case
        for case, form in zip(passwords(), judged()["passwords"], strict=True)
        if form != agent_takes(*case)
    ]
    assert different == []


def agent_reads(text: str) -> options.Value | None:
    try:
        return options.read_option(text, {"type": "boolean"})
    except options.OptionError:
        return None


def test_a_box_is_ticked_where_the_agent_reads_yes() -> None:
    assert dict(zip(FLAGS, judged()["flags"], strict=True)) == {t: agent_reads(t) for t in FLAGS}


def test_the_methods_are_those_of_the_engines() -> None:
    assert judged()["engines"] == {name: list(e.methods) for name, e in ENGINES.items()}
