# SPDX-License-Identifier: GPL-2.0-or-later
"""A blocking ubus client with libubus' habits, for the `ubus` module and command.

Source: `libubus.c`, `libubus-io.c`, `libubus-req.c`, `libubus-obj.c`.  The habits that callers
notice are kept: calls and events that arrive while a request waits are put aside until
`handle_events()`; after a request `handle_events()` takes one message from the socket at a
time; when ubusd goes away nothing is raised, requests just fail.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from . import wire
from .wire import Attr, Attrs, Message, Msg, Status

_POLLIN, _POLLERR = 1, 8  # <poll.h>
_poll = ctypes.PyDLL(None).poll  # PyDLL keeps the GIL while it waits, as the C binding does

Handler = Callable[["Request"], int]


@dataclass(frozen=True)
class Request:
    """A call or event that came in; `reply` may be used until the handler returns."""

    context: Context
    object: int
    method: str
    data: bytes
    seq: int
    peer: int

    def reply(self, data: bytes) -> bool:
        body = wire.u32(Attr.OBJID, self.object) + wire.blob(Attr.DATA, data)
        return self.context.send(Message(Msg.DATA, self.seq, self.peer, body))


@dataclass
class Published:
    """An object of ours.  `methods` None: it takes any method name (an event receiver)."""

    methods: frozenset[str] | None
    handler: Handler
    path: str | None = None
    ident: int = 0


@dataclass(frozen=True)
class Found:
    """An object on the bus."""

    path: str
    ident: int
    signature: bytes


class Context:
    """One connection (struct ubus_context).

    Raises OSError when ubusd cannot be reached.
    """

    def __init__(self, path: str) -> None:
        self.eof = False
        self.lost_sending = False
        """It was a message of ours that found the connection gone."""
        self.cancel_poll = False
        self.stack_depth = 0
        self._seq = 0
        self._framer = wire.Framer()
        self._pending: deque[Message] = deque()
        self._objects: dict[int, Published] = {}
        self._waiting: dict[tuple[int, int], _Wait] = {}
        self.socket = socket.socket(socket.AF_UNIX)
        try:
            self.socket.connect(path)
            self._hello()
        except OSError:
            self.socket.close()
            raise
        self.socket.setblocking(False)

    def _hello(self) -> None:
        while (message := self._framer.next()) is None:
            data = self.socket.recv(12)
            if not data:
                raise ConnectionResetError("no HELLO")
            self._framer.feed(data)
        if message.type != Msg.HELLO:
            raise ConnectionAbortedError("not a ubus socket")

    def close(self) -> None:
        self.socket.close()

    # -- requests --------------------------------------------------------------------------

    def lookup(self, pattern: str | None, found: Callable[[Found], None]) -> int:
        body = b"" if pattern is None else wire.text(Attr.OBJPATH, pattern)

        def on_data(attrs: Attrs) -> None:
            path, ident = wire.get_text(attrs, Attr.OBJPATH), wire.get_u32(attrs, Attr.OBJID)
            if path is not None and ident is not None and Attr.OBJTYPE in attrs:
                found(Found(path, ident, attrs.get(Attr.SIGNATURE, b"")))

        return self.request(Msg.LOOKUP, 0, body, on_data)

    def lookup_id(self, path: str) -> tuple[int, int]:
        """(status, object id)"""
        ids: list[int] = []
        status = self.lookup(path, lambda found: ids.append(found.ident))
        return status, ids[-1] if ids else 0

    def invoke(
        self,
        ident: int,
        method: str,
        data: bytes,
        on_reply: Callable[[bytes], None] | None = None,
        timeout: int = 0,
    ) -> int:
        """Call a method; timeout in ms, 0 waits for ever."""
        body = wire.u32(Attr.OBJID, ident) + wire.text(Attr.METHOD, method)
        body += wire.blob(Attr.DATA, data)

        def on_data(attrs: Attrs) -> None:
            if on_reply is not None and Attr.DATA in attrs:
                on_reply(attrs[Attr.DATA])

        return self.request(Msg.INVOKE, ident, body, on_data, timeout)

    def send_event(self, name: str, data: bytes) -> int:
        event = wire.encode_field("id", name) + wire.field("data", wire.Type.TABLE, data)
        return self.invoke(wire.EVENT_OBJECT, "send", event)

    def add_object(self, obj: Published, signature: bytes = b"") -> int:
        body = b""
        if obj.path is not None:
            body = wire.text(Attr.OBJPATH, obj.path) + wire.blob(Attr.SIGNATURE, signature)

        def on_data(attrs: Attrs) -> None:
            obj.ident = wire.get_u32(attrs, Attr.OBJID) or 0
            self._objects[obj.ident] = obj

        return self.request(Msg.ADD_OBJECT, 0, body, on_data)

    def remove_object(self, obj: Published) -> int:
        def on_data(attrs: Attrs) -> None:
            self._objects.pop(obj.ident, None)

        return self.request(Msg.REMOVE_OBJECT, 0, wire.u32(Attr.OBJID, obj.ident), on_data)

    def subscribe(self, obj: Published, target: int) -> int:
        body = wire.u32(Attr.OBJID, obj.ident) + wire.u32(Attr.TARGET, target)
        return self.request(Msg.SUBSCRIBE, 0, body)

    def register_event(self, obj: Published, pattern: str) -> int:
        """Make `obj` a receiver of the events that match; it is added when it is new."""
        if not obj.ident and (status := self.add_object(obj)):
            return status
        signed = obj.ident - (1 << 32 if obj.ident >> 31 else 0)
        data = wire.encode_table({"object": signed, "pattern": pattern})
        return self.invoke(wire.EVENT_OBJECT, "register", data)

    def request(
        self,
        kind: Msg,
        peer: int,
        body: bytes,
        on_data: Callable[[Attrs], None] | None = None,
        timeout: int = 0,
    ) -> int:
        """Send and wait for the STATUS; calls to us that arrive meanwhile are put aside."""
        if len(body) + 4 > wire.MAX_BLOB:
            return Status.INVALID_ARGUMENT
        self._seq = self._seq + 1 & 0xFFFF
        if not self.send(Message(kind, self._seq, peer, body)):
            return Status.INVALID_ARGUMENT
        key = (self._seq, peer)
        wait = self._waiting[key] = _Wait(on_data)
        end = time.monotonic() + timeout / 1000 if timeout else None
        self.stack_depth += 1
        try:
            while wait.status is None:
                left = -1 if end is None else int((end - time.monotonic()) * 1000)
                if end is not None and left <= 0:
                    wait.status = Status.TIMEOUT
                    break
                self.cancel_poll = False
                poll_readable(self.socket.fileno(), left)
                self.handle_events()
                if self.eof and wait.status is None:
                    wait.status = Status.CONNECTION_FAILED
                    self.cancel_poll = True
        finally:
            self.stack_depth -= 1
            self._waiting.pop(key, None)
        if self.stack_depth:
            self.cancel_poll = True
        return wait.status

    # -- what comes in ---------------------------------------------------------------------

    def handle_events(self) -> None:
        """Process what was put aside and what the socket has, as ubus_handle_event() does."""
        while True:
            if not self.stack_depth:
                self._process_pending()
            message = self._receive()
            if message is None:
                break
            self._process(message)
            if self.cancel_poll:
                break
        if not self.stack_depth:
            self._process_pending()

    @property
    def has_pending(self) -> bool:
        return bool(self._pending)

    def _process_pending(self) -> None:
        while self._pending and not self.stack_depth:
            self._process(self._pending.popleft())

    def _process(self, message: Message) -> None:
        if message.type in (Msg.STATUS, Msg.DATA):
            wait = self._waiting.get((message.seq, message.peer))
            if wait is None:
                return
            attrs = message.attrs()
            if message.type == Msg.DATA:
                if wait.on_data is not None:
                    wait.on_data(attrs)
                return
            status = wire.get_u32(attrs, Attr.STATUS)
            wait.status = Status.INVALID_ARGUMENT if status is None else status
            self.cancel_poll = True
        elif message.type == Msg.INVOKE:
            if self.stack_depth:
                self._pending.append(message)
                return
            self.stack_depth += 1
            try:
                self._invoked(message)
            finally:
                self.stack_depth -= 1

    def _invoked(self, message: Message) -> None:
        attrs = message.attrs()
        ident, method = wire.get_u32(attrs, Attr.OBJID), wire.get_text(attrs, Attr.METHOD)
        if ident is None:
            return
        obj = self._objects.get(ident)
        if obj is None:
            status: int = Status.NOT_FOUND
        elif method is None:
            status = Status.INVALID_ARGUMENT
        elif obj.methods is not None and method not in obj.methods:
            status = Status.METHOD_NOT_FOUND
        elif Attr.DATA not in attrs:
            status = Status.INVALID_ARGUMENT
        else:
            data = attrs[Attr.DATA]
            status = obj.handler(Request(self, ident, method, data, message.seq, message.peer))
            if attrs.get(Attr.NO_REPLY, b"\0") != b"\0":
                return
        body = wire.u32(Attr.STATUS, status) + wire.u32(Attr.OBJID, ident)
        self.send(Message(Msg.STATUS, message.seq, message.peer, body))

    # -- socket ----------------------------------------------------------------------------

    def _receive(self) -> Message | None:
        """The next message; None when the socket has none now.

        Never takes more bytes than the one message needs, so that the socket stays readable
        while another one is there.
        """
        try:
            while (message := self._framer.next()) is None:
                need = self._framer.missing()
                try:
                    data = self.socket.recv(need)
                except BlockingIOError:
                    if self._framer.is_empty():
                        return None
                    poll_readable(self.socket.fileno(), -1)
                    continue
                if not data:
                    self.eof = True
                    return None
                self._framer.feed(data)
        except (wire.WireError, OSError):
            self.eof = True
            return None
        return message

    def send(self, message: Message) -> bool:
        """False when the connection is gone."""
        self.socket.setblocking(True)
        try:
            self.socket.sendall(message.encode(), socket.MSG_NOSIGNAL)
        except OSError:
            self.eof = self.lost_sending = True
            return False
        finally:
            self.socket.setblocking(False)
        return True


@dataclass
class _Wait:
    on_data: Callable[[Attrs], None] | None
    status: int | None = None


def poll_readable(fileno: int, timeout: int) -> None:
    """poll(2) for reading, ms, -1 for ever, without letting go of the GIL."""
    pollfd = ctypes.create_string_buffer(struct.pack("ihh", fileno, _POLLIN | _POLLERR, 0))
    _poll(pollfd, 1, timeout)
