# SPDX-License-Identifier: GPL-2.0-or-later
"""The packages as `make ipk` makes them, and what is in them."""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.paths import TOP

EPOCH = "1700000000"


@dataclass(frozen=True)
class Ipk:
    """One .ipk, unpacked in memory. Modes and contents by absolute path, directories left out."""

    path: Path
    control: Mapping[str, str]
    scripts: Mapping[str, str]
    """Members of the control archive other than ``control``."""
    modes: Mapping[str, int]
    contents: Mapping[str, bytes]
    owners: frozenset[str]
    dates: frozenset[int]

    @property
    def depends(self) -> list[str]:
        return self.control["Depends"].split(", ")

    def unpack(self, directory: Path) -> None:
        for name, content in self.contents.items():
            target = directory / name.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            target.chmod(self.modes[name])


def build(
    directory: Path, source: Path = TOP, folder: str = ".", **variables: str
) -> dict[str, Ipk]:
    """Run a package Makefile in package/sdk; the packages by name."""
    settings = {
        "TOPDIR": str(source / "package/sdk"),
        "IPK_BUILD": str(directory / "build"),
        "IPK_DIST": str(directory / "dist"),
        "IPK_TOOL": str(source / "package/ipk.py"),
        "LMO_TOOL": str(source / "package/lmo.py"),
        **variables,
    }
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    subprocess.run(
        ["make", "-s", "-C", str(source / folder), *(f"{k}={v}" for k, v in settings.items())],
        env={**environment, "SOURCE_DATE_EPOCH": EPOCH},
        check=True,
        capture_output=True,
        text=True,
    )
    packages = map(read, sorted((directory / "dist").glob("*.ipk")))
    return {ipk.control["Package"]: ipk for ipk in packages}


def read(path: Path) -> Ipk:
    outer = _members(path.read_bytes())
    inner = {name: content for name, (_, content) in outer.items()}
    assert inner["./debian-binary"] == b"2.0\n"
    control = _members(inner["./control.tar.gz"])
    data = _members(inner["./data.tar.gz"])
    entries = [entry for archive in (outer, control, data) for entry, _ in archive.values()]
    files = {name[1:]: (e, content) for name, (e, content) in data.items() if e.isfile()}
    text = {name[2:]: content.decode() for name, (e, content) in control.items() if e.isfile()}
    fields = dict(
        line.partition(": ")[::2] for line in text.pop("control").splitlines() if line[0] != " "
    )
    return Ipk(
        path,
        fields,
        text,
        {name: e.mode for name, (e, _) in files.items()},
        {name: content for name, (_, content) in files.items()},
        frozenset(f"{e.uid}:{e.gid} {e.uname}:{e.gname}" for e in entries),
        frozenset(int(e.mtime) for e in entries),
    )


def _members(archive: bytes) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        return {
            e.name: (e, content.read() if (content := tar.extractfile(e)) else b"") for e in tar
        }


def tool(name: str) -> Any:
    """A script of package/ as a module."""
    spec = importlib.util.spec_from_file_location(name, TOP / f"package/{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
