# SPDX-License-Identifier: GPL-2.0-or-later
"""netifd's words -> facts: ``network.interface dump`` as typed interfaces.

What the words mean is in netifd's ``ubus.c`` (netifd_dump_status) and ``interface-ip.c``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from . import Interface, is_default

Dump = Mapping[str, Any]  # JSON of netifd; shape in tests/contract


def interfaces(dump: Dump) -> tuple[Interface, ...]:
    """Interfaces of a dump, sorted by name. Whatever is malformed is left out."""
    found = []
    for raw in _dicts(dump.get("interface")):
        name = raw.get("interface")
        if not isinstance(name, str):
            continue
        device = raw.get("l3_device") or raw.get("device")
        defaults = tuple(dict.fromkeys(_defaults(raw)))
        for_all = {hop for hop, source in defaults if not source}
        found.append(
            Interface(
                name=name,
                device=device if isinstance(device, str) else None,
                up=raw.get("up") is True,
                addresses=tuple(dict.fromkeys(_addresses(raw))),
                gateways=tuple(dict.fromkeys(hop for hop, _ in defaults)),
                proto=str(raw.get("proto", "")),
                sources=tuple((hop, source) for hop, source in defaults if hop not in for_all),
                prefixes=tuple(dict.fromkeys(_prefixes(raw))),
                dynamic=raw.get("dynamic") is True,
                zone=_zone(raw.get("data")),
            )
        )
    return tuple(sorted(found, key=lambda i: i.name))


def _dicts(value: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, Mapping))


def _zone(data: object) -> str:
    zone = data.get("zone") if isinstance(data, Mapping) else None
    return zone if isinstance(zone, str) else ""


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


def _prefixes(raw: Mapping[str, Any]) -> Iterator[str]:
    """Delegated prefixes. Whatever of one is assigned to no interface netifd makes unreachable:
    nobody outside has these addresses (RFC 7084, WPD-5)."""
    for item in (*_dicts(raw.get("ipv6-prefix")), *_dicts(raw.get("ipv6-prefix-assignment"))):
        try:
            yield str(ipaddress.IPv6Network(f"{item.get('address')}/{item.get('mask')}"))
        except ValueError:
            continue


def _defaults(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Next hops of default routes, or halves of one, with the network of the sources they are
    for; "" for any. Those of ``inactive`` netifd knows and keeps out of the kernel, because of
    ``option defaultroute 0``: the way out is the same."""
    inactive = raw.get("inactive")
    kept_out = inactive.get("route") if isinstance(inactive, Mapping) else None
    for route in (*_dicts(raw.get("route")), *_dicts(kept_out)):
        try:
            target = ipaddress.ip_network(f"{route.get('target')}/{route.get('mask')}")
            hop = ipaddress.ip_address(str(route.get("nexthop")))
        except ValueError:
            continue
        if not is_default(str(target)) or hop.is_unspecified or "%" in str(hop):
            continue
        try:
            source = ipaddress.ip_network(str(route.get("source")), strict=False)
        except ValueError:
            yield str(hop), ""
        else:
            yield str(hop), str(source) if source.prefixlen else ""
