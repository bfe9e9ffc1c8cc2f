# SPDX-License-Identifier: GPL-2.0-or-later
"""JSON as libubox reads and writes it, which is what `ubus` prints and python-ubus passes on.

Source: `libubox/blobmsg_json.c` (writing) and json-c's tokener in its default, lenient mode
(reading).  Where they differ from Python's json: doubles are written with six decimals, NaN
as `nan`; only \\b \\n \\t \\r \\" \\\\ and control characters are escaped; reading ignores what
follows the first value and refuses nesting deeper than 32.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable

from . import wire
from .wire import Field, Json, Type

_ESCAPES = {"\b": "\\b", "\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
_MAX_DEPTH = 32  # JSON_TOKENER_DEFAULT_DEPTH
_MAX_TABS = 15  # blobmsg_json.c: add_separator() holds this many at most

Custom = Callable[[Field], str | None]


def quote(text: str) -> str:
    return '"' + re.sub(r'[\x01-\x1f"\\]', _escape, text) + '"'


def _escape(match: re.Match[str]) -> str:
    char = match.group()
    return _ESCAPES.get(char) or f"\\u00{ord(char):02x}"


def dumps(data: bytes, indent: int | None = None, array: bool = False) -> str:
    """The blobmsg fields in `data` as one JSON object (or array).

    indent: None for one line, else the level of tabs to begin with.
    """
    return _list(data, indent, array, None)


def dumps_field(item: Field, indent: int | None = None, custom: Custom | None = None) -> str:
    """`"name": value` of one field; `custom` may print values its own way."""
    return _element(item, False, indent, custom)


def _list(data: bytes, indent: int | None, array: bool, custom: Custom | None) -> str:
    inner = None if indent is None else indent + 1
    items = (_element(item, array, inner, custom) for item in wire.fields(data))
    body = ("," + _separator(inner)).join(items)
    opening, closing = "[]" if array else "{}"
    return opening + _separator(inner) + body + _separator(indent) + closing


def _separator(level: int | None) -> str:
    return "" if level is None else "\n" + "\t" * min(level, _MAX_TABS)


def _element(item: Field, array: bool, indent: int | None, custom: Custom | None) -> str:
    name = ""
    if not array and item.name:
        name = quote(item.name) + (":" if indent is None else ": ")
    own = custom(item) if custom else None
    if own is not None:
        return name + own
    match item.type:
        case Type.TABLE | Type.ARRAY:
            return name + _list(item.payload, indent, item.type == Type.ARRAY, custom)
        case Type.STRING:
            return name + quote(wire.c_text(item.payload))
        case Type.DOUBLE:
            return name + f"{struct.unpack('>d', item.payload)[0]:.6f}"
        case Type.INT8:
            return name + ("false" if item.payload == b"\0" else "true")
        case Type.UNSPEC:
            return name + "null"
        case _:
            return name + str(item.value())


def loads(text: str) -> bytes | None:
    """JSON text as blobmsg fields; None where json-c fails or the value is no object."""
    try:
        value, _ = json.JSONDecoder().raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not _depth_fits(value, 0):
        return None
    return wire.encode_table(_clean(value))


def _depth_fits(value: object, depth: int) -> bool:
    items = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list) or not items:
        return True
    if depth >= _MAX_DEPTH - 1:
        return False
    return all(_depth_fits(item, depth + 1) for item in items)  # type: ignore[attr-defined]


def _clean(value: dict[str, Json]) -> dict[str, Json]:
    """json-c puts U+FFFD for a lone surrogate."""
    if re.search("[\ud800-\udfff]", json.dumps(value, ensure_ascii=False)) is None:
        return value
    cleaned = re.sub("[\ud800-\udfff]", "\ufffd", json.dumps(value, ensure_ascii=False))
    return dict(json.loads(cleaned))
