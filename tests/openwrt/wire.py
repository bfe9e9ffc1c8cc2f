# SPDX-License-Identifier: GPL-2.0-or-later
"""What travels on the ubus socket: messages, blob attributes, blobmsg fields.  No I/O.

Sources: `libubox/blob.h`, `libubox/blobmsg.h`, `ubusmsg.h`, checked against byte captures of
a real ubusd (tests/contract/test_wire.py holds them).  All integers are big-endian.

    message    version u8 (0) | type u8 | seq u16 | peer u32 | outer blob
    blob       u32 = extended << 31 | id << 24 | length, header included | payload | pad to 4
    blobmsg    a blob with the extended bit, its id a value type, its payload
               u16 name length | name | NUL | pad to 4 | value

The pad after a value is not counted in its own length but is in its parent's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

Json = None | bool | int | float | str | Mapping[str, "Json"] | Sequence["Json"]

MAX_BLOB = 1 << 20
"""Largest outer blob ubusd and libubus take, bytes (UBUS_MAX_MSGLEN)."""

FIRST_FREE_ID = 1024
"""Object, type and client ids below this are the bus's own (UBUS_SYSTEM_OBJECT_MAX)."""

EVENT_OBJECT = 1
MONITOR_OBJECT = 3


class Msg(IntEnum):
    """Message types (enum ubus_msg_type)."""

    HELLO = 0
    STATUS = 1
    DATA = 2
    PING = 3
    LOOKUP = 4
    INVOKE = 5
    ADD_OBJECT = 6
    REMOVE_OBJECT = 7
    SUBSCRIBE = 8
    UNSUBSCRIBE = 9
    NOTIFY = 10
    MONITOR = 11


class Attr(IntEnum):
    """Attributes of a message (enum ubus_msg_attr)."""

    STATUS = 1
    OBJPATH = 2
    OBJID = 3
    METHOD = 4
    OBJTYPE = 5
    SIGNATURE = 6
    DATA = 7
    TARGET = 8
    ACTIVE = 9
    NO_REPLY = 10
    SUBSCRIBERS = 11
    USER = 12
    GROUP = 13


class Type(IntEnum):
    """Value types of a blobmsg field (enum blobmsg_type); BOOL is INT8."""

    UNSPEC = 0
    ARRAY = 1
    TABLE = 2
    STRING = 3
    INT64 = 4
    INT32 = 5
    INT16 = 6
    INT8 = 7
    BOOL = 7
    DOUBLE = 8


class Status(IntEnum):
    """Answers (enum ubus_msg_status); `text` is what ubus_strerror says."""

    OK = 0
    INVALID_COMMAND = 1
    INVALID_ARGUMENT = 2
    METHOD_NOT_FOUND = 3
    NOT_FOUND = 4
    NO_DATA = 5
    PERMISSION_DENIED = 6
    TIMEOUT = 7
    NOT_SUPPORTED = 8
    UNKNOWN_ERROR = 9
    CONNECTION_FAILED = 10
    NO_MEMORY = 11
    PARSE_ERROR = 12
    SYSTEM_ERROR = 13


_STATUS_TEXT = (
    "Success", "Invalid command", "Invalid argument", "Method not found", "Not found",
    "No response", "Permission denied", "Request timed out", "Operation not supported",
    "Unknown error", "Connection failed", "Out of memory", "Parsing message data failed",
    "System error",
)  # fmt: skip


def status_text(code: int) -> str:
    """The words of ubus_strerror() for a status code."""
    return _STATUS_TEXT[code] if 0 <= code < len(_STATUS_TEXT) else f"Unknown error: {code}"


Attrs = dict[int, bytes]
"""Payloads by attribute id."""


class WireError(Exception):
    """The stream cannot be ubus; both ends close the connection then."""


# -- blobs ---------------------------------------------------------------------------------


def _pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def blob(ident: int, payload: bytes, extended: bool = False) -> bytes:
    """One attribute with its trailing pad."""
    return _pad(struct.pack(">I", extended << 31 | ident << 24 | len(payload) + 4) + payload)


def u32(ident: int, value: int) -> bytes:
    return blob(ident, struct.pack(">I", value & 0xFFFFFFFF))


def u8(ident: int, value: int) -> bytes:
    return blob(ident, bytes([value]))


def text(ident: int, value: str) -> bytes:
    return blob(ident, _c_string(value))


def blobs(data: bytes) -> Iterator[tuple[int, bool, bytes]]:
    """(id, extended, payload) of each attribute; ends quietly at the first broken one."""
    offset = 0
    while offset + 4 <= len(data):
        (head,) = struct.unpack_from(">I", data, offset)
        length = head & 0xFFFFFF
        if length < 4 or offset + length > len(data):
            return
        yield head >> 24 & 0x7F, bool(head >> 31), data[offset + 4 : offset + length]
        offset += length + -length % 4


def _c_string(value: str) -> bytes:
    """Bytes up to the first NUL, plus NUL: C strings hold none inside."""
    return value.encode("utf-8", "surrogateescape").split(b"\0", 1)[0] + b"\0"


def c_text(payload: bytes) -> str:
    """A C string; bytes that are not UTF-8 survive as surrogates (PEP 383)."""
    return payload.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


# -- messages ------------------------------------------------------------------------------


class Message(NamedTuple):
    """One message; `body` is its attributes, still encoded."""

    type: int
    seq: int
    peer: int
    body: bytes = b""

    def encode(self) -> bytes:
        return struct.pack(
            ">BBHII", 0, self.type, self.seq & 0xFFFF, self.peer, len(self.body) + 4
        ) + self.body  # fmt: skip

    def attrs(self) -> Attrs:
        """Payload by attribute id; of doubled attributes the last one counts."""
        return {ident: payload for ident, _, payload in blobs(self.body)}


def get_u32(attrs: Mapping[int, bytes], ident: Attr) -> int | None:
    payload = attrs.get(ident)
    if payload is None or len(payload) != 4:
        return None
    return int.from_bytes(payload, "big")


def get_text(attrs: Mapping[int, bytes], ident: Attr) -> str | None:
    payload = attrs.get(ident)
    return None if payload is None or not payload.endswith(b"\0") else c_text(payload)


class Framer:
    """Cuts a byte stream into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def is_empty(self) -> bool:
        return not self._buffer

    def missing(self) -> int:
        """Bytes to read before `next()` can say more, at least 1."""
        if len(self._buffer) < 12:
            return 12 - len(self._buffer)
        (head,) = struct.unpack_from(">I", self._buffer, 8)
        return max(1, 8 + int(head & 0xFFFFFF) - len(self._buffer))

    def next(self) -> Message | None:
        """The next whole message, or None until more bytes are fed."""
        if len(self._buffer) < 12:
            return None
        _, kind, seq, peer, head = struct.unpack_from(">BBHII", self._buffer)
        length = head & 0xFFFFFF
        if not 4 <= length <= MAX_BLOB:
            raise WireError(f"outer blob of {length} bytes")
        if len(self._buffer) < 8 + length:
            return None
        body = bytes(self._buffer[12 : 8 + length])
        del self._buffer[: 8 + length]
        return Message(kind, seq, peer, body)


# -- blobmsg -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Field:
    """A named, typed value; inside an ARRAY the name is empty."""

    name: str
    type: int
    payload: bytes

    def value(self) -> Json:
        """As JSON would have it: INT8 is a bool, UNSPEC is None."""
        match self.type:
            case Type.ARRAY:
                return [item.value() for item in fields(self.payload)]
            case Type.TABLE:
                return table(self.payload)
            case Type.STRING:
                return c_text(self.payload)
            case Type.INT64 | Type.INT32 | Type.INT16:
                return int.from_bytes(self.payload, "big", signed=True)
            case Type.INT8:
                return self.payload != b"\0"
            case Type.DOUBLE:
                return float(struct.unpack(">d", self.payload)[0])
            case _:
                return None


_SIZES = {Type.INT64: 8, Type.INT32: 4, Type.INT16: 2, Type.INT8: 1, Type.DOUBLE: 8}


def fields(data: bytes) -> Iterator[Field]:
    """The well-formed fields of a blobmsg; others are left out, as blobmsg_check_attr does."""
    for kind, extended, content in blobs(data):
        if not extended or len(content) < 3 or kind > Type.DOUBLE:
            continue
        end = 2 + int.from_bytes(content[:2], "big")
        start = end + 1 + -(end + 1) % 4
        if start > len(content) or content[end] != 0:
            continue
        value = content[start:]
        if kind in _SIZES and len(value) != _SIZES[Type(kind)]:
            continue
        if kind == Type.STRING and not value.endswith(b"\0"):
            continue
        yield Field(content[2:end].decode("utf-8", "surrogateescape"), kind, value)


def table(data: bytes) -> dict[str, Json]:
    """A blobmsg as a dict; of doubled names the last one counts."""
    return {field.name: field.value() for field in fields(data)}


def field(name: str, kind: int, payload: bytes) -> bytes:
    """One encoded field."""
    raw = name.encode("utf-8", "surrogateescape")
    return blob(kind, _pad(struct.pack(">H", len(raw)) + raw + b"\0") + payload, extended=True)


def encode_field(name: str, value: Json) -> bytes:
    """A value with the type blobmsg_add_json_element() would choose.

    Integers within 32 bits are INT32, others INT64, clamped as json-c clamps them.
    """
    match value:
        case None:
            return field(name, Type.UNSPEC, b"")
        case bool():
            return field(name, Type.INT8, bytes([value]))
        case int():
            if -(1 << 31) <= value < 1 << 31:
                return field(name, Type.INT32, struct.pack(">i", value))
            clamped = max(-(1 << 63), min((1 << 63) - 1, value))
            return field(name, Type.INT64, struct.pack(">q", clamped))
        case float():
            return field(name, Type.DOUBLE, struct.pack(">d", value))
        case str():
            return field(name, Type.STRING, _c_string(value))
        case Mapping():
            return field(name, Type.TABLE, encode_table(value))
        case _:
            return field(name, Type.ARRAY, b"".join(encode_field("", item) for item in value))


def encode_table(values: Mapping[str, Json]) -> bytes:
    """The fields of a table, as they stand in a DATA attribute."""
    return b"".join(encode_field(name, value) for name, value in values.items())
