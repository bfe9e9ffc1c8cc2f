# SPDX-License-Identifier: GPL-2.0-or-later
"""What to tell people of the router's own firewall, with the commands that mend it.

A port of the router that the firewall rejects is common: that of the proxy server on the WANs, that
of the redirector on the LANs, where a redirected connection is one to the router itself. A zone
that rejects them (``wan`` does, and so do guest networks) says nothing of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache

from ..config import PACKAGE, Config
from ..network import Interface
from ..problem import Problem
from . import Section, Value
from .judgement import Judgement, LeftAlone, blocked, zone_of
from .reader import read


@lru_cache(maxsize=1)
def problems(
    config: Config, interfaces: tuple[Interface, ...], judged: Judgement
) -> tuple[Problem, ...]:
    """What is in the way, and what is left alone though nobody forbids it. The same question again
    costs nothing."""
    return tuple(dict.fromkeys(_problems(config, interfaces, judged)))


def _problems(
    config: Config, interfaces: tuple[Interface, ...], judged: Judgement
) -> Iterator[Problem]:
    sections = config.firewall
    if not config.globals.enabled or not sections:
        return
    if config.server:
        server = config.server
        wans = [w.interface for w in config.wans if not w.off]
        for zone, names in _by_zone(blocked(sections, interfaces, wans, server.port)):
            yield Problem(
                f"{PACKAGE}.{server.name}.port",
                f"the firewall {_of(zone, names)} rejects TCP port {server.port}, so that no "
                f"client reaches this server{'' if zone else ' there'}",
                _allow(zone, server.port, server.allow)
                if zone
                else _join(sections, names, wans, "wan", server.port, server.allow),
                "warning",
            )
    if config.client:
        yield from _lans(config, interfaces, judged)
        for section, items in by_section(judged.left, exact=False).items():
            yield _more_than_forbidden(section, items, sections)


def _lans(
    config: Config, interfaces: tuple[Interface, ...], judged: Judgement
) -> Iterator[Problem]:
    """The LANs of which nothing is redirected."""
    client, sections = config.client, config.firewall
    assert client
    firewall = read(sections, interfaces)
    shut_out: dict[str, dict[str, str]] = {"in": {}, "out": {}}
    for name in client.lan:
        interface = next((i for i in interfaces if i.name == name), None)
        if interface is None or not interface.device or interface.device in judged.devices:
            continue
        whole = [item for item in judged.left if item.whole and _same(item, interface, interfaces)]
        if whole:
            side = "in" if any(item.at_input for item in whole) else "out"
            shut_out[side][name] = zone_of(firewall, interface.device)
    for zone, names in _by_zone(shut_out["in"]):
        yield Problem(
            f"{PACKAGE}.{client.name}.lan",
            f"the firewall {_of(zone, names)} rejects TCP port {client.local_port} of this "
            f"router, to which connections are redirected; {', '.join(names)} goes out directly",
            _allow(zone, client.local_port, ())
            if zone
            else _join(sections, names, client.lan, "lan", client.local_port, ()),
            "warning",
        )
    for zone, names in _by_zone(shut_out["out"]):
        yield Problem(
            f"{PACKAGE}.{client.name}.lan",
            f"the firewall {_of(zone, names)} forwards nothing to a WAN; {', '.join(names)} is not "
            "redirected either",
            f"if it is to reach the Internet, forward it: {_forwarding(sections, zone, config)}"
            if zone
            else _join(sections, names, client.lan, "lan", client.local_port, ()),
            "warning",
        )


def _same(item: LeftAlone, interface: Interface, interfaces: tuple[Interface, ...]) -> bool:
    named = next((i for i in interfaces if i.name == item.interface), None)
    return named is not None and named.device == interface.device


def flood_limit(sections: tuple[Section, ...]) -> float | None:
    """New connections a second that the firewall takes for the router itself, redirected ones among
    them; None: as many as there are. (``synflood_protect``, on in OpenWrt's own configuration; its
    rule stands before those of the zones. Seen with firewall4 b6e5157: of 200 connections opened at
    once 150 wait for their second SYN; forwarded ones are not counted.)"""
    for section in sections:
        if section.type != "defaults":
            continue
        on = section.text("synflood_protect") or section.text("syn_flood")
        if on not in ("1", "on", "true", "yes"):
            return None
        rate, _, unit = (section.text("synflood_rate") or "25/second").partition("/")
        seconds = {"s": 1, "m": 60, "h": 3600, "d": 86400}.get(unit[:1].lower() or "s")
        return int(rate) / seconds if rate.isdecimal() and seconds else None
    return None


def by_section(left: Iterable[LeftAlone], exact: bool) -> dict[str, list[LeftAlone]]:
    """What is left alone because the firewall refuses it (``exact``), or because it may: by what
    says so."""
    found: dict[str, list[LeftAlone]] = {}
    for item in left:
        if exact == (not item.unread):
            found.setdefault(item.section, []).append(item)
    return found


def whose(items: Iterable[LeftAlone]) -> str:
    """``lan (192.168.1.50), guest (IPv6)``."""
    return ", ".join(dict.fromkeys(f"{item.interface} ({item.what})" for item in items))


def _more_than_forbidden(
    section: str, items: list[LeftAlone], sections: tuple[Section, ...]
) -> Problem:
    unread = ", ".join(dict.fromkeys(item.unread for item in items))
    return Problem(
        f"firewall.{section}" if section else "firewall",
        f"{called(section, sections)} depends on more than addresses and ports ({unread}), which "
        f"cannot be asked before the redirect: {whose(items)} is never redirected, and goes out "
        "directly where the firewall lets it",
        "nothing, if that is all right; else say it by address, MAC or port alone",
        "warning",
    )


def called(label: str, sections: tuple[Section, ...]) -> str:
    """A section for people: ``'Kids' (firewall.@rule[3])``."""
    section = next((s for s in sections if s.label == label), None)
    if section is None:
        return "the firewall's default policy"
    name = section.text("name")
    named = f"zone '{name}'" if section.type == "zone" else f"'{name}'" if name else section.type
    return f"{named} (firewall.{label})"


def _forwarding(sections: tuple[Section, ...], zone: str, config: Config) -> str:
    wans = {w.interface for w in config.wans}
    there = (
        s.text("name")
        for s in sections
        if s.type == "zone" and not wans.isdisjoint(_words(s.get("network")))
    )
    name = re.sub(r"\W", "_", f"mptcp_proxy_{zone}_out")
    lines = [
        f"uci set firewall.{name}=forwarding",
        f"uci set firewall.{name}.src='{zone}'",
        f"uci set firewall.{name}.dest='{next(there, 'wan')}'",
    ]
    return "; ".join([*lines, *_RELOAD])


def _words(value: Value | None) -> list[str]:
    return value.split() if isinstance(value, str) else list(value or ())


def _by_zone(rejected: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    zones = dict.fromkeys(rejected.values())
    return [(zone, [name for name, of in rejected.items() if of == zone]) for zone in zones]


def _of(zone: str, interfaces: Iterable[str]) -> str:
    return f"zone '{zone}'" if zone else f"(no zone has {', '.join(interfaces)})"


#: Ends every list of commands: the file, then the rules that run.
_RELOAD = ("uci commit firewall", "service firewall reload")


def _join(
    sections: tuple[Section, ...],
    interfaces: list[str],
    fellows: Iterable[str],
    usual: str,
    port: int,
    sources: Iterable[str],
) -> str:
    """Commands that put interfaces without a zone into that of their fellows, else into the one
    of the usual name, and open the port there. Which other zone would do is not ours to guess."""
    zones = [s for s in sections if s.type == "zone"]
    on = [z for z in zones if z.text("enabled") not in ("0", "off", "false", "no")]
    having = (z for z in on if not set(fellows).isdisjoint(_words(z.get("network"))))
    zone = next(having, None) or next((z for z in on if z.text("name") == usual), None)
    if zone is None:
        return (
            f"put {', '.join(interfaces)} into a zone: LuCI, Network, Firewall, or option "
            "network of a zone in /etc/config/firewall"
        )
    option, old = f"firewall.{zone.label}.network", zone.get("network")
    if isinstance(old, str) and old:  # add_list would make one entry of all the names in it
        lines = [f"uci set {option}='{' '.join([*old.split(), *interfaces])}'"]
    else:
        lines = [f"uci add_list {option}='{interface}'" for interface in interfaces]
    if _shut(sections, zone, interfaces[0], port):
        lines += _rule(zone.text("name"), port, sources)
    return "; ".join([*lines, *_RELOAD])


def _shut(sections: tuple[Section, ...], zone: Section, name: str, port: int) -> bool:
    """Whether a zone would reject the port if the interface were in it."""
    there = tuple((o, v) for o, v in zone.options if o not in ("network", "device", "subnet"))
    joined = replace(zone, options=(*there, ("network", (name,))))
    changed = tuple(joined if s is zone else s for s in sections)
    return bool(blocked(changed, (), (name,), port))


def _allow(zone: str, port: int, sources: Iterable[str]) -> str:
    """To be pasted into a shell on the router, again and again without harm."""
    return "; ".join([*_rule(zone, port, sources), *_RELOAD])


def _rule(zone: str, port: int, sources: Iterable[str]) -> list[str]:
    name = re.sub(r"\W", "_", f"mptcp_proxy_{zone}")
    return [
        f"uci set firewall.{name}=rule",
        f"uci set firewall.{name}.name='MPTCP proxy'",
        f"uci set firewall.{name}.src='{zone}'",
        f"uci set firewall.{name}.proto='tcp'",
        f"uci set firewall.{name}.dest_port='{port}'",
        *(f"uci add_list firewall.{name}.src_ip='{source}'" for source in sources),
        f"uci set firewall.{name}.target='ACCEPT'",
    ]
