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

from .config import PACKAGE, Config
from .problem import Problem

Values = Mapping[str, Mapping[str, object]]  # of ``uci get firewall``

_YES = {"1", "yes", "on", "true", "enabled"}


def problems(config: Config, firewall: Values) -> tuple[Problem, ...]:
    """One for each zone that is in the way, with the commands that mend it."""
    if not config.globals.enabled or not firewall:
        return ()
    return tuple(_problems(config, firewall))


def fitting(config: Config, firewall: Values) -> Config:
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
        wans = [w.interface for w in config.wans if w.role != "off"]
        for zone in dict.fromkeys(_rejecting(sections, wans, server.port).values()):
            yield Problem(
                f"{PACKAGE}.{server.name}.port",
                f"the firewall {_of(zone)} rejects TCP port {server.port}, so that no client "
                "reaches this server",
                _commands(zone, server.port, server.allow),
                "warning",
            )
    if config.client:
        client = config.client
        shut_out = _rejecting(sections, client.lan, client.local_port)
        for zone in dict.fromkeys(shut_out.values()):
            yield Problem(
                f"{PACKAGE}.{client.name}.lan",
                f"the firewall {_of(zone)} rejects TCP port {client.local_port} of this router, "
                "to which connections are redirected; "
                f"{', '.join(n for n, z in shut_out.items() if z == zone)} goes out directly",
                _commands(zone, client.local_port, ()),
                "warning",
            )


def _rejecting(
    sections: list[Mapping[str, object]], interfaces: Iterable[str], port: int
) -> dict[str, str]:
    """Those of the interfaces whose zone rejects the port, with it; "" is no zone at all."""
    zones = [s for s in sections if s.get(".type") == "zone" and _enabled(s)]
    defaults = next((s for s in sections if s.get(".type") == "defaults"), {})
    found: dict[str, str] = {}
    for interface in interfaces:
        zone = next((z for z in zones if interface in _words(z.get("network"))), {})
        name = str(zone.get("name", ""))
        policy = str(zone.get("input") or defaults.get("input") or "REJECT")
        verdict = next(_verdicts(sections, name, port), policy)
        if verdict.upper() != "ACCEPT":
            found[interface] = name
    return found


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
    return str(section.get("enabled", "1")) in _YES


def _of(zone: str) -> str:
    return f"zone '{zone}'" if zone else "(no zone has the interface)"


def _commands(zone: str, port: int, sources: Iterable[str]) -> str:
    """To be pasted into a shell on the router, again and again without harm."""
    if not zone:
        return "add the interface to a zone: uci add_list firewall.@zone[1].network=INTERFACE"
    name = re.sub(r"\W", "_", f"mptcp_proxy_{zone}")
    lines = [
        f"uci set firewall.{name}=rule",
        f"uci set firewall.{name}.name='MPTCP proxy'",
        f"uci set firewall.{name}.src='{zone}'",
        f"uci set firewall.{name}.proto='tcp'",
        f"uci set firewall.{name}.dest_port='{port}'",
        *(f"uci add_list firewall.{name}.src_ip='{source}'" for source in sources),
        f"uci set firewall.{name}.target='ACCEPT'",
        "uci commit firewall",
        "service firewall reload",
    ]
    return "; ".join(lines)
