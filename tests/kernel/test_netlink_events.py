# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel reports, and how it is taken."""

from __future__ import annotations

import asyncio
import select

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toolkit.namespace import Namespace

from mptcp_agent.core.state import Part
from mptcp_agent.system.netlink.events import EVERYTHING, NetlinkEvents, meaning


def drained(
    events: NetlinkEvents, enough: frozenset[Part], seconds: float = 5.0
) -> frozenset[Part]:
    """All that comes until ``enough`` has come."""
    found: frozenset[Part] = frozenset()
    while not enough <= found:
        assert select.select(events.filenos(), [], [], seconds)[0], f"only {found} came"
        found |= events.drain()
    return found


def quiet(events: NetlinkEvents) -> None:
    """Wait until what the set-up still stirs has settled (link states follow within 1 s)."""
    for _ in range(100):
        if not select.select(events.filenos(), [], [], 0.3)[0]:
            return
        events.drain()
    pytest.fail("it never gets quiet")


def test_elements_of_sets_are_no_news(client: Namespace) -> None:
    """dnsmasq adds one with each answer it gives, where mwan3 or pbr asked for that."""
    client.sh("nft add table inet pbr; nft 'add set inet pbr names { type ipv4_addr; }'")
    events = NetlinkEvents()
    try:
        quiet(events)
        client.sh("nft 'add element inet pbr names { 192.0.2.1 }'")
        assert select.select(events.filenos(), [], [], 5)[0], "the kernel reports it"
        assert events.drain() == frozenset()
        client.sh("nft add chain inet pbr output")
        assert drained(events, frozenset({Part.FIREWALL})) == {Part.FIREWALL}
    finally:
        events.close()


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        ("ip link add x type veth peer name y", {Part.LINKS}),
        ("ip link set wan1 down", {Part.LINKS, Part.ROUTING}),
        ("ip link set wan1 name east", {Part.LINKS}),
        ("ip link del wan2", {Part.LINKS}),
        ("ip addr add 10.9.9.9/32 dev lo", {Part.LINKS}),
        ("ip addr del 10.1.1.1/24 dev wan1", {Part.LINKS}),
        ("ip addr add 2001:db8::9/128 dev lo nodad", {Part.LINKS}),
        ("ip route add 192.0.2.0/24 dev wan1", {Part.ROUTING}),
        ("ip route add 192.0.2.0/24 dev wan1 table 10901", {Part.ROUTING}),
        ("ip -6 route add 2001:db8:9::/64 dev wan1", {Part.ROUTING}),
        ("ip rule add priority 710 oif wan1 lookup 10901", {Part.ROUTING}),
        ("ip -6 rule add priority 710 oif wan1 lookup 10901", {Part.ROUTING}),
        ("nft add table inet foreign", {Part.FIREWALL}),
    ],
)
def test_each_change_says_where_to_look(client: Namespace, command: str, wanted: set[Part]) -> None:
    if "down" in command:
        client.sh("ip link set wan1 up; ip route add default via 10.1.1.2 dev wan1")
    events = NetlinkEvents()
    try:
        quiet(events)
        assert events.drain() == frozenset()
        client.sh(command)
        found = drained(events, frozenset(wanted))
        assert Part.FIREWALL not in found or Part.FIREWALL in wanted
    finally:
        events.close()


def test_other_peoples_namespaces_are_quiet(client: Namespace) -> None:
    events = NetlinkEvents()
    quiet(events)
    other = Namespace()
    other.sh("ip addr add 10.9.9.9/32 dev lo")
    assert events.drain() == frozenset()
    other.close()
    events.close()


def test_an_overrun_means_everything_and_then_it_goes_on(client: Namespace) -> None:
    events = NetlinkEvents()
    client.batch([f"address add 10.77.{n >> 8}.{n & 255}/32 dev lo" for n in range(6000)])
    found: frozenset[Part] = frozenset()
    for _ in range(1000):  # one call reads a part of it
        found |= events.drain()
        if not select.select(events.filenos(), [], [], 0)[0]:
            break
    assert found == EVERYTHING
    client.sh("ip rule add priority 710 oif wan1 lookup 10901")
    assert Part.ROUTING in drained(events, frozenset({Part.ROUTING}))
    events.close()


def test_a_burst_of_thousands_fits_into_the_buffer(client: Namespace) -> None:
    events = NetlinkEvents()
    client.batch([f"address add 10.77.{n >> 8}.{n & 255}/32 dev lo" for n in range(1000)])
    found = drained(events, frozenset({Part.LINKS, Part.ROUTING}))
    for _ in range(1000):
        found |= events.drain()
    events.close()


def test_an_event_loop_wakes_up(client: Namespace) -> None:
    async def wait() -> frozenset[Part]:
        events = NetlinkEvents()
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[frozenset[Part]] = loop.create_future()

        def ready() -> None:
            found = events.drain()
            if found and not woken.done():
                woken.set_result(found)

        for number in events.filenos():
            loop.add_reader(number, ready)
        client.sh("ip addr add 10.9.9.9/32 dev lo")
        try:
            return await asyncio.wait_for(woken, 5)
        finally:
            for number in events.filenos():
                loop.remove_reader(number)
            events.close()

    assert Part.LINKS in asyncio.run(wait())


@given(st.binary(max_size=200))
def test_garbage_never_raises(data: bytes) -> None:
    assert meaning(data) <= EVERYTHING


def test_a_message_cut_short_means_everything() -> None:
    header = (40).to_bytes(4, "little") + (16).to_bytes(2, "little") + bytes(10)
    assert meaning(header) == EVERYTHING
    assert meaning(header[:7]) == EVERYTHING
    assert meaning(bytes(16)) == EVERYTHING
    assert meaning(b"") == set()
