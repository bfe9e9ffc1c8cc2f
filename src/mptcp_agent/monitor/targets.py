# SPDX-License-Identifier: GPL-2.0-or-later
"""Which paths are probed, and how often: every WAN to every address of every peer."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.health.path_health import Settings
from ..core.network.wans import WanLink
from ..core.plan import Plan
from ..core.state import family

#: Addresses and peers not in use are probed this much more rarely than the one in use.
STANDBY = 6

Key = tuple[str, str]
"""WAN section and peer address."""


@dataclass(frozen=True)
class Target:
    """Where a path's probes go. ``down`` says why the link cannot be probed now."""

    device: str
    source: str
    port: int
    settings: Settings
    down: str = ""


def targets(plan: Plan, in_use: str | None) -> dict[Key, Target]:
    """``in_use`` is the address the redirector connects to."""
    found: dict[Key, Target] = {}
    for peer in plan.peers:
        for address in peer.addresses:
            rarely = 1 if in_use in (None, address) else STANDBY
            for wan in plan.wans:
                target = _target(wan, address, peer.peer.port, rarely)
                if target:
                    found[(wan.name, address)] = target
    return found


def _target(wan: WanLink, address: str, port: int, rarely: int) -> Target | None:
    own = wan.address(family(address))
    if wan.section.off or (wan.up and own is None):
        return None
    section = wan.section
    settings = Settings(
        interval=float(section.probe_interval * rarely),
        timeout=section.probe_timeout / 1000,
        fail=section.probe_fail,
        recover=section.probe_recover,
    )
    return Target(
        device=wan.device or "",
        source=own.address if own else "",
        port=port,
        settings=settings,
        down=wan.reason,
    )
