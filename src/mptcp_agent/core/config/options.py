# SPDX-License-Identifier: GPL-2.0-or-later
"""UCI text -> typed values, as an option's JSON Schema says.

UCI knows only text and lists of text. This is the part no schema library does: turning what
people write in UCI into the schema's types (a list given as one option, one option given as
a list, ``on``/``yes``/``1``). The checks that remain are the few keywords our schema uses;
``tests/unit/test_reader.py`` shows with Hypothesis that they agree with jsonschema, which is
too large to keep loaded on a router (10 MB) and missing on some of its architectures.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

Schema = Mapping[str, Any]  # a JSON Schema is JSON: values of any JSON type
Value = bool | int | str | tuple[str, ...]

#: What netifd and fw4 accept as a boolean.
BOOLEANS = {
    **dict.fromkeys(("1", "on", "true", "yes", "enabled"), True),
    **dict.fromkeys(("0", "off", "false", "no", "disabled"), False),
}

_HOST_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)\Z")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}\Z")


def is_address(text: str) -> bool:
    """An IPv4 or IPv6 address, without zone or prefix length."""
    try:
        return "%" not in text and bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def is_network(text: str) -> bool:
    """An address, or a network ADDRESS/PREFIX (host bits may be set, as in UCI firewalls)."""
    try:
        return "%" not in text and bool(ipaddress.ip_network(text, strict=False))
    except ValueError:
        return False


def is_host(text: str) -> bool:
    """An address or a host name (RFC 1123; a name of digits and dots only is no name)."""
    if is_address(text):
        return True
    labels = text.removesuffix(".").split(".")
    return (
        len(text) <= 253
        and all(_HOST_LABEL.match(label) for label in labels)
        and not labels[-1].isdigit()
    )


def is_name(text: str) -> bool:
    """A UCI section or netifd interface name."""
    return bool(_NAME.match(text))


FORMATS: Mapping[str, tuple[Callable[[str], bool], str]] = {
    "address": (is_address, "an IP address"),
    "network": (is_network, "an IP address or network such as 10.1.1.0/24"),
    "host": (is_host, "an IP address or a host name"),
    "interface": (is_name, "the name of a network interface such as wan1"),
    "section": (is_name, "the name of a section"),
}


def boolean(text: str) -> bool | None:
    """What a UCI boolean says; None for a word that is none."""
    return BOOLEANS.get(text.strip().lower())


class OptionError(ValueError):
    """The value is not one of those allowed; the message says which are."""


def allowed(schema: Schema) -> str:
    """What the option allows, in words."""
    if "x-allowed" in schema:
        return str(schema["x-allowed"])
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "format" in schema:
        return FORMATS[schema["format"]][1]
    if schema["type"] == "array":
        return f"a list, each {allowed(schema['items'])}"
    if schema["type"] == "boolean":
        return "0 or 1"
    if schema["type"] == "integer":
        return f"a whole number from {schema['minimum']} to {schema['maximum']}"
    return "a text"


def read_option(raw: object, schema: Schema) -> Value:
    """The typed value of one option; OptionError where it is not allowed."""
    if schema["type"] == "array":
        return _list(raw, schema)
    if isinstance(raw, (list, tuple)):
        if len(raw) != 1:
            raise OptionError(f"given {len(raw)} times, allowed once")
        raw = raw[0]
    if not isinstance(raw, str):
        raise OptionError("not a text")
    return _scalar(raw, schema)


def _list(raw: object, schema: Schema) -> tuple[str, ...]:
    parts: list[str] = []
    for item in raw if isinstance(raw, (list, tuple)) else [raw]:
        if not isinstance(item, str):
            raise OptionError("not a text")
        parts += item.split()
    if len(parts) < schema.get("minItems", 0):
        raise OptionError("empty")
    values = dict.fromkeys(str(_scalar(part, schema["items"])) for part in parts)
    return tuple(values)  # said twice is no error: the second adds nothing


def _scalar(raw: str, schema: Schema) -> bool | int | str:
    if "\0" in raw:
        raise OptionError("holds a NUL character")
    kind = schema["type"]
    if kind == "boolean":
        value = boolean(raw)
        if value is None:
            raise OptionError("not a boolean")
        return value
    if kind == "integer":
        return _integer(raw, schema)
    if "enum" in schema and raw not in schema["enum"]:
        raise OptionError("unknown value")
    if "pattern" in schema and not re.search(schema["pattern"].replace("$", r"\Z"), raw):
        raise OptionError("not of the form")
    if "format" in schema and not FORMATS[schema["format"]][0](raw):
        raise OptionError("not of the form")
    if schema.get("format") in ("address", "host") and is_address(raw):
        # The spelling the kernel shows: 2001:DB8::1 would never equal what is observed.
        return str(ipaddress.ip_address(raw))
    return raw


def _integer(raw: str, schema: Schema) -> int:
    text = raw.strip()
    if not re.match(r"-?[0-9]{1,18}\Z", text):
        raise OptionError("not a whole number")
    value = int(text)
    if not schema["minimum"] <= value <= schema["maximum"]:
        raise OptionError("out of range")
    return value


def default(schema: Schema) -> Value | None:
    """The option's default as the reader would give it; None where it has none."""
    value = schema.get("default")
    if isinstance(value, list):
        return tuple(map(str, value))
    return cast("Value | None", value)
