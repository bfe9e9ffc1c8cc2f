# SPDX-License-Identifier: GPL-2.0-or-later
"""/etc/config/firewall and netifd's interfaces -> zones, rules, forwardings.

A type of section is a table of its options, as in firewall4 (``parse_zone``, ``parse_rule`` … of
``fw4.uc``). A section with an option that firewall4 calls invalid is left out, as there: the agent
must not believe in a rule that does not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from ..network import Interface
from . import Section, packets, words
from .matches import FAMILIES, Ipset, inferred, networks, of_rule, only
from .packets import EVERYTHING
from .words import Subnet, Word
from .zones import RouterFirewall, Rule, Zone

_T = TypeVar("_T")

# --- Options ------------------------------------------------------------------------------------

_Option = tuple[Callable[[str], object], bool]
"""How a value is read, and whether the option is a list."""


def _one(read: Callable[[str], object]) -> _Option:
    return read, False


def _many(read: Callable[[str], object]) -> _Option:
    return read, True


_DEFAULTS = {name: _one(words.policy) for name in ("input", "output", "forward")}
_WHEN = {
    "utc_time": _one(words.boolean),
    "start_date": _one(words.date),
    "stop_date": _one(words.date),
    "start_time": _one(words.time),
    "stop_time": _one(words.time),
    "weekdays": _one(words.weekdays),
}
_ZONE = {
    **_DEFAULTS,
    "enabled": _one(words.boolean),
    "name": _one(words.identifier),
    "family": _one(words.family),
    "network": _many(words.word),
    "device": _many(words.word),
    "masq": _one(words.boolean),
    "masq6": _one(words.boolean),
    "masq_allow_invalid": _one(words.boolean),
    "mtu_fix": _one(words.boolean),
    "log": _one(words.integer),
    "log_limit": _one(words.limit),
    "auto_helper": _one(words.boolean),
    "counter": _one(words.boolean),
}
_MATCH = {
    "enabled": _one(words.boolean),
    "family": _one(words.family),
    "proto": _many(words.protocols),
    "ipset": _one(words.setmatch),
    "src_mac": _many(words.mac),
    "limit": _one(words.limit),
    "limit_burst": _one(words.integer),
    "mark": _one(words.mark),
    "counter": _one(words.boolean),
    "log": _one(words.string),
    "log_limit": _one(words.limit),
    **_WHEN,
}
_BETWEEN = {name: _one(words.string) for name in ("src", "dest")}
_RULE = {
    **_BETWEEN,
    **_MATCH,
    "device": _one(words.word),
    "direction": _one(words.direction),
    "helper": _one(words.word),
    "src_port": _many(words.port),
    "dest_port": _many(words.port),
    "dscp": _one(words.word),
    "target": _one(words.target),
}
_FORWARDING = {
    **_BETWEEN,
    "enabled": _one(words.boolean),
    "family": _one(words.family),
}
_REDIRECT = {
    **_BETWEEN,
    **_MATCH,
    "src_port": _one(words.port),
    "src_dport": _one(words.port),
    "dest_port": _one(words.port),
    "reflection": _one(words.boolean),
    "target": _one(words.target),
}
_SET = {
    "enabled": _one(words.boolean),
    "name": _one(words.identifier),
    "family": _one(words.family),
    "match": _many(words.settype),
    "timeout": _one(words.integer),
    "maxelem": _one(words.integer),
    "loadfile": _one(words.string),
}


def _options(section: Section, table: Mapping[str, _Option]) -> dict[str, Any]:
    """What is set of a table's options; ValueError where firewall4 skips the section."""
    found: dict[str, Any] = {}
    for name, value in section.options:
        if name not in table:
            continue
        read, many = table[name]
        if many:
            found[name] = [read(v) for v in (value.split() if isinstance(value, str) else value)]
        elif isinstance(value, tuple):
            raise ValueError(f"{name} must not be a list")
        else:
            found[name] = read(value)
    return found


# --- The whole ----------------------------------------------------------------------------------


def read(sections: tuple[Section, ...], interfaces: tuple[Interface, ...]) -> RouterFirewall:
    """What firewall4 makes of these sections while netifd has these interfaces."""
    policies = {"input": "drop", "forward": "drop"}
    for section in sections:
        if section.type == "defaults":
            policies.update(_quietly(section, lambda s: _options(s, _DEFAULTS)) or {})
            break
    sets: dict[str, Ipset] = {}
    zones: dict[str, Zone] = {}
    for section in sections:
        if section.type == "ipset" and (made := _quietly(section, _ipset)):
            sets.setdefault(made.name, made)
        if section.type == "zone":
            zone = _quietly(section, lambda s: _zone(s, interfaces, policies))
            if zone:
                zones.setdefault(zone.name, zone)
    for section in sections:
        if section.type == "redirect":
            zones.update(_quietly(section, lambda s: _translated(s, interfaces, zones)) or {})
    rules: list[Rule] = []
    for kind in ("rule", "forwarding"):
        for section in sections:
            if section.type == kind:
                rule = _quietly(section, lambda s: _rule(s, interfaces, zones, sets))
                rules += [rule] if rule else []
    return RouterFirewall(
        policies["input"],
        policies["forward"],
        tuple(zones.values()),
        tuple(rules),
        tuple(
            s.text("path")
            for s in sections
            if s.type == "include" and s.text("enabled") not in ("0", "off", "false", "no")
        ),
    )


def _quietly(section: Section, make: Callable[[Section], _T]) -> _T | None:
    try:
        return make(section)
    except ValueError:
        return None


def _zone(
    section: Section, interfaces: Iterable[Interface], policies: Mapping[str, str]
) -> Zone | None:
    options = _options(section, _ZONE)
    subnets = networks(section, "subnet", interfaces)
    if "name" not in options:
        raise ValueError("no name")
    if not options.get("enabled", True):
        return None
    name: str = options["name"]
    devices: list[Word] = []
    members: list[Word] = options.get("network", [])
    members += [Word(i.name, False) for i in interfaces if i.zone == name]
    for network in members:
        interface = next((i for i in interfaces if i.name == network.text), None)
        # What is not up has no device yet, and still is in the zone.
        device = interface.device if interface else None
        devices.append(Word(device or placeholder(network.text), network.negated))
    return Zone(
        name=name,
        label=section.label,
        family=inferred(options.get("family"), [only(subnets)]) or 0,
        devices=(*devices, *options.get("device", [])),
        networks=tuple(n.text for n in members if not n.negated),
        subnets=tuple(subnets),
        input=options.get("input", policies["input"]),
        forward=options.get("forward", policies["forward"]),
        masquerades=options.get("masq", False),
    )


def placeholder(network: str) -> str:
    """What stands for the device of an interface that has none."""
    return f"?{network}"


def _translated(
    section: Section, interfaces: Iterable[Interface], zones: Mapping[str, Zone]
) -> dict[str, Zone]:
    """The zones into which a port forward lets what was translated (``dflags.dnat``)."""
    options = _options(section, _REDIRECT)
    source, to = section.text("src"), section.text("dest")
    if not options.get("enabled", True) or options.get("target", "dnat") == "snat":
        return {}
    if source not in zones or (to and to != "*" and to not in zones):
        return {}
    inside = networks(section, "dest_ip", interfaces)
    if any(s.negated for s in inside):
        return {}
    if not to and inside and inside[0].pairs:
        to = _zone_of(inside[0], interfaces, zones)
    found = {source: replace(zones[source], dnat=True)}
    if options.get("reflection", True) and to in zones and zones[source].masquerades:
        found[to] = replace(zones[to], dnat=True)
    return found


def _zone_of(host: Subnet, interfaces: Iterable[Interface], zones: Mapping[str, Zone]) -> str:
    for zone in zones.values():
        for interface in interfaces:
            if interface.name in zone.networks and any(
                packets.within(host.pairs, (packets.masked(a, host.family),))
                for a in interface.addresses
                if (":" in a) == (host.family == 6)
            ):
                return zone.name
    return ""


# --- Rules --------------------------------------------------------------------------------------


#: What of a rule depends on more than addresses and ports, and what it is called.
_CONDITIONS = {
    "hours": ("start_date", "stop_date", "start_time", "stop_time", "weekdays"),
    "rate limit": ("limit",),
    "mark": ("mark",),
    "DSCP": ("dscp",),
    "helper": ("helper",),
}


def _ipset(section: Section) -> Ipset | None:
    options = _options(section, _SET)
    types = tuple(options.get("match", ()))
    family = options.get("family", 4)
    kinds = {kind for _, kind in types}
    if "name" not in options or not types or "set" in kinds or not options.get("enabled", True):
        return None
    if kinds & {"ip", "net"} and not family:
        return None
    given = section.get("entry") or ()
    entries = tuple(given.split()) if isinstance(given, str) else given
    unread = f"set '{options['name']}', which others fill"
    exact = entries and "loadfile" not in options and options.get("timeout", -1) < 0
    return Ipset(options["name"], family, types, entries, "" if exact else unread)


def _rule(
    section: Section,
    interfaces: tuple[Interface, ...],
    zones: Mapping[str, Zone],
    sets: Mapping[str, Ipset],
) -> Rule | None:
    """None for what says nothing of TCP that is forwarded or comes in."""
    forwarding = section.type == "forwarding"
    options = _options(section, _FORWARDING if forwarding else _RULE)
    source, to = section.text("src"), section.text("dest")
    for name in (source, to):
        if name and name != "*" and name not in zones:
            raise ValueError(f"no zone {name}")
    target = "accept" if forwarding else options.get("target", "")
    if not options.get("enabled", True) or not source or (forwarding and not to):
        return None
    between = [zones[n].family for n in (source, to) if n in zones]
    if forwarding:
        family = inferred(options.get("family"), between)
        matches = tuple((of, EVERYTHING) for of in FAMILIES if family in (None, 0, of))
        return Rule(section.label, source, to, target, matches)
    device = options.get("device", Word("", False))
    if device.negated or device.text == "*":
        raise ValueError("device")
    found, unread = of_rule(section, options, between, interfaces, sets)
    if target not in words.POLICIES or not found:
        return None
    says = [name for name, each in _CONDITIONS.items() if any(o in options for o in each)]
    unread = ", ".join([*says, *([unread] if unread else [])])
    out = options.get("direction", False)
    return Rule(section.label, source, to, target, found, device.text, out, unread)
