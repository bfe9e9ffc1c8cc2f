# SPDX-License-Identifier: GPL-2.0-or-later
"""Does the router's own firewall (package ``firewall``, fw3 and fw4) let in what must come in?

Two ports: that of the proxy server on the WANs, and that of the redirector on the LANs, where a
redirected connection is one to the router itself. A zone that rejects them is common (``wan``
does, and so do guest networks), and nothing else says what is wrong then.

A LAN that would be redirected to a port that rejects it is left out: it goes out directly.

Only /etc/config/firewall is read: what a zone does with its input, and the rules for it, first
match first. What somebody puts into nftables by hand is not seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from ..problem import Problem
from . import PACKAGE, Config
from .options import boolean

Values = Mapping[str, Mapping[str, object]]  # of ``uci get firewall``


def problems(config: Config, firewall: Values) -> tuple[Problem, ...]:
    """One for each zone that is in the way, with the commands that mend it."""
    if not config.globals.enabled or not firewall:
        return ()
    return tuple(_problems(config, firewall))


def without_blocked_lans(config: Config, firewall: Values) -> Config:
    """The configuration without the LANs that the firewall keeps from the redirector."""
    if config.client is None or not firewall:
        return config
    shut_out = _rejecting(_ordered(firewall), config.client.lan, config.client.local_port)
    lan = tuple(name for name in config.client.lan if name not in shut_out)
    return replace(config, client=replace(config.client, lan=lan))


def _ordered(firewall: Values) -> list[Mapping[str, object]]:
    return sorted(firewall.values(), key=lambda s: str(s.get(".index", "")).zfill(6))


def _problems(config: Config, firewall: Values) -> Iterator[Problem]:
    sections = _ordered(firewall)
    if config.server:
        server = config.server
        wans = [w.interface for w in config.wans if not w.off]
        for zone, names in _by_zone(_rejecting(sections, wans, server.port)):
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
        client = config.client
        shut_out = _rejecting(sections, client.lan, client.local_port)
        for zone, names in _by_zone(shut_out):
            yield Problem(
                f"{PACKAGE}.{client.name}.lan",
                f"the firewall {_of(zone, names)} rejects TCP port {client.local_port} of this "
                "router, to which connections are redirected; "
                f"{', '.join(names)} goes out directly",
                _allow(zone, client.local_port, ())
                if zone
                else _join(sections, names, client.lan, "lan", client.local_port, ()),
                "warning",
            )


def _rejecting(
    sections: list[Mapping[str, object]], interfaces: Iterable[str], port: int
) -> dict[str, str]:
    """Those of the interfaces whose zone rejects the port, with it; "" is no zone at all."""
    zones = [s for s in sections if s.get(".type") == "zone" and _enabled(s)]
    found: dict[str, str] = {}
    for interface in interfaces:
        zone = next((z for z in zones if interface in _words(z.get("network"))), {})
        if not _lets_in(sections, zone, port):
            found[interface] = str(zone.get("name", ""))
    return found


def _lets_in(sections: list[Mapping[str, object]], zone: Mapping[str, object], port: int) -> bool:
    defaults = next((s for s in sections if s.get(".type") == "defaults"), {})
    policy = str(zone.get("input") or defaults.get("input") or "REJECT")
    verdict = next(_verdicts(sections, str(zone.get("name", "")), port), policy)
    return verdict.upper() == "ACCEPT"


def _verdicts(sections: list[Mapping[str, object]], zone: str, port: int) -> Iterator[str]:
    """What the rules say of a TCP connection from the zone to a port of the router. A rule for
    some sources only counts when it accepts: who is to come in is known to whoever wrote it."""
    for rule in sections:
        if rule.get(".type") != "rule" or not _enabled(rule) or rule.get("dest"):
            continue
        if not zone or str(rule.get("src", "")) not in (zone, "*"):
            continue
        protocols = {p.lower() for p in _words(rule.get("proto") or "tcp udp")}
        if protocols.isdisjoint({"tcp", "tcpudp", "all", "any", "*", "6"}):
            continue
        ports = _words(rule.get("dest_port"))
        if ports and not any(_covers(p, port) for p in ports):
            continue
        target = str(rule.get("target", "")).upper()
        narrow = any(rule.get(o) for o in ("src_ip", "src_mac", "src_port", "ipset", "dest_ip"))
        if target == "ACCEPT" or (target in ("REJECT", "DROP") and not narrow):
            yield target


def _covers(ports: str, port: int) -> bool:
    first, _, last = ports.replace(":", "-").partition("-")
    return first.isdigit() and int(first) <= port <= int(last if last.isdigit() else first)


def _words(value: object) -> list[str]:
    return str(value or "").split() if not isinstance(value, list) else [str(v) for v in value]


def _enabled(section: Mapping[str, object]) -> bool:
    return boolean(str(section.get("enabled", "1"))) is True


def _by_zone(rejected: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    zones = dict.fromkeys(rejected.values())
    return [(zone, [name for name, of in rejected.items() if of == zone]) for zone in zones]


def _of(zone: str, interfaces: Iterable[str]) -> str:
    return f"zone '{zone}'" if zone else f"(no zone has {', '.join(interfaces)})"


#: Ends every list of commands: the file, then the rules that run.
_RELOAD = ("uci commit firewall", "service firewall reload")


def _join(
    sections: list[Mapping[str, object]],
    interfaces: list[str],
    fellows: Iterable[str],
    usual: str,
    port: int,
    sources: Iterable[str],
) -> str:
    """Commands that put interfaces without a zone into that of their fellows, else into the one
    of the usual name, and open the port there. Which other zone would do is not ours to guess."""
    zones = [s for s in sections if s.get(".type") == "zone"]
    on = [z for z in zones if _enabled(z)]
    having = (z for z in on if not set(fellows).isdisjoint(_words(z.get("network"))))
    zone = next(having, None) or next((z for z in on if z.get("name") == usual), None)
    if zone is None:
        return (
            f"put {', '.join(interfaces)} into a zone: LuCI, Network, Firewall, or option "
            "network of a zone in /etc/config/firewall"
        )
    section = f"@zone[{zones.index(zone)}]" if zone.get(".anonymous", True) else zone[".name"]
    option, old = f"firewall.{section}.network", zone.get("network")
    if isinstance(old, str) and old:  # add_list would make one entry of all the names in it
        lines = [f"uci set {option}='{' '.join([*old.split(), *interfaces])}'"]
    else:
        lines = [f"uci add_list {option}='{interface}'" for interface in interfaces]
    if not _lets_in(sections, zone, port):
        lines += _rule(str(zone.get("name", "")), port, sources)
    return "; ".join([*lines, *_RELOAD])


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
