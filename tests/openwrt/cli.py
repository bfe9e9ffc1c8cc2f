# SPDX-License-Identifier: GPL-2.0-or-later
"""What the `ubus` command does; `bin/ubus` starts it.

Source: `ubus/cli.c`.  Output and exit codes are the real one's: with -S (or a terminal on
stderr) a failed call exits with its status, else with 256 minus the status and a line that
names the command.
"""

from __future__ import annotations

import getopt
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from . import jsontext, wire
from .broker import DEFAULT_SOCKET
from .libubus import Context, Found, Published, Request, poll_readable
from .wire import Field, Status, Type

_USAGE_EXIT = -2

_USAGE = """\
Usage: {} [<options>] <command> [arguments...]
Options:
 -s <socket>:		Set the unix domain socket to connect to
 -t <timeout>:		Set the timeout (in seconds) for a command to complete
 -S:			Use simplified output (for scripts)
 -v:			More verbose output

Commands:
 - list [<path>]			List objects
 - call <path> <method> [<message>]	Call an object method
 - subscribe <path> [<path>...]	Subscribe to object(s) notifications
 - listen [<path>...]			Listen for events
 - send <type> [<message>]		Send an event
 - wait_for <object> [<object>...]	Wait for multiple objects to appear on ubus

"""


@dataclass
class Options:
    socket: str = DEFAULT_SOCKET
    timeout: int = 30
    listen_timeout: int = 0
    simple: bool = False
    verbose: bool = False


def _type_name(item: Field) -> str | None:
    """cli.c knows these names; anything else, double included, is "(unknown)"."""
    names = {
        Type.INT8: "Boolean", Type.INT32: "Integer", Type.STRING: "String",
        Type.ARRAY: "Array", Type.TABLE: "Table",
    }  # fmt: skip
    if item.type != Type.INT32:
        return None
    value = item.value()
    known = {int(kind): name for kind, name in names.items()}
    return f'"{known.get(value, "(unknown)") if isinstance(value, int) else "(unknown)"}"'


def _list(context: Context, options: Options, arguments: list[str]) -> int:
    if len(arguments) > 1:
        return _USAGE_EXIT

    def show(found: Found) -> None:
        if options.simple or not options.verbose:
            print(found.path)
            return
        print(f"'{found.path}' @{found.ident:08x}")
        for method in wire.fields(found.signature):
            print("\t" + jsontext.dumps_field(method, custom=_type_name))

    return context.lookup(arguments[0] if arguments else None, show)


def _call(context: Context, options: Options, arguments: list[str]) -> int:
    if not 2 <= len(arguments) <= 3:
        return _USAGE_EXIT
    data = jsontext.loads(arguments[2]) if len(arguments) == 3 else b""
    if data is None:
        return _call_error(options, arguments, Status.PARSE_ERROR)
    status, ident = context.lookup_id(arguments[0])
    if status:
        return status

    def show(reply: bytes) -> None:
        _write(jsontext.dumps(reply, None if options.simple else 0))

    status = context.invoke(ident, arguments[1], data, show, options.timeout * 1000)
    return _call_error(options, arguments, status) if status else 0


def _call_error(options: Options, arguments: list[str], status: int) -> int:
    if options.simple or os.isatty(2):
        return status
    words = "".join(f"{word} " for word in arguments)
    print(f"Command failed: ubus call {words}({wire.status_text(status)})", file=sys.stderr)
    return -status


def _write(text: str) -> None:
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape") + b"\n")
    sys.stdout.buffer.flush()


def _print_event(request: Request) -> int:
    _write(f'{{ "{request.method}": {jsontext.dumps(request.data)} }}')
    return 0


def _run(context: Context, seconds: int, done: Callable[[], bool] = lambda: False) -> None:
    """Handle what comes in for so long (0: for ever), until `done` or the bus is gone."""
    end = time.monotonic() + seconds if seconds else None
    while not done() and not context.eof:
        left = -1 if end is None else int((end - time.monotonic()) * 1000)
        if end is not None and left <= 0:
            return
        if not context.has_pending:
            poll_readable(context.socket.fileno(), left)
        context.handle_events()


def _listen(context: Context, options: Options, arguments: list[str]) -> int:
    receiver = Published(None, _print_event)
    for pattern in arguments or ["*"]:
        status = context.register_event(receiver, pattern)
        if status:
            return _register_error(options, pattern, status)
    _run(context, options.listen_timeout)
    return 0


def _register_error(options: Options, name: str, status: int) -> int:
    if not options.simple:
        print(
            f"Error while registering for event '{name}': {wire.status_text(status)}",
            file=sys.stderr,
        )
    return -1


def _subscribe(context: Context, options: Options, arguments: list[str]) -> int:
    if not arguments:
        if not options.simple:
            print("You need to specify an object to subscribe to", file=sys.stderr)
        return -1
    receiver = Published(None, _print_event)
    context.add_object(receiver)
    for path in arguments:
        status, ident = context.lookup_id(path)
        status = status or context.subscribe(receiver, ident)
        if status:
            return _register_error(options, path, status)
    _run(context, options.listen_timeout)
    return 0


def _send(context: Context, options: Options, arguments: list[str]) -> int:
    if not 1 <= len(arguments) <= 2:
        return _USAGE_EXIT
    data = jsontext.loads(arguments[1]) if len(arguments) == 2 else b""
    if data is None:
        return Status.PARSE_ERROR
    return context.send_event(arguments[0], data)


def _wait_for(context: Context, options: Options, arguments: list[str]) -> int:
    if not arguments:
        return _USAGE_EXIT
    waiting = set(arguments)

    def on_event(request: Request) -> int:
        waiting.discard(str(wire.table(request.data).get("path")))
        return 0

    status = context.register_event(Published(None, on_event), "ubus.object.add")
    status = status or context.lookup(None, lambda found: waiting.discard(found.path))
    if status or not waiting:
        return status
    _run(context, options.timeout, lambda: not waiting)
    return Status.TIMEOUT if waiting else 0


_COMMANDS: dict[str, Callable[[Context, Options, list[str]], int]] = {
    "list": _list,
    "call": _call,
    "listen": _listen,
    "subscribe": _subscribe,
    "send": _send,
    "wait_for": _wait_for,
}


def main(argv: list[str]) -> int:
    """Run the command; the exit status, negative as in C (255 is -1)."""
    options = Options()
    try:
        flags, words = getopt.gnu_getopt(argv[1:], "m:M:vs:t:S")
    except getopt.GetoptError:
        return _usage(argv[0])
    for flag, value in flags:
        if flag == "-s":
            options.socket = value
        elif flag == "-t":
            options.timeout = options.listen_timeout = _atoi(value)
        elif flag == "-S":
            options.simple = True
        elif flag == "-v":
            options.verbose = True
    if not words:
        return _usage(argv[0])
    try:
        context = Context(options.socket)
    except OSError:
        if not options.simple:
            print("Failed to connect to ubus", file=sys.stderr)
        return -1 & 0xFF
    command = _COMMANDS.get(words[0])
    try:
        status = command(context, options, words[1:]) if command else _USAGE_EXIT
    except KeyboardInterrupt:
        return 0
    sys.stdout.flush()
    if status > 0 and not options.simple:
        print(f"Command failed: {wire.status_text(status)}", file=sys.stderr)
    elif status == _USAGE_EXIT:
        _usage(argv[0])
    return status & 0xFF


def _atoi(text: str) -> int:
    digits = text.strip()
    return int(digits) if digits.lstrip("-").isdigit() else 0


def _usage(program: str) -> int:
    print(_USAGE.format(program), file=sys.stderr, end="")
    return 1
