# SPDX-License-Identifier: GPL-2.0-or-later
"""Peers that accept connections and do nothing with them: their server hangs.

    seen to hang          left out for ``LEFT_OUT`` seconds, twice as long each further time
    that time is over     has its turn, but is *on probation*: the LAN is not led there yet
    its tunnel answers    forgotten

The tunnel goes to one peer at a time. While it is down that peer stays left out, however long:
its port answers all the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

#: Seconds for which a peer that hung is left out the first time, and the most.
LEFT_OUT, LONGEST_LEFT_OUT = 60.0, 900.0


@dataclass(frozen=True)
class Quarantine:
    """By name: until when each is left out, and for how long that was. Make changes with the
    functions below."""

    until: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def dead(self, now: float, tunnelled: Iterable[str], tunnel_down: bool) -> frozenset[str]:
        """Who is left out. ``tunnelled``: the peer at the other end of the tunnel."""
        waiting = {peer for peer, (until, _) in self.until.items() if until > now}
        return frozenset(waiting | set(tunnelled if tunnel_down else ()))

    def on_probation(self, peers: Iterable[str]) -> bool:
        return any(peer in self.until for peer in peers)


def put(before: Quarantine, peer: str, now: float) -> Quarantine:
    _, last = before.until.get(peer, (0.0, LEFT_OUT / 2))
    length = min(2 * last, LONGEST_LEFT_OUT)
    return Quarantine({**before.until, peer: (now + length, length)})


def release(before: Quarantine, peers: Iterable[str]) -> Quarantine:
    gone = set(peers)
    return Quarantine({peer: entry for peer, entry in before.until.items() if peer not in gone})
