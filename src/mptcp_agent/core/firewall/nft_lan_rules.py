# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules about parts of the LAN (``state.LanRule``) in nft's words, and read from its listing."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Any

from ..state import Family, LanRule
from . import collapse, has_holes

#: How a rule ends that leaves alone.
LEAVE = 'return comment "refused by the router\'s firewall"'

_IP: dict[Family, str] = {4: "ip", 6: "ip6"}
_FAMILIES: dict[str, Family] = {"ip": 4, "ip6": 6}
#: ``meta nfproto`` in a listing, with and without names.
_NFPROTO: dict[object, Family] = {"ipv4": 4, "ipv6": 6, 2: 4, 10: 6}


def matches(rule: LanRule) -> str:
    """What a rule asks for. Takes checked values only; always about TCP."""
    words = [f'iifname "{rule.device}"']
    if not rule.sources and not rule.destinations:
        words.append(f"meta nfproto ipv{rule.family}")
    words += _addresses(rule.family, "saddr", rule.sources)
    words += _addresses(rule.family, "daddr", rule.destinations)
    if rule.macs:
        words.append(f"ether saddr {{ {', '.join(rule.macs)} }}")
    if rule.not_macs:
        words.append(f"ether saddr != {{ {', '.join(rule.not_macs)} }}")
    words.append("meta l4proto tcp")
    for field, ports in (("sport", rule.sports), ("dport", rule.dports)):
        if ports:
            texts = (f"{first}-{last}" if first != last else str(first) for first, last in ports)
            words.append(f"tcp {field} {{ {', '.join(texts)} }}")
    return " ".join(words)


def _addresses(family: Family, field: str, networks: tuple[str, ...]) -> Iterator[str]:
    if len(networks) == 1 and has_holes(networks[0]):
        address, _, mask = networks[0].partition("/")
        yield f"{_IP[family]} {field} & {mask} == {address}"
    elif networks:
        yield f"{_IP[family]} {field} {{ {', '.join(networks)} }}"


def rules_in(chain: Iterable[dict[str, Any]]) -> Iterator[LanRule]:
    """The rules of a listed chain that are about a part of the LAN: they alone name a device."""
    for rule in chain:
        found = [s["match"] for s in rule["expr"] if isinstance(s.get("match"), dict)]
        device = next((m["right"] for m in found if _key(m) == "iifname"), None)
        if isinstance(device, str):
            yield _rule(device, found, redirect={"return": None} not in rule["expr"])


def _key(match: dict[str, Any]) -> object:
    left = match["left"]
    return left.get("meta", {}).get("key") if isinstance(left, dict) else None


def _rule(device: str, found: list[dict[str, Any]], redirect: bool) -> LanRule:
    families = [_NFPROTO.get(m["right"], 4) for m in found if _key(m) == "nfproto"]
    values: dict[str, tuple[str, ...]] = {}
    macs: dict[str, tuple[str, ...]] = {}
    ports: dict[str, tuple[tuple[int, int], ...]] = {}
    for match in found:
        left, mask = match["left"], ""
        if isinstance(left, dict) and "&" in left:
            left, mask = left["&"]
        payload = left.get("payload", {}) if isinstance(left, dict) else {}
        protocol, field = payload.get("protocol"), str(payload.get("field"))
        right = match["right"]
        elements = right["set"] if isinstance(right, dict) and "set" in right else [right]
        if protocol in _FAMILIES:
            families.append(_FAMILIES[protocol])
            values[field] = (f"{right}/{mask}",) if mask else collapse(networks(elements))
        elif protocol == "ether":
            macs[match["op"]] = tuple(sorted(map(str, elements)))
        elif protocol == "tcp":
            pairs = (e["range"] if isinstance(e, dict) else (e, e) for e in elements)
            ports[field] = tuple(sorted((first, last) for first, last in pairs))
    return LanRule(
        redirect,
        device,
        families[0] if families else 4,
        values.get("saddr", ()),
        values.get("daddr", ()),
        macs.get("==", ()),
        macs.get("!=", ()),
        ports.get("sport", ()),
        ports.get("dport", ()),
    )


def networks(elements: Iterable[Any]) -> Iterator[str]:
    """Set elements: ``"a"``, ``{"prefix": {"addr": "a", "len": 8}}``, ``{"range": ["a", "b"]}``,
    or one of these wrapped in ``{"elem": {"val": …}}`` with a comment or counter beside it."""
    for element in elements:
        value = element
        if isinstance(value, dict) and "elem" in value:
            value = value["elem"]["val"]
        if isinstance(value, str):
            yield str(ipaddress.ip_network(value))
        elif "prefix" in value:
            prefix = value["prefix"]
            yield str(ipaddress.ip_network(f"{prefix['addr']}/{prefix['len']}"))
        else:
            # We write none, but nft 0.9 lists 0.0.0.0/0 as one.
            first, last = map(ipaddress.ip_address, value["range"])
            yield from map(str, ipaddress.summarize_address_range(first, last))
