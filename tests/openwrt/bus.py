# SPDX-License-Identifier: GPL-2.0-or-later
"""What ubusd decides: who owns which object, and where each message goes.  No I/O.

Sources: `ubusd_proto.c`, `ubusd_obj.c`, `ubusd_event.c`, `ubusd_acl.c`.  Feed it messages with
`receive()`; it answers through the `send` function each client was made with.

Left out: ACL files (as without any, uid 0 may do all and others nothing but look around), the
ACL object, `ubus monitor`, and file descriptors that ride along.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Container

from . import wire
from .busobjects import Client, Object, ObjectType, Send
from .wire import Attr, Attrs, Message, Msg, Status, Type


def _random_id() -> int:
    return secrets.randbits(32)


class Bus:
    """The state of one ubusd."""

    def __init__(self, random_id: Callable[[], int] = _random_id) -> None:
        self._random_id = random_id
        self._clients: dict[int, Client] = {}
        self._objects: dict[int, Object] = {}
        self._types: dict[int, ObjectType] = {}
        self._paths: dict[str, Object] = {}
        self._event_seq = 0
        self._handlers: dict[int, Callable[[Client, Message, Attrs], Status | None]] = {
            Msg.PING: self._ping,
            Msg.LOOKUP: self._lookup,
            Msg.INVOKE: self._invoke,
            Msg.ADD_OBJECT: self._add_object,
            Msg.REMOVE_OBJECT: self._remove_object,
            Msg.SUBSCRIBE: self._subscribe,
            Msg.UNSUBSCRIBE: self._unsubscribe,
            Msg.NOTIFY: self._notify,
            Msg.STATUS: self._response,
            Msg.DATA: self._response,
        }

    # -- connections -----------------------------------------------------------------------

    def connect(self, send: Send, uid: int = 0, user: str = "root", group: str = "root") -> Client:
        client = Client(self._new_id(self._clients), send, uid, user, group)
        self._clients[client.ident] = client
        send(Message(Msg.HELLO, 0, client.ident))
        return client

    def disconnect(self, client: Client) -> None:
        """Everything the client had goes with it; callers it kept waiting hear nothing."""
        del self._clients[client.ident]
        for obj in list(client.objects):
            self._drop(obj)

    def receive(self, client: Client, message: Message) -> None:
        handler = self._handlers.get(message.type)
        attrs = message.attrs()
        status = handler(client, message, attrs) if handler else Status.INVALID_COMMAND
        if status is not None:
            body = wire.u32(Attr.STATUS, status)
            answer = Message(Msg.STATUS, message.seq, message.peer, body)
            client.send(answer, paced=message.type == Msg.LOOKUP)

    def _new_id(self, taken: Container[int]) -> int:
        while True:
            ident = self._random_id()
            if ident >= wire.FIRST_FREE_ID and ident not in taken:
                return ident

    # -- objects ---------------------------------------------------------------------------

    def _add_object(self, client: Client, message: Message, attrs: Attrs) -> Status | None:
        path = wire.get_text(attrs, Attr.OBJPATH)
        kind = None
        type_id = wire.get_u32(attrs, Attr.OBJTYPE)
        if type_id is not None:
            kind = self._types.get(type_id)
        elif Attr.SIGNATURE in attrs:
            kind = ObjectType(self._new_id(self._types), attrs[Attr.SIGNATURE])
        if path is not None and (path in self._paths or client.uid != 0):
            return Status.INVALID_ARGUMENT
        obj = Object(self._new_id(self._objects), client, path, kind)
        self._objects[obj.ident] = obj
        if kind is not None:
            self._types[kind.ident] = kind
            kind.users += 1
        if path is not None:
            self._paths[path] = obj
            self._send_object_event("ubus.object.add", obj)
        client.objects.append(obj)
        body = wire.u32(Attr.OBJID, obj.ident)
        if kind is not None and Attr.SIGNATURE in attrs:
            body += wire.u32(Attr.OBJTYPE, kind.ident)
        client.send(Message(Msg.DATA, message.seq, message.peer, body))
        return Status.OK

    def _remove_object(self, client: Client, message: Message, attrs: Attrs) -> Status | None:
        ident = wire.get_u32(attrs, Attr.OBJID)
        if ident is None:
            return Status.INVALID_ARGUMENT
        obj = self._objects.get(ident)
        if obj is None:
            return Status.NOT_FOUND
        if obj.owner is not client:
            return Status.PERMISSION_DENIED
        body = wire.u32(Attr.OBJID, ident)
        if obj.type is not None and obj.type.users == 1:
            body += wire.u32(Attr.OBJTYPE, obj.type.ident)
        client.send(Message(Msg.DATA, message.seq, message.peer, body))
        self._drop(obj)
        return Status.OK

    def _drop(self, obj: Object) -> None:
        for target in list(obj.targets):
            self._end_subscription(obj, target)
        for subscriber in list(obj.subscribers):
            subscriber.seq += 1
            body = wire.u32(Attr.OBJID, subscriber.ident) + wire.u32(Attr.TARGET, obj.ident)
            subscriber.owner.send(Message(Msg.UNSUBSCRIBE, subscriber.seq, 0, body))
            self._end_subscription(subscriber, obj)
        if obj.path is not None:
            self._send_object_event("ubus.object.remove", obj)
            del self._paths[obj.path]
        obj.owner.objects.remove(obj)
        del self._objects[obj.ident]
        if obj.type is not None:
            obj.type.users -= 1
            if obj.type.users == 0:
                del self._types[obj.type.ident]

    def _lookup(self, client: Client, message: Message, attrs: Attrs) -> Status | None:
        if Attr.OBJPATH not in attrs:
            pattern, known = "", sorted(self._paths)
        else:
            pattern = wire.c_text(attrs[Attr.OBJPATH])
            if not pattern:
                return Status.INVALID_ARGUMENT
            if pattern.endswith("*"):
                known = [path for path in sorted(self._paths) if path.startswith(pattern[:-1])]
            else:
                known = [pattern] if pattern in self._paths else []
        for path in known:
            self._describe(client, message, self._paths[path])
        return Status.OK if known or not pattern else Status.NOT_FOUND

    @staticmethod
    def _describe(client: Client, message: Message, obj: Object) -> None:
        if obj.type is None or obj.path is None:
            return
        signature = obj.type.signature
        if client.uid != 0 and signature:
            return  # no ACL grants any of its methods
        body = (
            wire.text(Attr.OBJPATH, obj.path)
            + wire.u32(Attr.OBJID, obj.ident)
            + wire.u32(Attr.OBJTYPE, obj.type.ident)
            + wire.blob(Attr.SIGNATURE, signature)
        )
        client.send(Message(Msg.DATA, message.seq, message.peer, body), paced=True)

    # -- calls -----------------------------------------------------------------------------

    @staticmethod
    def _ping(client: Client, message: Message, attrs: Attrs) -> Status | None:
        client.send(message._replace(type=Msg.DATA))
        return Status.OK

    def _invoke(self, client: Client, message: Message, attrs: Attrs) -> Status | None:
        ident = wire.get_u32(attrs, Attr.OBJID)
        method = wire.get_text(attrs, Attr.METHOD)
        if ident is None or method is None:
            return Status.INVALID_ARGUMENT
        if ident == wire.EVENT_OBJECT:
            return self._event_call(client, method, attrs.get(Attr.DATA))
        obj = self._objects.get(ident)
        if obj is None:
            return Status.NOT_FOUND
        if client.uid != 0 and obj.path is not None:
            return Status.PERMISSION_DENIED
        self._forward(client, obj, message.seq, method, attrs.get(Attr.DATA))
        return None

    @staticmethod
    def _forward(
        client: Client, obj: Object, seq: int, method: str, data: bytes | None, extra: bytes = b""
    ) -> None:
        body = extra + wire.u32(Attr.OBJID, obj.ident) + wire.text(Attr.METHOD, method)
        body += wire.text(Attr.USER, client.user) + wire.text(Attr.GROUP, client.group)
        if data is not None:
            body += wire.blob(Attr.DATA, data)
        obj.owner.send(Message(Msg.INVOKE, seq, client.ident, body))

    def _response(self, client: Client, message: Message, attrs: Attrs) -> Status | None:
        """Pass an owner's answer to the caller; what is not in order is dropped."""
        needed = Attr.STATUS if message.type == Msg.STATUS else Attr.DATA
        obj = self._objects.get(wire.get_u32(attrs, Attr.OBJID) or 0)
        caller = self._clients.get(message.peer)
        if needed in attrs and obj is not None and obj.owner is client and caller is not None:
            caller.send(message._replace(peer=obj.ident))
        return None

    # -- events ----------------------------------------------------------------------------

    def _event_call(self, client: Client, method: str, data: bytes | None) -> Status | None:
        if method not in ("register", "send"):
            return Status.INVALID_COMMAND
        given = {item.name: item for item in wire.fields(data or b"")}
        if method == "register":
            pattern, ident = given.get("pattern"), given.get("object")
            if not pattern or pattern.type != Type.STRING or not ident or ident.type != Type.INT32:
                return Status.INVALID_ARGUMENT
            obj_id = int.from_bytes(ident.payload, "big")
            return self._register(client, wire.c_text(pattern.payload), obj_id)
        name, event = given.get("id"), given.get("data")
        if not name or name.type != Type.STRING or not event or event.type != Type.TABLE:
            return Status.INVALID_ARGUMENT
        event_name = wire.c_text(name.payload)
        if event_name.startswith("ubus.") or client.uid != 0:
            return Status.PERMISSION_DENIED
        self._send_event(client, event_name, event.payload)
        return Status.OK

    def _register(self, client: Client, pattern: str, ident: int) -> Status:
        if ident < wire.FIRST_FREE_ID:
            return Status.PERMISSION_DENIED
        obj = self._objects.get(ident)
        if obj is None:
            return Status.NOT_FOUND
        if obj.owner is not client or not pattern or client.uid != 0:
            return Status.PERMISSION_DENIED
        obj.patterns.append(pattern)
        return Status.OK

    def _send_object_event(self, name: str, obj: Object) -> None:
        signed = obj.ident - (1 << 32 if obj.ident >> 31 else 0)  # INT32, as JSON shows it
        self._send_event(None, name, wire.encode_table({"id": signed, "path": obj.path}))

    def _send_event(self, sender: Client | None, name: str, data: bytes) -> None:
        """Once to each object with a matching pattern, never back to the sender."""
        for obj in list(self._objects.values()):
            if obj.owner is sender or not any(_matches(name, each) for each in obj.patterns):
                continue
            self._event_seq += 1
            body = wire.u32(Attr.OBJID, obj.ident) + wire.text(Attr.METHOD, name)
            body += wire.blob(Attr.DATA, data)
            obj.owner.send(Message(Msg.INVOKE, self._event_seq, 0, body))

    # -- subscriptions ---------------------------------------------------------------------

    def _pair(self, client: Client, attrs: Attrs) -> tuple[Object | None, int | None, Status]:
        ident, target = wire.get_u32(attrs, Attr.OBJID), wire.get_u32(attrs, Attr.TARGET)
        if ident is None or target is None:
            return None, None, Status.INVALID_ARGUMENT
        obj = self._objects.get(ident)
        if obj is None:
            return None, None, Status.NOT_FOUND
        return obj, target, Status.OK if obj.owner is client else Status.INVALID_ARGUMENT

    def _subscribe(self, client: Client, message: Message, attrs: Attrs) -> Status | None:
        obj, ident, status = self._pair(client, attrs)
        if status or obj is None or ident is None:
            return status
        target = self._objects.get(ident)
        if target is None or (client.uid != 0 and target.path is not None):
            return Status.NOT_FOUND
        if target.owner is client:
            return Status.INVALID_ARGUMENT
        target.subscribers.insert(0, obj)
        obj.targets.append(target)
        if len(target.subscribers) == 1:
            self._tell_publisher(target)
        return Status.OK

    def _unsubscribe(self, client: Client, message: Message, attrs: Attrs) -> Status | None:
        obj, ident, status = self._pair(client, attrs)
        if status or obj is None:
            return status
        for target in obj.targets:
            if target.ident == ident:
                self._end_subscription(obj, target)
                return Status.OK
        return Status.NOT_FOUND

    def _end_subscription(self, obj: Object, target: Object) -> None:
        obj.targets.remove(target)
        target.subscribers.remove(obj)
        if not target.subscribers:
            self._tell_publisher(target)

    @staticmethod
    def _tell_publisher(obj: Object) -> None:
        obj.seq += 1
        body = wire.u32(Attr.OBJID, obj.ident) + wire.u8(Attr.ACTIVE, bool(obj.subscribers))
        obj.owner.send(Message(Msg.NOTIFY, obj.seq, 0, body))

    def _notify(self, client: Client, message: Message, attrs: Attrs) -> Status | None:
        ident, method = wire.get_u32(attrs, Attr.OBJID), wire.get_text(attrs, Attr.METHOD)
        if ident is None or method is None:
            return Status.INVALID_ARGUMENT
        obj = self._objects.get(ident)
        if obj is None:
            return Status.NOT_FOUND
        if obj.owner is not client:
            return Status.PERMISSION_DENIED
        silent = attrs.get(Attr.NO_REPLY, b"\0") != b"\0"
        if not silent:
            ids = b"".join(wire.u32(0, each.ident) for each in obj.subscribers)
            body = wire.u32(Attr.OBJID, ident) + wire.blob(Attr.SUBSCRIBERS, ids)
            body += wire.u32(Attr.STATUS, Status.OK)
            client.send(Message(Msg.STATUS, message.seq, message.peer, body))
        extra = wire.u8(Attr.NO_REPLY, 1) if silent else b""
        for each in list(obj.subscribers):
            self._forward(client, each, message.seq, method, attrs.get(Attr.DATA), extra)
        return None


def _matches(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
