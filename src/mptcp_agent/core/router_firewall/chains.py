# SPDX-License-Identifier: GPL-2.0-or-later
"""Which steps a new TCP connection passes in firewall4's chains, as lists of verdicts.

The order is that of ``ruleset.uc``: the rules of no zone; then each zone the packet is in (by its
device and its source address), whose rules, forwardings and policy come in this order; then the
policy of all. A verdict for a zone (``reject_to_wan``) only holds for what leaves there, and what
it does not hold for goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..network import Interface
from ..state import Family
from . import packets
from .packets import EVERYTHING, Packets, Step, Steps, Verdict, ended
from .zones import RouterFirewall, Rule, Zone


def forward(firewall: RouterFirewall, family: Family, device: str, uplink: str) -> Steps:
    """What is said of packets that come in by one device and would leave by the other."""

    def rules(source: str, within: Packets) -> Iterator[Step]:
        for rule in firewall.rules:
            if rule.src != source or not rule.dest:
                continue
            if rule.device and rule.device != (uplink if rule.out else device):
                continue
            to = _leaving(firewall, rule.dest, family, uplink)
            yield from _steps(rule, family, within.meet(to))

    def steps() -> Iterator[Step]:
        yield from rules("*", EVERYTHING)
        for zone in firewall.zones:
            inside = Packets(sources=zone.has(device, family))
            if inside.empty:
                continue
            yield from rules(zone.name, inside)
            leaving = inside.meet(Packets(destinations=zone.has(uplink, family)))
            if not leaving.empty:
                yield Step(leaving, _policy(zone.forward), zone.label)
        yield Step(EVERYTHING, _policy(firewall.forward))

    return ended(steps())


def incoming(
    firewall: RouterFirewall,
    family: Family,
    device: str,
    port: int,
    own: Iterable[Interface],
    translated: bool,
) -> Steps:
    """What is said of packets that come in by a device for a port of the router itself.

    ``own`` are the interfaces of the device, one of whose addresses they are for; ``translated``:
    a rule of the agent has changed their destination.
    """
    here = [
        packets.masked(address.partition("/")[0], family)
        for interface in own
        for address in interface.addresses
        if (":" in address) == (family == 6)
    ]

    def rules(source: str, within: Packets) -> Iterator[Step]:
        for rule in firewall.rules:
            if rule.src != source or rule.dest or (rule.device and rule.device != device):
                continue
            if rule.out and rule.device:
                continue
            for step in _steps(rule, family, within):
                found = _to_port(step, port)
                if found and _to_router(step, here):
                    yield found

    def steps() -> Iterator[Step]:
        yield from rules("*", EVERYTHING)
        for zone in firewall.zones:
            inside = Packets(sources=zone.has(device, family))
            if inside.empty:
                continue
            yield from rules(zone.name, inside)
            if zone.dnat and translated:
                yield Step(inside, "accept", zone.label)
            yield Step(inside, _policy(zone.input), zone.label)
        yield Step(EVERYTHING, _policy(firewall.input))

    return ended(steps())


def _leaving(firewall: RouterFirewall, zone: str, family: Family, uplink: str) -> Packets:
    """What leaves by a device into a zone, or into any."""
    if zone == "*":
        return EVERYTHING
    to: Zone | None = next((z for z in firewall.zones if z.name == zone), None)
    return Packets(destinations=to.has(uplink, family) if to else ())


def _steps(rule: Rule, family: Family, within: Packets) -> Iterator[Step]:
    for of, match in rule.matches:
        found = match.meet(within) if of == family else Packets(sources=())
        if not found.empty:
            verdict: Verdict = "accept" if rule.target == "accept" else "refuse"
            yield Step(found, verdict, rule.label, rule.unread)


def _to_port(step: Step, port: int) -> Step | None:
    """The step for packets to this port, of which it is no longer said; None: it is not."""
    match = step.packets
    if not packets.meet_ports(match.dports, ((port, port),)):
        return None
    # Which port, and which of the router's addresses, is settled.
    left = Packets(match.sources, macs=match.macs, sports=match.sports)
    return Step(left, step.verdict, step.section, step.unread)


def _to_router(step: Step, here: list[packets.Masked]) -> bool:
    """Whether a step may be about the router's addresses: a permission has to be for all of them,
    for a prohibition one is enough."""
    if step.packets.destinations == packets.ANYWHERE:
        return True
    about = [packets.within((a,), step.packets.destinations) for a in here]
    if step.verdict == "accept":
        return bool(about) and all(about)
    return not about or any(about)


def _policy(word: str) -> Verdict:
    return "accept" if word == "accept" else "silence"
