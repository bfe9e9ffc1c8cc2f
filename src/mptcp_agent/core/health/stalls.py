# SPDX-License-Identifier: GPL-2.0-or-later
"""Hints from running traffic: which WANs deserve a look, and which have just proved alive.

Compares two readings of the sockets between the routers. A hint is cheap (a few probes), so
it may be wrong; a probe has the last word. That way a radio link that dies silently under a
download is known in a fraction of a second, without probing fast all the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ..sockets import TcpSocket

#: Seconds without data after which a subflow that was busy is suspect: at least this, and two
#: of its shortest round trips (a small window pauses for one). Above the pauses of a Wi-Fi frame
#: aggregation; a scan's are longer, and cost a few probes.
QUIET = 0.06
#: Bytes within one second that make a subflow busy; less is chatter, which pauses by nature.
BUSY = 50_000
#: Seconds without data on any subflow after which a connection that was busy has stopped.
STOPPED = 0.5
#: Seconds a connection may be under way before its WAN is suspect.
SLOW_HANDSHAKE = 0.3
#: Seconds a request may wait for its first answer before the tunnel is suspect.
UNANSWERED = 0.5


@dataclass(frozen=True)
class Flow:
    """One subflow as it moves. ``busy`` are the bytes of about the last second."""

    received: int
    acked: int
    moved_at: float
    busy: float = 0.0
    hinted: bool = False
    asked: bool = False
    """Its missing answer was hinted at."""


@dataclass(frozen=True)
class Reading:
    """All subflows at one moment, by the kernel's cookie."""

    at: float = 0.0
    flows: Mapping[int, Flow] = field(default_factory=dict)


@dataclass(frozen=True)
class Hints:
    """Local addresses, each the address of a WAN; ``alive`` with the remote one."""

    suspects: frozenset[str] = frozenset()
    alive: frozenset[tuple[str, str]] = frozenset()
    unanswered: bool = False
    """Requests go out and nothing at all comes back: the tunnel is suspect."""
    moving: bool = False
    """Data moved since the last reading."""


def step(before: Reading, sockets: Iterable[TcpSocket], now: float) -> tuple[Reading, Hints]:
    """The new reading and what it suggests. ``now`` in seconds, as in ``before``."""
    sockets = tuple(sockets)
    elapsed = max(now - before.at, 0.001)
    flows: dict[int, Flow] = {}
    suspects: set[str] = set()
    alive: set[tuple[str, str]] = set()
    for sock in sockets:
        old = before.flows.get(sock.cookie)
        if sock.state == "syn-sent":
            flow = _calling(sock, old or Flow(0, 0, now), now)
        elif old is None:
            flow = _new(sock, now)
        elif _gained(sock, old) > 0:
            flow = _moving(sock, old, now, elapsed)
            alive.add((sock.local, sock.remote))
        else:
            flow = _quiet(sock, old, now)
        if flow.hinted and not (old and old.hinted):
            suspects.add(sock.local)
        flows[sock.cookie] = flow
    waiting = _unanswered(before, sockets, flows, now)
    # Once: some servers have nothing to say for hours.
    flows.update({cookie: replace(flows[cookie], asked=True) for cookie in waiting})
    hints = Hints(
        frozenset(suspects), frozenset(alive), unanswered=bool(waiting), moving=bool(alive)
    )
    return Reading(now, flows), hints


def stopped(reading: Reading, sockets: Iterable[TcpSocket]) -> frozenset[int]:
    """Tokens of connections that were busy and have stopped as a whole. Most have nothing more to
    say."""
    by_token: dict[int, list[Flow]] = {}
    for sock in sockets:
        if sock.subflow and sock.cookie in reading.flows:
            by_token.setdefault(sock.subflow.token_local, []).append(reading.flows[sock.cookie])
    return frozenset(
        token
        for token, flows in by_token.items()
        if max(f.moved_at for f in flows) <= reading.at - STOPPED and any(f.hinted for f in flows)
    )


def _calling(sock: TcpSocket, flow: Flow, now: float) -> Flow:
    """A connection under way: suspect once, since a SYN that a firewall swallows is sent again for
    two minutes."""
    slow = now - flow.moved_at >= SLOW_HANDSHAKE or sock.info.retransmits > 0
    return replace(flow, hinted=flow.hinted or slow)


def _new(sock: TcpSocket, now: float) -> Flow:
    """What it has moved it moved since the last reading, or before the agent started: it may have
    stopped by now."""
    received, acked = sock.info.bytes_received, sock.info.bytes_acked
    return Flow(received, acked, now, received + acked)


def _gained(sock: TcpSocket, old: Flow) -> int:
    """Bytes moved since the last reading."""
    return sock.info.bytes_received - old.received + sock.info.bytes_acked - old.acked


def _moving(sock: TcpSocket, old: Flow, now: float, elapsed: float) -> Flow:
    busy = old.busy * max(0.0, 1 - elapsed) + _gained(sock, old)
    return Flow(sock.info.bytes_received, sock.info.bytes_acked, now, busy)


def _quiet(sock: TcpSocket, old: Flow, now: float) -> Flow:
    """Suspect where packets are sent again and again, or where it was busy and has stopped. While
    it is quiet what it was counts, or a stall would talk itself away."""
    info = sock.info
    stuck = info.unacked > 0 and info.retransmits > 0
    trip = (info.min_rtt or info.rtt) / 1e6
    stopped = old.busy >= BUSY and now - old.moved_at >= max(QUIET, 2 * trip)
    return replace(old, hinted=old.hinted or stuck or stopped)


def _unanswered(
    before: Reading, sockets: Iterable[TcpSocket], flows: Mapping[int, Flow], now: float
) -> list[int]:
    """Flows whose requests have waited for their first answer for long, and were not told of yet;
    none where any other is answered."""
    # Any subflow brings the answer: what was asked here may be answered there.
    heard = {_connection(s) for s in sockets if s.info.bytes_received}
    found: list[int] = []
    for sock in sockets:
        old = before.flows.get(sock.cookie)
        if sock.state == "syn-sent" or old is None:
            continue
        if sock.info.bytes_received > old.received:
            return []
        asked = sock.info.bytes_acked > 1 and now - old.moved_at >= UNANSWERED
        if asked and _connection(sock) not in heard and not flows[sock.cookie].asked:
            found.append(sock.cookie)
    return found


def _connection(sock: TcpSocket) -> tuple[bool, int]:
    """What a socket is a part of: an MPTCP connection, or itself."""
    token = sock.subflow.token_local if sock.subflow else 0
    return (True, token) if token else (False, sock.cookie)
