"""What was seen of the router at one moment: the inputs of the status document."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from .config import Config
from .health import Health
from .health.mptcp_blocked import BlockedWans
from .network import Facts
from .plan import Plan
from .problem import Problem
from .state import Endpoint, RouterState

State = Literal["active", "degraded", "bypassed", "blocked", "disabled", "error"]


@dataclass(frozen=True)
class Observed:
    """The machine as read, besides what netifd and procd say."""

    state: RouterState = field(default_factory=RouterState)
    foreign: tuple[Endpoint, ...] = ()
    """Endpoints that somebody else made."""


@dataclass(frozen=True)
class ProcessView:
    """A proxy process as procd sees it."""

    name: str
    running: bool
    pid: int | None


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
    send_rate: float = 0.0
    """bit/s that all WANs together have sent at their best, of the last minute."""
    receive_rate: float = 0.0
    steady: bool = False
    """Enough of the last minute's samples saw traffic."""
    round_trip: float = 0.0
    """Seconds: the longest of the subflows' shortest round trips; 0 = no subflow."""
    subflows_per_connection: int = 0
    """Most subflows of one connection, of the last minute."""
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


@dataclass(frozen=True)
class Event:
    """One change worth telling. ``time`` is Unix time."""

    time: float
    what: str
    before: str
    after: str
    reason: str


@dataclass(frozen=True)
class View:
    """All of it. ``config`` is None until uci has answered once."""

    config: Config | None
    facts: Facts
    health: Health
    plan: Plan
    observed: Observed
    problems: tuple[Problem, ...] = ()
    processes: tuple[ProcessView, ...] = ()
    sampled: Sampled = field(default_factory=Sampled)
    history: tuple[Event, ...] = ()
    """Newest first."""
