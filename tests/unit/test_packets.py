# SPDX-License-Identifier: GPL-2.0-or-later
"""Sets of packets against what they say of single packets, with small fields."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mptcp_agent.core.router_firewall import packets
from mptcp_agent.core.router_firewall.packets import (
    ANY_PORT,
    ANYWHERE,
    EVERYTHING,
    Addresses,
    Macs,
    Packets,
    Ports,
    Step,
    Steps,
    Verdict,
)

Packet = tuple[int, int, str, int, int]
"""Source, destination, MAC, ports: four bits, four bits, one of three, small."""

pairs = st.tuples(st.integers(0, 15), st.integers(0, 15)).map(lambda p: (p[0] & p[1], p[1]))
addresses = st.just(ANYWHERE) | st.lists(pairs, min_size=1, max_size=3).map(
    lambda found: tuple(dict.fromkeys(found))
)
macs = st.builds(Macs, st.frozensets(st.sampled_from("abc")), st.booleans())
ports = st.just(ANY_PORT) | st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9)).map(lambda p: (min(p), max(p))), max_size=3
).map(packets.merged)
sets = st.builds(Packets, addresses, addresses, macs, ports, ports)
some = st.tuples(
    st.integers(0, 15),
    st.integers(0, 15),
    st.sampled_from("abcd"),
    st.integers(0, 9),
    st.integers(0, 9),
)
steps = st.lists(
    st.builds(Step, sets, st.sampled_from(["accept", "refuse", "silence"])), max_size=5
).map(lambda found: (*found, Step(EVERYTHING, "silence")))


def at(address: int, among: Addresses) -> bool:
    return any(address & mask == value for value, mask in among)


def on(port: int, among: Ports) -> bool:
    return any(first <= port <= last for first, last in among)


def holds(found: Packets, packet: Packet) -> bool:
    source, destination, mac, sport, dport = packet
    return (
        at(source, found.sources)
        and at(destination, found.destinations)
        and (mac in found.macs.names) != found.macs.but
        and on(sport, found.sports)
        and on(dport, found.dports)
    )


def verdict(found: Steps, packet: Packet) -> Verdict:
    return next(s.verdict for s in found if holds(s.packets, packet))


@given(sets, sets, some)
def test_what_is_in_both(left: Packets, right: Packets, packet: Packet) -> None:
    assert holds(left.meet(right), packet) == (holds(left, packet) and holds(right, packet))
    if left.empty:
        assert not holds(left, packet)
    if left.within(right) and holds(left, packet):
        assert holds(right, packet)


@given(addresses, pairs, st.integers(0, 15))
def test_what_is_left(whole: Addresses, part: tuple[int, int], address: int) -> None:
    expected = at(address, whole) and not at(address, (part,))
    assert at(address, packets.without(whole, part)) == expected


@given(ports, st.integers(0, 65535))
def test_other_ports(among: Ports, port: int) -> None:
    assert on(port, packets.other_ports(among)) != on(port, among)


@given(steps, steps, some)
def test_what_two_lists_say_together(left: Steps, right: Steps, packet: Packet) -> None:
    def stricter(one: Step, other: Step) -> Step:
        return other if one.verdict == "accept" else one

    together = packets.both(left, right, stricter)
    one, other = verdict(left, packet), verdict(right, packet)
    assert verdict(together, packet) == (other if one == "accept" else one)


@given(steps, some)
def test_what_changes_nothing_is_left_out(found: Steps, packet: Packet) -> None:
    for end in (False, True):
        last = Step(EVERYTHING, "accept" if end else "silence")
        whole = (*found[:-1], last)
        short = (*packets.shortest(found[:-1], end), last)
        assert len(short) <= len(whole)
        assert (verdict(short, packet) == "accept") == (verdict(whole, packet) == "accept")


def test_addresses_as_text() -> None:
    for text, family in (
        ("192.168.78.0/24", 4),
        ("0.0.0.0/0", 4),
        ("2001:db8::/32", 6),
        ("::1234/::ffff:ffff:ffff:ffff", 6),
        ("10.0.0.7/255.0.0.255", 4),
    ):
        assert packets.text(packets.masked(text, family), family) == text  # type: ignore[arg-type]
    assert packets.text(packets.masked("192.168.78.9/255.255.255.0", 4), 4) == "192.168.78.0/24"
