# SPDX-License-Identifier: GPL-2.0-or-later
"""Zones and rules of the router's firewall, as typed values."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..state import Family
from .packets import ANYWHERE, Addresses, Packets, without
from .words import Subnet, Word


@dataclass(frozen=True)
class Zone:
    """``devices`` are patterns with a ``+`` at the end of wildcards. ``dnat``: its input chain
    lets in all that a port forward translated, what the agent redirects included."""

    name: str
    label: str
    family: int
    devices: tuple[Word, ...]
    networks: tuple[str, ...]
    subnets: tuple[Subnet, ...]
    input: str
    forward: str
    masquerades: bool
    dnat: bool = False

    def has(self, device: str, of: Family) -> Addresses:
        """Which addresses at a device, beyond it or behind it, are in the zone; none: empty."""
        if not (self.devices or self.subnets):
            return ()
        if self.family not in (0, of) or not self._device(device):
            return ()
        return addresses(self.subnets, of)

    def _device(self, device: str) -> bool:
        """As fw4.uc groups the patterns: a lone ``+`` is no restriction, ``!+`` matches nothing."""
        positive: list[str] = []
        for pattern in self.devices:
            name = pattern.text
            if name == "*" or not re.fullmatch(r"[^+]*\+?", name):
                continue
            if pattern.negated and name == "+":
                positive.append("/never/")
            elif pattern.negated:
                if _matches(device, name):
                    return False
            elif name != "+":
                positive.append(name)
        return not positive or any(_matches(device, name) for name in positive)


def _matches(device: str, pattern: str) -> bool:
    return device.startswith(pattern[:-1]) if pattern.endswith("+") else device == pattern


@dataclass(frozen=True)
class Rule:
    """A rule or a forwarding, for TCP. ``src`` and ``dest`` are a zone's name, "*" or "".

    ``matches`` are the sets of packets it is about; ``unread`` what else it asks for."""

    label: str
    src: str
    dest: str
    target: str
    matches: tuple[tuple[Family, Packets], ...]
    device: str = ""
    out: bool = False
    unread: str = ""


@dataclass(frozen=True)
class RouterFirewall:
    """``input`` and ``forward`` are the policies where no zone has a say; rules stand before
    forwardings, as in the chains. ``unread`` are files of others."""

    input: str
    forward: str
    zones: tuple[Zone, ...]
    rules: tuple[Rule, ...]
    unread: tuple[str, ...] = ()


def addresses(subnets: Iterable[Subnet], of: Family) -> Addresses:
    """What a list of addresses allows of one family: any where it names none of this family."""
    mine = [s for s in subnets if s.family == of]
    wanted = [s for s in mine if not s.negated]
    found = tuple(dict.fromkeys(p for s in wanted for p in s.pairs)) if wanted else ANYWHERE
    for subnet in mine:
        for pair in subnet.pairs if subnet.negated else ():
            found = without(found, pair)
    return found
