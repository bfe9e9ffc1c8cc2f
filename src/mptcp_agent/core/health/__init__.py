# SPDX-License-Identifier: GPL-2.0-or-later
"""Health: what the probes say of paths, peers and the proxy, as an input of the plan.

A path is one WAN to one address of a peer. Only ``down`` takes a path out of use: a path of
which nothing is known yet is used, since using it is the quickest way to find out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .ports import Taken

PathState = Literal["unknown", "up", "down"]


@dataclass(frozen=True)
class PathHealth:
    """One WAN (section name) to one peer address. Times in seconds of the agent's clock."""

    wan: str
    address: str
    state: PathState = "unknown"
    rtt: float | None = None
    """Smoothed round trip in milliseconds."""
    loss: float = 0.0
    """Smoothed share of lost probes, 0..1."""
    since: float = 0.0
    cause: str = ""
    mtu: int = 0
    """Bytes of the largest packets that it carries, where that is less than its device would;
    0 = not known to be."""


def presumed(state: PathState, link_up: bool) -> PathState:
    """What to call it: where no probe has told yet, a link that is up counts as up."""
    return "up" if state == "unknown" and link_up else state


@dataclass(frozen=True)
class Health:
    """Everything known at one moment.

    ``redirector``: the local proxy process accepts connections, and they come through as far
    as is known. ``refused``: addresses that can be reached, but nobody listens there;
    ``accepting``: somebody does; ``accepting_for_a_while``: not only since a moment ago.
    ``dead_peers``: peers (section names) that accept connections and do nothing with them.
    ``taken``: roles whose port somebody else holds.
    ``idle``: no proxied connection would be cut by changing the peer; ``in_grace_period``: such
    connections wait, and not for long yet, for what is in use to come back.
    """

    paths: tuple[PathHealth, ...] = ()
    redirector: bool = False
    refused: frozenset[str] = frozenset()
    accepting: frozenset[str] = frozenset()
    accepting_for_a_while: frozenset[str] = frozenset()
    dead_peers: frozenset[str] = frozenset()
    taken: tuple[Taken, ...] = ()
    idle: bool = True
    in_grace_period: bool = False

    def path(self, wan: str, address: str) -> PathHealth:
        for path in self.paths:
            if path.wan == wan and path.address == address:
                return path
        return PathHealth(wan, address)

    def usable(self, wan: str, address: str) -> bool:
        return self.path(wan, address).state != "down"
