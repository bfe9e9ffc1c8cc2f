# SPDX-License-Identifier: GPL-2.0-or-later
"""What health does to the choices, whatever is up and down: laws rather than examples
(those are in test_choice.py)."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from unit.examples import (
    BRIDGE_CLIENT,
    BRIDGE_WAN1,
    BRIDGE_WAN2,
    LAN,
    LOOPBACK,
    READY,
    Sections,
    config,
    router,
    section,
)

from mptcp_agent.core.health import Health, PathHealth
from mptcp_agent.core.network import Facts, Interface
from mptcp_agent.core.network.wans import WanLink, wan_links
from mptcp_agent.core.plan.peers import (
    choose,
    failed_wans,
    resolve,
    usable_wans,
    with_address_in_use,
)
from mptcp_agent.core.snapshot import Choice
from mptcp_agent.core.state import family

WAN3 = Interface("wan3", "wwan0", True, ("100.64.3.9/30", "2001:db8:3::9/64"), (), "dhcp")
SECTIONS: Sections = {
    **BRIDGE_CLIENT,
    "r6000": section("peer", address=["10.1.1.60", "2001:db8:6::60"]),
    "client": section("client", peer=["r7000", "r6000"]),
    "wan1": section("wan", interface="wan1", role="backup"),
    "wan3": section("wan", interface="wan3"),
}
CONFIG = config(SECTIONS)
PEERS = resolve(CONFIG.client_peers, Facts())
ADDRESSES = tuple(a for p in PEERS for a in p.addresses)
DEVICES = ("eth1", "eth2", "wwan0")
NAMES = ("wan1", "wan2", "wan3")

#: The same peers by names, one for each address.
NAMED = tuple(f"a{i}.example" for i in range(len(ADDRESSES)))
BY_NAME = tuple(
    replace(p.peer, address=tuple(NAMED[ADDRESSES.index(a)] for a in p.addresses)) for p in PEERS
)

SOME_ADDRESSES = st.frozensets(st.sampled_from(ADDRESSES))
CHOICES = tuple(Choice(p.peer, a) for p in PEERS for a in p.addresses)
IN_USE = st.one_of(st.none(), st.sampled_from(CHOICES))


@st.composite
def wans(draw: st.DrawFn) -> tuple[WanLink, ...]:
    unplugged = draw(st.frozensets(st.sampled_from(DEVICES)))
    facts = router(LOOPBACK, LAN, BRIDGE_WAN1, BRIDGE_WAN2, WAN3, down=unplugged)
    return wan_links(CONFIG, facts)


@st.composite
def healths(draw: st.DrawFn) -> Health:
    paths = tuple(
        PathHealth(wan, address, draw(st.sampled_from(["up", "down", "unknown"])))
        for wan in NAMES
        for address in ADDRESSES
    )
    return replace(
        READY,
        paths=paths,
        refused=draw(SOME_ADDRESSES),
        accepting=draw(SOME_ADDRESSES),
        accepting_for_a_while=draw(SOME_ADDRESSES),
        dead_peers=draw(st.frozensets(st.sampled_from(["r7000", "r6000"]))),
        idle=draw(st.booleans()),
        in_grace_period=draw(st.booleans()),
    )


def reachable(links: tuple[WanLink, ...], health: Health, choice: Choice) -> bool:
    """Some WAN that is up gets there, somebody may listen, and it does not hang."""
    if choice.peer.name in health.dead_peers or choice.address in health.refused:
        return False
    return any(
        w.up
        and w.address(family(choice.address)) is not None
        and health.usable(w.name, choice.address)
        for w in links
    )


@given(wans(), healths(), st.lists(st.sampled_from(ADDRESSES), unique=True))
def test_never_are_all_wans_failed(
    links: tuple[WanLink, ...], health: Health, addresses: list[str]
) -> None:
    """When nothing answers, the peer is dead rather than every link."""
    failed = failed_wans(links, health, tuple(addresses))
    up = {w.name for w in links if w.up}
    assert failed <= up
    assert not up or failed < up
    for link in links:
        if link.name in failed:
            assert not any(health.usable(link.name, a) for a in addresses if _has(link, a))


@given(wans(), healths())
def test_a_wan_fails_where_another_lives(links: tuple[WanLink, ...], health: Health) -> None:
    lives = {w.name for w in links if w.up and any(_usable(w, a, health) for a in ADDRESSES)}
    failed = failed_wans(links, health, ADDRESSES)
    assert failed == ({w.name for w in links if w.up} - lives if lives else set())


def _has(link: WanLink, address: str) -> bool:
    return link.address(family(address)) is not None


def _usable(link: WanLink, address: str, health: Health) -> bool:
    return _has(link, address) and health.usable(link.name, address)


@given(wans(), healths(), IN_USE)
def test_only_what_can_be_reached_is_chosen(
    links: tuple[WanLink, ...], health: Health, now: Choice | None
) -> None:
    choice = choose(PEERS, links, health, now)
    assert choice is None or reachable(links, health, choice)


@given(wans(), healths(), IN_USE)
def test_nothing_is_chosen_only_when_there_is_nothing(
    links: tuple[WanLink, ...], health: Health, now: Choice | None
) -> None:
    """With something in use, another address needs somebody who was seen to listen."""
    if choose(PEERS, links, health, now) is None:
        for choice in CHOICES:
            seen = now is None or choice == now or choice.address in health.accepting_for_a_while
            waits = now is not None and choice != now and health.in_grace_period and not health.idle
            assert waits or not (seen and reachable(links, health, choice))


@settings(max_examples=500)
@given(wans(), healths(), st.sampled_from(CHOICES))
def test_what_is_in_use_stays_while_it_carries_anything(
    links: tuple[WanLink, ...], health: Health, now: Choice
) -> None:
    """A change ends the connections of the proxy."""
    if reachable(links, health, now) and not health.idle:
        assert choose(PEERS, links, health, now) == now


@given(wans(), healths(), st.sampled_from(CHOICES))
def test_connections_are_given_time_to_come_back(
    links: tuple[WanLink, ...], health: Health, now: Choice
) -> None:
    """Nothing else is chosen for a while, so that the proxy they run in is not changed."""
    busy = replace(health, idle=False, in_grace_period=True)
    assert choose(PEERS, links, busy, now) in (now, None)


@given(wans(), healths(), st.sampled_from(CHOICES))
def test_an_idle_proxy_changes_only_to_a_better_peer(
    links: tuple[WanLink, ...], health: Health, now: Choice
) -> None:
    """Never to another address of the same peer, and only where somebody listens."""
    choice = choose(PEERS, links, replace(health, idle=True), now)
    if reachable(links, health, now) and choice != now:
        assert choice is not None
        assert choice.address in health.accepting_for_a_while
        order = [p.peer.name for p in PEERS]
        assert order.index(choice.peer.name) < order.index(now.peer.name)


@given(wans(), healths(), IN_USE)
def test_a_choice_is_stable(links: tuple[WanLink, ...], health: Health, now: Choice | None) -> None:
    """The same health, asked again, chooses the same: no proxy restarts for nothing."""
    first = choose(PEERS, links, health, now)
    if first is not None:
        assert choose(PEERS, links, health, first) == first


@given(wans(), healths(), st.sampled_from(CHOICES), st.frozensets(st.sampled_from(NAMED)))
def test_another_answer_of_a_name_ends_nothing(
    links: tuple[WanLink, ...], health: Health, now: Choice, moved: frozenset[str]
) -> None:
    """Every address is of a name's answer, some names have had another since: as long as the one
    in use can be reached, the choice is what it would have been without."""
    facts = Facts(
        resolved=tuple(
            (n, (f"10.1.1.{9 + i}",) if n in moved else (ADDRESSES[i],))
            for i, n in enumerate(NAMED)
        ),
        formerly=tuple((n, (ADDRESSES[i],)) for i, n in enumerate(NAMED)),
    )
    peers = with_address_in_use(resolve(BY_NAME, facts), now, facts, health)
    for peer in peers:
        assert len(set(peer.addresses)) == len(peer.addresses)
    if reachable(links, health, now) and not health.idle:
        choice = choose(peers, links, health, now)
        assert choice and (choice.peer.name, choice.address) == (now.peer.name, now.address)


@given(wans(), healths(), IN_USE)
def test_the_lan_is_redirected_only_when_somebody_answers(
    links: tuple[WanLink, ...], health: Health, now: Choice | None
) -> None:
    """The choice is the same as ever, or waits: not for another address, which would change the
    proxy's configuration twice."""
    at_once = choose(PEERS, links, health, now)
    choice = choose(PEERS, links, health, now, recovering=True)
    if at_once is None or at_once.address not in health.accepting:
        assert choice is None
    else:
        assert choice == at_once


@given(wans(), healths(), st.sampled_from(ADDRESSES))
def test_backups_come_last(links: tuple[WanLink, ...], health: Health, address: str) -> None:
    found = usable_wans(links, health, address)
    roles = [w.section.role for w in found]
    assert roles == sorted(roles, reverse=True)
    assert {w.name for w in found} == {
        w.name for w in links if w.up and _usable(w, address, health)
    }
