# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from lab.paths import TOP
from package.support import Ipk, build

PARTS = ("Makefile", "package", "files", "schema", "src", "luci-app-mptcp-proxy")


def copy_tree(source: Path, target: Path) -> Path:
    """What the packages are made of, with the dates and modes of today."""
    target.mkdir()
    for name in PARTS:
        if (source / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "node_modules")
            shutil.copytree(
                source / name, target / name, copy_function=shutil.copyfile, ignore=ignored
            )
        else:
            shutil.copyfile(source / name, target / name)
    return target


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source, which nobody edits meanwhile."""
    return copy_tree(TOP, tmp_path_factory.mktemp("source") / "copy")


@pytest.fixture(scope="session")
def packages(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ipk]:
    """All packages, built in a directory of their own."""
    directory = tmp_path_factory.mktemp("ipk")
    build(directory, source)
    return build(directory, source, "luci-app-mptcp-proxy")


@pytest.fixture(scope="session")
def agent(packages: dict[str, Ipk]) -> Ipk:
    return packages["mptcp-agent"]
