# SPDX-License-Identifier: GPL-2.0-or-later
"""What a release needs: one version everywhere, a changelog that tells of it, and its files."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
from lab.paths import TOP, VENV_PYTHON
from package.support import Ipk, build

from mptcp_agent import __version__

SCRIPT = "package/release.sh"


def release(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([tree / SCRIPT, *arguments], capture_output=True, text=True)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What the script reads, at version 1.2.3."""
    tree = tmp_path / "tree"
    (tree / "package").mkdir(parents=True)
    (tree / "src/mptcp_agent").mkdir(parents=True)
    shutil.copy(TOP / SCRIPT, tree / SCRIPT)
    (tree / "src/mptcp_agent/__init__.py").write_text('"""Doc."""\n\n__version__ = "1.2.3"\n')
    (tree / "CHANGELOG.md").write_text(
        "# Changelog\n\n## [Unreleased]\n\n- Later.\n\n## [1.2.3] - 2026-01-01\n\n### Fixed\n\n"
        "- This.\n\n## [1.2.2] - 2025-01-01\n\n- Before.\n"
    )
    return tree


def test_one_version(packages: dict[str, Ipk]) -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "mptcp_agent", "--version"],
        env={"PYTHONPATH": str(TOP / "src")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    released = re.findall(r"^## \[(\d.*?)\] - ", (TOP / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert printed == __version__ == released[0]
    assert {ipk.control["Version"].partition("-r")[0] for ipk in packages.values()} == {printed}
    # apk wants digits and dots, opkg compares them.
    assert re.fullmatch(r"\d+\.\d+\.\d+", printed)


def test_one_version_where_feeds_link_to_the_luci_app(source: Path, tmp_path: Path) -> None:
    """scripts/feeds install makes package/feeds/NAME/luci-app-… a link into the feed."""
    link = tmp_path / "package/feeds/mine/luci-app-mptcp-proxy"
    link.parent.mkdir(parents=True)
    link.symlink_to(source / "luci-app-mptcp-proxy")
    built = build(tmp_path, source, str(link))
    assert built["luci-app-mptcp-proxy"].control["Version"].startswith(f"{__version__}-r")


def test_the_version_stands_in_one_place() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    assert project["dynamic"] == ["version"]
    for makefile in ("Makefile", "luci-app-mptcp-proxy/Makefile"):
        assert __version__ not in (TOP / makefile).read_text()


def test_a_tag_that_is_not_the_version_is_refused(tree: Path) -> None:
    assert release(tree, "check", "v1.2.3").stdout == "1.2.3\n"
    for tag in ("v1.2.4", "1.2.3", "v1.2"):
        refused = release(tree, "check", tag)
        assert refused.returncode == 1
        assert f"the tag is {tag}, the version is 1.2.3" in refused.stderr


def test_a_version_without_an_entry_is_refused(tree: Path) -> None:
    (tree / "CHANGELOG.md").write_text("# Changelog\n\n## [1.2.30] - 2026-01-01\n\n- Other.\n")
    refused = release(tree, "check", "v1.2.3")
    assert refused.returncode == 1
    assert "says nothing about 1.2.3" in refused.stderr


def test_notes_are_the_entry(tree: Path) -> None:
    assert release(tree, "notes").stdout == "### Fixed\n\n- This.\n"


def test_packages_of_several_architectures_do_not_overwrite_each_other(
    tree: Path, tmp_path: Path
) -> None:
    made = tmp_path / "dist"
    made.mkdir()
    (made / "mptcp-agent_1.2.3-r1_all.ipk").write_text("for all")
    for name in ("openwrt-25.12-x86_64", "openwrt-25.12-mips_24kc"):
        built = tmp_path / "sdk" / name / name.rpartition("-")[2] / "action"
        built.mkdir(parents=True)
        (built / "mptcp-agent-1.2.3-r1.apk").write_text(name)
    out = tmp_path / "out"
    done = release(tree, "assets", str(made), str(tmp_path / "sdk"), str(out))
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in out.iterdir()) == [
        "SHA256SUMS",
        "mptcp-agent-1.2.3-openwrt-25.12-mips_24kc.tar.gz",
        "mptcp-agent-1.2.3-openwrt-25.12-x86_64.tar.gz",
        "mptcp-agent_1.2.3-r1_all.ipk",
    ]
    with tarfile.open(out / "mptcp-agent-1.2.3-openwrt-25.12-x86_64.tar.gz") as archive:
        folder = "mptcp-agent-1.2.3-openwrt-25.12-x86_64"
        member = archive.extractfile(f"{folder}/mptcp-agent-1.2.3-r1.apk")
        assert member and member.read() == b"openwrt-25.12-x86_64"
    for line in (out / "SHA256SUMS").read_text().splitlines():
        digest, _, name = line.partition("  ")
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest


def test_no_packages_are_no_release(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "dist").mkdir()
    (tmp_path / "sdk").mkdir()
    where = [str(tmp_path / part) for part in ("dist", "sdk", "out")]
    assert release(tree, "assets", *where).returncode
    (tmp_path / "dist/a.ipk").touch()
    assert "nothing in" in release(tree, "assets", *where).stderr


def test_shellcheck_and_shfmt() -> None:
    tools = VENV_PYTHON.parent
    for command in ([tools / "shellcheck"], [tools / "shfmt", "-d", "-s", "-sr"]):
        done = subprocess.run([*command, TOP / SCRIPT], capture_output=True, text=True)
        assert not done.returncode, done.stdout + done.stderr
