# SPDX-License-Identifier: GPL-2.0-or-later
"""Routes, rules, links and addresses: everything the agent asks of rtnetlink.

Own routes are known by their protocol number and table, own rules by their protocol number
and priority; what somebody else made is neither shown nor touched.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any

from ...core.describe import line
from ...core.network import KernelAddress, Link
from ...core.state import ROUTE_PROTOCOL, TABLES, Route, Rule
from ...errors import KernelError
from .conversation import CREATE, EXCLUSIVE, REPLACE, Conversation, Refused
from .framing import Devices, attribute, attributes
from .library import ADDRESS, ROUTE, RULE, Message, decode, encode
from .route_messages import (
    INET,
    from_place,
    from_route,
    from_rule,
    inet_family,
    is_own_route,
    is_own_rule,
    network,
    on_link,
    to_address,
    to_route,
    to_rule,
)

#: linux/rtnetlink.h: RTM_*
_NEW_ROUTE, _DELETE_ROUTE, _GET_ROUTE = 24, 25, 26
_NEW_RULE, _DELETE_RULE, _GET_RULE = 32, 33, 34
_GET_LINK, _GET_ADDRESS = 18, 22
#: linux/if_link.h ifinfomsg: family, type, index, flags, changes; IFLA_IFNAME
_LINK = struct.Struct("=BxHiII")
_IFLA_IFNAME = 3
#: IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS (Linux 4.6)
_IFLA_EXT_MASK, _SKIP_STATS = 29, 8
#: linux/if.h
_IFF_UP = 0x1
_IFF_LOWER_UP = 0x10000
#: What was to be removed is not there, or went with its device.
_GONE = (errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENODEV)
#: What the kernel answers to a gateway outside the networks of the device (IPv4, IPv6; seen on
#: 6.18).
_OFF_LINK = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL)


class Routing:
    """rtnetlink of the network namespace in which the first call is made.

    Every method blocks (well under a millisecond each, a dump somewhat longer) and raises
    KernelError.
    """

    def __init__(self) -> None:
        self._netlink = Conversation(socket.NETLINK_ROUTE)
        self._rules_seen: dict[int, list[Rule]] = {}
        """As last read, with what was added since: what is to be added was missed in these, and
        reading them costs several times as much as adding one."""

    def close(self) -> None:
        self._netlink.close()

    # --- What is ---------------------------------------------------------------------------

    def observe(self) -> tuple[tuple[Route, ...], tuple[Rule, ...]]:
        """The agent's own routes and rules of both families, sorted."""
        names = Devices()
        routes = [
            to_route(message, names)
            for version in INET.values()
            for message in self._routes("routes", version, proto=ROUTE_PROTOCOL)
            if is_own_route(message)
        ]
        rules = [rule for version in INET.values() for rule in self._own_rules(version)]
        return tuple(sorted(routes, key=_order)), tuple(sorted(rules, key=_order))

    def links(self) -> tuple[Link, ...]:
        """All network devices, in the order of their index."""
        light = attribute(_IFLA_EXT_MASK, struct.pack("=I", _SKIP_STATS))
        found = []
        for message in self._dump("links", _GET_LINK, _LINK.pack(0, 0, 0, 0, 0) + light):
            _, _, index, flags, _ = _LINK.unpack_from(message)
            name = attributes(message[_LINK.size :])[_IFLA_IFNAME].rstrip(b"\0").decode()
            found.append(Link(name, index, bool(flags & _IFF_UP), bool(flags & _IFF_LOWER_UP)))
        return tuple(sorted(found, key=lambda link: link.index))

    def addresses(self) -> tuple[tuple[str, tuple[KernelAddress, ...]], ...]:
        """Devices with all their addresses, in kernel order."""
        names = Devices()
        found: dict[str, list[KernelAddress]] = {}
        for message in self._decoded("addresses", _GET_ADDRESS, ADDRESS):
            address = to_address(message)
            if address is not None:
                found.setdefault(names[message["index"]], []).append(address)
        return tuple(sorted((device, tuple(given)) for device, given in found.items()))

    # --- What should be --------------------------------------------------------------------

    def set_route(self, route: Route) -> None:
        """Put the route into its place (table and destination), replacing what is there.

        The replacement is atomic: a packet finds the old route or the new one.
        """
        try:
            self._put(route, CREATE | EXCLUSIVE)  # mostly it is free: a link has come
            return
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise KernelError(f"{line(route)}: {error.strerror}; {_way_out(route)}") from error
        slot = self._slot(route)
        foreign = [m["proto"] for m in slot if m["proto"] != ROUTE_PROTOCOL]
        if foreign:
            raise KernelError(
                f"{line(route)}: another program's route is in that place (protocol "
                f"{foreign[0]}); remove it, and keep that program away from tables "
                f"{TABLES[0]} to {TABLES[-1]}"
            )
        if len(slot) > 1:
            # Several of ours can only come from another hand, and IPv6 replaces just the
            # first of them that resembles the new one (net/ipv6/ip6_fib.c).
            for _ in slot:
                self.remove_route(route)
        try:
            self._put(route, CREATE | REPLACE)
        except OSError as error:
            raise KernelError(f"{line(route)}: {error.strerror}; {_way_out(route)}") from error

    def _put(self, route: Route, flags: int) -> None:
        request = from_route(route)
        try:
            self._netlink.request(_NEW_ROUTE, request, flags)
        except Refused as error:
            if route.gateway is None or error.errno not in _OFF_LINK:
                raise
            self._netlink.request(_NEW_ROUTE, on_link(request), flags)

    def remove_route(self, route: Route) -> None:
        """Take the agent's route out of its place; fine where it is gone already."""
        self._absent(line(route), _DELETE_ROUTE, from_place(route))

    def add_rule(self, rule: Rule) -> None:
        """Install the rule; fine where it exists already."""
        seen = self._seen(rule)
        if rule in seen:
            return
        try:
            # Not EXCLUSIVE: then the kernel takes a more specific rule, or another program's, for
            # the same one (EEXIST).
            self._netlink.request(_NEW_RULE, from_rule(rule), CREATE)
        except OSError as error:
            raise KernelError(
                f"{line(rule)}: {error.strerror}; does the kernel have policy routing "
                "(CONFIG_IP_MULTIPLE_TABLES, CONFIG_IPV6_MULTIPLE_TABLES)?"
            ) from error
        seen.append(rule)

    def remove_rule(self, rule: Rule) -> None:
        """Remove the rule; fine where it is gone already.

        A selector that the request leaves out matches any (net/core/fib_rules.c), so the
        request may first hit more specific rules of ours: those are put back.
        """
        seen = self._seen(rule)
        if rule in seen and not any(_hits(rule, other) for other in seen if other != rule):
            self._absent(line(rule), _DELETE_RULE, from_rule(rule))
            seen.remove(rule)
            return
        version = INET[rule.family]
        before = self._own_rules(version)
        if rule not in before:
            return
        hit: list[Rule] = []
        now = before
        while rule in now and len(hit) < len(before):
            self._absent(line(rule), _DELETE_RULE, from_rule(rule))
            last, now = list(now), self._own_rules(version)
            hit += [r for r in last if r not in now]
        for other in hit:
            if other != rule:
                self.add_rule(other)

    # --- Netlink ---------------------------------------------------------------------------

    def _dump(self, what: str, kind: int, body: bytes) -> list[bytes]:
        try:
            return self._netlink.dump(kind, body)
        except OSError as error:
            raise KernelError(f"reading {what}: {error.strerror}") from error

    def _decoded(self, what: str, kind: int, message: type[Any], **fields: int) -> list[Message]:
        body = encode(message, fields, {})
        try:
            return [decode(message, payload) for payload in self._dump(what, kind, body)]
        except OSError as error:
            raise KernelError(f"reading {what}: {error.strerror}") from error

    def _routes(self, what: str, version: int, **fields: int) -> list[Message]:
        """What the kernel does not filter (before Linux 4.20) is filtered by the caller."""
        return self._decoded(what, _GET_ROUTE, ROUTE, family=version, **fields)

    def _absent(self, what: str, kind: int, body: bytes) -> None:
        try:
            self._netlink.request(kind, body)
        except OSError as error:
            if error.errno not in _GONE:
                raise KernelError(f"removing {what}: {error.strerror}") from error

    def _own_rules(self, version: int) -> list[Rule]:
        messages = self._decoded("rules", _GET_RULE, RULE, family=version)
        found = [to_rule(message) for message in messages if is_own_rule(message)]
        self._rules_seen[version] = found
        return found

    def _seen(self, rule: Rule) -> list[Rule]:
        """The rules of its family as last read."""
        version = INET[rule.family]
        seen = self._rules_seen.get(version)
        return self._own_rules(version) if seen is None else seen

    def _slot(self, route: Route) -> list[Message]:
        """All routes in the route's place, whoever made them."""
        version, table = inet_family(route.destination), {"RTA_TABLE": route.table}
        try:
            payloads = self._netlink.dump(_GET_ROUTE, encode(ROUTE, {"family": version}, table))
            messages = [decode(ROUTE, payload) for payload in payloads]
        except OSError as error:
            if error.errno == errno.ENOENT:
                return []  # a table exists from its first route on
            raise KernelError(f"reading table {route.table}: {error.strerror}") from error
        return [
            message
            for message in messages
            if message.get_attr("RTA_TABLE") == route.table
            and network(message, "RTA_DST", "dst_len") == route.destination
        ]


def _hits(request: Rule, rule: Rule) -> bool:
    """Whether a request to delete one rule could hit another (rule_find of
    net/core/fib_rules.c): it has all the selectors that the request names."""
    named = {k: v for k, v in vars(request).items() if v is not None and k != "suppress"}
    return named.items() <= vars(rule).items()


def _order(item: Route | Rule) -> tuple[tuple[bool, Any], ...]:
    """The order of the dataclass, with None first where it would not compare."""
    return tuple((value is not None, value) for value in vars(item).values())


def _way_out(route: Route) -> str:
    if route.device is None:
        return "does this kernel have this kind of route?"
    if route.source is not None:
        return f"is {route.device} up, and does it have the address {route.source}?"
    return f"is {route.device} up?"
