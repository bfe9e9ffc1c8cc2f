# SPDX-License-Identifier: GPL-2.0-or-later
"""The `ubus` command: what it prints and how it exits."""

from __future__ import annotations

import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from contract.binding import PROVIDER, Program
from contract.tools import OPENWRT, Caller, Ubusd
from openwrt import wire
from openwrt.libubus import Context, Published, Request
from openwrt.wire import Json
from toolkit.stopping import end


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
    sleepy = Context(ubusd.path)
    sleepy.add_object(Published(frozenset(["go"]), lambda _: 0, "sleepy"), wire.field("go", 2, b""))
    started = time.monotonic()
    told = "Command failed: ubus call sleepy go (Request timed out)\n"
    assert run(ubus, ubusd, "-t", "1", "call", "sleepy", "go") == (249, "", told)
    assert 0.9 < time.monotonic() - started < 10


def test_listen_and_send(ubus: str, ubusd: Ubusd) -> None:
    listener = subprocess.Popen(
        [ubus, "-s", ubusd.path, "listen", "lab.*", "exact"], stdout=subprocess.PIPE, text=True
    )
    assert listener.stdout is not None
    while not select.select([listener.stdout], [], [], 0)[0]:  # until it listens
        assert run(ubus, ubusd, "send", "exact", '{"early":true}') == (0, "", "")
    assert run(ubus, ubusd, "send", "other") == (0, "", "")
    assert run(ubus, ubusd, "send", "lab.x", '{"a":[1,"é"],"b":{}}') == (0, "", "")
    assert run(ubus, ubusd, "send", "exact") == (0, "", "")
    while (line := listener.stdout.readline()) == '{ "exact": {"early":true} }\n':
        pass
    assert line == '{ "lab.x": {"a":[1,"é"],"b":{}} }\n'
    assert listener.stdout.readline() == '{ "exact": {} }\n'
    end(listener, signal.SIGTERM, 5)
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
    context = Context(ubusd.path)
    context.add_object(Published(frozenset(), lambda _: 0, "late"))
    assert waiting.wait(10) == 0


def test_usage(ubus: str, ubusd: Ubusd) -> None:
    """1 without a command, 254 for an unknown one or a wrong number of words."""
    status, out, err = run(ubus, ubusd)
    assert (status, out) == (1, "")
    assert err.startswith(f"Usage: {ubus} [<options>] <command> [arguments...]\nOptions:\n -s <s")
    for words in (["bogus"], ["call", "x"], ["list", "a", "b"], ["send"], ["wait_for"]):
        assert run(ubus, ubusd, *words)[0] == 254
