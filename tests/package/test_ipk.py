# SPDX-License-Identifier: GPL-2.0-or-later
"""What `make ipk` makes, and that it is what the recipes in a buildroot make.

The recipes are the same (package/sdk runs the package Makefiles themselves); what a buildroot
adds is held here against OPENWRT_IPK, a directory of .ipk files that one has built.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lab.paths import TOP
from package.conftest import copy_tree
from package.support import EPOCH, Ipk, build, read, tool

from mptcp_agent import __version__
from mptcp_agent.agent.publisher import OBJECT, Publisher

#: Everything besides code, schemas and pages.
FILES = {
    "/etc/capabilities/mptcp-proxy.json": 0o644,
    "/etc/config/mptcp-proxy": 0o600,
    "/etc/init.d/mptcp-proxy": 0o755,
    "/etc/uci-defaults/80_mptcp-proxy": 0o755,
    "/lib/upgrade/keep.d/mptcp-agent": 0o644,
    "/usr/bin/mptcp-agent": 0o755,
    "/usr/share/rpcd/acl.d/mptcp-agent.json": 0o644,
}
METAS = {
    "mptcp-agent-sing-box": ["sing-box"],
    "mptcp-agent-shadowsocks-rust": ["shadowsocks-rust-sslocal", "shadowsocks-rust-ssserver"],
    "mptcp-agent-shadowsocks-libev": [
        "shadowsocks-libev-ss-redir",
        "shadowsocks-libev-ss-server",
        "mptcpize",
    ],
}


def tracked(folder: str) -> list[str]:
    """Files of the checkout below a folder, relative to it."""
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", folder],
        cwd=TOP,
        check=True,
        capture_output=True,
        text=True,
    )
    names = [line.removeprefix(f"{folder}/") for line in done.stdout.split()]
    return [name for name in names if (TOP / folder / name).exists()]


def test_accounts_are_granted_methods_that_can_be_called_over_http() -> None:
    """By uhttpd, which adds an argument that ``mptcp_proxy`` does not take."""
    acl = json.loads((TOP / "files/mptcp-agent.acl.json").read_text())["mptcp-agent"]
    assert {*acl["read"]["ubus"], *acl["write"]["ubus"]} == {f"luci.{OBJECT}"}
    reading, changing = (acl[kind]["ubus"][f"luci.{OBJECT}"] for kind in ("read", "write"))
    assert all(callable(getattr(Publisher, method)) for method in (*reading, *changing))
    assert changing == ["reload"] and "reload" not in reading


def test_agent_files(agent: Ipk) -> None:
    code = {f"/usr/lib/mptcp-agent/{name}": 0o644 for name in tracked("src")}
    schemas = {f"/usr/share/mptcp-agent/schema/{name}": 0o644 for name in tracked("schema")}
    assert agent.modes == {**FILES, **code, **schemas}


def test_luci_files(packages: dict[str, Ipk]) -> None:
    app = packages["luci-app-mptcp-proxy"]
    pages = {f"/www/{name}": 0o644 for name in tracked("luci-app-mptcp-proxy/htdocs")}
    root = {f"/{name}": 0o644 for name in tracked("luci-app-mptcp-proxy/root")}
    assert app.modes == {**pages, **root}
    assert app.depends == ["libc", "luci-base", "mptcp-agent"]
    assert "luci-indexcache" in app.scripts["postinst-pkg"]


def test_translation(packages: dict[str, Ipk]) -> None:
    german = packages["luci-i18n-mptcp-proxy-de"]
    assert sorted(german.modes) == [
        "/etc/uci-defaults/luci-i18n-mptcp-proxy-de",
        "/usr/lib/lua/luci/i18n/mptcp-proxy.de.lmo",
    ]


def test_control(packages: dict[str, Ipk]) -> None:
    for name, ipk in packages.items():
        assert ipk.path.name == f"{name}_{ipk.control['Version']}_all.ipk"
        assert ipk.control["Architecture"] == "all"
        assert ipk.control["Version"].startswith(f"{__version__}-r")
        assert int(ipk.control["Installed-Size"]) > 0
        assert {"postinst", "prerm"} <= ipk.scripts.keys()
    assert packages["mptcp-agent"].scripts["conffiles"] == "/etc/config/mptcp-proxy\n"


def test_meta_packages_pull_an_engine(packages: dict[str, Ipk]) -> None:
    for name, engine in METAS.items():
        assert packages[name].depends == ["libc", "mptcp-agent", *engine]
        assert packages[name].modes == {}


def test_nothing_personal(packages: dict[str, Ipk]) -> None:
    for ipk in packages.values():
        assert ipk.owners == {"0:0 root:root"}
        assert ipk.dates == {int(EPOCH)}
        for content in ipk.contents.values():
            assert str(TOP).encode() not in content


def test_reproducible(source: Path, packages: dict[str, Ipk], tmp_path: Path) -> None:
    """From a copy with other dates, another umask and another order in its directories."""
    copy = copy_tree(source, tmp_path / "copy")
    for path in copy.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    build(tmp_path, copy)
    again = build(tmp_path, copy, "luci-app-mptcp-proxy")
    for name, ipk in packages.items():
        assert ipk.path.read_bytes() == again[name].path.read_bytes(), name


def test_example_configuration_is_complete_and_off(agent: Ipk) -> None:
    text = agent.contents["/etc/config/mptcp-proxy"].decode()
    schema = json.loads((TOP / "schema/mptcp-proxy.schema.json").read_text())
    for kind in ("globals", "peer", "client", "server", "wan"):
        section = text.partition(f"config {kind} '")[2].partition("\nconfig ")[0]
        for option in schema["$defs"][kind]["properties"]:
            assert f" {option} '" in section, f"{kind}: option {option} is not in the example"
    assert "option enabled '0'" in text.partition("config peer")[0]


def test_unpacked_program_runs_and_writes_nothing(agent: Ipk, tmp_path: Path) -> None:
    """The launcher knows its place in the router; here its place is moved."""
    agent.unpack(tmp_path)
    launcher = tmp_path / "usr/bin/mptcp-agent"
    moved = launcher.read_text().replace("/usr/lib", f"{tmp_path}/usr/lib")
    launcher.write_text(moved)
    done = subprocess.run(
        [sys.executable, "-I", str(launcher), "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{__version__}\n"
    assert not list(tmp_path.rglob("__pycache__"))


def test_byte_code_is_made_at_installation_and_removed(agent: Ipk, tmp_path: Path) -> None:
    agent.unpack(tmp_path)
    for script in ("postinst-pkg", "prerm-pkg"):
        text = agent.scripts[script].replace("/usr/lib", f"{tmp_path}/usr/lib")
        subprocess.run(["busybox", "ash", "-c", text], check=True)
        assert bool(list(tmp_path.rglob("*.pyc"))) == (script == "postinst-pkg")


def test_translation_format() -> None:
    """As po2lmo of LuCI writes it: hashes and layout of a small file made with it."""
    lmo = tool("lmo")
    text = (
        'msgid ""\nmsgstr "Plural-Forms: nplurals=2; plural=(n != 1);\\n"\n\n'
        'msgid "Status"\nmsgstr "Zustand"\n\nmsgid "same"\nmsgstr "same"\n'
    )
    made = lmo.compile_po(text)
    rule = b"nplurals=2; plural=(n != 1);"
    body = rule + bytes(-len(rule) % 4) + b"Zustand\0"
    assert made.startswith(body)
    assert int.from_bytes(made[-4:], "big") == len(body)
    assert len(made) == len(body) + 2 * 16 + 4  # "same" is left out
    assert lmo.sfh_hash(b"Status") == int.from_bytes(made[len(body) + 16 :][:4], "big")


@pytest.mark.skipif("OPENWRT_IPK" not in os.environ, reason="OPENWRT_IPK: built by a buildroot")
def test_same_files_as_a_buildroot(packages: dict[str, Ipk]) -> None:
    """Names (byte code for sources), modes, conffiles; dependencies but the conditional ones."""
    theirs = {
        ipk.control["Package"]: ipk
        for ipk in map(read, Path(os.environ["OPENWRT_IPK"]).glob("*.ipk"))
    }
    for name, ours in packages.items():
        other = theirs[name]
        assert {n.replace(".pyc", ".py"): m for n, m in other.modes.items()} == ours.modes
        assert other.scripts.get("conffiles") == ours.scripts.get("conffiles")
        assert set(other.depends) - {"python3-jsonschema"} == set(ours.depends)
