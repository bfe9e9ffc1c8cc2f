# SPDX-License-Identifier: GPL-2.0-or-later
"""Sets of packets, and lists of verdicts about them, first match first.

A set is what one rule of a firewall can match: an intersection of what each field may be. So the
intersection of two sets is one again, and what two chains say of a packet together can be said
by one list (``both``).

Named tuples, since rules by the hundred are compared and put together, which they do in C.

Addresses are kept as (value, mask) pairs of one family, as the kernel compares them: a mask with
holes (``::1234/::ffff:ffff:ffff:ffff``, a host under any prefix) is nothing special then.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from ..state import Family

#: An address matches where it has these bits (value) under this mask.
Masked = tuple[int, int]
Addresses = tuple[Masked, ...]
Range = tuple[int, int]
"""First and last."""
Ports = tuple[Range, ...]

ANYWHERE: Addresses = ((0, 0),)
ANY_PORT: Ports = ((0, 65535),)

#: So many pairs of addresses are compared, which takes milliseconds; what is known then suffices.
_LONG = 20_000

BITS: dict[Family, int] = {4: 32, 6: 128}

#: accept and refuse say what the firewall does; "silence" is a refusal because no rule allows it.
Verdict = Literal["accept", "refuse", "silence"]


class Macs(NamedTuple):
    """These, or all but these."""

    names: frozenset[str] = frozenset()
    but: bool = True

    @property
    def nothing(self) -> bool:
        return not self.names and not self.but

    def meet(self, other: Macs) -> Macs:
        if self.but and other.but:
            return Macs(self.names | other.names)
        if self.but:
            return Macs(other.names - self.names, but=False)
        return Macs(self.names - other.names if other.but else self.names & other.names, but=False)

    def within(self, other: Macs) -> bool:
        if other.but:
            return self.names >= other.names if self.but else self.names.isdisjoint(other.names)
        return not self.but and self.names <= other.names


class Packets(NamedTuple):
    """TCP packets of one family from one device; what is not said is any."""

    sources: Addresses = ANYWHERE
    destinations: Addresses = ANYWHERE
    macs: Macs = Macs()
    sports: Ports = ANY_PORT
    dports: Ports = ANY_PORT

    @property
    def empty(self) -> bool:
        fields = (self.sources, self.destinations, self.sports, self.dports)
        return self.macs.nothing or not all(fields)

    def meet(self, other: Packets) -> Packets:
        """Those in both."""
        return Packets(
            meet(self.sources, other.sources),
            meet(self.destinations, other.destinations),
            self.macs.meet(other.macs),
            meet_ports(self.sports, other.sports),
            meet_ports(self.dports, other.dports),
        )

    def within(self, other: Packets) -> bool:
        """Whether all are in the other set; may say no where they are, in several pieces."""
        return (
            within(self.sources, other.sources)
            and within(self.destinations, other.destinations)
            and self.macs.within(other.macs)
            and meet_ports(self.sports, other.sports) == self.sports
            and meet_ports(self.dports, other.dports) == self.dports
        )


EVERYTHING = Packets()


class Step(NamedTuple):
    """What is said of packets of which no step before said anything.

    ``section`` names the section of the configuration that says so; ``unread`` is what of it
    cannot be mirrored: then some of the packets may be refused, not all.
    """

    packets: Packets
    verdict: Verdict
    section: str = ""
    unread: str = ""


Steps = tuple[Step, ...]


Joined = Callable[[Step, Step], Step]


def both(left: Steps, right: Steps, of: Joined) -> Steps:
    """The list that says of each packet what ``of`` makes of what the two say. Both lists say
    something of every packet."""
    if left == right:
        return left
    found = []
    for one in left:
        for other in right:
            packets = one.packets.meet(other.packets)
            if packets.empty:
                continue
            step = of(one, other)
            found.append(Step(packets, step.verdict, step.section, step.unread))
            if one.packets.within(other.packets):
                break
    return ended(found)


def ended(steps: Iterable[Step]) -> Steps:
    """Up to the first step that is about everything."""
    found = []
    for step in steps:
        found.append(step)
        if EVERYTHING.within(step.packets):
            break
    return tuple(found)


def shortest(steps: Steps, end: bool) -> Steps:
    """Without what changes nothing: what accepts (or not: ``end`` is the last word) and is not
    contradicted between there and the end."""
    kept: list[Step] = []
    for step in reversed(steps):
        accepts = step.verdict == "accept"
        contradicted = any(
            (k.verdict == "accept") != accepts and not k.packets.meet(step.packets).empty
            for k in kept
        )
        if accepts != end or contradicted:
            kept.append(step)
    return tuple(reversed(kept))


# --- Addresses ----------------------------------------------------------------------------------


def masked(network: str, family: Family) -> Masked:
    """Of ``address/length`` or ``address/mask``; ValueError where it is none of the family."""
    address, _, mask = network.partition("/")
    bits, value = BITS[family], _number(address, family)
    if not mask or mask.isdigit():
        length = int(mask or bits)
        if length > bits:
            raise ValueError(f"{network!r} has a length of more than {bits}")
        under = (1 << bits) - (1 << (bits - length))
    else:
        under = _number(mask, family)
    return value & under, under


def _number(address: str, family: Family) -> int:
    return int((ipaddress.IPv6Address if family == 6 else ipaddress.IPv4Address)(address))


def text(pair: Masked, family: Family) -> str:
    """``address/length``, or ``address/mask`` of a mask with holes. The other way of ``masked``."""
    kind = ipaddress.IPv6Address if family == 6 else ipaddress.IPv4Address
    value, mask = pair
    return f"{kind(value)}/{length(mask, family) if plain(mask, family) else kind(mask)}"


def plain(mask: int, family: Family) -> bool:
    """Whether a mask is a prefix length: ones, then zeros."""
    holes = mask ^ ((1 << BITS[family]) - 1)
    return holes & (holes + 1) == 0


def length(mask: int, family: Family) -> int:
    return mask.bit_count() if plain(mask, family) else BITS[family]


def meet(left: Addresses, right: Addresses) -> Addresses:
    if left == ANYWHERE:
        return right
    if right == ANYWHERE:
        return left
    return _widest((a | b, m | n) for a, m in left for b, n in right if not (a ^ b) & m & n)


def within(inner: Addresses, outer: Addresses) -> bool:
    """May say no of long lists."""
    if outer == ANYWHERE or inner == outer:
        return True
    if len(inner) * len(outer) > _LONG:
        return False
    return all(any(not n & ~m and not (a ^ b) & n for b, n in outer) for a, m in inner)


def without(whole: Addresses, part: Masked) -> Addresses:
    """What of the first is not in the second."""
    b, n = part
    rest: list[Masked] = []
    for a, m in whole:
        if (a ^ b) & m & n:
            rest.append((a, m))
            continue
        # One piece for each bit that only the part asks for: agreeing before it, not in it.
        for bit in reversed(range(n.bit_length())):
            one = 1 << bit
            if n & one and not m & one:
                rest.append((a | (~b & one), m | one))
                a, m = a | (b & one), m | one
    return tuple(rest)


def _widest(pairs: Iterable[Masked]) -> Addresses:
    """Without those that lie in another one, where there are not many of them."""
    found = tuple(dict.fromkeys(pairs))
    if len(found) * len(found) > _LONG:
        return found
    return tuple(p for p in found if not any(q != p and within((p,), (q,)) for q in found))


# --- Ports --------------------------------------------------------------------------------------


def meet_ports(left: Ports, right: Ports) -> Ports:
    pairs = ((max(a, c), min(b, d)) for a, b in left for c, d in right)
    return merged(p for p in pairs if p[0] <= p[1])


def merged(ranges: Iterable[Range]) -> Ports:
    """Sorted, none of them touching another."""
    found: list[Range] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return tuple(found)


def other_ports(ports: Sequence[Range]) -> Ports:
    """All that are not among these."""
    edges = [-1, *(edge for r in merged(ports) for edge in (r[0], r[1])), 65536]
    pairs = ((edges[i] + 1, edges[i + 1] - 1) for i in range(0, len(edges), 2))
    return tuple(p for p in pairs if p[0] <= p[1])
