"""Routes, rules, links and addresses: everything the agent asks of rtnetlink.

Own routes are known by their protocol number and table, own rules by their protocol number
and priority; what somebody else made is neither shown nor touched.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable, Iterable
from typing import Any

from ..core.network import Link
from ..core.state import (
    ROUTE_PROTOCOL,
    RULE_PRIORITIES,
    TABLES,
    Route,
    RouteType,
    Rule,
    family,
)
from ..errors import KernelError
from .pyroute2_parts import Handle, IPRoute, Message, NetlinkError, code, text

#: What is asked of an open IPRoute; its answer, where one is expected, is messages.
Ask = Callable[[Any], Iterable[Message]]

_INET = {4: socket.AF_INET, 6: socket.AF_INET6}
_ANY = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}

#: linux/rtnetlink.h: RTN_* and RT_SCOPE_*
_ROUTE_TYPES: dict[int, RouteType] = {1: "unicast", 7: "unreachable", 9: "throw"}
_SCOPE_UNIVERSE = 0
_SCOPE_LINK = 253
_SCOPE_NOWHERE = 255  # in a request to delete: any scope
#: linux/rtnetlink.h RTNH_F_ONLINK: the gateway is a neighbour, whatever the addresses say.
_ONLINK = 4
#: The metric IPv6 gives to routes that ask for none (IP6_RT_PRIO_USER). Always ours, so that
#: a table has one route per destination and a replacement finds it.
_METRIC6 = 1024
#: linux/fib_rules.h FR_ACT_TO_TBL
_TO_TABLE = 1
#: RTM_NEWRULE with NLM_F_REQUEST, _ACK, _CREATE, but without NLM_F_EXCL: asked for exclusion,
#: the kernel takes a more specific rule, or another program's, for the same one (EEXIST).
_NEW_RULE = (32, 0x1 | 0x4 | 0x400)
#: linux/if.h
_IFF_UP = 0x1
_IFF_LOWER_UP = 0x10000
#: linux/if_addr.h IFA_F_DADFAILED, _DEPRECATED, _TENTATIVE: not to be used as a source.
_UNUSABLE = 0x08 | 0x20 | 0x40

_GONE = (errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL)
#: What the kernel answers to a gateway outside the networks of the device (v4, v6, v6 older).
_OFF_LINK = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL)


class Routing:
    """rtnetlink of the network namespace in which the first call is made.

    Every method blocks (well under a millisecond each, a dump somewhat longer) and raises
    KernelError.
    """

    def __init__(self) -> None:
        # strict_check: the kernel filters dumps (Linux 4.20), so that a full Internet table
        # in main costs nothing here; ext_ack: it says in words what it refuses.
        self._netlink = Handle(lambda: IPRoute(ext_ack=True, strict_check=True))

    def close(self) -> None:
        self._netlink.close()

    # --- What is ---------------------------------------------------------------------------

    def observe(self) -> tuple[tuple[Route, ...], tuple[Rule, ...]]:
        """The agent's own routes and rules of both families, sorted."""
        names = _Names()
        routes = [
            _route(message, names)
            for version in _INET.values()
            for message in self._dump("routes", _own_routes(version))
            if _is_own_route(message)
        ]
        rules = [rule for version in _INET.values() for rule in self._own_rules(version)]
        return tuple(sorted(routes, key=_order)), tuple(sorted(rules, key=_order))

    def links(self) -> tuple[Link, ...]:
        """All network devices, in the order of their index."""
        found = [
            Link(
                name=str(message.get_attr("IFLA_IFNAME")),
                index=message["index"],
                up=bool(message["flags"] & _IFF_UP),
                carrier=bool(message["flags"] & _IFF_LOWER_UP),
            )
            for message in self._dump("links", lambda ip: ip.get_links())
        ]
        return tuple(sorted(found, key=lambda link: link.index))

    def addresses(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Devices with their usable global addresses (``address/prefix``), in kernel order.

        Left out: link-local scope, and what duplicate address detection has not yet passed,
        has failed, or what is deprecated (RFC 4862): no subflow could start there.
        """
        names = _Names()
        found: dict[str, list[str]] = {}
        for message in self._dump("addresses", lambda ip: ip.get_addr()):
            flags = message.get_attr("IFA_FLAGS") or message["flags"]
            device = names[message["index"]]
            if message["scope"] != _SCOPE_UNIVERSE or flags & _UNUSABLE or device is None:
                continue
            # On a point-to-point link IFA_ADDRESS is the other end; IFA_LOCAL is ours.
            own = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            if own:
                found.setdefault(device, []).append(f"{_canonical(own)}/{message['prefixlen']}")
        return tuple(sorted((device, tuple(texts)) for device, texts in found.items()))

    # --- What should be --------------------------------------------------------------------

    def set_route(self, route: Route) -> None:
        """Put the route into its place (table and destination), replacing what is there.

        The replacement is atomic: a packet finds the old route or the new one.
        """
        slot = self._slot(route)
        foreign = [m["proto"] for m in slot if m["proto"] != ROUTE_PROTOCOL]
        if foreign:
            raise KernelError(
                f"{_spell(route)}: another program's route is in that place (protocol "
                f"{foreign[0]}); remove it, and keep that program away from tables "
                f"{TABLES[0]} to {TABLES[-1]}"
            )
        if len(slot) > 1:
            # Several of ours can only come from another hand, and IPv6 replaces just the
            # first of them that resembles the new one (net/ipv6/ip6_fib.c).
            for _ in slot:
                self.remove_route(route)
        try:
            request = _request(route)
            try:
                self._netlink.request(lambda ip: ip.route("replace", **request))
            except NetlinkError as error:
                if route.gateway is None or code(error) not in _OFF_LINK:
                    raise
                # A gateway that no network of the device covers, as on /32 links.
                self._netlink.request(lambda ip: ip.route("replace", **request, flags=_ONLINK))
        except (NetlinkError, OSError) as error:
            raise KernelError(f"{_spell(route)}: {text(error)}; {_way_out(route)}") from error

    def remove_route(self, route: Route) -> None:
        """Take the agent's route out of its place; fine where it is gone already."""
        self._absent(
            _spell(route),
            lambda ip: ip.route(
                "del",
                family=_version(route.destination),
                dst=route.destination,
                table=route.table,
                proto=ROUTE_PROTOCOL,
                scope=_SCOPE_NOWHERE,
            ),
        )

    def add_rule(self, rule: Rule) -> None:
        """Install the rule; fine where it exists already."""
        if rule in self._own_rules(_INET[rule.family]):
            return
        try:
            self._netlink.request(lambda ip: ip.rule(_NEW_RULE, **_selectors(rule)))
        except (NetlinkError, OSError) as error:
            raise KernelError(
                f"{_spell(rule)}: {text(error)}; does the kernel have policy routing "
                "(CONFIG_IP_MULTIPLE_TABLES, CONFIG_IPV6_MULTIPLE_TABLES)?"
            ) from error

    def remove_rule(self, rule: Rule) -> None:
        """Remove the rule; fine where it is gone already.

        A selector that the request leaves out matches any (net/core/fib_rules.c), so the
        request may first hit more specific rules of ours: those are put back.
        """
        version = _INET[rule.family]
        before = self._own_rules(version)
        if rule not in before:
            return
        hit: list[Rule] = []
        now = before
        while rule in now and len(hit) < len(before):
            self._absent(_spell(rule), lambda ip: ip.rule("del", **_selectors(rule)))
            last, now = now, self._own_rules(version)
            hit += [r for r in last if r not in now]
        for other in hit:
            if other != rule:
                self.add_rule(other)

    # --- Netlink ---------------------------------------------------------------------------

    def _dump(self, what: str, ask: Ask) -> list[Message]:
        try:
            return self._netlink.dump(ask)
        except (NetlinkError, OSError) as error:
            raise KernelError(f"reading {what}: {text(error)}") from error

    def _absent(self, what: str, ask: Ask) -> None:
        try:
            self._netlink.request(ask)
        except (NetlinkError, OSError) as error:
            if code(error) not in _GONE:
                raise KernelError(f"removing {what}: {text(error)}") from error

    def _own_rules(self, version: int) -> list[Rule]:
        messages = self._dump("rules", lambda ip: ip.get_rules(family=version))
        return [_rule(message) for message in messages if _is_own_rule(message)]

    def _slot(self, route: Route) -> list[Message]:
        """All routes in the route's place, whoever made them."""
        version = _version(route.destination)
        try:
            messages = self._netlink.dump(
                lambda ip: ip.route("dump", family=version, table=route.table)
            )
        except (NetlinkError, OSError) as error:
            if code(error) == errno.ENOENT:
                return []  # a table exists from its first route on
            raise KernelError(f"reading table {route.table}: {text(error)}") from error
        return [
            message
            for message in messages
            if message.get_attr("RTA_TABLE") == route.table
            and _network(message, "RTA_DST", "dst_len") == route.destination
        ]


# --- Between the kernel's messages and ours -------------------------------------------------


class _Names(dict[int, str | None]):
    """Device names by index, asked for once; None for a device that is gone by now."""

    def __missing__(self, index: int) -> str | None:
        try:
            self[index] = socket.if_indextoname(index)
        except OSError:
            self[index] = None
        return self[index]


def _version(network: str) -> int:
    return _INET[family(network)]


def _canonical(address: str) -> str:
    return str(ipaddress.ip_address(address))


def _network(message: Message, attribute: str, length: str) -> str:
    """The CIDR text of a prefix; a missing address of length 0 means everything."""
    address = message.get_attr(attribute) or _ANY[message["family"]]
    return f"{_canonical(address)}/{message[length]}"


def _is_own_route(message: Message) -> bool:
    return message["proto"] == ROUTE_PROTOCOL and message.get_attr("RTA_TABLE") in TABLES


def _route(message: Message, names: _Names) -> Route:
    kind = _ROUTE_TYPES.get(message["type"], "unicast")
    gateway, source = message.get_attr("RTA_GATEWAY"), message.get_attr("RTA_PREFSRC")
    index = message.get_attr("RTA_OIF")
    return Route(
        table=message.get_attr("RTA_TABLE"),
        destination=_network(message, "RTA_DST", "dst_len"),
        # IPv6 shows throw and unreachable routes as going to lo.
        device=names[index] if index and kind == "unicast" else None,
        gateway=_canonical(gateway) if gateway else None,
        source=_canonical(source) if source else None,
        type=kind,
    )


def _request(route: Route) -> dict[str, int | str]:
    version = _version(route.destination)
    request: dict[str, int | str] = {
        "family": version,
        "dst": route.destination,
        "table": route.table,
        "proto": ROUTE_PROTOCOL,
        "type": route.type,
    }
    if version == socket.AF_INET6:
        request["priority"] = _METRIC6
    elif route.type == "unicast" and route.gateway is None:
        request["scope"] = _SCOPE_LINK  # as iproute2 does: an on-link route may carry gateways
    if route.device is not None:
        request["oif"] = socket.if_nametoindex(route.device)
    if route.gateway is not None:
        request["gateway"] = route.gateway
    if route.source is not None:
        request["prefsrc"] = route.source
    return request


def _is_own_rule(message: Message) -> bool:
    return (
        message.get_attr("FRA_PROTOCOL") == ROUTE_PROTOCOL
        and message.get_attr("FRA_PRIORITY") in RULE_PRIORITIES
    )


def _rule(message: Message) -> Rule:
    ports = message.get_attr("FRA_SPORT_RANGE")
    return Rule(
        priority=message.get_attr("FRA_PRIORITY"),
        family=4 if message["family"] == socket.AF_INET else 6,
        table=message.get_attr("FRA_TABLE") or message["table"],
        source=_network(message, "FRA_SRC", "src_len") if message["src_len"] else None,
        destination=_network(message, "FRA_DST", "dst_len") if message["dst_len"] else None,
        iif=message.get_attr("FRA_IIFNAME"),
        oif=message.get_attr("FRA_OIFNAME"),
        sport=_port(ports),
    )


def _selectors(rule: Rule) -> dict[str, int | str]:
    request: dict[str, int | str] = {
        "family": _INET[rule.family],
        "priority": rule.priority,
        "table": rule.table,
        "action": _TO_TABLE,
        "protocol": ROUTE_PROTOCOL,
    }
    if rule.source is not None:
        request["src"] = rule.source
    if rule.destination is not None:
        request["dst"] = rule.destination
    if rule.iif is not None:
        request["iifname"] = rule.iif
    if rule.oif is not None:
        request["oifname"] = rule.oif
    if rule.sport is not None:
        request |= {"ip_proto": socket.IPPROTO_TCP, "sport_range": f"{rule.sport}:{rule.sport}"}
    return request


def _port(ports: object) -> int | None:
    """The first port of ``start:end``, which is how pyroute2 shows a range of ports."""
    return int(str(ports).split(":")[0]) if ports else None


def _own_routes(version: int) -> Ask:
    return lambda ip: ip.route("dump", family=version, proto=ROUTE_PROTOCOL)


def _order(item: Route | Rule) -> tuple[tuple[bool, Any], ...]:
    """The order of the dataclass, with None first where it would not compare."""
    return tuple((value is not None, value) for value in vars(item).values())


def _spell(item: Route | Rule) -> str:
    """The route or rule as ``ip`` would write it."""
    words = [f"{name} {value}" for name, value in _words(item) if value is not None]
    return " ".join(words)


def _words(item: Route | Rule) -> list[tuple[str, object]]:
    if isinstance(item, Route):
        kind = "route" if item.type == "unicast" else f"route {item.type}"
        return [
            (kind, item.destination),
            ("via", item.gateway),
            ("dev", item.device),
            ("src", item.source),
            ("table", item.table),
        ]
    return [
        ("rule", item.priority),
        ("from", item.source),
        ("to", item.destination),
        ("iif", item.iif),
        ("oif", item.oif),
        ("sport", item.sport),
        ("lookup", item.table),
    ]


def _way_out(route: Route) -> str:
    if route.device is None:
        return "does this kernel have this kind of route?"
    if route.source is not None:
        return f"is {route.device} up, and does it have the address {route.source}?"
    return f"is {route.device} up?"
