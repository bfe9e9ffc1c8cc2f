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
    flows: dict[int, Flow] = {}
    suspects: set[str] = set()
    alive: set[tuple[str, str]] = set()
    waiting: list[int] = []
    answered = False
    sockets = tuple(sockets)
    # Any subflow brings the answer: what was asked here may be answered there.
    heard = {_connection(s) for s in sockets if s.info.bytes_received}
    elapsed = max(now - before.at, 0.001)
    for sock in sockets:
        info, old = sock.info, before.flows.get(sock.cookie)
        if sock.state == "syn-sent":
            flow = old or Flow(0, 0, now)
            slow = now - flow.moved_at >= SLOW_HANDSHAKE or info.retransmits > 0
            if slow and not flow.hinted:
                suspects.add(sock.local)
            # Once: a SYN that a firewall swallows is sent again for two minutes.
            flows[sock.cookie] = replace(flow, hinted=flow.hinted or slow)
            continue
        if old is None:
            # What it has moved it moved since the last reading, or before the agent started: it
            # may have stopped by now.
            so_far = info.bytes_received + info.bytes_acked
            flows[sock.cookie] = Flow(info.bytes_received, info.bytes_acked, now, so_far)
            continue
        gained = info.bytes_received - old.received + info.bytes_acked - old.acked
        busy = old.busy * max(0.0, 1 - elapsed) + gained
        quiet_for = now - old.moved_at
        if gained > 0:
            alive.add((sock.local, sock.remote))
            flow = Flow(info.bytes_received, info.bytes_acked, now, busy)
        else:
            # While it is quiet what it was counts, or a stall would talk itself away.
            flow = old
            stuck = info.unacked > 0 and info.retransmits > 0
            trip = (info.min_rtt or info.rtt) / 1e6
            stopped = old.busy >= BUSY and quiet_for >= max(QUIET, 2 * trip)
            if (stuck or stopped) and not old.hinted:
                suspects.add(sock.local)
                flow = replace(old, hinted=True)
        flows[sock.cookie] = flow
        if info.bytes_received > old.received:
            answered = True
        elif (
            _connection(sock) not in heard
            and info.bytes_acked > 1
            and quiet_for >= UNANSWERED
            and not flow.asked
        ):
            waiting.append(sock.cookie)
    if waiting and not answered:
        # Once: some servers have nothing to say for hours.
        flows.update({cookie: replace(flows[cookie], asked=True) for cookie in waiting})
    hints = Hints(
        frozenset(suspects),
        frozenset(alive),
        unanswered=bool(waiting) and not answered,
        moving=bool(alive),
    )
    return Reading(now, flows), hints


def _connection(sock: TcpSocket) -> tuple[bool, int]:
    """What a socket is a part of: an MPTCP connection, or itself."""
    token = sock.subflow.token_local if sock.subflow else 0
    return (True, token) if token else (False, sock.cookie)
