# SPDX-License-Identifier: GPL-2.0-or-later
"""What a rule matches, as sets of packets: its addresses, ports, MACs, and sets of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from ..network import Interface
from ..state import Family
from . import Section, words
from .packets import (
    ANY_PORT,
    ANYWHERE,
    EVERYTHING,
    Addresses,
    Macs,
    Packets,
    Ports,
    Range,
    meet_ports,
    merged,
    other_ports,
    without,
)
from .words import SetMatch, Subnet
from .zones import addresses

FAMILIES: tuple[Family, Family] = (4, 6)
_T = TypeVar("_T")


class Ipset(NamedTuple):
    """A set; ``entries`` are those of the configuration, "" where ``unread`` says why not."""

    name: str
    family: int
    types: tuple[tuple[str, str], ...]
    entries: tuple[str, ...]
    unread: str


def networks(section: Section, option: str, interfaces: Iterable[Interface]) -> list[Subnet]:
    value = section.get(option) or ()
    each = value.split() if isinstance(value, str) else value
    return [s for v in each for s in words.subnets(v, interfaces)]


def inferred(given: int | None, others: Iterable[int | None]) -> int | None:
    """The one family that all are for (``infer_family``); None or 0: no restriction."""
    found = given
    for family in others:
        if family and family != found:
            if found:
                raise ValueError("IPv4 only and IPv6 only")
            found = family
    return found


def only(subnets: Iterable[Subnet]) -> int:
    families = {s.family for s in subnets}
    return families.pop() if len(families) == 1 else 0


def of_rule(
    section: Section,
    options: Mapping[str, Any],
    between: list[int],
    interfaces: tuple[Interface, ...],
    sets: Mapping[str, Ipset],
) -> tuple[tuple[tuple[Family, Packets], ...], str]:
    """The sets of TCP packets of each family, and what of them cannot be read."""
    match: SetMatch | None = options.get("ipset")
    named = sets.get(match.name) if match else None
    if match and not named:
        raise ValueError(f"no set {match.name}")
    protocols = {p for each in options.get("proto", [["tcp"]]) for p in each}
    if named and any(kind == "port" for _, kind in named.types):
        protocols = {"tcp"} if protocols == {"any"} else protocols - {"any"}
    if protocols.isdisjoint({"tcp", "any"}):
        return (), ""
    sources = networks(section, "src_ip", interfaces)
    destinations = networks(section, "dest_ip", interfaces)
    of_set = named.family if named else 0
    family = inferred(options.get("family"), [of_set, only(sources), only(destinations), *between])
    # Without a word about ports a rule for all protocols is wider than one for TCP.
    with_ports = "any" not in protocols
    macs = Macs()
    for names, but in _halves((m.text, m.negated) for m in options.get("src_mac", ())):
        macs = macs.meet(Macs(frozenset(names), but))
    found: list[tuple[Family, Packets]] = []
    unread = ""
    for of in FAMILIES:
        if family not in (None, 0, of):
            continue
        plain = Packets(
            addresses(sources, of),
            addresses(destinations, of),
            macs,
            _ports(options.get("src_port", ())) if with_ports else ANY_PORT,
            _ports(options.get("dest_port", ())) if with_ports else ANY_PORT,
        )
        members: Iterable[Packets] = (EVERYTHING,)
        if named and match:
            members, unread = _members(named, match, of, interfaces)
        each = (plain.meet(member) for member in members)
        found += [(of, p) for p in each if not p.empty]
    return tuple(found), unread


def _halves(values: Iterable[tuple[_T, bool]]) -> list[tuple[list[_T], bool]]:
    """What is named, and what is negated; those that are there."""
    values = list(values)
    halves = ([v for v, negated in values if negated is which] for which in (False, True))
    return [(h, which) for h, which in zip(halves, (False, True), strict=True) if h]


def _ports(values: Iterable[tuple[Range, bool]]) -> Ports:
    found = ANY_PORT
    for ranges, negated in _halves(values):
        found = meet_ports(found, other_ports(ranges) if negated else merged(ranges))
    return found


def _members(
    named: Ipset, match: SetMatch, of: Family, interfaces: tuple[Interface, ...]
) -> tuple[Iterable[Packets], str]:
    """The sets of packets that a set's entries stand for."""
    ways = [
        (match.directions[i] if i < len(match.directions) else "") or way
        for i, (way, _) in enumerate(named.types)
    ]
    if any(w == "dst" and kind == "mac" for w, (_, kind) in zip(ways, named.types, strict=True)):
        raise ValueError("a destination's MAC")
    if named.unread:
        return (EVERYTHING,), named.unread
    found: list[Packets] = []
    for entry in named.entries:
        try:
            found.append(_member(named, ways, entry, of, interfaces))
        except ValueError:
            continue  # as firewall4 does, with a warning
    if len(ways) == 1 and match.negated:
        return (_all_but(found, ways[0], named.types[0][1]),), ""
    if match.negated:
        return (EVERYTHING,), f"set '{named.name}', negated"
    return ((_any_of(found),) if len(ways) == 1 and found else found), ""


def _member(
    named: Ipset, ways: list[str], entry: str, of: Family, interfaces: tuple[Interface, ...]
) -> Packets:
    found, values = EVERYTHING, entry.split()
    nets = any(kind == "net" for _, kind in named.types)
    for way, (_, kind), value in zip(ways, named.types, values, strict=True):
        away = way == "dst"
        if kind == "mac":
            name = words.mac(value)
            found = found.meet(Packets(macs=Macs(frozenset({name.text}), but=False)))
        elif kind == "port":
            (ports, _) = words.port(value)
            found = found.meet(Packets(dports=(ports,)) if away else Packets(sports=(ports,)))
        else:
            # Of the type ip only the address counts, whatever length stands beside it.
            text = value if nets else value.partition("/")[0]
            pairs = tuple(
                p for s in words.subnets(text, interfaces) if s.family == of for p in s.pairs
            )
            found = found.meet(Packets(destinations=pairs) if away else Packets(sources=pairs))
    return found


def _any_of(members: list[Packets]) -> Packets:
    """What is in one of the members, which differ in one field."""
    return Packets(
        tuple(dict.fromkeys(a for m in members for a in m.sources)),
        tuple(dict.fromkeys(a for m in members for a in m.destinations)),
        Macs(frozenset(n for m in members for n in m.macs.names), members[0].macs.but),
        merged(r for m in members for r in m.sports),
        merged(r for m in members for r in m.dports),
    )


def _all_but(members: list[Packets], way: str, kind: str) -> Packets:
    """What is in none of the members, which differ in one field."""
    if kind == "mac":
        return Packets(macs=Macs(frozenset(n for m in members for n in m.macs.names)))
    away = way == "dst"
    if kind == "port":
        ports = other_ports([r for m in members for r in (m.dports if away else m.sports)])
        return Packets(dports=ports) if away else Packets(sports=ports)
    rest: Addresses = ANYWHERE
    for member in members:
        for pair in member.destinations if away else member.sources:
            rest = without(rest, pair)
    return Packets(destinations=rest) if away else Packets(sources=rest)
