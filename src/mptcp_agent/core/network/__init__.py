"""Facts: what netifd and the kernel say of interfaces, links and addresses.

Observed by ``system``, read by ``plan`` and ``status``; nothing here decides anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field


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

    ``addresses`` are ``address/prefix`` texts, global scope first, in netifd's order;
    ``gateways`` are the next hops of its default routes, of either family.
    """

    name: str
    device: str | None
    up: bool
    addresses: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    proto: str = ""


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

    ``addresses`` maps a device to the addresses (``address/prefix``) the kernel really has
    on it, without tentative, deprecated and link-local ones; ``resolved`` maps the host
    names of peers to their addresses, ``formerly`` to those of earlier answers, newest first.
    """

    interfaces: tuple[Interface, ...] = ()
    links: tuple[Link, ...] = ()
    addresses: tuple[tuple[str, tuple[str, ...]], ...] = ()
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

    def kernel_addresses(self, device: str) -> tuple[str, ...]:
        return next((a for d, a in self.addresses if d == device), ())

    def sysctl(self, key: str) -> str | None:
        return next((v for k, v in self.sysctls if k == key), None)

    def sysctl_of_ours(self, key: str) -> str | None:
        """The value the agent has given it last, or the present one where it has given none."""
        return next((v for k, v in self.written if k == key), self.sysctl(key))
