# SPDX-License-Identifier: GPL-2.0-or-later
"""The `uci` command: what it prints, writes and refuses."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openwrt import ucifile
from openwrt.ucifile import UciError

CONFIG = """
config a 'n'
	option x '1 2'
	list l 'p q'
	list l "it's"
	option e ''
config b
	option y "d\\"q" # comment
	option z a\\ b;option w v
config b
	option long 'first
second'
	option h a#b
"""

SHOWN = r"""
t.n=a
t.n.x='1 2'
t.n.l='p q' 'it'\''s'
t.@b[0]=b
t.@b[0].y='d"q'
t.@b[0].z='a b'
t.@b[0].w='v'
t.@b[1]=b
t.@b[1].long='first
second'
t.@b[1].h='a'
""".lstrip()

COMMITTED = r"""
config a 'n'
	option x '3'
	list l 'p q'
	list l 'it'\''s'
	list m '2'

config b
	option long 'first
second'
	option h 'a'

config kind 'fresh'
	option o 'it'\''s'

config b
	option k 'v'

"""


class Uci:
    def __init__(self, command: str, directory: Path) -> None:
        (directory / "config").mkdir()
        self.directory = directory
        self._command = command

    def write(self, name: str, text: str) -> None:
        (self.directory / "config" / name).write_text(text)

    def __call__(self, *words: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [self._command, "-c", str(self.directory / "config"), "-t", str(self.directory / "s"),
             *words],
            capture_output=True, text=True, timeout=10,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr.replace(self._command, "uci")


@pytest.fixture
def tool(uci: str, tmp_path: Path) -> Uci:
    made = Uci(uci, tmp_path)
    made.write("t", CONFIG)
    return made


def test_uci_reads(tool: Uci) -> None:
    assert tool("show") == tool("show", "t") == (0, SHOWN, "")
    assert tool("get", "t.n") == (0, "a\n", "")
    assert tool("get", "t.n.x") == (0, "1 2\n", "")
    assert tool("get", "t.n.l") == (0, r"'p q' it's" + "\n", "")
    assert tool("get", "t.@b[-1].h") == (0, "a\n", "")
    assert tool("show", "t.@b[0].y") == (0, "t.cfg02b607.y='d\"q'\n", "")
    for missing in ("t.n.none", "t.none", "none", "t.@b[5]"):
        assert tool("get", missing) == (1, "", "uci: Entry not found\n")
        assert tool("-q", "get", missing) == (1, "", "")
    assert tool("get", "t.@b[x]") == (1, "", "uci: Invalid argument\n")


def test_uci_anonymous_names(tool: Uci) -> None:
    """They count all sections and hash the type."""
    lines = tool("-X", "show", "t")[1].splitlines()
    assert [line for line in lines if line.endswith("=b")] == ["t.cfg02b607=b", "t.cfg03b607=b"]


def test_uci_writes(tool: Uci) -> None:
    for words in (
        ["set", "t.n.x=3"], ["set", "t.n.none="], ["add_list", "t.n.m=1"],
        ["add_list", "t.n.m=2"], ["del_list", "t.n.m=1"], ["set", "t.fresh=kind"],
        ["set", "t.fresh.o=it's"], ["delete", "t.@b[0]"],
    ):  # fmt: skip
        assert tool(*words) == (0, "", ""), words
    status, name, _ = tool("add", "t", "b")
    assert (status, name) == (0, "cfg05b607\n")
    assert tool("set", "t.@b[-1].k=v")[0] == 0
    assert tool("changes") == (
        0,
        "t.n.x='3'\nt.n.m+='1'\nt.n.m+='2'\nt.n.m-='1'\nt.fresh='kind'\n"
        "t.fresh.o='it'\\''s'\n-t.cfg02b607\nt.cfg05b607='b'\nt.cfg05b607.k='v'\n",
        "",
    )
    assert (tool.directory / "config" / "t").read_text() == CONFIG
    (tool.directory / "config" / "t").chmod(0o640)
    assert tool("commit") == (0, "", "")
    assert (tool.directory / "config" / "t").read_text() == COMMITTED
    assert (tool.directory / "config" / "t").stat().st_mode & 0o777 == 0o640
    assert tool("changes") == (0, "", "")


def test_uci_rename_reorder_revert(tool: Uci) -> None:
    assert tool("rename", "t.n=m") == tool("reorder", "t.m=2") == (0, "", "")
    assert tool("set", "t.m.x=9") == (0, "", "")
    sections = re.findall("^t[.]([^.]*)=", tool("show", "t")[1], re.MULTILINE)
    assert sections == ["@b[0]", "@b[1]", "m"]
    assert tool("revert", "t.m.x") == (0, "", "")
    assert tool("changes", "t") == (0, "t.n='m'\nt.m='2'\n", "")
    assert tool("revert", "t") == (0, "", "")
    assert tool("show", "t") == (0, SHOWN, "")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["set", "t.q.r=1"], "Invalid argument"),
        (["set", "t.a-b=c"], "Invalid argument"),
        (["set", "none.a=b"], "Entry not found"),
        (["delete", "t.none"], "Entry not found"),
        (["delete", "t.n.none"], "Entry not found"),
    ],
)
def test_uci_refuses(tool: Uci, words: list[str], error: str) -> None:
    assert tool(*words) == (1, "", f"uci: {error}\n")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("option a b\n", "option/list command found before the first section) at line 1, byte 0"),
        ("config 'a b'\n", "invalid character in type field) at line 1, byte 13"),
        ("config a b c\n", "too many arguments) at line 1, byte 13"),
        ("config\n", "invalid command) at line 1, byte 0"),
        ("config x\n  option 'a-b' 1\n", "invalid character in name field) at line 2, byte 15"),
        ("config x\noption a 'b\n", "EOF with unterminated ') at line 2, byte 12"),
        ("config x\n\n\tconf x\n", "invalid command) at line 3, byte 1"),
        ("config x\noption a b c\n", "too many arguments) at line 2, byte 13"),
        ("config x 'a-b'\n", "invalid character in name field) at line 1, byte 15"),
        ("config x\nlist\n", "invalid command) at line 2, byte 0"),
        ('config x\noption a "b\n', 'EOF with unterminated ") at line 2, byte 12'),
        ("config x;option a b\n option\tc d\nbad\n", "invalid command) at line 3, byte 0"),
    ],
)
def test_uci_names_the_place_of_a_mistake(tool: Uci, text: str, error: str) -> None:
    tool.write("bad", text)
    assert tool("show", "bad") == (1, "", f"uci: Parse error ({error}\n")


FRAGMENTS = st.sampled_from(
    [
        "config ", "config", "option ", "list ", "package ", "c ", "o ", "l ", "'", '"', "\\", "\n",
        " ", "\t", ";", "#", "x-y", "é", "1", "a b", "@", "\\\n", "'a b'", '"c\\"d"', "''", " 'v'",
        "\r\n", "config a\n", "config a 'n'\n", "\toption o 'v'\n", "\tlist l v\n", "# c\n",
    ]
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(fragments=st.lists(FRAGMENTS, max_size=20))
def test_any_text_is_read_as_the_parser_reads_it(tool: Uci, fragments: list[str]) -> None:
    """On the real command this compares libuci with ucifile.py, places of mistakes included."""
    text = "".join(fragments)
    (tool.directory / "config" / "any").write_bytes(text.encode())
    try:
        package = ucifile.parse("any", text)
        expected = (0, ucifile.dump(package, header=True, name_all=True), "")
    except UciError as error:
        expected = (1, "", f"uci: {error}\n")
    assert tool("-n", "export", "any") == expected


VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
NAMES = st.from_regex("[a-z_][a-z0-9_]{0,7}", fullmatch=True)


@given(st.dictionaries(NAMES, VALUES | st.lists(VALUES, min_size=1)))
def test_what_is_written_is_read_again(options: dict[str, str | list[str]]) -> None:
    package = ucifile.Package("any")
    package.add("kind", "named").options = dict(options)
    package.add("kind").options = dict(options)
    assert ucifile.parse("any", ucifile.dump(package)) == package
