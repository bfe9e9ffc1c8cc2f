"""The house (design section 3): who may import whom, held by reading the imports.

- ``core`` and ``engines`` decide and touch nothing: of the standard library they import only
  what computes, of the agent each other and its errors;
- a module of ``system`` knows ``core``, ``engines`` and the errors, and no other module of
  ``system``, except for the private parts below;
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

#: Parts of one room: modules of ``system`` that only these may open. They are one thing
#: touched (netlink, sock_diag, iptables), cut where translation ends and talking begins.
PARTS = {
    "pyroute2_parts": {"routes", "endpoints", "route_messages"},
    "route_messages": {"routes"},
    "diag_messages": {"diag"},
    "iptc_tables": {"iptables"},
    "programs": {"nftables", "iptables", "engine_builds"},
}

#: Imported inside the function that needs it: 10 MB and 30 MB that most runs never use.
LAZY = {"jsonschema", "iptc"}

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


@pytest.mark.parametrize("file", [*below("core"), *below("engines")], ids=name)
def test_deciding_touches_nothing(file: Path) -> None:
    allowed = {"core", "engines", "errors"}
    for target in imports(file):
        first, _, rest = target.partition(".")
        if first == PACKAGE:
            assert not rest or rest.split(".")[0] in allowed, target
        else:
            assert first in PURE, f"{target} is not pure"


@pytest.mark.parametrize("file", below("core") + below("engines"), ids=name)
def test_nor_does_a_builtin(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"open", "print", "input", "exec", "eval", "__import__"}


@pytest.mark.parametrize("file", below("system"), ids=name)
def test_one_thing_touched_one_module(file: Path) -> None:
    me = file.stem
    for target in imports(file):
        rooms = target.split(".")
        if rooms[0] != PACKAGE:
            continue
        assert rooms[1] in {"core", "engines", "errors", "system"}, target
        if rooms[1] == "system" and len(rooms) > 2:
            assert me in PARTS.get(rooms[2], set()), f"{me} reaches into {rooms[2]}"


def test_the_private_parts_exist() -> None:
    for part, users in PARTS.items():
        assert {f"system.{m}" for m in {part, *users}} <= set(map(name, MODULES))
        for user in users:
            file = SOURCE / "system" / f"{user}.py"
            assert f"{PACKAGE}.system.{part}" in set(imports(file)), f"{user} needs no {part}"


@pytest.mark.parametrize("file", MODULES, ids=lambda f: name(f) or PACKAGE)
def test_what_is_large_is_imported_when_used(file: Path) -> None:
    assert not {t.split(".")[0] for t in imports(file, top_only=True)} & LAZY


@pytest.mark.parametrize("file", MODULES, ids=lambda f: name(f) or PACKAGE)
def test_a_module_fits_in_one_sitting(file: Path) -> None:
    assert len(file.read_text("utf-8").splitlines()) <= LONGEST
