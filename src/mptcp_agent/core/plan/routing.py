# SPDX-License-Identifier: GPL-2.0-or-later
"""Routes, rules, endpoints and limits.

Each WAN has a table, reached by its device and by its address, so that a subflow stays on its
WAN wherever it is going. The first subflow of a connection has no address yet: one more table
sends it over the best WAN, and moves when that WAN fails. Later packets of the connection
carry the WAN's address, so moving that table never moves a running subflow.

What main has a more specific route for than a default stays as main says, also for what comes
from a WAN's address: main is looked up before the WAN's default, as it is at that moment, and not
copied. The peers are excepted, and have routes of their own in each WAN's table: main may well
have one for the end of a VPN that is on the same machine, and a subflow stays on its WAN.

A connection that still calls over a WAN has that WAN's address, and nothing else would take it to
another one when the WAN dies. For such calls there is no route then, and with
``net.ipv4.ip_dynaddr`` the kernel gives them the address of the WAN that the peers' table has when
it sends the next SYN: each second since Linux 6.5. They are MPTCP like any other afterwards (seen
on 6.18). IPv6 has no such thing (``monitor.interventions``).

A server answers from the address the client spoke to, which may belong to another WAN than
the client's link (the client's second WAN joins to the server's first address). So replies to
a client on a WAN's own network go out by that WAN, whatever their source.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from ..config import Config
from ..health import Health
from ..network import DEFAULT_LENGTH, Facts
from ..network.topology import WanAddress
from ..network.wans import WanLink
from ..state import (
    ENDPOINT_IDS,
    ENDPOINT_SMALL_PACKETS,
    MARK_SHIFT,
    PRIORITY_ADDRESS,
    PRIORITY_DEAD_CALL,
    PRIORITY_DEVICE,
    PRIORITY_INBOUND,
    PRIORITY_PEER,
    PRIORITY_SERVER_REPLY,
    TABLE_MAIN,
    TABLE_NOWHERE,
    TABLE_PEERS,
    Endpoint,
    EndpointFlag,
    Family,
    Inbound,
    Limits,
    Route,
    Rule,
    family,
)
from .peers import (
    FAMILIES,
    PeerAddresses,
    failed_wans,
    usable_wans,
    used_families,
    wan_families,
)


def routes(
    wans: Iterable[WanLink],
    networks: Iterable[str],
    peers: Iterable[PeerAddresses],
    health: Health,
    families: tuple[Family, ...] = (),
) -> tuple[Route, ...]:
    """Routes of all tables; ``networks`` are the router's own LANs, which no WAN may swallow,
    ``families`` those of subflows that the client's connections take."""
    wans, networks, peers = tuple(wans), tuple(networks), tuple(peers)
    # Each address with all addresses of the peer it belongs to.
    siblings: dict[str, tuple[str, ...]] = {}
    for peer in peers:
        for address in peer.addresses:
            siblings.setdefault(address, peer.addresses)
    found: list[Route] = []
    for wan in wans:
        if wan.in_use:
            for own in wan.addresses:
                found += _wan_table(wan, own, networks, siblings, health)
    for address, same_peer in siblings.items():
        # With every path down the first one stays: silence is not improved by no route.
        best = usable_wans(wans, health, address) or usable_wans(wans, Health(), address)
        if family(address) in families[1:]:
            # An address that is joined after it was announced: over a WAN that has no other way.
            best.sort(key=lambda w: family(address) not in wan_families(w, families))
        if best:
            found.append(_route_to(address, best[0], TABLE_PEERS, same_peer, health))
    if any(_dead_calls(wans, peers, health)):
        found.append(Route(TABLE_NOWHERE, "0.0.0.0/0", type="unreachable"))
    return tuple(sorted(found, key=lambda r: (r.table, r.destination)))


def _wan_table(
    wan: WanLink,
    own: WanAddress,
    networks: Iterable[str],
    siblings: Mapping[str, tuple[str, ...]],
    health: Health,
) -> Iterator[Route]:
    for address, same_peer in siblings.items():
        if family(address) != own.family:
            continue
        if not own.holds(address) or health.path(wan.name, address).mtu:
            yield _route_to(address, wan, wan.table, same_peer, health)
    hosts = {_host(address) for address in siblings}
    for network in networks:
        if family(network) == own.family and network != own.network and network not in hosts:
            yield Route(wan.table, network, type="throw")
    if own.network != own.host:
        yield Route(wan.table, own.network, device=wan.device, source=own.address)
    if own.gateway:
        default = "::/0" if own.family == 6 else "0.0.0.0/0"
        yield Route(wan.table, default, device=wan.device, gateway=own.gateway, source=own.address)


def _host(address: str) -> str:
    """The address as a network of one."""
    return f"{address}/{128 if family(address) == 6 else 32}"


def _route_to(
    address: str, wan: WanLink, table: int, same_peer: tuple[str, ...], health: Health
) -> Route:
    """To a peer address over a WAN: by its gateway; on a link without one by an address of
    the same peer on that link; else the address itself, on-link.

    Where the path carries less than the device does the route says so: the kernel then sends less,
    and asks the other end for less (the MSS of its SYNs), whoever that is.
    """
    own = wan.address(family(address))
    assert own is not None
    gateway = own.gateway or next((a for a in same_peer if own.holds(a)), None)
    if own.holds(address):
        gateway = None
    return Route(
        table,
        _host(address),
        device=wan.device,
        gateway=gateway,
        source=own.address,
        mtu=health.path(wan.name, address).mtu or None,
    )


def inbound(wans: Iterable[WanLink]) -> tuple[Inbound, ...]:
    """The devices on which connections come in from outside, with their marks: none where there
    is only one way back. Also of WANs that are down: the firewall is not written anew when a link
    dies. Two sections of one device (IPv4 and IPv6) have the mark of the first."""
    found: dict[str, int] = {}
    for wan in wans:
        if wan.device and not wan.section.off:
            found.setdefault(wan.device, (wan.slot + 1) << MARK_SHIFT)
    return tuple(Inbound(*pair) for pair in sorted(found.items())) if len(found) > 1 else ()


def rules(
    config: Config,
    wans: Iterable[WanLink],
    peers: Iterable[PeerAddresses],
    health: Health,
    inbound: Iterable[Inbound] = (),
) -> tuple[Rule, ...]:
    """``inbound``: with which the firewall marks the answers to what came in on a WAN."""
    wans, peers = tuple(wans), tuple(peers)
    marks = {one.device: one.mark for one in inbound}
    found: list[Rule] = [*_dead_calls(wans, peers, health)]
    for wan in wans:
        if not wan.in_use:
            continue
        for own in wan.addresses:
            found += _to_wan(PRIORITY_DEVICE, wan, own, oif=wan.device)
            found += _to_wan(PRIORITY_ADDRESS, wan, own, source=own.host)
            if wan.device in marks:
                found += _to_wan(PRIORITY_INBOUND, wan, own, mark=marks[wan.device])
            if config.server and own.network != own.host:
                found.append(
                    Rule(
                        PRIORITY_SERVER_REPLY,
                        own.family,
                        wan.table,
                        destination=own.network,
                        iif="lo",
                        sport=config.server.port,
                    )
                )
    for address in dict.fromkeys(a for p in peers for a in p.addresses):
        to_peer = Rule(PRIORITY_PEER, family(address), TABLE_PEERS, destination=_host(address))
        found.append(replace(to_peer, iif="lo"))
    return tuple(sorted(set(found), key=_rule_order))


def _dead_calls(
    wans: tuple[WanLink, ...], peers: Iterable[PeerAddresses], health: Health
) -> Iterator[Rule]:
    """Calls over a path that is dead, to an address that another WAN reaches. By the server's port:
    a server's own answers to that address stay on their WAN. Probes do, too: they are bound to a
    device, whose rule comes first."""
    for peer in peers:
        for address in peer.addresses:
            if family(address) == 6 or not usable_wans(wans, health, address):
                continue
            for wan in wans:
                own = wan.address(4)
                if wan.in_use and own and not health.usable(wan.name, address):
                    yield Rule(
                        PRIORITY_DEAD_CALL,
                        4,
                        TABLE_NOWHERE,
                        source=own.host,
                        destination=_host(address),
                        iif="lo",
                        dport=peer.peer.port,
                    )


def _to_wan(
    priority: int,
    wan: WanLink,
    own: WanAddress,
    *,
    source: str | None = None,
    oif: str | None = None,
    mark: int | None = None,
) -> Iterator[Rule]:
    """The WAN's table with main's more specific routes before its default."""
    table = Rule(priority, own.family, wan.table, source=source, oif=oif, mark=mark)
    yield replace(table, suppress=0)
    if own.gateway:
        length = DEFAULT_LENGTH[own.family]
        yield replace(table, priority=priority + 1, table=TABLE_MAIN, suppress=length)
        yield replace(table, priority=priority + 2)


def _rule_order(rule: Rule) -> tuple[int, int, int, str]:
    return (rule.priority, rule.family, rule.table, str(rule))


def limits(wans: Iterable[WanLink], families: tuple[Family, ...]) -> Limits:
    """Eight of each, one for each WAN there may be, and the most that kernels before 7.2 allow:
    the default of 2 subflows leaves the third WAN idle (seen on 6.1 to 7.3). Kernels that allow
    64 are not asked for more: what goes beyond one subflow over each WAN adds nothing but what is
    lost with it.

    With an IPv6 address in use, nothing that the server announces is joined, as long as every
    WAN has a way to that address itself. A subflow over each address of each family would add
    nothing but what is lost with a WAN: five on two links, a fifth more frames, and stalls twice
    as long (seen on 6.18 and 7.3).
    """
    needed = families[:1] != (6,) or any(
        wan.in_use and 6 not in wan_families(wan, families) for wan in wans
    )
    return Limits(subflows=8, add_addr_accepted=8 if needed else 0)


def within_kernel_limit(found: tuple[Endpoint, ...], most: int) -> tuple[Endpoint, ...]:
    """As many as the kernel takes: rather one address of each WAN than two of some."""

    def rank(endpoint: Endpoint) -> tuple[bool, int]:
        return ("subflow" not in endpoint.flags, endpoint.id)

    def second(endpoint: Endpoint) -> bool:
        return any(e.device == endpoint.device and rank(e) < rank(endpoint) for e in found)

    chosen = sorted(found, key=lambda e: (second(e), *rank(e)))[:most]
    return tuple(sorted(chosen, key=lambda e: e.id))


def with_standing(
    found: tuple[Endpoint, ...],
    present: Iterable[Endpoint],
    config: Config,
    wans: Iterable[WanLink],
    facts: Facts,
) -> tuple[Endpoint, ...]:
    """On a router that is client and server at once an endpoint stands as long as its address does.

    With a subflow endpoint the kernel ends every subflow that has its address, those of the other
    router's connections too that came in on another WAN, which lives: they go to the address the
    connection began with (mptcp_nl_remove_subflow_and_signal_addr; seen on 6.18: both LANs' streams
    hung for ever). So a dead WAN is left to the kernel here, which resends what was lost on the
    others after some hundred ms, and comes back to the WAN by itself after some seconds.
    """
    if not (config.client and config.server):
        return found
    devices = {w.device for w in wans if not w.section.off}
    stands = {
        e.address: e
        for e in present
        if e.device in devices
        and "subflow" in e.flags
        and e.address in [a.address for a in facts.kernel_addresses(e.device)]
    }
    chosen = {e.address: e if "subflow" in e.flags else stands.get(e.address, e) for e in found}
    return tuple(sorted((stands | chosen).values(), key=lambda e: e.id))


def endpoints(
    config: Config,
    wans: tuple[WanLink, ...],
    peers: tuple[PeerAddresses, ...],
    health: Health,
    in_use: tuple[str, ...],
    families: tuple[Family, ...],
) -> tuple[Endpoint, ...]:
    """One endpoint per address of each WAN that is healthy in the address's family: subflow for
    the client role, signal for the server role. A signal endpoint stays while only probes fail:
    the kernel announces an address once, and not again after it came back (mptcp_net-next
    issues 501, 502).

    ``in_use`` are the addresses of the peer in use, ``families`` those of subflows that its
    connections take, best first: a WAN has one subflow endpoint, of the best that it has.

    Not laminar (6.18 on), which says from where an announced address is joined: the peers' table
    says that here, on every kernel. Beside ``subflow`` it helped nothing: 16 silent cuts of one of
    two links stalled for 217 ms (median), without it for 201 (6.18).
    """
    failed = {
        fam: failed_wans(wans, health, tuple(a for a in in_use if family(a) == fam))
        for fam in FAMILIES
    }
    served = used_families(config, peers)
    found: list[Endpoint] = []
    for wan in wans:
        if not wan.in_use or wan.device is None:
            continue
        joining = wan_families(wan, families)
        for own in wan.addresses:
            flags: set[EndpointFlag] = set()
            if config.server and served[own.family == 6]:
                flags.add("signal")
            if config.client and own.family in joining and wan.name not in failed[own.family]:
                flags.add("subflow")
                if wan.section.role == "backup":
                    flags.add("backup")
            if flags:
                number = ENDPOINT_IDS.start + 2 * wan.slot + (own.family == 6)
                if not config.server and _small(wan, own, health, in_use):
                    number += ENDPOINT_SMALL_PACKETS
                found.append(Endpoint(own.address, wan.device, frozenset(flags), number))
    return tuple(found) if config.server else _needed(found)


def _needed(found: list[Endpoint]) -> tuple[Endpoint, ...]:
    """Without backups as long as another WAN can be used: each connection's idle subflow would
    cost keep-alives (the kernel hands them on to every subflow), on links that are paid by the
    byte."""
    others = any("backup" not in e.flags for e in found)
    return tuple(e for e in found if not (others and "backup" in e.flags))


def _small(wan: WanLink, own: WanAddress, health: Health, addresses: tuple[str, ...]) -> bool:
    """Whether the WAN carries only small packets to one of these. A running subflow's other end
    goes on sending large ones, since it was told of no less at its beginning. Under another id
    the endpoint, and with it each subflow, is made anew."""
    return any(family(a) == own.family and health.path(wan.name, a).mtu for a in addresses)
