# SPDX-License-Identifier: GPL-2.0-or-later
"""The house: who may import whom, by folder, held by reading the imports.

- ``core`` and ``engines`` decide and touch nothing: of the standard library they import only
  what computes, of the agent each other and its errors;
- ``system`` touches the machine. A folder of it is one thing touched, and knows no other
  folder; what lies beside the folders (files, programs, sysctls) serves them and knows none;
- ``monitor`` watches by means of ``system``, ``checks`` judges what ``core`` holds, ``agent``
  brings all together, ``cli`` is the outermost;
- what is large or missing on some routers is imported when it is used.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "mptcp_agent"
SOURCE = Path(__file__).parents[2] / "src" / PACKAGE

#: Of the standard library: what neither asks nor changes anything outside the process. No
#: clock, no file, no socket, no process, no thread, no chance.
PURE = {
    *("__future__", "abc", "base64", "binascii", "collections", "dataclasses", "enum"),
    *("functools", "hashlib", "ipaddress", "itertools", "json", "math", "re", "statistics"),
    *("struct", "typing"),
}

#: Which rooms a room may use besides itself.
ROOMS = {
    "core": {"engines", "errors"},
    "engines": {"core", "errors"},
    "system": {"core", "engines", "errors"},
    "monitor": {"core", "system", "errors"},
    "checks": {"core", "errors"},
    "agent": {"core", "engines", "system", "monitor", "checks", "errors"},
    "cli": {"core", "engines", "system", "monitor", "checks", "agent", "errors"},
}

#: Imported inside the function that needs it: 10 MB and 30 MB that most runs never use.
LAZY = {"jsonschema", "iptc"}

#: What a snapshot holds, by the names under which others have it: read by its builder alone, or a
#: turn's plan, status and events would be of more than one world. And the clocks.
OF_A_MOMENT = {
    *("health", "known", "sampled", "measured", "facts", "links", "addresses"),
    *("clock", "_clock", "unix", "_unix", "monotonic", "time", "thread_time", "now"),
}

#: Lines of a module; a sitting is about 300.
LONGEST = 400

MODULES = sorted(SOURCE.rglob("*.py"))


def name(file: Path) -> str:
    """The dotted name below the package, empty for the package itself."""
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path, *, top_only: bool = False) -> Iterator[str]:
    """Full dotted names of everything imported, ``typing.TYPE_CHECKING`` blocks included."""
    tree = ast.parse(file.read_text("utf-8"))
    here = f"{PACKAGE}.{name(file)}".rstrip(".").split(".")
    if file.name != "__init__.py":
        here = here[:-1]
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = SOURCE.parent.joinpath(*base.split("."), alias.name)
                is_module = inner.is_dir() or inner.with_suffix(".py").exists()
                yield f"{base}.{alias.name}" if is_module else base


def below(part: str) -> list[Path]:
    return [file for file in MODULES if name(file).split(".")[0] == part]


@pytest.mark.parametrize("file", [f for room in ROOMS for f in below(room)], ids=name)
def test_a_room_uses_those_it_may(file: Path) -> None:
    room = name(file).split(".")[0]
    for target in imports(file):
        rooms = target.split(".")
        if rooms[0] == PACKAGE and len(rooms) > 1:
            assert rooms[1] in ROOMS[room] | {room}, target


def test_every_folder_is_a_room() -> None:
    assert {f.parent.name for f in SOURCE.glob("*/__init__.py")} == ROOMS.keys()


@pytest.mark.parametrize("file", [*below("core"), *below("engines")], ids=name)
def test_deciding_touches_nothing(file: Path) -> None:
    for target in imports(file):
        first = target.partition(".")[0]
        assert first == PACKAGE or first in PURE, f"{target} is not pure"


@pytest.mark.parametrize("file", below("core") + below("engines"), ids=name)
def test_nor_does_a_builtin(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"open", "print", "input", "exec", "eval", "__import__"}


@pytest.mark.parametrize("file", below("checks"), ids=name)
def test_checks_judge_what_was_read_and_read_nothing(file: Path) -> None:
    for target in imports(file):
        first = target.partition(".")[0]
        assert first == PACKAGE or first in PURE | {"importlib"}, f"{target} is not pure"


def test_a_turn_reads_health_facts_and_clock_in_one_place() -> None:
    """``agent.snapshots`` builds what a turn works from, once."""
    (agent,) = (
        node
        for node in ast.walk(ast.parse((SOURCE / "agent/loop.py").read_text("utf-8")))
        if isinstance(node, ast.ClassDef) and node.name == "Agent"
    )
    taken = []
    for method in agent.body:
        # Wiring, and what runs beside the loop.
        if getattr(method, "name", "") in ("__init__", "_sample"):
            continue
        read = {n.attr for n in ast.walk(method) if isinstance(n, ast.Attribute)}
        assert not read & OF_A_MOMENT, getattr(method, "name", "")
        taken += [n for n in ast.walk(method) if isinstance(n, ast.Attribute) and n.attr == "take"]
    assert len(taken) == 1


def test_health_is_asked_for_by_the_builder_of_snapshots_alone() -> None:
    asks = set()
    for file in MODULES:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                asks |= {name(file)} if node.func.attr == "health" else set()
    assert asks == {"agent.snapshots", "monitor.monitor"}  # the latter: the prober's share of it


@pytest.mark.parametrize("file", below("system"), ids=name)
def test_one_thing_touched_one_folder(file: Path) -> None:
    folder = file.parent
    for target in imports(file):
        where = SOURCE.parent.joinpath(*target.split("."))
        if target.startswith(f"{PACKAGE}.system.") and folder != where.parent:
            assert where.parent == SOURCE / "system" and not where.is_dir(), target


@pytest.mark.parametrize("file", MODULES, ids=lambda f: name(f) or PACKAGE)
def test_what_is_large_is_imported_when_used(file: Path) -> None:
    assert not {t.split(".")[0] for t in imports(file, top_only=True)} & LAZY


@pytest.mark.parametrize("file", MODULES, ids=lambda f: name(f) or PACKAGE)
def test_a_module_fits_in_one_sitting(file: Path) -> None:
    assert len(file.read_text("utf-8").splitlines()) <= LONGEST
