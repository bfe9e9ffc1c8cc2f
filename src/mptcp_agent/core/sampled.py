# SPDX-License-Identifier: GPL-2.0-or-later
"""What is read at an interval rather than on events: counters, rates, subflows in use."""

from __future__ import annotations

from dataclasses import dataclass, field

from .health.mptcp_blocked import BlockedWans
from .network import Measured


@dataclass(frozen=True)
class DeviceTraffic:
    """Counters of a device (bytes) and the last minutes of rates (bit/s, oldest first)."""

    rx_bytes: int = 0
    tx_bytes: int = 0
    rx_rates: tuple[int, ...] = ()
    tx_rates: tuple[int, ...] = ()


@dataclass(frozen=True)
class Sampled:
    """What is read at an interval rather than on events. ``interval`` in seconds."""

    interval: float = 0.0
    points: int = 0
    devices: tuple[tuple[str, DeviceTraffic], ...] = ()
    measured: Measured = field(default_factory=Measured)
    subflows: tuple[tuple[str, int], ...] = ()
    """Subflows by local address."""
    connections: int = 0
    server_connections: int = 0
    server_clients: int = 0
    counters: tuple[tuple[str, int], ...] = ()
    """MPTcpExt of /proc/net/netstat."""
    redirected: tuple[int, int] = (0, 0)
    """Packets and bytes of the redirect rule."""
    blocked_wans: BlockedWans = field(default_factory=BlockedWans)

    def device(self, name: str | None) -> DeviceTraffic:
        return next((t for d, t in self.devices if d == name), DeviceTraffic())
