"""The WAN links: what a ``wan`` section means on this router at this moment."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ..config import Config, Wan
from ..state import PRIORITY_DEVICE, TABLE_FIRST_WAN, TABLES, Family, Rule, family
from . import Facts, Interface

#: Numbers of WANs: as many as there are tables, each with two endpoint ids of 64.
SLOTS = range(len(TABLES) - 1)


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

    ``reason`` says why it is not ``up``; ``index`` is its place in the configuration, ``slot``
    the number of which its table and its endpoints' ids follow.
    """

    section: Wan
    index: int
    slot: int
    device: str | None
    addresses: tuple[WanAddress, ...]
    up: bool
    reason: str

    @property
    def name(self) -> str:
        return self.section.name

    @property
    def in_use(self) -> bool:
        """What is planned goes over it: it is up, and not switched off."""
        return self.up and not self.section.off

    @property
    def table(self) -> int:
        return TABLE_FIRST_WAN + self.slot

    def address(self, fam: Family) -> WanAddress | None:
        return next((a for a in self.addresses if a.family == fam), None)


def wan_links(config: Config, facts: Facts, rules: Iterable[Rule] = ()) -> tuple[WanLink, ...]:
    """Every configured WAN, also those that are off or down; ``rules`` are the router's own.

    What two of them claim has one: a device with two sections (wan and wan6), an address that
    two modems of one make hand out. That is the one which uses it already, or switching over
    would end its connections; else the first.
    """
    tables: dict[str, set[int]] = {}
    for rule in rules:
        if rule.priority == PRIORITY_DEVICE and rule.oif:
            tables.setdefault(rule.oif, set()).add(rule.table)
    links = [_link(wan, index, facts) for index, wan in enumerate(config.wans)]
    owners: dict[str, str] = {}
    for link in sorted(links, key=lambda w: (w.device not in tables, w.index)):
        if link.device and not link.section.off:
            reason = _claim(link, owners)
            if reason:
                links[link.index] = replace(link, addresses=(), up=False, reason=reason)
    return tuple(_with_slots(links, tables))


def _claim(link: WanLink, owners: dict[str, str]) -> str:
    """Note whose device and addresses these are; why the WAN may not have them, or ""."""
    assert link.device
    owner = owners.setdefault(link.device, link.name)
    if owner != link.name:
        return f"device {link.device} is already the device of {owner}; one wan section per device"
    for address in (a.address for a in link.addresses):
        owner = owners.setdefault(address, link.name)
        if owner != link.name:
            return (
                f"address {address} is already the address of {owner}; "
                "set another LAN network on one of the two modems"
            )
    return ""


def _with_slots(links: Iterable[WanLink], tables: Mapping[str, set[int]]) -> list[WanLink]:
    """A WAN in use keeps its number, as the rule of its device shows it (``tables``), whatever
    sections come, go or move: another number is another table and another endpoint, which
    closes its subflows. Others have their place in the configuration, or the first free one."""
    links = list(links)
    slots: dict[int, int] = {}
    for link in links:
        if link.in_use:
            had = {t - TABLE_FIRST_WAN for t in tables.get(link.device or "", ())}
            free = had & set(SLOTS) - set(slots.values())
            if free:
                slots[link.index] = link.index if link.index in free else min(free)
    for link in links:
        if link.index not in slots:
            choice = (link.index, *SLOTS)
            slots[link.index] = next(s for s in choice if s not in slots.values())
    return [replace(link, slot=slots[link.index]) for link in links]


def _link(wan: Wan, index: int, facts: Facts) -> WanLink:
    interface = facts.interface(wan.interface)
    device = interface.device if interface else None
    reason = _why_down(wan, interface, facts)
    addresses = () if reason or device is None else tuple(_addresses(device, facts))
    if not reason and not addresses:
        reason = f"{device} has no address"
    return WanLink(wan, index, index, device, addresses, up=not reason, reason=reason)


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
    every = [i for i in facts.interfaces if i.device == device]
    same = [i for i in every if i.up]
    kernel = facts.kernel_addresses(device)
    disowned = {a for i in every if not i.up for a in i.addresses}
    named = [a for i in same for a in i.addresses]
    gateways = [g for i in same for g in i.gateways]
    for fam in (4, 6):
        candidates = [a for a in named if a in kernel] + [a for a in kernel if a not in disowned]
        text = next((a for a in candidates if family(a) == fam), None)
        if text is None:
            continue
        address, _, prefix = text.partition("/")
        gateway = next((g for g in gateways if family(g) == fam), None)
        yield WanAddress(address, int(prefix), gateway)


def names_by_address(wans: Iterable[WanLink]) -> dict[str, str]:
    """Which WAN an address of this router belongs to, by its section's name."""
    return {a.address: w.name for w in wans for a in w.addresses}


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
