# SPDX-License-Identifier: GPL-2.0-or-later
"""The router's own firewall (package ``firewall``; fw4 and fw3), as far as it concerns the agent.

A redirected connection is one of the LAN to the router itself: the rules for what is forwarded
never see it, and those for the router's own input do. So a device that may not reach the Internet
would be online again through the proxy, and one that may not reach the router would be cut off.
Here it is found out what the firewall does with either connection, and what is refused is not
redirected (``judgement``): it goes its own way, and meets there what the router's owner wrote.

reader     sections and interfaces -> zones, rules, forwardings, sets (``words``: single values)
chains     which steps a connection passes, from the LAN to a WAN or to the router's port
packets    sets of packets, and what two lists of steps say together
judgement  what of a LAN is to be redirected, and what was not and why
warnings   what to tell people, with the commands that mend it

Only /etc/config/firewall is read. Not seen are rules put into nftables by hand, ``config include``
and what lies in /etc/nftables.d, and rules that other services hand to firewall4 over ubus.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Value = str | tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """One section of the package; ``label`` names it for ``uci``: ``lan`` or ``@rule[3]``."""

    type: str
    label: str
    options: tuple[tuple[str, Value], ...]

    def get(self, option: str) -> Value | None:
        return next((value for name, value in self.options if name == option), None)

    def text(self, option: str) -> str:
        """A single value; empty where there is none, or a list."""
        value = self.get(option)
        return value if isinstance(value, str) else ""


#: The types that are read, and what is told of being unread.
_TYPES = {"defaults", "zone", "rule", "forwarding", "redirect", "ipset", "include"}


def sections(values: Mapping[str, Mapping[str, object]]) -> tuple[Section, ...]:
    """Of ``uci get firewall``, in the order of the file."""
    found: list[Section] = []
    counts: dict[str, int] = {}
    for name, raw in sorted(values.items(), key=lambda v: str(v[1].get(".index", "")).zfill(6)):
        kind = str(raw.get(".type", ""))
        number = counts.get(kind, 0)
        counts[kind] = number + 1
        if kind not in _TYPES:
            continue
        anonymous = raw.get(".anonymous", True) is True
        label = f"@{kind}[{number}]" if anonymous else str(raw.get(".name", name))
        options = tuple(
            (option, tuple(map(str, value)) if isinstance(value, list | tuple) else str(value))
            for option, value in raw.items()
            if not option.startswith(".")
        )
        found.append(Section(kind, label, options))
    return tuple(found)
