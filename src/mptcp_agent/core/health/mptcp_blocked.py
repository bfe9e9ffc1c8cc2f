# SPDX-License-Identifier: GPL-2.0-or-later
"""WANs over which Multipath TCP does not get through: a middlebox there strips or drops its
options. Nothing breaks then, the WAN is merely not used, and only these signs tell:

    fallback   a connection began on the WAN, asked for MPTCP and is plain TCP
    missing    a connection has subflows on other WANs and never got one on this

Fed with the proxied connections at an interval. What is counted of a WAN is forgotten when the
same thing succeeds there. Only a connection that lives is evidence: once one of its ends has
closed it the kernel joins no more, while its subflows stand for up to a minute (seen on 6.1, 6.18
and 7.3), and the peer may have closed one of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from ..connections import Proxied
from ..problem import Problem
from ..sockets import TcpSocket

#: Readings of a connection after which a subflow that is not there is missing: a join takes
#: a round trip, and its SYN may be lost once or twice.
PATIENCE = 3
#: Connections that make it a problem: one may have lost its subflow in another way.
ENOUGH = 2


@dataclass(frozen=True)
class Count:
    """Connections, since one last succeeded."""

    fallbacks: int = 0
    missing: int = 0


@dataclass(frozen=True)
class BlockedWans:
    """All WANs after one reading."""

    wans: Mapping[str, Count] = field(default_factory=dict)
    waiting: Mapping[tuple[str, int], int] = field(default_factory=dict)
    """Readings for which a connection (its token) has had no subflow on a WAN."""
    joined: frozenset[tuple[str, int]] = frozenset()
    """WANs on which a connection that still is has had a subflow."""
    seen: frozenset[int] = frozenset()
    """Cookies of the sockets of the last reading."""


def update(
    before: BlockedWans,
    found: Iterable[Proxied],
    names: Mapping[str, str],
    usable: Iterable[str],
    ending: Collection[int] = (),
) -> BlockedWans:
    """``names`` are the WANs by their addresses; ``usable`` those which have an endpoint and
    are not down; ``ending`` the tokens of connections that one of their ends has closed."""
    clients = [c for c in found if c.role == "client"]
    usable = set(usable)
    wans = {name: count for name, count in before.wans.items() if name in usable}
    waiting: dict[tuple[str, int], int] = {}
    joined_on: set[tuple[str, int]] = set()

    for connection in clients:
        new = [s for s in connection.sockets if s.cookie not in before.seen]
        if connection.fallback:
            for name in {names[s.local] for s in new if s.local in names}:
                old = wans.get(name, Count())
                wans[name] = replace(old, fallbacks=old.fallbacks + 1)
            continue
        for sock in new:
            name = names.get(sock.local, "")
            if name in wans and _complete(sock):
                joined = sock.subflow is not None and sock.subflow.join
                success = {"missing": 0} if joined else {"fallbacks": 0}
                wans[name] = replace(wans[name], **success)
        token = connection.token
        used = {names.get(s.local, "") for s in connection.sockets if _complete(s)}
        had = {(name, token) for name in usable} & before.joined
        joined_on |= had | {(name, token) for name in used}
        lives = token not in ending and any(s.state == "established" for s in connection.sockets)
        for name in usable - used - {n for n, _ in had} if lives else ():
            key = (name, token)
            waiting[key] = before.waiting.get(key, 0) + 1
            if waiting[key] == PATIENCE:
                old = wans.get(name, Count())
                wans[name] = replace(old, missing=old.missing + 1)
    seen = frozenset(s.cookie for c in clients for s in c.sockets if _complete(s))
    return BlockedWans(wans, waiting, frozenset(joined_on), seen)


def _complete(sock: TcpSocket) -> bool:
    return sock.state not in ("syn-sent", "syn-recv")


def problems(joins: BlockedWans) -> Iterator[Problem]:
    """What a person should know, by WAN."""
    hint = (
        "something on this link strips or drops MPTCP's options (a provider's proxy, a firewall): "
        "ask the provider, or set the role of this WAN to off"
    )
    for name, count in sorted(joins.wans.items()):
        if count.fallbacks >= ENOUGH:
            message = f"{count.fallbacks} connections that began here are plain TCP, not MPTCP"
            yield Problem(f"wan {name}", message, hint, severity="warning")
        if count.missing >= ENOUGH:
            message = f"no subflow completes here; {count.missing} connections use other WANs only"
            yield Problem(f"wan {name}", message, hint, severity="warning")
