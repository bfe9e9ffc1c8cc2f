# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon's side of ubus: objects with methods, calls, events and notifications, in asyncio.

What the stand-ins for rpcd, netifd and procd share.  Like those (procd, netifd: reconnect in
`ubus.c` of each) it comes back by itself when ubusd was restarted, with all objects, within
`RETRY` seconds of ubusd's return.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import wire
from .wire import Attr, Attrs, Json, Message, Msg, Status, Type

log = logging.getLogger(__name__)

RETRY = 0.3  # seconds; procd and netifd wait 1 and 0.1

Reply = Mapping[str, Json] | None
Handler = Callable[[dict[str, Json]], Reply]


class Refused(Exception):
    """Raised by a handler to answer with a status other than OK."""

    def __init__(self, status: Status) -> None:
        super().__init__(wire.status_text(status))
        self.status = status


@dataclass(frozen=True)
class Method:
    """`signature` is a blobmsg policy: what has another type, or is not listed, is not seen.

    `accepts` are arguments taken but not shown on the bus.
    """

    handler: Handler
    signature: Mapping[str, Type] = field(default_factory=dict)
    accepts: Mapping[str, Type] = field(default_factory=dict)


@dataclass
class Published:
    path: str
    methods: Mapping[str, Method]
    ident: int = 0


class Peer:
    """Keeps one connection to ubusd, whenever there is a ubusd."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._objects: list[Published] = []
        self._by_id: dict[int, Published] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._seq = 0
        self._waiting: dict[tuple[int, int], _Wait] = {}
        self._registering = asyncio.Lock()
        self.registered = asyncio.Event()
        """Set while every object is on the bus."""

    # -- objects ---------------------------------------------------------------------------

    def publish(self, path: str, methods: Mapping[str, Method]) -> None:
        """Have this object on the bus from now on."""
        obj = Published(path, methods)
        self._objects.append(obj)
        if self._writer is not None:
            self.registered.clear()
            background(self._register())

    def withdraw(self, path: str) -> None:
        for obj in [each for each in self._objects if each.path == path]:
            self._objects.remove(obj)
            if self._by_id.pop(obj.ident, None) is not None:
                self._post(Msg.REMOVE_OBJECT, 0, wire.u32(Attr.OBJID, obj.ident))

    async def _add(self, obj: Published) -> None:
        signature = b"".join(
            wire.field(name, Type.TABLE, wire.encode_table({k: int(v) for k, v in m.items()}))
            for name, m in ((name, method.signature) for name, method in obj.methods.items())
        )
        body = wire.text(Attr.OBJPATH, obj.path) + wire.blob(Attr.SIGNATURE, signature)
        status, answers = await self._request(Msg.ADD_OBJECT, 0, body)
        if status:
            log.error("ubus: cannot add object %s: %s", obj.path, wire.status_text(status))
            return
        obj.ident = wire.get_u32(answers[0], Attr.OBJID) or 0
        self._by_id[obj.ident] = obj

    # -- what others are told --------------------------------------------------------------

    def event(self, name: str, data: Mapping[str, Json]) -> None:
        """Send an event; lost when ubusd is away, as in the originals."""
        event = wire.encode_table({"id": name, "data": data})
        body = wire.u32(Attr.OBJID, wire.EVENT_OBJECT) + wire.text(Attr.METHOD, "send")
        self._post(Msg.INVOKE, wire.EVENT_OBJECT, body + wire.blob(Attr.DATA, event))

    def notify(self, path: str, name: str, data: Mapping[str, Json]) -> None:
        """Tell the subscribers of one of our objects."""
        for obj in self._objects:
            if obj.path == path and obj.ident:
                body = wire.u32(Attr.OBJID, obj.ident) + wire.text(Attr.METHOD, name)
                body += wire.blob(Attr.DATA, wire.encode_table(data)) + wire.u8(Attr.NO_REPLY, 1)
                self._post(Msg.NOTIFY, obj.ident, body)

    async def call(
        self, path: str, method: str, arguments: dict[str, Json], timeout: float = 1.0
    ) -> int:
        """Call and forget the replies; the status (TIMEOUT after `timeout` seconds)."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                status, found = await self._request(Msg.LOOKUP, 0, wire.text(Attr.OBJPATH, path))
                if status:
                    return status
                ident = wire.get_u32(found[0], Attr.OBJID) or 0
                body = wire.u32(Attr.OBJID, ident) + wire.text(Attr.METHOD, method)
                body += wire.blob(Attr.DATA, wire.encode_table(arguments))
                status, _ = await self._request(Msg.INVOKE, ident, body)
                return status
        return Status.TIMEOUT

    # -- connection ------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, and connect again, until cancelled."""
        while True:
            try:
                reader, self._writer = await asyncio.open_unix_connection(self._path)
                reading = asyncio.create_task(self._read(reader))
                try:
                    await asyncio.wait({reading, asyncio.create_task(self._register())})
                finally:
                    reading.cancel()
            except OSError:
                pass
            self._lost()
            await asyncio.sleep(RETRY)

    async def _register(self) -> None:
        async with self._registering:
            for obj in list(self._objects):
                if not obj.ident:
                    await self._add(obj)
        if self._writer is not None and all(obj.ident for obj in self._objects):
            self.registered.set()

    def _lost(self) -> None:
        self.registered.clear()
        self._by_id.clear()
        for obj in self._objects:
            obj.ident = 0
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for wait in self._waiting.values():
            if not wait.done.done():
                wait.done.set_result(Status.CONNECTION_FAILED)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        framer = wire.Framer()
        while data := await reader.read(65536):
            framer.feed(data)
            while (message := framer.next()) is not None:
                self._process(message)
        self._lost()

    def _process(self, message: Message) -> None:
        if message.type == Msg.INVOKE:
            self._invoked(message)
            return
        wait = self._waiting.get((message.seq, message.peer))
        if wait is None:
            return
        attrs = message.attrs()
        if message.type == Msg.DATA:
            wait.answers.append(attrs)
        elif message.type == Msg.STATUS and not wait.done.done():
            wait.done.set_result(wire.get_u32(attrs, Attr.STATUS) or 0)

    def _invoked(self, message: Message) -> None:
        attrs = message.attrs()
        ident, name = wire.get_u32(attrs, Attr.OBJID), wire.get_text(attrs, Attr.METHOD)
        obj = self._by_id.get(ident or 0)
        if ident is None:
            return
        method = obj.methods.get(name or "") if obj is not None else None
        owner = wire.u32(Attr.OBJID, ident)
        status = Status.OK
        if obj is None or method is None:
            status = Status.NOT_FOUND if obj is None else Status.METHOD_NOT_FOUND
        else:
            try:
                reply = method.handler(_chosen(method, attrs.get(Attr.DATA, b"")))
                if reply is not None:
                    data = wire.blob(Attr.DATA, wire.encode_table(reply))
                    self._write(Message(Msg.DATA, message.seq, message.peer, owner + data))
            except Refused as error:
                status = error.status
            except Exception:
                log.exception("ubus: %s %s failed", obj.path, name)
                status = Status.UNKNOWN_ERROR
        body = wire.u32(Attr.STATUS, status) + owner
        self._write(Message(Msg.STATUS, message.seq, message.peer, body))

    # -- requests --------------------------------------------------------------------------

    def _post(self, kind: Msg, peer: int, body: bytes) -> int:
        self._seq = self._seq + 1 & 0xFFFF
        self._write(Message(kind, self._seq, peer, body))
        return self._seq

    async def _request(self, kind: Msg, peer: int, body: bytes) -> tuple[int, list[Attrs]]:
        if self._writer is None:
            return Status.CONNECTION_FAILED, []
        wait = _Wait(asyncio.get_running_loop().create_future())
        key = (self._post(kind, peer, body), peer)
        self._waiting[key] = wait
        try:
            return await wait.done, wait.answers
        finally:
            del self._waiting[key]

    def _write(self, message: Message) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(message.encode())


@dataclass
class _Wait:
    done: asyncio.Future[int]
    answers: list[Attrs] = field(default_factory=list)


def _chosen(method: Method, data: bytes) -> dict[str, Json]:
    """The arguments blobmsg_parse() would find: first of its name, of the right type."""
    chosen: dict[str, Json] = {}
    for item in wire.fields(data):
        kind = method.signature.get(item.name, method.accepts.get(item.name))
        if kind in (Type.UNSPEC, item.type) and item.name not in chosen:
            chosen[item.name] = item.value()
    return chosen


_tasks: set[asyncio.Task[Any]] = set()


def background(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Run it beside the rest (and keep it from the garbage collector)."""
    task = asyncio.get_running_loop().create_task(work)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task
