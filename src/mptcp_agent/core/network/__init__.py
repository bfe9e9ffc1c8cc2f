# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts: what netifd and the kernel say of interfaces, links and addresses.

Observed by ``system``, read by ``plan`` and ``status``; nothing here decides anything.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from ..state import Family, family

AddressFlag = Literal["deprecated", "permanent", "temporary", "tentative"]
Scope = Literal["global", "site", "link", "host"]

#: A route to so few bits (prefix length) or fewer is a default, or a part of one: OpenVPN's
#: redirect-gateway def1 makes 0/1 and 128/1, with ipv6 ::/3, 2000::/4 and 3000::/4.
DEFAULT_LENGTH: dict[Family, int] = {4: 1, 6: 4}

#: So many routes of the main table are read of each family, at most.
MAIN_LIMIT = 512


def is_default(network: str) -> bool:
    """Whether a route to this network is a default route or a part of one."""
    return int(network.partition("/")[2]) <= DEFAULT_LENGTH[family(network)]


@lru_cache(maxsize=1024)
def network_of(address: str) -> str:
    """The network in which an ``address/prefix`` lies. Each plan asks for the same few dozens of
    times, and the one for a dead link is waited for."""
    return str(ipaddress.ip_network(address, strict=False))


@dataclass(frozen=True)
class Link:
    """A network device of the kernel. ``carrier`` is IFF_LOWER_UP."""

    name: str
    index: int
    up: bool
    carrier: bool


@dataclass(frozen=True)
class Interface:
    """A netifd interface, from ``network.interface dump``.

    ``device`` is that of layer 3 where there is one (``pppoe-wan``, not the cable under it).
    ``addresses`` are ``address/prefix`` texts, global scope first, in netifd's order;
    ``gateways`` are the next hops of its default routes, of either family, also of those that
    netifd keeps out of the kernel (``option defaultroute 0``).
    """

    name: str
    device: str | None
    up: bool
    addresses: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    proto: str = ""
    sources: tuple[tuple[str, str], ...] = ()
    """Gateways of default routes that serve some sources only, with the network of these."""
    prefixes: tuple[str, ...] = ()
    """IPv6 prefixes delegated to it, and its part of those of others."""
    dynamic: bool = False
    """Made by another interface's protocol, not by the configuration."""
    zone: str = ""
    """The firewall zone that its protocol puts it into, besides what the firewall's own
    configuration says (netifd's ``data``)."""

    @property
    def parent(self) -> str:
        """The interface that made it, as netifd's scripts name their children (``wan_4`` by
        ``wan``, ``wan6_4`` by ``wan6``, ``wan_6_4`` by ``wan_6``); "" where nobody did."""
        return self.name.rpartition("_")[0] if self.dynamic else ""


@dataclass(frozen=True)
class KernelAddress:
    """An address that the kernel has on a device. ``tentative``: duplicate address detection
    has not passed yet, or has failed (RFC 4862), and nothing can be sent from it."""

    address: str
    prefix: int
    scope: Scope = "global"
    flags: frozenset[AddressFlag] = frozenset({"permanent"})

    def __str__(self) -> str:
        return f"{self.address}/{self.prefix}"


@dataclass(frozen=True, order=True)
class MainRoute:
    """A route of the kernel's main table. ``refuses``: unreachable, prohibit or blackhole."""

    destination: str
    device: str | None = None
    gateway: str | None = None
    refuses: bool = False


@dataclass(frozen=True)
class Measured:
    """What the last minute's traffic showed of the WANs, for the sizes of buffers."""

    send_rate: float = 0.0
    """bit/s that all WANs together have sent at their best; 0 = not measured."""
    receive_rate: float = 0.0
    steady: bool = False
    """Enough readings with traffic: the rates are not of a stream's first moment."""
    round_trip: float = 0.0
    """Seconds: the longest of the subflows' shortest round trips; 0 = not measured."""
    subflows_per_connection: int = 0
    """Most subflows that one connection has had; 0 = not measured."""


@dataclass(frozen=True)
class Facts:
    """The router's network at one moment.

    ``addresses`` maps a device to the addresses that the kernel really has on it, in its order;
    ``resolved`` maps the host names of peers to their addresses, ``formerly`` to those of
    earlier answers, newest first.
    """

    interfaces: tuple[Interface, ...] = ()
    links: tuple[Link, ...] = ()
    addresses: tuple[tuple[str, tuple[KernelAddress, ...]], ...] = ()
    main: tuple[MainRoute, ...] = ()
    """Routes of the main table, as many as have to be known (``core.network.topology``)."""
    ways_out: tuple[tuple[Family, str], ...] = ()
    """Devices over which the kernel sends to the Internet now, in each family."""
    resolved: tuple[tuple[str, tuple[str, ...]], ...] = ()
    formerly: tuple[tuple[str, tuple[str, ...]], ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    """Sysctls of interest that exist here, with their present values."""
    written: tuple[tuple[str, str], ...] = ()
    """What this agent has set sysctls to last: another value is somebody else's."""
    memory: int = 0
    """MemTotal in bytes; 0 = unknown."""
    measured: Measured = field(default_factory=Measured)

    def interface(self, name: str) -> Interface | None:
        return next((i for i in self.interfaces if i.name == name), None)

    def link(self, device: str | None) -> Link | None:
        return next((x for x in self.links if x.name == device), None)

    def kernel_addresses(self, device: str) -> tuple[KernelAddress, ...]:
        return next((a for d, a in self.addresses if d == device), ())

    def sysctl(self, key: str) -> str | None:
        return next((v for k, v in self.sysctls if k == key), None)

    def sysctl_of_ours(self, key: str) -> str | None:
        """The value the agent has given it last, or the present one where it has given none."""
        return next((v for k, v in self.written if k == key), self.sysctl(key))
