# SPDX-License-Identifier: GPL-2.0-or-later
"""Stand-in for the `ubus` extension module (PyPI `ubus` 0.1.3, OpenWrt's python3-ubus).

Put this folder on PYTHONPATH and `import ubus` finds it.  Same functions, same constants, same
habits, told apart only by `ubus.__file__`; the contract tests run one set of cases on both.
Two mistakes that the real one turns into riddles end at once here, with a word on stderr: use
from a second thread (there: hangs or wrong replies) and disconnect() inside a handler (there: a
crash).
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

_TESTS = str(Path(__file__).resolve().parents[2])
if _TESTS not in sys.path:
    sys.path.append(_TESTS)

from openwrt import jsontext, wire  # noqa: E402
from openwrt.libubus import Context, Found, Published, Request, poll_readable  # noqa: E402
from openwrt.wire import Field, Status  # noqa: E402

__all__ = [
    "add", "call", "connect", "disconnect", "get_connected", "get_socket_path", "listen", "loop",
    "objects", "send",
]  # fmt: skip

BLOBMSG_TYPE_UNSPEC = 0
BLOBMSG_TYPE_ARRAY = 1
BLOBMSG_TYPE_TABLE = 2
BLOBMSG_TYPE_STRING = 3
BLOBMSG_TYPE_INT64 = 4
BLOBMSG_TYPE_INT32 = 5
BLOBMSG_TYPE_INT16 = 6
BLOBMSG_TYPE_INT8 = 7
BLOBMSG_TYPE_BOOL = 7
BLOBMSG_TYPE_DOUBLE = 8

_DEFAULT_SOCKET = "/var/run/ubus/ubus.sock"
_ADD_USAGE = (
    "Incorrect method arguments!\nExpected:\n\t(<obj_name>, { \t<method_name>: "
    "{'signature': <method_signature>, 'method': <callable>}, ...})"
)
_LISTEN_USAGE = "Expected (event, callback) tuple"


class Error(Exception):
    """Made by the real module too, and raised by neither."""


class _State:
    """The one connection of this process."""

    def __init__(self, context: Context, path: str) -> None:
        self.context = context
        self.path = path
        self.thread = threading.get_ident()
        self.published: list[Published] = []
        self.listeners: list[Published] = []
        self.in_handler = 0
        self.cancelled = False
        self.old_signals: dict[int, Any] = {}


_state: _State | None = None
_socket_path: str | None = None


def _connected() -> _State:
    if _state is None:
        raise RuntimeError("You are not connected to ubus.")
    if _state.thread != threading.get_ident():
        message = "ubus: used from a second thread; the real module hangs or mixes replies up"
        print(message, file=sys.stderr)
        raise RuntimeError(message)
    return _state


def _text(*values: object) -> None:
    """The C module takes nothing but str where it wants text."""
    for value in values:
        if not isinstance(value, str):
            raise TypeError(f"argument must be str, not {type(value).__name__}")


def _to_ubus(data: object) -> bytes:
    blobmsg = jsontext.loads(json.dumps(data))
    if blobmsg is None:
        raise TypeError("Failed to create json for ubus.")
    return blobmsg


def _from_ubus(data: bytes) -> Any:
    """What json.loads() makes of libubox' text; ValueError where that is no JSON or no UTF-8."""
    return json.loads(jsontext.dumps(data).encode("utf-8", "surrogateescape").decode("utf-8"))


def connect(socket_path: str = _DEFAULT_SOCKET) -> bool:
    """Raises OSError when nothing answers there, RuntimeError when already connected."""
    global _state, _socket_path
    if _state is not None:
        raise RuntimeError("You are already connected to ubus.")
    _text(socket_path)
    try:
        context = Context(socket_path)
    except OSError:
        raise OSError(f"Failed to connect to the ubus socket '{socket_path}'\n") from None
    _state, _socket_path = _State(context, socket_path), socket_path
    _take_signals(_state)
    return True


def _take_signals(state: _State) -> None:
    """uloop_init() takes SIGINT and SIGTERM where they are at their C default."""

    def cancel(number: int, frame: FrameType | None) -> None:
        state.cancelled = True

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_DFL:
            with suppress(ValueError):  # not the main thread
                state.old_signals[number] = cancel
                signal.signal(number, cancel)


def disconnect(deregister: bool = True) -> None:
    global _state, _socket_path
    state = _connected()
    if not isinstance(deregister, bool):
        raise TypeError(f"argument 1 must be bool, not {type(deregister).__name__}")
    if state.in_handler:
        print("ubus: disconnect() inside a handler crashes the real module", file=sys.stderr)
        sys.stderr.flush()
        os.abort()
    if deregister:
        for obj in state.published + state.listeners:
            state.context.remove_object(obj)
    state.context.close()
    for number, ours in state.old_signals.items():
        if signal.getsignal(number) is ours:
            signal.signal(number, signal.SIG_DFL)
    _state = _socket_path = None


def get_connected() -> bool:
    """Between connect() and disconnect(), whatever became of ubusd."""
    return _state is not None


def get_socket_path() -> str | None:
    return _socket_path


# -- being called --------------------------------------------------------------------------


class _ResponseHandler:
    """What a method gets as its first argument."""

    def __init__(self) -> None:
        self._request: Request | None = None

    def reply(self, data: object) -> bool:
        _connected()
        blobmsg = _to_ubus(data)
        if self._request is None:
            raise RuntimeError("Handler is not linked to a call response.")
        return self._request.reply(blobmsg)


globals()["__ResponseHandler"] = _ResponseHandler


def add(object_name: str, methods: dict[str, dict[str, Any]]) -> None:
    """methods: {name: {"signature": {argument: BLOBMSG_TYPE_…}, "method": callable}}"""
    state = _connected()
    if not isinstance(object_name, str) or not _methods_are_valid(methods):
        raise TypeError(_ADD_USAGE)
    names = frozenset(methods)
    obj = Published(names, lambda request: _method(state, methods, request), object_name)
    signature = b"".join(
        wire.field(name, wire.Type.TABLE, wire.encode_table(method["signature"]))
        for name, method in methods.items()
    )
    status = state.context.add_object(obj, signature)
    if status:
        raise RuntimeError(f"ubus error occured: {wire.status_text(status)}")
    state.published.append(obj)


def _methods_are_valid(methods: object) -> bool:
    if not isinstance(methods, dict):
        return False
    for name, method in methods.items():
        if not isinstance(name, str) or not isinstance(method, dict) or len(method) != 2:
            return False
        signature = method.get("signature")
        if not isinstance(signature, dict) or not callable(method.get("method")):
            return False
        for argument, kind in signature.items():
            if not isinstance(argument, str) or not isinstance(kind, int):
                return False
            if not 0 <= kind <= BLOBMSG_TYPE_DOUBLE:
                return False
    return True


def _method(state: _State, methods: dict[str, dict[str, Any]], request: Request) -> int:
    method = methods.get(request.method)
    if method is None:
        return Status.METHOD_NOT_FOUND
    if not _fits(method["signature"], list(wire.fields(request.data))):
        return Status.INVALID_ARGUMENT
    try:
        arguments = _from_ubus(request.data)
    except ValueError:
        return Status.UNKNOWN_ERROR
    handler = _ResponseHandler()
    handler._request = request
    try:
        return Status.OK if _run(state, method["method"], handler, arguments) else (
            Status.UNKNOWN_ERROR
        )  # fmt: skip
    finally:
        handler._request = None


def _fits(signature: dict[str, int], given: list[Field]) -> bool:
    """Every listed argument, no other, each of its type; UNSPEC takes any type."""
    for item in given:
        kind = signature.get(item.name)
        if kind is None or kind not in (BLOBMSG_TYPE_UNSPEC, item.type):
            return False
    return len(given) == len(signature)


def _run(state: _State, function: Callable[..., object], *arguments: object) -> bool:
    """False when it raised; the traceback is on stderr then.  SystemExit ends the process."""
    state.in_handler += 1
    try:
        function(*arguments)
        return True
    except SystemExit as error:
        _exit(error)
    except BaseException:
        traceback.print_exc()
        return False
    finally:
        state.in_handler -= 1


def _exit(error: SystemExit) -> NoReturn:
    """As PyErr_Print() does: no `finally` further out runs, atexit does."""
    if error.code is not None and not isinstance(error.code, int):
        print(error.code, file=sys.stderr)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(error.code if isinstance(error.code, int) else error.code is not None)


def listen(*events: tuple[str, Callable[[str, Any], object]]) -> None:
    """listen(("pattern*", callback), …); a registration that fails is lost without a word."""
    state = _connected()
    if not events:
        raise TypeError("You need to set at least one event.")
    for item in events:
        if not isinstance(item, tuple) or len(item) != 2:
            raise TypeError(_LISTEN_USAGE)
        if not isinstance(item[0], str) or not callable(item[1]):
            raise TypeError(_LISTEN_USAGE)
    for pattern, callback in events:

        def on_event(request: Request, callback: Callable[[str, Any], object] = callback) -> int:
            with suppress(ValueError):
                _run(state, callback, request.method, _from_ubus(request.data))
            return Status.OK

        listener = Published(None, on_event)
        if state.context.register_event(listener, pattern) == Status.OK:
            state.listeners.append(listener)


# -- calling -------------------------------------------------------------------------------


def call(object: str, method: str, arguments: object, timeout: int = 0) -> list[Any]:
    """All replies.  timeout: ms for the invocation (not the look-up before it), 0 is for ever.

    Raises RuntimeError with one of the texts "Object 'x' was not found." and
    "ubus error occured: …".
    """
    state = _connected()
    _text(object, method)
    if timeout < 0:
        raise TypeError("timeout can't be lower than 0")
    status, ident = state.context.lookup_id(object)
    if status:
        raise RuntimeError(f"Object '{object}' was not found.")
    data = _to_ubus(arguments)
    replies: list[Any] = []
    broken: list[ValueError] = []

    def on_reply(reply: bytes) -> None:
        try:
            replies.append(_from_ubus(reply))
        except ValueError as error:
            broken.append(error)

    status = state.context.invoke(ident, method, data, on_reply, timeout)
    if status:
        raise RuntimeError(f"ubus error occured: {wire.status_text(status)}")
    if broken:
        name = "<built-in function call> returned a result with an exception set"
        raise SystemError(name) from broken[0]
    return replies


def send(event: str, data: object) -> bool:
    state = _connected()
    _text(event)
    return state.context.send_event(event, _to_ubus(data)) == Status.OK


def objects(path: str = "*") -> dict[str, dict[str, dict[str, int]]]:
    """{object: {method: {argument: type}}} of what matches; one `*` at the end is a wildcard."""
    state = _connected()
    _text(path)
    found: dict[str, Any] = {}

    def on_object(item: Found) -> None:
        found[item.path] = wire.table(item.signature)

    status = state.context.lookup(path, on_object)
    if status not in (Status.OK, Status.NOT_FOUND):
        raise RuntimeError(f"ubus error occured: {wire.status_text(status)}")
    return found


def loop(timeout: int = -1) -> None:
    """0: take what is there.  Else run uloop for so many ms (-1: until a signal), which also
    reaps every child of this process.

    A connection that is lost while a handler replies ends it; one that ubusd's end takes away does
    not, since libubox has forgotten the socket by then.
    """
    state = _connected()
    context = state.context
    if timeout == 0:
        context.handle_events()
        return
    state.cancelled = False
    end = time.monotonic() + timeout / 1000 if timeout > 0 else None
    while not state.cancelled and (end is None or time.monotonic() < end):
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        left = 0.1 if end is None else min(0.1, max(0.0, end - time.monotonic()))
        if context.eof:
            time.sleep(left)
            continue
        poll_readable(context.socket.fileno(), 0 if context.has_pending else int(left * 1000))
        context.handle_events()
        if context.lost_sending:
            break
