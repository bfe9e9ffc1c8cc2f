# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that use the `ubus` module, to be run with the stand-in and with the real one."""

from __future__ import annotations

import json
import subprocess
import textwrap
from typing import Any

from contract.tools import Ubusd
from toolkit.stopping import end

PRELUDE = """
import json, os, signal, socket, subprocess, sys, threading, time
import ubus
PATH = sys.argv[1]
def show(*values): print(json.dumps(values), flush=True)
def attempt(function, *arguments, **named):
    try:
        return function(*arguments, **named)
    except BaseException as error:
        return [type(error).__name__, str(error)]
def serve(until=lambda: False, seconds=8):
    import select
    end = time.monotonic() + seconds
    fd = bus_fd()
    while not until() and time.monotonic() < end:
        select.select([fd], [], [], 0.05)
        ubus.loop(0)
def sockets():
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{fd}").startswith("socket:"):
                found.add(int(fd))
        except OSError:
            pass
    return found
_before = sockets()
def bus_fd():
    (fd,) = sockets() - _before
    return fd
"""

PROVIDER = """
ubus.connect(PATH)
S, I, U = ubus.BLOBMSG_TYPE_STRING, ubus.BLOBMSG_TYPE_INT32, ubus.BLOBMSG_TYPE_UNSPEC
calls = []
def hi(handler, arguments):
    calls.append(arguments)
    show(handler.reply({"got": arguments}))
def twice(handler, arguments):
    handler.reply({"n": 1}); handler.reply({"n": 2})
def quiet(handler, arguments): pass
def broken(handler, arguments): raise ValueError("on purpose")
def half(handler, arguments):
    handler.reply({"n": 1}); raise ValueError("after the reply")
def bad_reply(handler, arguments): show(attempt(handler.reply, [1]), attempt(handler.reply, "x"))
def leave(handler, arguments): sys.exit(7)
def keep(handler, arguments): kept.append(handler)
kept = []
def big(handler, arguments): handler.reply({"fill": "x" * arguments["n"]})
def plain(function, signature={}): return {"signature": signature, "method": function}
ubus.add("demo", {
    "hi": plain(hi, {"name": S, "n": I}), "any": plain(hi, {"v": U}), "twice": plain(twice),
    "quiet": plain(quiet), "broken": plain(broken), "half": plain(half),
    "bad_reply": plain(bad_reply), "leave": plain(leave), "keep": plain(keep),
    "big": plain(big, {"n": I}),
})
show("there")
"""


class Program:
    """A program with the module; its `show()` lines can be waited for."""

    def __init__(self, python: list[str], ubusd: Ubusd, source: str) -> None:
        self._process = subprocess.Popen(
            [*python, "-c", PRELUDE + textwrap.dedent(source), ubusd.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> list[Any]:
        assert self._process.stdout is not None
        text = self._process.stdout.readline()
        assert text, self.end()[2]
        return list(json.loads(text))

    def go(self) -> None:
        """Give a program that waits in sys.stdin.readline() its line."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def end(self, seconds: float = 20) -> tuple[int, list[list[Any]], str]:
        """Exit status, the lines not yet read, stderr."""
        try:
            out, err = self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        return self._process.returncode, [json.loads(text) for text in out.splitlines()], err

    def kill(self) -> None:
        end(self._process)


def run(python: list[str], ubusd: Ubusd, source: str) -> list[list[Any]]:
    """The lines a program shows; it must end well."""
    status, lines, err = Program(python, ubusd, source).end()
    assert status == 0, err
    return lines
