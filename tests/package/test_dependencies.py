# SPDX-License-Identifier: GPL-2.0-or-later
"""The package's dependencies, exact: the split packages of Python's standard library.

What is needed is found out, not read: the agent's modules are all imported, with the oldest
and the newest pyroute2 it runs on, while the modules of one package after the other are
missing. A module that is imported only where it exists (asyncio and ssl) is thus no need.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from lab.paths import BUILD, PYTHONPATH, VENV_PYTHON
from package.support import Ipk

#: Modules by package, of openwrt/packages, lang/python/python3/files/python3-package-*.mk:
#: branches openwrt-24.10, openwrt-25.12 and master (there email is in urllib). What is not
#: listed there is in python3-light.
SPLIT = {
    "asyncio": "asyncio",
    "codecs": "unicodedata _codecs_cn _codecs_hk _codecs_iso2022 _codecs_jp _codecs_kr _codecs_tw",
    "ctypes": "ctypes _ctypes",
    "dbm": "dbm _dbm _gdbm",
    "decimal": "decimal _decimal",
    "logging": "logging",
    "lzma": "lzma _lzma",
    "multiprocessing": "multiprocessing _multiprocessing",
    "ncurses": "curses _curses _curses_panel",
    "openssl": "_ssl _hashlib",
    "pydoc": "doctest pydoc pydoc_data",
    "readline": "readline",
    "sqlite3": "sqlite3 _sqlite3",
    "unittest": "unittest",
    "urllib": "urllib email",
    "uuid": "uuid _uuid",
    "xml": "xml xmlrpc _elementtree pyexpat",
}

PYTHONS = (VENV_PYTHON, BUILD / "venv-oldest/bin/python")

#: Imports everything but what is only used where it is installed (iptc, jsonschema).
_IMPORT = """
import importlib, pkgutil, sys
missing = frozenset(sys.argv[1:])

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in missing:
            raise ModuleNotFoundError(name)

for name in [n for n in sys.modules if n.partition(".")[0] in missing]:
    del sys.modules[name]
sys.meta_path.insert(0, Missing())
import mptcp_agent
for module in pkgutil.walk_packages(mptcp_agent.__path__, "mptcp_agent."):
    if not module.name.endswith(".__main__"):
        importlib.import_module(module.name)
"""


@cache
def fails_without(python: Path, modules: str) -> str:
    """The last line of what the import says without these modules; empty where it succeeds."""
    done = subprocess.run(
        [str(python), "-c", _IMPORT, *modules.split()],
        env={"PYTHONPATH": str(PYTHONPATH[0]), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return (done.stderr.strip().splitlines() or ["?"])[-1] if done.returncode else ""


@pytest.mark.parametrize("python", PYTHONS, ids=["newest", "oldest"])
def test_imports_at_all(python: Path) -> None:
    assert fails_without(python, "") == ""


@pytest.mark.parametrize("package", SPLIT)
def test_split_package(agent: Ipk, package: str) -> None:
    needed = [why for python in PYTHONS if (why := fails_without(python, SPLIT[package]))]
    listed = f"python3-{package}" in agent.depends
    assert listed == bool(needed), f"python3-{package}: {needed or 'superfluous'}"


@pytest.mark.parametrize("python", PYTHONS, ids=["newest", "oldest"])
def test_nothing_else_is_imported(agent: Ipk, python: Path) -> None:
    """With all packages missing that are not listed, at once."""
    unlisted = " ".join(m for p, m in SPLIT.items() if f"python3-{p}" not in agent.depends)
    assert fails_without(python, unlisted) == ""


def test_every_python_package_is_in_the_table(agent: Ipk) -> None:
    ours = {"light", "pyroute2", "ubus"}
    listed = {d.removeprefix("python3-") for d in agent.depends if d.startswith("python3-")}
    assert listed <= SPLIT.keys() | ours
    assert listed >= ours


def test_optional_libraries_are_no_dependencies(agent: Ipk) -> None:
    """jsonschema is one where its architecture exists, so not of a package for all of them;
    python-iptables is one of nobody who has nft."""
    assert not {"python3-jsonschema", "python3-iptables", "python3-email"} & set(agent.depends)
    for python in PYTHONS:
        assert fails_without(python, "jsonschema iptc") == ""


@pytest.mark.parametrize("python", PYTHONS, ids=["newest", "oldest"])
def test_check_says_what_is_not_installed(python: Path, tmp_path: Path) -> None:
    (tmp_path / "sing-box-client.json").write_text("{}")
    program = f"""
import sys
sys.modules["jsonschema"] = sys.modules["iptc"] = None
from pathlib import Path
from mptcp_agent.checks import _validation
from mptcp_agent.system.firewall.iptables import Iptables
from mptcp_agent.cli.validation import check_generated
print(*_validation(), *check_generated(Path({str(tmp_path)!r})))
print(Iptables().available())
"""
    done = subprocess.run(
        [str(python), "-c", program],
        env={"PYTHONPATH": str(PYTHONPATH[0]), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert """'jsonschema', 'result': 'ok', 'message': "not installed""" in done.stdout
    assert "sing-box-client.json" not in done.stdout
    assert "python-iptables is missing: install the package python3-iptables" in done.stdout


def test_standard_library_is_known() -> None:
    """The table names modules that exist somewhere (a typing error would pass silently)."""
    known = sys.stdlib_module_names
    assert {m for modules in SPLIT.values() for m in modules.split()} <= known
