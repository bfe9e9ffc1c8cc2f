# SPDX-License-Identifier: GPL-2.0-or-later
"""The WAN links: what a ``wan`` section means on this router at this moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ..config import Config, Wan
from ..config.options import is_address
from ..state import (
    PRIORITY_ADDRESS,
    PRIORITY_DEVICE,
    TABLE_FIRST_WAN,
    TABLE_NOWHERE,
    Family,
    Rule,
)
from . import Facts, Interface
from .topology import Topology, WanAddress, WanFacts, topology

#: Numbers of WANs: as many as there are tables, each with two endpoint ids of 64.
SLOTS = range(TABLE_NOWHERE - TABLE_FIRST_WAN)


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


def surroundings(config: Config, facts: Facts, rules: Iterable[Rule] = ()) -> Topology:
    """The network around a router with this configuration; ``rules`` are the router's own."""
    names = dict(facts.resolved)
    hosts = [h for peer in config.client_peers for h in peer.address]
    return topology(
        facts,
        (wan.interface for wan in config.wans),
        config.client.lan if config.client else (),
        {a for h in hosts for a in ((h,) if is_address(h) else names.get(h, ()))},
        {r.source.partition("/")[0] for r in rules if r.source and r.priority == PRIORITY_ADDRESS},
    )


def wan_links(config: Config, facts: Facts, rules: Iterable[Rule] = ()) -> tuple[WanLink, ...]:
    """Every configured WAN, also those that are off or down; ``rules`` are the router's own.

    What two of them claim has one: a device with two sections (wan and wan6), an address that
    two modems of one make hand out. That is the one which uses it already, or switching over
    would end its connections; else the first.
    """
    rules = tuple(rules)
    tables: dict[str, set[int]] = {}
    for rule in rules:
        if rule.priority == PRIORITY_DEVICE and rule.oif:
            tables.setdefault(rule.oif, set()).add(rule.table)
    found = dict(surroundings(config, facts, rules).wans)
    links = [_link(w, index, facts, found[w.interface]) for index, w in enumerate(config.wans)]
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


def _link(wan: Wan, index: int, facts: Facts, found: WanFacts) -> WanLink:
    reason = _why_down(wan, facts.interface(wan.interface), found.device, facts)
    if not reason and not found.addresses:
        reason = f"{found.device} has no address"
    addresses = () if reason else found.addresses
    return WanLink(wan, index, index, found.device, addresses, up=not reason, reason=reason)


def _why_down(wan: Wan, interface: Interface | None, device: str | None, facts: Facts) -> str:
    if interface is None:
        return f"there is no network interface '{wan.interface}'"
    if device is None:
        return f"interface '{wan.interface}' has no device"
    link = facts.link(device)
    if link is None:
        return f"device {device} does not exist"
    if not link.up:
        return f"device {device} is switched off"
    if not link.carrier:
        return f"device {device} has no carrier"
    if not interface.up:
        return f"interface '{wan.interface}' is down"
    return ""


def names_by_address(wans: Iterable[WanLink]) -> dict[str, str]:
    """Which WAN an address of this router belongs to, by its section's name."""
    return {a.address: w.name for w in wans for a in w.addresses}
