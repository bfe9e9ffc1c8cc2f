"""Connections that are left on dead WANs alone, while a WAN that works has an endpoint.

    reading                                      it means
    a connection has no subflow on a working     it is stranded; the kernel may still be joining
    WAN, though it is established
    so it is for ``PATIENCE`` seconds            the endpoints of the working WANs are added anew
    so it still is, ``TRIES`` times later        it is left alone

The kernel does not join again from an endpoint whose subflow the peer has closed. A peer closes
one that works when its own end of another WAN dies: subflows go to the address the connection began
with, and a router that is a client itself removes with the endpoint of its dead WAN every subflow
of that address, whichever way it came in (seen on 6.18: mptcp_nl_remove_subflow_and_signal_addr).
An endpoint that is removed and added again is joined from anew, by all connections.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ..sockets import TcpSocket

#: Seconds: a join takes two round trips, and its first packet may be lost.
PATIENCE = 0.3
#: Seconds between two tries, doubled each time, and how many there are for one connection: adding
#: an endpoint anew interrupts the others' subflows there for a moment.
PAUSE, TRIES = 1.0, 4


@dataclass(frozen=True)
class Stranded:
    """By the connection's token: when it is due for a try, and how many it has had."""

    due: Mapping[int, tuple[float, int]] = field(default_factory=dict)


def living(sockets: Iterable[TcpSocket]) -> Iterator[tuple[int, TcpSocket]]:
    """The subflows that carry data, or are about to, by their connection's token."""
    for sock in sockets:
        if sock.subflow and sock.state in ("established", "syn-sent"):
            yield sock.subflow.token_local, sock


def step(
    before: Stranded,
    sockets: Iterable[TcpSocket],
    orphans: Iterable[int],
    working: Collection[str],
    now: float,
) -> tuple[Stranded, bool]:
    """The next reading, and whether the endpoints of ``working`` are to be added anew: the local
    addresses of WANs that work. ``orphans`` are connections without any living subflow."""
    alive = dict.fromkeys(orphans, False)
    for token, sock in living(sockets):
        alive[token] = alive.get(token, False) or sock.local in working
    if not working:
        return Stranded(), False
    first = (now + PATIENCE, 0)
    found = {token: before.due.get(token, first) for token, well in alive.items() if not well}
    again = any(now >= at and tries < TRIES for at, tries in found.values())
    if again:
        found = {token: (now + PAUSE * 2**tries, tries + 1) for token, (_, tries) in found.items()}
    return Stranded(found), again
