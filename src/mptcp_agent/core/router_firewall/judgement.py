# SPDX-License-Identifier: GPL-2.0-or-later
"""What of a LAN is to be redirected, as the router's own firewall permits.

Redirected is what the firewall lets out to a WAN *and* lets in to the redirector's port. What it
refuses goes its own way, and is refused there:

- A rule that refuses counts wherever it is about one of the WANs: bonded connections use them all.
  Without a rule one WAN that is allowed is enough, since a second WAN is often put into a zone
  of its own to which nobody thought of forwarding anything. A WAN in no zone says nothing.
- What a rule asks besides addresses and ports (hours, a rate, a mark, a set that others fill)
  cannot be asked before the redirect. A rule that refuses is then taken to refuse always, one that
  accepts to accept never: what is left alone is a superset of what is forbidden, and is named.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from itertools import product

from ..firewall import collapse
from ..network import Interface
from ..state import Backend, Family, LanRule
from . import Section, chains, packets
from .matches import FAMILIES
from .packets import EVERYTHING, Addresses, Packets, Step, Steps, both, ended, shortest
from .reader import placeholder, read
from .zones import RouterFirewall

#: More rules than this a family of a device does not get, counted as iptables has them, one address
#: a rule. It commits and reads back the whole table each time; nftables has sets.
MOST_RULES: dict[Backend | None, int] = {"iptables": 4096, "nftables": 16384, None: 4096}
#: More pairs of steps than this are not put together: it takes a slow router seconds.
_MOST_PAIRS = 20_000


@dataclass(frozen=True)
class LeftAlone:
    """Something of a LAN that is not redirected. ``section`` says so (of /etc/config/firewall, ""
    for its defaults); ``unread`` is what of it could not be mirrored: more is left alone than is
    forbidden."""

    interface: str
    what: str
    section: str
    unread: str = ""
    whole: bool = False
    """Nothing of a family is redirected."""
    at_input: bool = False
    """Because it may not reach the redirector; else because it may not get out."""


@dataclass(frozen=True)
class Judgement:
    """``devices`` are those of the LAN of which something is redirected."""

    devices: tuple[str, ...] = ()
    rules: tuple[LanRule, ...] = ()
    left: tuple[LeftAlone, ...] = ()


@lru_cache(maxsize=2)
def judge(
    sections: tuple[Section, ...],
    interfaces: tuple[Interface, ...],
    lans: tuple[str, ...],
    uplinks: tuple[str, ...],
    port: int,
    backend: Backend | None = None,
) -> Judgement:
    """``lans`` are netifd's interfaces whose TCP is to be redirected to ``port``, ``uplinks`` the
    devices over which it would leave. The same question again costs nothing."""
    firewall = read(sections, interfaces)
    devices: dict[str, str] = {}
    for interface in interfaces:
        if interface.name in lans and interface.device:
            devices.setdefault(interface.device, interface.name)
    rules: list[LanRule] = []
    left: list[LeftAlone] = []
    redirected = []
    for device, name in devices.items():
        own = tuple(i for i in interfaces if i.device == device)
        judged = [
            _Judged.of(firewall, f, device, uplinks, port, own).within(MOST_RULES[backend])
            for f in FAMILIES
        ]
        zone = next(
            (z.label for z in firewall.zones if any(z.has(device, f) for f in FAMILIES)), ""
        )
        left += dict.fromkeys(item for each in judged for item in each.left(name, zone))
        if all(each.nothing for each in judged):
            continue
        redirected.append(device)
        for each in judged:
            rules += each.rules(device)
    return Judgement(tuple(sorted(redirected)), tuple(rules), tuple(dict.fromkeys(left)))


def blocked(
    sections: tuple[Section, ...],
    interfaces: tuple[Interface, ...],
    names: Iterable[str],
    port: int,
) -> dict[str, str]:
    """Those of the named interfaces from which nobody at all reaches a port of the router, with
    their zone; "" is no zone."""
    firewall = read(sections, interfaces)
    found = {}
    for name in names:
        device = next((i.device for i in interfaces if i.name == name), None) or placeholder(name)
        own = tuple(i for i in interfaces if i.device == device)
        steps = (
            chains.incoming(firewall, f, device, port, own, translated=False) for f in FAMILIES
        )
        if not any(s.verdict == "accept" for each in steps for s in each):
            found[name] = zone_of(firewall, device)
    return found


def zone_of(firewall: RouterFirewall, device: str) -> str:
    """The first zone that a device is in; "" where it is in none."""
    zones = (z.name for z in firewall.zones if any(z.has(device, f) for f in FAMILIES))
    return next(zones, "")


@dataclass(frozen=True)
class _Judged:
    """One family of one device: ``steps`` say what is to be redirected, shortened."""

    family: Family
    steps: Steps
    way_in: Steps
    way_out: Steps
    ignored: tuple[str, ...]
    """Permissions that could not be mirrored."""

    @classmethod
    def of(
        cls,
        firewall: RouterFirewall,
        family: Family,
        device: str,
        uplinks: tuple[str, ...],
        port: int,
        own: tuple[Interface, ...],
    ) -> _Judged:
        way_in = chains.incoming(firewall, family, device, port, own, translated=True)
        ways_out = []
        for uplink in uplinks:
            steps = chains.forward(firewall, family, device, uplink)
            if not zone_of(firewall, uplink):
                steps = tuple(
                    Step(s.packets, "accept") if s.verdict == "silence" else s for s in steps
                )
            ways_out.append(steps)
        ignored = [
            f"{s.section} ({s.unread})"
            for steps in (way_in, *ways_out)
            for s in steps
            if s.unread and s.verdict == "accept"
        ]
        way_in = _certain(way_in)
        certain = dict.fromkeys(map(_certain, ways_out))
        way_out = reduce(lambda a, b: _together(a, b, _one_wan), certain) if certain else _FREE
        steps = _together(way_out, way_in, _every_chain)
        end = steps[-1].verdict == "accept"
        steps = (*shortest(steps[:-1], end), steps[-1])
        return cls(family, steps, way_in, way_out, tuple(dict.fromkeys(ignored)))

    @property
    def nothing(self) -> bool:
        return not any(s.verdict == "accept" for s in self.steps)

    def rules(self, device: str) -> list[LanRule]:
        """The rules that sort this family out; none where all of it is redirected."""
        steps = self.steps
        if self.nothing:
            steps = (Step(EVERYTHING, "refuse"),)
        elif steps[-1].verdict == "accept":
            steps = steps[:-1]
        return [rule for step in steps for rule in _rules(step, device, self.family)]

    def within(self, most: int) -> _Judged:
        """The same; nothing is redirected where that takes too many rules."""
        weight = sum(
            len(p.sources)
            * len(p.destinations)
            * len(p.sports)
            * len(p.dports)
            * (1 if p.macs.but else len(p.macs.names))
            for p in (step.packets for step in self.steps)
        )
        return self if weight <= most else replace(self, steps=_TOO_MUCH)

    def left(self, interface: str, zone: str) -> list[LeftAlone]:
        """What is not redirected; ``zone`` is the section of the interface's zone, which stands
        for the policies of all."""
        unread = ", ".join(self.ignored)
        if self.nothing:
            kept_in = any(s.verdict == "accept" for s in self.way_in)
            because = self.way_out if kept_in else self.way_in
            section = next((s.section for s in because if s.section), zone)
            why = ", ".join(filter(None, (unread, self.steps[-1].unread)))
            return [LeftAlone(interface, f"IPv{self.family}", section, why, True, not kept_in)]
        found, allowed = [], []
        for step in self.steps:
            if step.verdict == "accept":
                allowed.append(described(step.packets, self.family))
                continue
            what, why = described(step.packets, self.family), step.unread
            if EVERYTHING.within(step.packets):
                what, why = f"all but {'; '.join(allowed)}", ", ".join(filter(None, (unread, why)))
            found.append(LeftAlone(interface, what, step.section or zone, why))
        return found


#: Where no WAN is known nobody can say what may get out.
_FREE: Steps = (Step(EVERYTHING, "accept"),)
_TOO_MUCH: Steps = (Step(EVERYTHING, "refuse", "", "too many rules"),)


def _certain(steps: Steps) -> Steps:
    """Without the permissions that hold under conditions that cannot be mirrored."""
    return ended(s for s in steps if not (s.unread and s.verdict == "accept"))


def _together(left: Steps, right: Steps, of: packets.Joined) -> Steps:
    if len(left) * len(right) > _MOST_PAIRS:
        return _TOO_MUCH
    return both(left, right, of)


def _one_wan(one: Step, other: Step) -> Step:
    for step in (one, other):
        if step.verdict == "refuse":
            return step
    return one if one.verdict == "accept" else other


def _every_chain(one: Step, other: Step) -> Step:
    return other if one.verdict == "accept" else one


# --- In the words of the chain, and of people ---------------------------------------------------


def _rules(step: Step, device: str, family: Family) -> list[LanRule]:
    match = step.packets
    return [
        LanRule(
            redirect=step.verdict == "accept",
            device=device,
            family=family,
            sources=sources,
            destinations=destinations,
            macs=() if match.macs.but else tuple(sorted(match.macs.names)),
            not_macs=tuple(sorted(match.macs.names)) if match.macs.but else (),
            sports=() if match.sports == packets.ANY_PORT else match.sports,
            dports=() if match.dports == packets.ANY_PORT else match.dports,
        )
        for sources, destinations in product(
            _texts(match.sources, family), _texts(match.destinations, family)
        )
    ]


def _texts(addresses: Addresses, family: Family) -> list[tuple[str, ...]]:
    """Networks in one, and each with a mask with holes by itself."""
    if addresses == packets.ANYWHERE:
        return [()]
    plain = [a for a in addresses if packets.plain(a[1], family)]
    networks = [collapse(packets.text(a, family) for a in plain)] if plain else []
    if networks and networks[0] == (packets.text((0, 0), family),):
        return [()]
    return networks + [(packets.text(a, family),) for a in addresses if a not in plain]


def described(match: Packets, family: Family) -> str:
    """A set of packets in words: ``192.168.1.50 to port 25``."""

    def hosts(addresses: Addresses) -> str:
        texts = [text for group in _texts(addresses, family) for text in group]
        return _few(t.removesuffix("/32").removesuffix("/128") for t in texts)

    words = []
    if match.sources != packets.ANYWHERE:
        words.append(hosts(match.sources))
    if match.macs.names:
        words.append(("all but " if match.macs.but else "") + _few(sorted(match.macs.names)))
    if match.sports != packets.ANY_PORT:
        words.append(f"from port {_few(_range(r) for r in match.sports)}")
    if match.destinations != packets.ANYWHERE:
        words.append(f"to {hosts(match.destinations)}")
    if match.dports != packets.ANY_PORT:
        words.append(f"to port {_few(_range(r) for r in match.dports)}")
    return " ".join(words) or f"IPv{family}"


def _range(ports: packets.Range) -> str:
    return str(ports[0]) if ports[0] == ports[1] else f"{ports[0]}-{ports[1]}"


def _few(texts: Iterable[str], most: int = 6) -> str:
    texts = list(texts)
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return " ".join(texts[:most]) + more
