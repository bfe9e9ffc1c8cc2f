"""The WAN links: what a ``wan`` section means on this router at this moment."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, replace

from .config import Config, Wan
from .network import Facts, Interface
from .state import TABLE_FIRST_WAN, Family, family


@dataclass(frozen=True)
class WanAddress:
    """One address of a WAN with its way out; ``gateway`` is None on a link without one."""

    address: str
    prefix: int
    gateway: str | None

    @property
    def family(self) -> Family:
        return family(self.address)

    @property
    def host(self) -> str:
        """The address as a network of one."""
        return f"{self.address}/{128 if self.family == 6 else 32}"

    @property
    def network(self) -> str:
        return str(ipaddress.ip_network(f"{self.address}/{self.prefix}", strict=False))

    def holds(self, address: str) -> bool:
        """Whether an address lies on this link."""
        return family(address) == self.family and ipaddress.ip_address(
            address
        ) in ipaddress.ip_network(self.network)


@dataclass(frozen=True)
class WanLink:
    """A WAN section with what is known of its link.

    ``reason`` says why it is not ``up``; ``index`` is its place in the configuration.
    """

    section: Wan
    index: int
    device: str | None
    addresses: tuple[WanAddress, ...]
    up: bool
    reason: str

    @property
    def name(self) -> str:
        return self.section.name

    @property
    def table(self) -> int:
        return TABLE_FIRST_WAN + self.index

    def address(self, fam: Family) -> WanAddress | None:
        return next((a for a in self.addresses if a.family == fam), None)


def wan_links(config: Config, facts: Facts) -> tuple[WanLink, ...]:
    """Every configured WAN, also those that are off or down.

    Two sections for one device (wan and wan6) would plan its addresses twice: the first has it.
    """
    found: list[WanLink] = []
    owners: dict[str, str] = {}
    for index, wan in enumerate(config.wans):
        link = _link(wan, index, facts)
        if link.device and wan.role != "off":
            owner = owners.setdefault(link.device, wan.name)
            if owner != wan.name:
                reason = (
                    f"device {link.device} is already the device of {owner}; "
                    "one wan section per device"
                )
                link = replace(link, addresses=(), up=False, reason=reason)
        found.append(link)
    return tuple(found)


def _link(wan: Wan, index: int, facts: Facts) -> WanLink:
    interface = facts.interface(wan.interface)
    device = interface.device if interface else None
    reason = _why_down(wan, interface, facts)
    addresses = () if reason or device is None else tuple(_addresses(device, facts))
    if not reason and not addresses:
        reason = f"{device} has no address"
    return WanLink(wan, index, device, addresses, up=not reason, reason=reason)


def _why_down(wan: Wan, interface: Interface | None, facts: Facts) -> str:
    if interface is None:
        return f"there is no network interface '{wan.interface}'"
    if interface.device is None:
        return f"interface '{wan.interface}' has no device"
    link = facts.link(interface.device)
    if link is None:
        return f"device {interface.device} does not exist"
    if not link.up:
        return f"device {interface.device} is switched off"
    if not link.carrier:
        return f"device {interface.device} has no carrier"
    if not interface.up:
        return f"interface '{wan.interface}' is down"
    return ""


def _addresses(device: str, facts: Facts) -> Iterable[WanAddress]:
    """The first address of each family that netifd gave and the kernel has.

    IPv6 often has a netifd interface of its own (wan6) on the same device: all interfaces of
    the device count. An address only the kernel knows is used where netifd names none of its
    family (a modem's manager set it, or the kernel heard a router advertisement).
    """
    all_of_it = [i for i in facts.interfaces if i.device == device]
    same = [i for i in all_of_it if i.up]
    down = {a for i in all_of_it if not i.up for a in i.addresses}
    kernel = [a for a in facts.kernel_addresses(device) if a not in down]
    named = [a for i in same for a in i.addresses]
    gateways = [g for i in same for g in i.gateways]
    for fam in (4, 6):
        candidates = (*(a for a in named if a in kernel), *kernel)
        text = next((a for a in candidates if family(a) == fam), None)
        if text is None:
            continue
        address, _, prefix = text.partition("/")
        gateway = next((g for g in gateways if family(g) == fam), None)
        yield WanAddress(address, int(prefix), gateway)


def local_networks(facts: Facts, wans: Iterable[WanLink]) -> tuple[str, ...]:
    """Networks connected to interfaces that are no WAN (LANs, guest networks, VPNs)."""
    devices = {w.device for w in wans}
    found = {
        str(ipaddress.ip_network(a, strict=False))
        for i in facts.interfaces
        if i.up and i.device not in devices and i.device != "lo"
        for a in i.addresses
    }
    return tuple(sorted(found))
