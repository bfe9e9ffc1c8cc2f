"""The `ubus` and `uci` commands: what they print and how they exit."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract.test_binding import PROVIDER, Program
from contract.tools import OPENWRT, Caller, Ubusd
from openwrt import wire
from openwrt.wire import Json


@pytest.fixture
def demo(ubusd: Ubusd) -> Iterator[None]:
    module = OPENWRT / "module"
    python = ["/usr/bin/env", f"PYTHONPATH={module}", sys.executable]
    source = PROVIDER.replace('"v": U', '"v": U, "d": 8, "l": 4')
    program = Program(python, ubusd, source + "serve()")
    assert program.line() == ["there"]
    yield
    program.kill()


def run(command: str, ubusd: Ubusd, *words: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [command, "-s", ubusd.path, *words], capture_output=True, text=True, timeout=10
    )
    return done.returncode, done.stdout, done.stderr


def test_list(ubus: str, ubusd: Ubusd, demo: None) -> None:
    assert run(ubus, ubusd, "list") == (0, "demo\n", "")
    assert run(ubus, ubusd, "list", "d*") == (0, "demo\n", "")
    assert run(ubus, ubusd, "list", "none") == (4, "", "Command failed: Not found\n")
    assert run(ubus, ubusd, "-S", "list", "none") == (4, "", "")
    assert run(ubus, ubusd, "-S", "-v", "list") == (0, "demo\n", "")
    status, out, err = run(ubus, ubusd, "-v", "list", "demo")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert re.fullmatch("'demo' @[0-9a-f]{8}", lines[0])
    assert lines[1:4] == [
        '\t"hi":{"name":"String","n":"Integer"}',
        '\t"any":{"v":"(unknown)","d":"(unknown)","l":"(unknown)"}',
        '\t"twice":{}',
    ]


def test_call_prints_tab_indented_json(ubus: str, ubusd: Ubusd, demo: None) -> None:
    arguments = '{"name":"é\\n\\"","n":-7}'
    assert run(ubus, ubusd, "call", "demo", "hi", arguments) == (
        0,
        '{\n\t"got": {\n\t\t"name": "é\\n\\"",\n\t\t"n": -7\n\t}\n}\n',
        "",
    )
    short = '{"got":{"name":"é\\n\\"","n":-7}}\n'
    assert run(ubus, ubusd, "-S", "call", "demo", "hi", arguments) == (0, short, "")
    assert run(ubus, ubusd, "-S", "call", "demo", "twice") == (0, '{"n":1}\n{"n":2}\n', "")
    assert run(ubus, ubusd, "call", "demo", "quiet") == (0, "", "")


def test_empty_lists_and_tables_take_three_lines(ubus: str, ubusd: Ubusd, caller: Caller) -> None:
    from openwrt.libubus import Context, Published, Request

    context = Context(ubusd.path)

    def reply(request: Request) -> int:
        empty: dict[str, Json] = {"l": [], "t": {}, "n": None, "f": 0.1, "b": [True, False]}
        empty["d"] = {"a": [{}]}
        request.reply(wire.encode_table(empty))
        return 0

    context.add_object(Published(frozenset(["go"]), reply, "odd"), wire.field("go", 2, b""))
    process = subprocess.Popen(
        [ubus, "-s", ubusd.path, "call", "odd", "go"], stdout=subprocess.PIPE, text=True
    )
    while process.poll() is None:
        context.handle_events()
        time.sleep(0.01)
    assert process.stdout is not None
    assert process.stdout.read() == (
        '{\n\t"l": [\n\t\t\n\t],\n\t"t": {\n\t\t\n\t},\n\t"n": null,\n\t"f": 0.100000,\n'
        '\t"b": [\n\t\ttrue,\n\t\tfalse\n\t],\n\t"d": {\n\t\t"a": [\n\t\t\t{\n\t\t\t\t\n\t\t\t}'
        "\n\t\t]\n\t}\n}\n"
    )


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["demo", "broken"], 9, "Unknown error"),
        (["demo", "nope"], 3, "Method not found"),
        (["demo", "hi", "{}"], 2, "Invalid argument"),
        (["demo", "hi", "{"], 12, "Parsing message data failed"),
        (["demo", "hi", "[]"], 12, "Parsing message data failed"),
        (["demo", "hi", ""], 12, "Parsing message data failed"),
    ],
)
def test_a_failed_call(
    ubus: str, ubusd: Ubusd, demo: None, words: list[str], status: int, text: str
) -> None:
    told = f"Command failed: ubus call {' '.join(words)} ({text})\n"
    code, out, err = run(ubus, ubusd, "call", *words)
    assert (code, out, err[: len(told)]) == (256 - status, "", told)
    assert bool(err[len(told) :]) == (status == 2)  # -2 is also "wrong usage" to the command
    assert run(ubus, ubusd, "-S", "call", *words) == (status, "", "")


def test_an_unknown_object_and_no_ubusd(ubus: str, ubusd: Ubusd) -> None:
    assert run(ubus, ubusd, "call", "none", "x") == (4, "", "Command failed: Not found\n")
    assert run(ubus, ubusd, "-S", "call", "none", "x") == (4, "", "")
    ubusd.kill()
    assert run(ubus, ubusd, "list") == (255, "", "Failed to connect to ubus\n")
    assert run(ubus, ubusd, "-S", "list") == (255, "", "")


def test_what_json_is_taken(ubus: str, ubusd: Ubusd, demo: None) -> None:
    """json-c is lenient about what follows."""
    assert run(ubus, ubusd, "-S", "call", "demo", "quiet", "{} and more")[0] == 0
    assert run(ubus, ubusd, "-S", "call", "demo", "quiet", " {}")[0] == 0


def test_time_out(ubus: str, ubusd: Ubusd, caller: Caller) -> None:
    from openwrt.libubus import Context, Published

    sleepy = Context(ubusd.path)
    sleepy.add_object(Published(frozenset(["go"]), lambda _: 0, "sleepy"), wire.field("go", 2, b""))
    started = time.monotonic()
    told = "Command failed: ubus call sleepy go (Request timed out)\n"
    assert run(ubus, ubusd, "-t", "1", "call", "sleepy", "go") == (249, "", told)
    assert 0.9 < time.monotonic() - started < 3


def test_listen_and_send(ubus: str, ubusd: Ubusd) -> None:
    listener = subprocess.Popen(
        [ubus, "-s", ubusd.path, "listen", "lab.*", "exact"], stdout=subprocess.PIPE, text=True
    )
    assert listener.stdout is not None
    time.sleep(0.7)
    assert run(ubus, ubusd, "send", "other") == (0, "", "")
    assert run(ubus, ubusd, "send", "lab.x", '{"a":[1,"é"],"b":{}}') == (0, "", "")
    assert run(ubus, ubusd, "send", "exact") == (0, "", "")
    assert listener.stdout.readline() == '{ "lab.x": {"a":[1,"é"],"b":{}} }\n'
    assert listener.stdout.readline() == '{ "exact": {} }\n'
    listener.terminate()
    listener.wait(5)
    failed = "Command failed: Parsing message data failed\n"
    assert run(ubus, ubusd, "send", "x", "nonsense") == (12, "", failed)
    denied = "Command failed: Permission denied\n"
    assert run(ubus, ubusd, "send", "ubus.object.add") == (6, "", denied)


def test_listen_for_a_time(ubus: str, ubusd: Ubusd) -> None:
    assert run(ubus, ubusd, "-t", "1", "listen") == (0, "", "")


def test_wait_for(ubus: str, ubusd: Ubusd, demo: None) -> None:
    assert run(ubus, ubusd, "wait_for", "demo") == (0, "", "")
    told = "Command failed: Request timed out\n"
    assert run(ubus, ubusd, "-t", "1", "wait_for", "demo", "none") == (7, "", told)
    waiting = subprocess.Popen([ubus, "-s", ubusd.path, "-t", "8", "wait_for", "late"])
    time.sleep(0.5)
    from openwrt.libubus import Context, Published

    Context(ubusd.path).add_object(Published(frozenset(), lambda _: 0, "late"))
    assert waiting.wait(5) == 0


def test_usage(ubus: str, ubusd: Ubusd) -> None:
    """1 without a command, 254 for an unknown one or a wrong number of words."""
    status, out, err = run(ubus, ubusd)
    assert (status, out) == (1, "")
    assert err.startswith(f"Usage: {ubus} [<options>] <command> [arguments...]\nOptions:\n -s <s")
    for words in (["bogus"], ["call", "x"], ["list", "a", "b"], ["send"], ["wait_for"]):
        assert run(ubus, ubusd, *words)[0] == 254


# -- uci -----------------------------------------------------------------------------------

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
