"""netifd's words -> facts: ``network.interface dump`` as typed interfaces."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from . import Interface

Dump = Mapping[str, Any]  # JSON of netifd; shape in tests/contract


def interfaces(dump: Dump) -> tuple[Interface, ...]:
    """Interfaces of a dump, sorted by name. Whatever is malformed is left out."""
    found = []
    for raw in _dicts(dump.get("interface")):
        name = raw.get("interface")
        if not isinstance(name, str):
            continue
        device = raw.get("l3_device") or raw.get("device")
        found.append(
            Interface(
                name=name,
                device=device if isinstance(device, str) else None,
                up=raw.get("up") is True,
                addresses=tuple(dict.fromkeys(_addresses(raw))),
                gateways=tuple(dict.fromkeys(_gateways(raw))),
                proto=str(raw.get("proto", "")),
            )
        )
    return tuple(sorted(found, key=lambda i: i.name))


def _dicts(value: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, Mapping))


def _addresses(raw: Mapping[str, Any]) -> Iterator[str]:
    given = [*_dicts(raw.get("ipv4-address")), *_dicts(raw.get("ipv6-address"))]
    for assignment in _dicts(raw.get("ipv6-prefix-assignment")):
        local = assignment.get("local-address")
        if isinstance(local, Mapping):
            given.append(local)
    for item in given:
        text = f"{item.get('address')}/{item.get('mask')}"
        try:
            address = ipaddress.ip_interface(text)
        except ValueError:
            continue
        if not address.is_link_local and "%" not in text:
            yield str(address)


def _gateways(raw: Mapping[str, Any]) -> Iterator[str]:
    for route in _dicts(raw.get("route")):
        if route.get("mask") != 0:
            continue
        try:
            hop = ipaddress.ip_address(str(route.get("nexthop")))
        except ValueError:
            continue
        if not hop.is_unspecified and "%" not in str(hop):
            yield str(hop)
