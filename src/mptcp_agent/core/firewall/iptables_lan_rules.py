# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules about parts of the LAN (``state.LanRule``) as iptables rules, and read from them.

One address of each kind, one range of ports, one MAC: ``core.firewall.singles``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..state import LanRule
from .iptables_entry import XtRule

_Ports = tuple[tuple[int, int], ...]


def of(rules: Iterable[LanRule], does: XtRule) -> Iterator[XtRule]:
    """``does`` is what the chain does with what it does not leave alone, in one family."""
    leave = XtRule(does.family, "RETURN")
    for rule in rules:
        if rule.family != does.family:
            continue
        dports = rule.dports[0] if rule.dports else None
        single = dports and dports[0] == dports[1]
        yield replace(
            does if rule.redirect else leave,
            device=rule.device,
            source=rule.sources[0] if rule.sources else None,
            destination=rule.destinations[0] if rule.destinations else None,
            mac=rule.macs[0] if rule.macs else None,
            not_macs=rule.not_macs,
            sports=rule.sports[0] if rule.sports else None,
            dport=dports[0] if dports and single else None,
            dports=None if single else dports,
        )


def rules_in(chain: Iterable[XtRule]) -> Iterator[LanRule]:
    """They alone name a device."""
    for rule in chain:
        if rule.device:
            dports: _Ports = (rule.dports,) if rule.dports else ()
            yield LanRule(
                redirect=rule.target != "RETURN",
                device=rule.device,
                family=rule.family,
                sources=(rule.source,) if rule.source else (),
                destinations=(rule.destination,) if rule.destination else (),
                macs=(rule.mac,) if rule.mac else (),
                not_macs=rule.not_macs,
                sports=(rule.sports,) if rule.sports else (),
                dports=((rule.dport, rule.dport),) if rule.dport is not None else dports,
            )
