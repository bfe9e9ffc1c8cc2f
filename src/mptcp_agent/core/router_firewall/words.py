# SPDX-License-Identifier: GPL-2.0-or-later
"""What the values of options in /etc/config/firewall mean: one function for each kind of value.

Read as firewall4 reads them (``root/usr/share/ucode/fw4.uc``, the ``parse_`` functions of the same
names, as of commit b6e5157); each raises ValueError where firewall4 calls a value invalid and
leaves the section out.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple

from ..network import Interface
from ..state import Family
from . import packets
from .packets import Masked, Range

# Compiled by those who need them: an ordinary firewall needs two.
_MAC = r"([0-9a-f]{1,2})[:-]" * 5 + r"([0-9a-f]{1,2})"
_PORT = r"([0-9]{1,5})(?:[-:]([0-9]{1,5}))?"
_LIMIT = r"[0-9]+(?:/([a-z]+))?"
_DATE = r"([0-9]{4})(?:-([0-9]{1,2})(?:-([0-9]{1,2})(?:T([0-9:]+))?)?)?"
_TIME = r"([0-9]{1,2})(?::([0-9]{1,2})(?::([0-9]{1,2}))?)?"
_IDENTIFIER = r"[a-zA-Z_.][a-zA-Z0-9/_.-]*"
_MARK = r"0?x?[0-9a-f]+(?:/0?x?[0-9a-f]+)?"

POLICIES = ("accept", "reject", "drop")
TARGETS = (*POLICIES, "notrack", "helper", "mark", "dscp", "dnat", "snat", "masquerade")
_SET_TYPES = ("ip", "port", "mac", "net", "set")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_UNITS = ("second", "minute", "hour", "day")


class Word(NamedTuple):
    """A value that a ``!`` may negate."""

    text: str
    negated: bool


class Subnet(NamedTuple):
    """One address, network or range of a ``src_ip``."""

    family: Family
    pairs: tuple[Masked, ...]
    negated: bool = False


class SetMatch(NamedTuple):
    """``ipset``: the set's name, and for each of its fields src or dst where that is said."""

    name: str
    negated: bool
    directions: tuple[str, ...]


def word(value: str) -> Word:
    negated = value.lstrip(" \t").startswith("!")
    text = (value.lstrip(" \t")[1:] if negated else value).strip()
    if not text:
        raise ValueError(value)
    return Word(text, negated)


def enumerated(value: str, choices: Iterable[str]) -> str:
    """The first choice that begins so: ``rej`` is reject."""
    for choice in choices:
        if choice.lower().startswith(value.lower()):
            return choice
    raise ValueError(value)


def policy(value: str) -> str:
    return enumerated(value, POLICIES)


def target(value: str) -> str:
    return enumerated(value, TARGETS)


def boolean(value: str) -> bool:
    """Narrower than elsewhere in OpenWrt: ``enabled`` is no word here."""
    if value in ("1", "on", "true", "yes"):
        return True
    if value in ("0", "off", "false", "no"):
        return False
    raise ValueError(value)


def family(value: str) -> int:
    """4, 6 or 0 for any."""
    if value in ("any", "all", "*"):
        return 0
    if value == "inet" or "4" in value:
        return 4
    if "6" in value:
        return 6
    raise ValueError(value)


def string(value: str) -> str:
    return value


def integer(value: str) -> int:
    return int(value, 0)


def identifier(value: str) -> str:
    if not re.fullmatch(_IDENTIFIER, value):
        raise ValueError(value)
    return value


def direction(value: str) -> bool:
    """True for out."""
    if value in ("in", "ingress", "out", "egress"):
        return value in ("out", "egress")
    raise ValueError(value)


def protocols(value: str) -> list[str]:
    """Names in lower case, "any" for all. A ``!`` is read and forgotten."""
    name = word(value).text.lower()
    if name in ("all", "any", "*"):
        return ["any"]
    return {"tcpudp": ["tcp", "udp"], "6": ["tcp"], "17": ["udp"]}.get(name, [name])


def mac(value: str) -> Word:
    said = word(value)
    found = re.fullmatch(_MAC, said.text.lower())
    if not found:
        raise ValueError(value)
    return Word(":".join(f"{int(g, 16):02x}" for g in found.groups()), said.negated)


def port(value: str) -> tuple[Range, bool]:
    """First and last, and whether it is all but these."""
    said = word(value)
    found = re.fullmatch(_PORT, said.text)
    if not found:
        raise ValueError(value)
    first = int(found[1])
    last = int(found[2]) if found[2] else first
    if first > last or last > 65535:
        raise ValueError(value)
    return (first, last), said.negated


def setmatch(value: str) -> SetMatch:
    said = word(value)
    name, _, rest = said.text.replace("\t", " ").partition(" ")
    given = re.split(r"[ \t,]", rest.strip())[:3]
    directions = tuple(
        "dst" if d in ("dst", "dest") else "src" if d == "src" else "" for d in given
    )
    return SetMatch(name, said.negated, directions)


def settype(value: str) -> tuple[str, str]:
    """src or dst, and ip, port, mac, net or set."""
    found = re.fullmatch(r"(src|dst|dest)_(.+)", value)
    kind = enumerated(found[2] if found else value, _SET_TYPES)
    return ("src" if not found or found[1] == "src" else "dst"), kind


def limit(value: str) -> str:
    said = word(value)
    found = re.fullmatch(_LIMIT, said.text)
    if not found or (found[1] and not enumerated(found[1], _UNITS)):
        raise ValueError(value)
    return said.text


def time(value: str) -> str:
    found = re.fullmatch(_TIME, value)
    if not found or int(found[1]) > 23 or any(int(found[n] or 0) > 59 for n in (2, 3)):
        raise ValueError(value)
    return value


def date(value: str) -> str:
    found = re.fullmatch(_DATE, value)
    if (
        not found
        or not 1970 <= int(found[1]) <= 2038
        or int(found[2] or 1) > 12
        or int(found[3] or 1) > 31
    ):
        raise ValueError(value)
    time(found[4] or "0")
    return value


def weekdays(value: str) -> str:
    said = word(value)
    for day in said.text.split():
        enumerated(day, _DAYS)
    return value


def mark(value: str) -> str:
    if not re.fullmatch(_MARK, word(value).text.lower()):
        raise ValueError(value)
    return value


def subnets(value: str, interfaces: Iterable[Interface]) -> list[Subnet]:
    """Addresses of one value: a network's name stands for the networks of its addresses, which may
    be none at all."""
    said = word(value)
    named = next((i for i in interfaces if i.name == said.text), None)
    if named is not None:
        return [
            Subnet(of, (packets.masked(address, of),), said.negated)
            for address in named.addresses
            for of in (_family_of(address),)
        ]
    return [_subnet(said)]


def _subnet(said: Word) -> Subnet:
    address, slash, mask = said.text.partition("/")
    if not slash and "-" in address:
        first, last = map(ipaddress.ip_address, address.split("-"))
        parts = ipaddress.summarize_address_range(first, last)
        of = _family_of(address)
        return Subnet(of, tuple(packets.masked(str(p), of) for p in parts), said.negated)
    of = _family_of(address)
    if slash and mask.startswith("-"):
        # So many bits from the end; bits of the address outside of them would never match.
        under = (1 << packets.BITS[of]) - 1 >> int(mask[1:])
        value = int(ipaddress.ip_address(address))
        return Subnet(of, ((value, under),) if not value & ~under else (), said.negated)
    return Subnet(of, (packets.masked(said.text, of),), said.negated)


def _family_of(address: str) -> Family:
    return 6 if ":" in address else 4
