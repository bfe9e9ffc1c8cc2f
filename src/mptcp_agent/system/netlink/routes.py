"""Routes, rules, links and addresses: everything the agent asks of rtnetlink.

Own routes are known by their protocol number and table, own rules by their protocol number
and priority; what somebody else made is neither shown nor touched.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from typing import Any

from ...core.describe import line
from ...core.network import KernelAddress, Link
from ...core.state import ROUTE_PROTOCOL, TABLES, Route, Rule
from ...errors import KernelError
from .framing import Devices
from .library import Handle, IPRoute, Message, NetlinkError, code, text
from .route_messages import (
    INET,
    from_route,
    from_rule,
    inet_family,
    is_own_route,
    is_own_rule,
    network,
    to_address,
    to_route,
    to_rule,
)

#: What is asked of an open IPRoute; its answer, where one is expected, is messages.
Ask = Callable[[Any], Iterable[Message]]

#: linux/rtnetlink.h RT_SCOPE_NOWHERE: any, in a deletion
_SCOPE_NOWHERE = 255
#: linux/rtnetlink.h RTNH_F_ONLINK: the gateway is a neighbour, whatever the addresses say.
_ONLINK = 4
#: RTM_NEWRULE with NLM_F_REQUEST, _ACK, _CREATE, but without NLM_F_EXCL: asked for exclusion,
#: the kernel takes a more specific rule, or another program's, for the same one (EEXIST).
_NEW_RULE = (32, 0x1 | 0x4 | 0x400)
#: linux/if.h
_IFF_UP = 0x1
_IFF_LOWER_UP = 0x10000
#: What was to be removed is not there, or went with its device.
_GONE = (errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENODEV)
#: What the kernel answers to a gateway outside the networks of the device (IPv4, IPv6).
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
            for message in self._dump("routes", _routes_where(version, proto=ROUTE_PROTOCOL))
            if is_own_route(message)
        ]
        rules = [rule for version in INET.values() for rule in self._own_rules(version)]
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

    def addresses(self) -> tuple[tuple[str, tuple[KernelAddress, ...]], ...]:
        """Devices with all their addresses, in kernel order."""
        names = Devices()
        found: dict[str, list[KernelAddress]] = {}
        for message in self._dump("addresses", lambda ip: ip.get_addr()):
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
            self._put(route, "add")  # mostly it is free: a link has come
            return
        except (NetlinkError, OSError) as error:
            if code(error) != errno.EEXIST:
                raise KernelError(f"{line(route)}: {text(error)}; {_way_out(route)}") from error
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
            self._put(route, "replace")
        except (NetlinkError, OSError) as error:
            raise KernelError(f"{line(route)}: {text(error)}; {_way_out(route)}") from error

    def _put(self, route: Route, how: str) -> None:
        request = from_route(route)
        try:
            self._netlink.request(lambda ip: ip.route(how, **request))
        except NetlinkError as error:
            if route.gateway is None or code(error) not in _OFF_LINK:
                raise
            # A gateway that no network of the device covers, as on /32 links.
            self._netlink.request(lambda ip: ip.route(how, **request, flags=_ONLINK))

    def remove_route(self, route: Route) -> None:
        """Take the agent's route out of its place; fine where it is gone already."""
        self._absent(
            line(route),
            lambda ip: ip.route(
                "del",
                family=inet_family(route.destination),
                dst=route.destination,
                table=route.table,
                proto=ROUTE_PROTOCOL,
                scope=_SCOPE_NOWHERE,
            ),
        )

    def add_rule(self, rule: Rule) -> None:
        """Install the rule; fine where it exists already."""
        seen = self._seen(rule)
        if rule in seen:
            return
        try:
            self._netlink.request(lambda ip: ip.rule(_NEW_RULE, **from_rule(rule)))
        except (NetlinkError, OSError) as error:
            raise KernelError(
                f"{line(rule)}: {text(error)}; does the kernel have policy routing "
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
            self._absent(line(rule), lambda ip: ip.rule("del", **from_rule(rule)))
            seen.remove(rule)
            return
        version = INET[rule.family]
        before = self._own_rules(version)
        if rule not in before:
            return
        hit: list[Rule] = []
        now = before
        while rule in now and len(hit) < len(before):
            self._absent(line(rule), lambda ip: ip.rule("del", **from_rule(rule)))
            last, now = list(now), self._own_rules(version)
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
        version = inet_family(route.destination)
        try:
            messages = self._netlink.dump(_routes_where(version, table=route.table))
        except (NetlinkError, OSError) as error:
            if code(error) == errno.ENOENT:
                return []  # a table exists from its first route on
            raise KernelError(f"reading table {route.table}: {text(error)}") from error
        return [
            message
            for message in messages
            if message.get_attr("RTA_TABLE") == route.table
            and network(message, "RTA_DST", "dst_len") == route.destination
        ]


def _routes_where(version: int, **filters: int) -> Ask:
    """A dump that the kernel filters. What it does not filter is filtered by the caller.

    ``dump_filter=None``: pyroute2 0.9 would otherwise fetch every route and compare in
    Python (1 s for 25,000 routes, against 2 ms).
    """
    return lambda ip: ip.route("dump", family=version, dump_filter=None, **filters)


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
