# SPDX-License-Identifier: GPL-2.0-or-later
"""Between rtnetlink's messages and the agent's addresses, routes and rules: translation only.

No socket is used here; ``routes`` is where the kernel is spoken to.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Mapping
from typing import Any

from ...core.network import AddressFlag, KernelAddress, Scope
from ...core.state import (
    MARK_MASK,
    ROUTE_PROTOCOL,
    RULE_PRIORITIES,
    TABLES,
    Route,
    RouteType,
    Rule,
    family,
)
from .library import ROUTE, RULE, Message, encode

INET = {4: socket.AF_INET, 6: socket.AF_INET6}
_ANY = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}

#: linux/rtnetlink.h: RTN_*
_ROUTE_TYPES: dict[int, RouteType] = {1: "unicast", 7: "unreachable", 9: "throw"}
_TYPE_NUMBERS = {name: number for number, name in _ROUTE_TYPES.items()}
#: linux/rtnetlink.h: RT_SCOPE_LINK, _NOWHERE (any, in a deletion)
_SCOPE_LINK, _SCOPE_NOWHERE = 253, 255
#: linux/rtnetlink.h rtmsg: family, length of destination, of source, tos, table, protocol, scope,
#: type, flags; among these RTNH_F_ONLINK: the gateway is a neighbour, whatever the addresses say.
ROUTE_HEADER = struct.Struct("=BBBBBBBBI")
_ONLINK = 4
#: The metric IPv6 gives to routes that ask for none (IP6_RT_PRIO_USER). Always ours, so that
#: a table has one route per destination and a replacement finds it.
_METRIC6 = 1024
#: linux/fib_rules.h FR_ACT_TO_TBL
_TO_TABLE = 1
#: FRA_SUPPRESS_PREFIXLEN of a rule that suppresses nothing: -1
_SUPPRESS_NOTHING = 0xFFFFFFFF
#: linux/if_addr.h: IFA_F_SECONDARY is IFA_F_TEMPORARY for IPv6 (RFC 8981). What duplicate
#: address detection has not passed or has found (IFA_F_TENTATIVE, _DADFAILED) sends nothing;
#: with IFA_F_OPTIMISTIC (RFC 4429) it does.
_OPTIMISTIC = 0x04
_ADDRESS_FLAGS: tuple[tuple[AddressFlag, int], ...] = (
    ("deprecated", 0x20),
    ("permanent", 0x80),
    ("tentative", 0x08 | 0x40),
)
_TEMPORARY = 0x01
#: linux/rtnetlink.h: RT_SCOPE_*; what is none of these counts as global.
_SCOPES: dict[int, Scope] = {200: "site", 253: "link", 254: "host"}


def inet_family(network: str) -> int:
    return INET[family(network)]


def canonical(address: str) -> str:
    return str(ipaddress.ip_address(address))


def network(message: Message, attribute: str, length: str) -> str:
    """The CIDR text of a prefix; a missing address of length 0 means everything."""
    address = message.get_attr(attribute) or _ANY[message["family"]]
    return f"{canonical(address)}/{message[length]}"


def to_address(message: Message) -> KernelAddress | None:
    """None for a message without an address."""
    # On a point-to-point link IFA_ADDRESS is the other end; IFA_LOCAL is ours.
    own = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    if not own:
        return None
    bits = message.get_attr("IFA_FLAGS") or message["flags"]
    flags = {name for name, bit in _ADDRESS_FLAGS if bits & bit}
    if bits & _OPTIMISTIC:
        flags.discard("tentative")
    if bits & _TEMPORARY and message["family"] == socket.AF_INET6:
        flags.add("temporary")
    return KernelAddress(
        canonical(own),
        message["prefixlen"],
        _SCOPES.get(message["scope"], "global"),
        frozenset(flags),
    )


def is_own_route(message: Message) -> bool:
    return message["proto"] == ROUTE_PROTOCOL and message.get_attr("RTA_TABLE") in TABLES


def to_route(message: Message, names: Mapping[int, str]) -> Route:
    kind = _ROUTE_TYPES.get(message["type"], "unicast")
    gateway, source = message.get_attr("RTA_GATEWAY"), message.get_attr("RTA_PREFSRC")
    index = message.get_attr("RTA_OIF")
    return Route(
        table=message.get_attr("RTA_TABLE"),
        destination=network(message, "RTA_DST", "dst_len"),
        # IPv6 shows throw and unreachable routes as going to lo.
        device=names[index] if index and kind == "unicast" else None,
        gateway=canonical(gateway) if gateway else None,
        source=canonical(source) if source else None,
        type=kind,
        mtu=_mtu(message.get_attr("RTA_METRICS")),
    )


def from_route(route: Route) -> bytes:
    """OSError where it has no such device."""
    version = inet_family(route.destination)
    scope = 0
    if version == socket.AF_INET and route.type == "unicast" and route.gateway is None:
        scope = _SCOPE_LINK  # as iproute2 does: an on-link route may carry gateways
    attributes: dict[str, Any] = {}
    if version == socket.AF_INET6:
        attributes["RTA_PRIORITY"] = _METRIC6
    if route.device is not None:
        attributes["RTA_OIF"] = socket.if_nametoindex(route.device)
    if route.gateway is not None:
        attributes["RTA_GATEWAY"] = route.gateway
    if route.source is not None:
        attributes["RTA_PREFSRC"] = route.source
    if route.mtu is not None:
        attributes["RTA_METRICS"] = {"attrs": [("RTAX_MTU", route.mtu)]}
    return _in_place(route, attributes, scope=scope, type=_TYPE_NUMBERS[route.type])


def on_link(request: bytes) -> bytes:
    """The same route through a gateway that no network of the device covers."""
    *fields, flags = ROUTE_HEADER.unpack_from(request)
    return ROUTE_HEADER.pack(*fields, flags | _ONLINK) + request[ROUTE_HEADER.size :]


def from_place(route: Route) -> bytes:
    """Whatever stands in the route's place, if it is ours: for a deletion."""
    return _in_place(route, {}, scope=_SCOPE_NOWHERE)


def _in_place(route: Route, attributes: Mapping[str, Any], **fields: int) -> bytes:
    place, length = route.destination.split("/")
    where = {"RTA_TABLE": route.table} | ({"RTA_DST": place} if int(length) else {})
    return encode(
        ROUTE,
        {
            "family": inet_family(route.destination),
            "dst_len": int(length),
            "proto": ROUTE_PROTOCOL,
            **fields,
        },
        where | dict(attributes),
    )


def _mtu(metrics: Message | None) -> int | None:
    return metrics.get_attr("RTAX_MTU") if metrics else None


def is_own_rule(message: Message) -> bool:
    return (
        message.get_attr("FRA_PROTOCOL") == ROUTE_PROTOCOL
        and message.get_attr("FRA_PRIORITY") in RULE_PRIORITIES
    )


def to_rule(message: Message) -> Rule:
    suppress = message.get_attr("FRA_SUPPRESS_PREFIXLEN")
    return Rule(
        priority=message.get_attr("FRA_PRIORITY"),
        family=4 if message["family"] == socket.AF_INET else 6,
        table=message.get_attr("FRA_TABLE") or message["table"],
        source=network(message, "FRA_SRC", "src_len") if message["src_len"] else None,
        destination=network(message, "FRA_DST", "dst_len") if message["dst_len"] else None,
        iif=message.get_attr("FRA_IIFNAME"),
        oif=message.get_attr("FRA_OIFNAME"),
        sport=_port(message.get_attr("FRA_SPORT_RANGE")),
        dport=_port(message.get_attr("FRA_DPORT_RANGE")),
        mark=message.get_attr("FRA_FWMARK"),
        suppress=None if suppress in (None, _SUPPRESS_NOTHING) else suppress,
    )


def from_rule(rule: Rule) -> bytes:
    lengths: dict[str, int] = {}
    attributes: dict[str, int | str] = {
        "FRA_PRIORITY": rule.priority,
        "FRA_TABLE": rule.table,
        "FRA_PROTOCOL": ROUTE_PROTOCOL,
    }
    for name, selector in (("src", rule.source), ("dst", rule.destination)):
        if selector is not None:
            address, length = selector.split("/")
            lengths[f"{name}_len"] = int(length)
            attributes[f"FRA_{name.upper()}"] = address
    if rule.iif is not None:
        attributes["FRA_IIFNAME"] = rule.iif
    if rule.oif is not None:
        attributes["FRA_OIFNAME"] = rule.oif
    if rule.sport is not None:
        attributes["FRA_IP_PROTO"] = socket.IPPROTO_TCP
        attributes["FRA_SPORT_RANGE"] = f"{rule.sport}:{rule.sport}"
    if rule.dport is not None:
        attributes["FRA_IP_PROTO"] = socket.IPPROTO_TCP
        attributes["FRA_DPORT_RANGE"] = f"{rule.dport}:{rule.dport}"
    if rule.mark is not None:
        attributes |= {"FRA_FWMARK": rule.mark, "FRA_FWMASK": MARK_MASK}
    if rule.suppress is not None:
        attributes["FRA_SUPPRESS_PREFIXLEN"] = rule.suppress
    return encode(RULE, {"family": INET[rule.family], "action": _TO_TABLE, **lengths}, attributes)


def _port(ports: object) -> int | None:
    """The first port of ``start:end``, which is how pyroute2 shows a range of ports."""
    return int(str(ports).split(":")[0]) if ports else None
