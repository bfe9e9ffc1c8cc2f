# SPDX-License-Identifier: GPL-2.0-or-later
"""Install, upgrade, remove with the real opkg (environment variable OPKG), into an empty root.

Dependencies are stubs: opkg calls a package whose dependency is unknown one of the wrong
architecture. Scripts that need a router do not run in an offline root.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from package.conftest import copy_tree
from package.support import EPOCH, Ipk, build, tool

OPKG = os.environ.get("OPKG", "")
pytestmark = pytest.mark.skipif(not OPKG, reason="OPKG: the program opkg-cl")

CONFIG = "etc/config/mptcp-proxy"


class Root:
    def __init__(self, root: Path) -> None:
        self.root = root
        for directory in ("etc", "tmp", "usr/lib/opkg", "var/lock"):
            (root / directory).mkdir(parents=True)
        (root / "etc/opkg.conf").write_text(
            "dest root /\nlists_dir ext /var/opkg-lists\narch all 1\n"
        )

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            [
                OPKG,
                "--offline-root",
                str(self.root),
                "-f",
                f"{self.root}/etc/opkg.conf",
                *arguments,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert not done.returncode, done.stdout + done.stderr
        return done.stdout

    def installed(self) -> dict[str, str]:
        lines = self("list-installed").splitlines()
        return dict(line.split(" - ")[:2] for line in lines)

    def files(self) -> set[str]:
        found = {f"/{p.relative_to(self.root)}" for p in self.root.rglob("*") if p.is_file()}
        return {f for f in found if not f.startswith(("/usr/lib/opkg", "/etc/opkg", "/tmp"))}


def stubs(names: set[str], directory: Path) -> list[str]:
    ipk = tool("ipk")
    made = []
    for name in sorted(names):
        staged = directory / name
        (staged / "data").mkdir(parents=True)
        for empty in ("conffiles", "postinst-pkg", "prerm-pkg"):
            (staged / empty).touch()
        (staged / "control").write_text(
            f"Package: {name}\nVersion: 1\nArchitecture: all\n"
            "Installed-Size: 0\nDescription: stub\n"
        )
        made.append(str(ipk.pack(staged, directory, int(EPOCH))))
    return made


@pytest.fixture
def root(packages: dict[str, Ipk], tmp_path: Path) -> Root:
    found = Root(tmp_path / "root")
    needed = {d for ipk in packages.values() for d in ipk.depends} - packages.keys()
    found("install", *stubs(needed, tmp_path / "stubs"))
    return found


def test_install_and_remove(root: Root, packages: dict[str, Ipk]) -> None:
    empty = root.files()
    root("install", *(str(ipk.path) for ipk in packages.values()))
    assert packages.keys() <= root.installed().keys()
    for ipk in packages.values():
        for name, mode in ipk.modes.items():
            assert (root.root / name[1:]).stat().st_mode & 0o777 == mode
    # opkg refuses to remove what others still depend on.
    last = ["luci-app-mptcp-proxy", "mptcp-agent"]
    for name in (*(n for n in packages if n not in last), *last):
        root("remove", name)
    assert root.files() == empty


def test_upgrade_keeps_a_changed_configuration(
    root: Root, source: Path, packages: dict[str, Ipk], tmp_path: Path
) -> None:
    root("install", str(packages["mptcp-agent"].path))
    configuration = root.root / CONFIG
    configuration.write_text("config globals 'globals'\n\toption enabled '1'\n")
    newer = copy_tree(source, tmp_path / "newer")
    with (newer / "files/mptcp-proxy.config").open("a") as file:
        file.write("# a new default\n")
    (newer / "src/mptcp_agent/new.py").touch()
    (newer / "src/mptcp_agent/__main__.py").unlink()
    again = build(tmp_path / "up", newer, PKG_RELEASE="2")["mptcp-agent"]
    root("install", str(again.path))
    assert root.installed()["mptcp-agent"].endswith("-r2")
    assert "option enabled '1'" in configuration.read_text()
    assert "a new default" in (root.root / f"{CONFIG}-opkg").read_text()
    code = root.root / "usr/lib/mptcp-agent/mptcp_agent"
    assert (code / "new.py").exists()
    assert not (code / "__main__.py").exists()
