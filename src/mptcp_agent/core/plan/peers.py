# SPDX-License-Identifier: GPL-2.0-or-later
"""Which peer, which of its addresses, which WANs: the choices everything else follows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from ..config import Config, Peer
from ..config.options import is_address
from ..health import Health
from ..network import Facts
from ..network.wans import WanLink
from ..snapshot import Choice
from ..state import Family, family

FAMILIES: tuple[Family, Family] = (4, 6)


@dataclass(frozen=True)
class PeerAddresses:
    """A peer with its host names resolved, in the order of the configuration."""

    peer: Peer
    addresses: tuple[str, ...]


def resolve(peers: tuple[Peer, ...], facts: Facts) -> tuple[PeerAddresses, ...]:
    names = dict(facts.resolved)
    return tuple(
        PeerAddresses(
            peer,
            tuple(
                dict.fromkeys(
                    a
                    for host in peer.address
                    for a in ((host,) if is_address(host) else names.get(host, ()))
                )
            ),
        )
        for peer in peers
    )


def previous_addresses(peer: Peer, facts: Facts) -> tuple[str, ...]:
    """Addresses that the peer's names led to before."""
    known = dict(facts.formerly)
    return tuple(a for host in peer.address for a in known.get(host, ()))


def with_address_in_use(
    peers: tuple[PeerAddresses, ...], now: Choice | None, facts: Facts, health: Health
) -> tuple[PeerAddresses, ...]:
    """The peers, with the address in use where a name of its peer led there and has another
    answer now: as the last one, while connections run there and nobody refused it.

    Answers rotate, and may be wrong for a moment (a captive portal's): each one would end every
    connection. So an idle proxy, too, follows only once somebody is seen to listen at the new
    address. A name that is no longer configured keeps nothing.
    """

    def stays(peer: PeerAddresses, now: Choice) -> bool:
        moved = not health.accepting_for_a_while.isdisjoint(peer.addresses)
        return (
            peer.peer.name == now.peer.name
            and now.address not in peer.addresses
            and now.address in previous_addresses(peer.peer, facts)
            and now.address not in health.refused
            and not (health.idle and moved)
        )

    return tuple(
        replace(p, addresses=(*p.addresses, now.address)) if now and stays(p, now) else p
        for p in peers
    )


def usable_wans(wans: tuple[WanLink, ...], health: Health, address: str) -> list[WanLink]:
    """WANs over which an address can be reached, best first: those on whose link the address
    lies, then the others in the order of the configuration; backups last."""
    able = [
        w
        for w in wans
        if w.in_use and w.address(family(address)) and health.usable(w.name, address)
    ]

    def rank(wan: WanLink) -> tuple[bool, bool, int]:
        own = wan.address(family(address))
        return (wan.section.role == "backup", not (own and own.holds(address)), wan.index)

    return sorted(able, key=rank)


def reachable(peer: PeerAddresses, wans: tuple[WanLink, ...], health: Health) -> tuple[str, ...]:
    """The peer's addresses that can be reached over some WAN, and where nobody refused; none of a
    peer that accepts connections and does nothing with them."""
    if peer.peer.name in health.dead_peers:
        return ()
    return tuple(
        a for a in peer.addresses if a not in health.refused and usable_wans(wans, health, a)
    )


def choose(
    peers: tuple[PeerAddresses, ...],
    wans: tuple[WanLink, ...],
    health: Health,
    now: Choice | None,
    recovering: bool = False,
    plain: Collection[int] = (),
) -> Choice | None:
    """The first peer that can be reached, by that of its addresses that most WANs can serve; of
    equals by the first.

    What is in use (``now``) stays as long as it can be reached at all: a change restarts the
    proxy process and ends its connections, which may come to life again after an outage. It
    gives way to a better peer or address when there are none, and in any case only to an address
    at which somebody was seen to listen. ``recovering``: the LAN goes out directly now, and is not
    switched to a tunnel that leads nowhere: somebody has to answer first. ``plain``: the families
    in which the redirector makes plain TCP connections.
    """

    def serving(address: str, peer: PeerAddresses) -> int:
        return 0 if family(address) in plain else _serving(address, peer, wans)

    if not any(now and p.peer.name == now.peer.name and now.address in p.addresses for p in peers):
        now = None  # no longer configured
    found: list[Choice] = []
    for peer in peers:
        able = [
            a
            for a in reachable(peer, wans, health)
            if now is None or a == now.address or a in health.accepting_for_a_while
        ]
        if able:
            best_of_peer = max(able, key=lambda a: serving(a, peer))  # the first of equals
            if now and now.peer.name == peer.peer.name and now.address in able:
                better = serving(best_of_peer, peer) > serving(now.address, peer)
                if not (health.idle and better):
                    best_of_peer = now.address
            found.append(Choice(peer.peer, best_of_peer))
    best = found[0] if found else None
    if now is not None and not health.idle:
        kept = [c for c in found if (c.peer.name, c.address) == (now.peer.name, now.address)]
        if not kept and health.in_grace_period:
            return None
        best = kept[0] if kept else best
    if best and recovering and best.address not in health.accepting:
        return None  # it soon answers, or is known not to
    return best


def _serving(address: str, peer: PeerAddresses, wans: tuple[WanLink, ...]) -> int:
    """How many WANs carry a connection to an address of the peer, going by families alone: a
    momentary fault is no reason to restart a proxy."""
    families = client_families(family(address), (peer,))
    return sum(
        w.in_use and w.section.role != "backup" and bool(wan_families(w, families)) for w in wans
    )


def client_families(in_use: Family | None, peers: tuple[PeerAddresses, ...]) -> tuple[Family, ...]:
    """Families of subflows that a connection to an address of family ``in_use`` takes, best
    first: an IPv6 socket takes IPv4 subflows as well, where the peer announces such an address;
    an IPv4 socket takes none of IPv6."""
    known = {family(a) for p in peers for a in p.addresses}
    if in_use == 6:
        return (6, 4) if 4 in known else (6,)
    return (4,) if in_use == 4 else tuple(f for f in FAMILIES if f in known)


def wan_families(wan: WanLink, families: tuple[Family, ...]) -> tuple[Family, ...]:
    """Of these the one in which a WAN joins: one subflow for each WAN, not one for each address."""
    return next(((f,) for f in families if wan.address(f)), ())


def failed_wans(wans: tuple[WanLink, ...], health: Health, addresses: tuple[str, ...]) -> set[str]:
    """WANs whose paths are all down while another WAN's are not.

    When no path answers, the peer is dead rather than every link: nothing is taken away then.
    """

    def alive(wan: WanLink) -> bool:
        return any(wan.address(family(a)) and health.usable(wan.name, a) for a in addresses)

    used = [w for w in wans if w.in_use]
    if not addresses or not any(map(alive, used)):
        return set()
    return {w.name for w in used if not alive(w)}


def used_families(config: Config, peers: tuple[PeerAddresses, ...]) -> tuple[bool, bool]:
    """Whether IPv4 and IPv6 endpoints are of use: of eight in all, none should be idle."""
    addresses = [a for p in peers for a in p.addresses]
    if config.server:
        addresses += config.server.listen
    return (
        any(family(a) == 4 or a == "::" for a in addresses),
        any(family(a) == 6 for a in addresses),
    )
