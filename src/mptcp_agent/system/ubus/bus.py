# SPDX-License-Identifier: GPL-2.0-or-later
"""ubus through python3-ubus, made fit for an event loop.

The binding has habits that decide this file (found against a real ubusd):

- one connection per process, one thread only; ``call`` blocks, so it always gets a timeout;
- no file descriptor accessor: the new socket is found by comparing /proc/self/fd;
- only ``loop(0)`` is safe (``loop(n)`` runs uloop, which reaps every child process), and it
  has to follow every other call, because messages that came meanwhile wait inside;
- when ubusd dies nothing raises and the descriptor stays readable for ever: end of file is
  found by peeking at a duplicate of the descriptor;
- a handler must reply with a dict before it returns, and its signature must match exactly;
  uhttpd adds ``ubus_rpc_session`` to every call, hence a twin object for LuCI.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ...core.ubus import Reply
from ...errors import BusError

ubus: Any
try:
    ubus = importlib.import_module("ubus")
except ImportError:  # said in words by Bus.connect
    ubus = None

Handler = Callable[[], Mapping[str, object]]
Listener = Callable[[str, Reply], None]

#: Milliseconds for one call. rpcd, netifd and procd answer in a few; the whole agent waits.
TIMEOUT = 2000

STRING = 3  # BLOBMSG_TYPE_STRING of libubox


class Bus:
    """The connection to ubusd. Not thread-safe: use it from one thread."""

    def __init__(self, socket_path: str | None = None) -> None:
        self._path = socket_path
        self._peek: socket.socket | None = None

    @property
    def connected(self) -> bool:
        return self._peek is not None

    def fileno(self) -> int:
        """Descriptor to watch for reading (level-triggered)."""
        if self._peek is None:
            raise BusError("not connected to ubusd")
        return self._peek.fileno()

    def connect(self) -> None:
        """Connect; BusError where ubusd is not there."""
        if ubus is None:
            raise BusError("the Python module ubus is missing: install python3-ubus")
        before = _sockets()
        try:
            ubus.connect(self._path) if self._path else ubus.connect()
        except (RuntimeError, OSError) as error:
            message = " ".join(str(error).split())
            raise BusError(f"ubusd does not answer ({message}): is it running?") from error
        new = _sockets() - before
        if len(new) != 1:
            ubus.disconnect(False)
            raise BusError("the socket of the ubus connection was not found in /proc/self/fd")
        self._peek = socket.socket(fileno=os.dup(new.pop()))

    def disconnect(self, *, orderly: bool = True) -> None:
        """Close. ``orderly`` False after ubusd died: nobody is there to deregister from."""
        if self._peek is None:
            return
        self._peek.close()
        self._peek = None
        # The connection is gone either way.
        with contextlib.suppress(RuntimeError, OSError):
            ubus.disconnect(orderly)

    def alive(self) -> bool:
        """Whether ubusd still holds the other end."""
        if self._peek is None:
            return False
        try:
            return self._peek.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def dispatch(self) -> None:
        """Handle what has arrived; handlers and listeners run inside."""
        ubus.loop(0)

    def call(self, object_: str, method: str, arguments: Mapping[str, object]) -> Reply:
        """Call a method and return its reply ({} where it sends none).

        Raises BusError with the object, the method and what ubus said.
        """
        if self._peek is None:
            raise BusError(f"{object_} {method}: not connected to ubusd")
        try:
            replies = ubus.call(object_, method, dict(arguments), TIMEOUT)
        except (RuntimeError, OSError, SystemError, TypeError) as error:
            raise BusError(f"ubus call {object_} {method}: {error}") from error
        finally:
            self.dispatch()
        first = replies[0] if replies else None
        return first if isinstance(first, dict) else {}

    def publish(self, name: str, handlers: Mapping[str, Handler]) -> None:
        """Add object ``name`` for programs, and ``luci.name`` for uhttpd, with methods that
        take no argument of ours."""
        for object_, signature in ((name, {}), (f"luci.{name}", {"ubus_rpc_session": STRING})):
            methods = {
                method: {"signature": signature, "method": _reply_with(handler)}
                for method, handler in handlers.items()
            }
            try:
                ubus.add(object_, methods)
            except (RuntimeError, OSError) as error:
                raise BusError(f"could not add the ubus object {object_}: {error}") from error
        self.dispatch()

    def listen(self, events: Iterable[str], listener: Listener) -> None:
        """Call ``listener(event, data)`` for events matching one of the patterns."""
        try:
            ubus.listen(*((event, listener) for event in events))
        except (RuntimeError, OSError) as error:
            raise BusError(f"could not listen to ubus events: {error}") from error
        self.dispatch()

    def send(self, event: str, data: Mapping[str, object]) -> None:
        """Send an event; lost, not raised, where ubusd is away."""
        if self._peek is None:
            return
        try:
            ubus.send(event, dict(data))
        except (RuntimeError, OSError):
            return
        self.dispatch()


def _reply_with(handler: Handler) -> Callable[[Any, Reply], None]:
    """A binding callback: errors travel inside the reply, since no status can be chosen."""

    def callback(request: Any, _arguments: Reply) -> None:
        try:
            reply = dict(handler())
        except Exception as error:  # the binding would print it and answer "unknown error"
            reply = {"error": f"{type(error).__name__}: {error}"}
        request.reply(reply)

    return callback


def _sockets() -> set[int]:
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if str(entry.readlink()).startswith("socket:"):
                found.add(int(entry.name))
        except OSError:
            continue  # the descriptor of this very listing
    return found
