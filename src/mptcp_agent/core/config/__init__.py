# SPDX-License-Identifier: GPL-2.0-or-later
"""The configuration as typed values: one dataclass per UCI section type.

Field names are the option names of ``/etc/config/mptcp-proxy``; meanings, ranges and defaults
stand in ``schema/mptcp-proxy.schema.json`` and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..router_firewall import Section

PACKAGE = "mptcp-proxy"

#: Most WANs, since kernels before 7.2 hold no more endpoints and make no more subflows.
MAX_WANS = 8


@dataclass(frozen=True)
class Globals:
    enabled: bool
    engine: str
    redirect: Literal["auto", "nftables", "iptables"]
    log_level: str
    buffers: str


@dataclass(frozen=True)
class Peer:
    name: str
    address: tuple[str, ...]
    port: int
    method: str
    password: str = field(repr=False)
    keep_alive: int


@dataclass(frozen=True)
class Client:
    name: str
    enabled: bool
    peer: tuple[str, ...]
    local_port: int
    lan: tuple[str, ...]
    bypass: tuple[str, ...]
    when_down: Literal["bypass", "block"]
    timeout: int
    fast_open: bool


@dataclass(frozen=True)
class Server:
    name: str
    enabled: bool
    listen: tuple[str, ...]
    port: int
    method: str
    password: str = field(repr=False)
    allow: tuple[str, ...]
    timeout: int
    fast_open: bool


@dataclass(frozen=True)
class Wan:
    name: str
    interface: str
    role: Literal["subflow", "backup", "off"]
    probe_interval: int
    probe_timeout: int
    probe_fail: int
    probe_recover: int

    @property
    def off(self) -> bool:
        """Configured, and not to be used."""
        return self.role == "off"


@dataclass(frozen=True)
class Config:
    """A whole, valid configuration; bad sections are not in it (see ``reader``).

    ``client`` and ``server`` are None where the section is missing, off or bad.
    """

    globals: Globals
    peers: tuple[Peer, ...] = ()
    client: Client | None = None
    server: Server | None = None
    wans: tuple[Wan, ...] = ()
    firewall: tuple[Section, ...] = ()
    """The router's own firewall: the sections of the package of this name."""

    def peer(self, name: str) -> Peer | None:
        return next((p for p in self.peers if p.name == name), None)

    @property
    def client_peers(self) -> tuple[Peer, ...]:
        """The peers of the client role, in order of preference."""
        if self.client is None:
            return ()
        return tuple(p for name in self.client.peer if (p := self.peer(name)))
