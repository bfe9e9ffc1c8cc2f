# SPDX-License-Identifier: GPL-2.0-or-later
"""Which peer, which address, which WANs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.examples import (
    BRIDGE,
    BRIDGE_BOTH,
    BRIDGE_CLIENT,
    BRIDGE_SERVER,
    BRIDGE_WAN1,
    BRIDGE_WAN2,
    CLIENT,
    ISP_CLIENT,
    LAN,
    LOOPBACK,
    MEANS,
    PEER,
    READY,
    SING_BOX,
    WANS,
    Sections,
    config,
    health,
    plan,
    router,
    section,
)

from mptcp_agent.core.health import Health
from mptcp_agent.core.network import Facts, Interface
from mptcp_agent.core.plan import Plan
from mptcp_agent.core.snapshot import Capabilities, Choice
from mptcp_agent.core.state import RouterState

NEAR1, NEAR2 = "10.1.1.70", "10.2.2.70"
TWO: Sections = {
    **BRIDGE_CLIENT,
    "r6000": section("peer", address=["10.1.1.60", "10.2.2.60"]),
    "client": section("client", peer=["r7000", "r6000"]),
}
ALL_OF_R7000 = tuple((w, a) for w in WANS for a in (NEAR1, NEAR2))
NO_WAN1 = router(LOOPBACK, LAN, BRIDGE_WAN1, BRIDGE_WAN2, down=["eth1"])
NO_WAN = router(LOOPBACK, LAN, BRIDGE_WAN1, BRIDGE_WAN2, down=["eth1", "eth2"])


def choice(peer: str, address: str, sections: Sections = TWO) -> Choice:
    found = config(sections).peer(peer)
    assert found is not None
    return Choice(found, address)


def chosen(found: Plan) -> str | None:
    return f"{found.choice.peer.name} {found.choice.address}" if found.choice else None


def all_listen(seen: Health, *, idle: bool = False) -> Health:
    """Somebody listens at every address; proxied connections run unless ``idle``."""
    all_ = frozenset({NEAR1, NEAR2, "10.1.1.60", "10.2.2.60"})
    return replace(seen, idle=idle, accepting_for_a_while=all_)


@pytest.mark.parametrize(
    ("facts", "seen", "now", "expected"),
    [
        # nothing known, nothing in use: the first address of the first peer
        (BRIDGE, READY, None, f"r7000 {NEAR1}"),
        # one path down: the address is still reached over the other WAN
        (BRIDGE, health(("wan1", NEAR1)), None, f"r7000 {NEAR1}"),
        # all paths to the address down: the peer's next address
        (BRIDGE, health(("wan1", NEAR1), ("wan2", NEAR1)), None, f"r7000 {NEAR2}"),
        # the WAN of the address unplugged: reached by way of the other
        (NO_WAN1, READY, None, f"r7000 {NEAR1}"),
        # all paths to the peer down: the next peer
        (BRIDGE, health(*ALL_OF_R7000), None, "r6000 10.1.1.60"),
        (BRIDGE, replace(READY, dead_peers=frozenset({"r7000"})), None, "r6000 10.1.1.60"),
        (BRIDGE, replace(READY, refused=frozenset({NEAR1, NEAR2})), None, "r6000 10.1.1.60"),
        (BRIDGE, replace(READY, refused=frozenset({NEAR1})), None, f"r7000 {NEAR2}"),
        # nobody at all
        (BRIDGE, replace(READY, dead_peers=frozenset({"r7000", "r6000"})), None, None),
        (NO_WAN, READY, None, None),
        (NO_WAN, READY, NEAR1, None),
        # what is in use stays, although the first address would do as well
        (BRIDGE, READY, NEAR2, f"r7000 {NEAR2}"),
        (BRIDGE, all_listen(READY), NEAR2, f"r7000 {NEAR2}"),
        # a worse peer in use stays while it carries connections, and yields when idle
        (BRIDGE, all_listen(READY), "10.1.1.60", "r6000 10.1.1.60"),
        (BRIDGE, all_listen(READY, idle=True), "10.1.1.60", f"r7000 {NEAR1}"),
        # … and only to an address where somebody listens
        (BRIDGE, READY, "10.1.1.60", "r6000 10.1.1.60"),
        # what is in use and cannot be reached any more goes, connections or not
        (BRIDGE, all_listen(health(*ALL_OF_R7000)), NEAR1, "r6000 10.1.1.60"),
    ],
)
def test_the_peer_and_its_address(
    facts: Facts, seen: Health, now: str | None, expected: str | None
) -> None:
    in_use = choice("r6000" if now and now.endswith(".60") else "r7000", now) if now else None
    found = plan(config(TWO), facts, seen, MEANS, in_use)
    assert chosen(found) == expected


# --- A name with another answer ------------------------------------------------------------------

NAMED: Sections = {
    **WANS,
    "vps": section("peer", address=["vps.example", "10.2.2.70"]),
    "client": section("client", peer="vps"),
}
OLD, NEW = "10.1.1.70", "10.1.1.71"
MOVED = replace(
    BRIDGE, resolved=(("vps.example", (NEW,)),), formerly=(("vps.example", (OLD, "10.1.1.69")),)
)
BUSY = replace(READY, idle=False)
OLD_DOWN = health(("wan1", OLD), ("wan2", OLD))


@pytest.mark.parametrize(
    ("sections", "seen", "now", "expected"),
    [
        # connections run there: it stays, whatever is found at the new one
        (NAMED, BUSY, OLD, OLD),
        (NAMED, replace(BUSY, accepting_for_a_while=frozenset({NEW})), OLD, OLD),
        (NAMED, BUSY, "10.1.1.69", "10.1.1.69"),
        # none run: once somebody listens at the new one
        (NAMED, READY, OLD, OLD),
        (NAMED, replace(READY, accepting_for_a_while=frozenset({NEW})), OLD, NEW),
        # it cannot be reached any more: connections have their time to come back
        (NAMED, replace(OLD_DOWN, idle=False, in_grace_period=True), OLD, None),
        (NAMED, replace(OLD_DOWN, idle=False, accepting_for_a_while=frozenset({NEW})), OLD, NEW),
        # somebody refused it
        (NAMED, replace(BUSY, refused=frozenset({OLD})), OLD, NEW),
        # no name led there, or it did and is no longer configured
        (NAMED, BUSY, "10.1.1.99", NEW),
        ({**NAMED, "vps": section("peer", address="10.2.2.70")}, BUSY, OLD, "10.2.2.70"),
        # nothing in use
        (NAMED, BUSY, None, NEW),
    ],
)
def test_a_name_with_another_answer(
    sections: Sections, seen: Health, now: str | None, expected: str | None
) -> None:
    """DNS that rotates, or is wrong for a moment, ends no connection."""
    in_use = choice("vps", now, NAMED) if now else None
    found = plan(config(sections), MOVED, seen, MEANS, in_use)
    assert (found.choice.address if found.choice else None) == expected
    (addresses,) = (p.addresses for p in found.peers)
    if now is not None and now == expected:  # the last one, and led around the proxy
        assert addresses == (NEW, "10.2.2.70", now)
        assert now in {r.destination.partition("/")[0] for r in found.state.rules if r.destination}
    if found.choice:
        assert plan(config(sections), MOVED, seen, MEANS, found.choice).choice == found.choice


def test_a_restarted_agent_keeps_an_address_of_an_earlier_answer() -> None:
    told = config(NAMED)
    before = plan(told, MOVED, BUSY, MEANS, choice("vps", OLD, NAMED))
    assert before.choice and before.choice.address == OLD
    assert plan(told, MOVED, READY, MEANS, now=before.state) == replace(before, carried=())


def client_file(found: Plan) -> str:
    (file,) = (f for f in found.state.files if "client" in f.path)
    return file.content


def test_the_proxy_is_told_of_the_chosen_address_alone() -> None:
    content = client_file(plan(config(TWO), BRIDGE, READY, MEANS, choice("r7000", NEAR2)))
    assert NEAR2 in content
    assert not [a for a in (NEAR1, "10.1.1.60", "10.2.2.60") if a in content]


@pytest.mark.parametrize("address", [NEAR1, NEAR2])
def test_while_nobody_can_be_reached_the_proxy_stays_as_it_is(address: str) -> None:
    """Nothing restarts when the links come back."""
    in_use = choice("r7000", address)
    before = plan(config(TWO), BRIDGE, READY, MEANS, in_use)
    dark = plan(config(TWO), NO_WAN, READY, MEANS, in_use)
    assert (before.choice, dark.choice) == (in_use, None)
    assert dark.state.processes == before.state.processes


def test_another_wan_for_the_first_subflow_restarts_nothing() -> None:
    """The route moves, not the configuration."""
    before = plan(config(TWO), BRIDGE, READY, MEANS).state
    after = plan(config(TWO), NO_WAN1, READY, MEANS, choice("r7000", NEAR1)).state
    assert (after.processes, after.files) == (before.processes, before.files)
    assert after.routes != before.routes


# --- Endpoints ---------------------------------------------------------------------------------


def flags(state: RouterState) -> dict[str, str]:
    return {e.device: "+".join(sorted(e.flags)) for e in state.endpoints}


@pytest.mark.parametrize(
    ("sections", "seen", "expected"),
    [
        (BRIDGE_CLIENT, READY, {"eth1": "subflow", "eth2": "subflow"}),
        (BRIDGE_SERVER, READY, {"eth1": "signal", "eth2": "signal"}),
        (BRIDGE_BOTH, READY, {"eth1": "signal+subflow", "eth2": "signal+subflow"}),
        # one of two paths over wan1 is down: it still carries the other
        (BRIDGE_CLIENT, health(("wan1", NEAR1)), {"eth1": "subflow", "eth2": "subflow"}),
        (BRIDGE_CLIENT, health(("wan1", NEAR1), ("wan1", NEAR2)), {"eth2": "subflow"}),
        # no path at all: the peer is dead rather than every link
        (BRIDGE_CLIENT, health(*ALL_OF_R7000), {"eth1": "subflow", "eth2": "subflow"}),
    ],
)
def test_endpoints(sections: Sections, seen: Health, expected: dict[str, str]) -> None:
    assert flags(plan(config(sections), BRIDGE, seen, MEANS).state) == expected


def test_a_family_that_a_wan_does_not_carry_has_no_endpoint_there() -> None:
    """After a carrier's return IPv6 may answer seconds before ARP does, and the kernel does not
    repeat a join that no neighbour answered."""
    sections: Sections = {
        "r": {**PEER, "address": ["198.51.100.70", "2001:db8:70::1"]},
        "client": section("client", peer="r"),
        **{f"wan{n}": section("wan", interface=f"wan{n}") for n in (1, 2)},
    }
    found = plan(config(sections), eight("4", "6"), health(("wan1", "198.51.100.70")), MEANS).state
    assert [e.address for e in found.endpoints] == ["10.2.0.2"]
    six_first = {**sections, "r": {**PEER, "address": ["2001:db8:70::1", "198.51.100.70"]}}
    found = plan(config(six_first), eight("4", "6"), health(("wan1", "198.51.100.70")), MEANS).state
    assert [e.address for e in found.endpoints] == ["2001:db8:1::2", "2001:db8:2::2"]


def eight(*families: str, count: int = 8) -> Facts:
    """So many WANs with an address of each family."""
    addresses = {"4": "10.{0}.0.2/24", "6": "2001:db8:{0}::2/64"}
    return router(
        LAN,
        *(
            Interface(f"wan{n}", f"eth{n}", True, tuple(addresses[f].format(n) for f in families))
            for n in range(1, count + 1)
        ),
    )


DUAL = ["198.51.100.70", "2001:db8:70::1"]
EIGHT: Sections = {f"wan{n}": section("wan", interface=f"wan{n}") for n in range(1, 9)}


def to_peer(*addresses: str) -> Sections:
    return {
        "r": {**PEER, "address": list(addresses)},
        "client": section("client", peer="r"),
        **EIGHT,
    }


@pytest.mark.parametrize(("addresses", "colons"), [(DUAL, 0), (DUAL[::-1], 4), (DUAL[1:], 4)])
def test_eight_wans_of_both_families_join_in_the_family_in_use(
    addresses: list[str], colons: int
) -> None:
    """The kernel takes eight endpoints: one subflow of each WAN, none that cannot join."""
    found = plan(config(to_peer(*addresses)), eight("4", "6"), READY, MEANS)
    assert len({e.device for e in found.state.endpoints}) == 8
    assert {e.address.count(":") for e in found.state.endpoints} == {colons}
    assert found.problems == ()


def test_more_addresses_than_the_kernel_takes() -> None:
    """A server announces all, and the client's own come first; said, and cut."""
    server = section("server", enabled="1", listen=["0.0.0.0", "::"], allow=["10.0.0.0/8"])
    found = plan(config({**EIGHT, "server": server}), eight("4", "6"), READY, MEANS)
    assert len({e.device for e in found.state.endpoints}) == 8
    assert len({e.id for e in found.state.endpoints}) == 8
    assert ["16 addresses, and the kernel takes 8" in p.message for p in found.problems] == [True]
    many = replace(MEANS, endpoints=64)  # Linux 7.2 and later
    found = plan(config({**EIGHT, "server": server}), eight("4", "6"), READY, many)
    assert len({e.id for e in found.state.endpoints}) == 16
    assert found.problems == ()
    both = {**to_peer(*DUAL[::-1]), "server": server}
    found = plan(config(both), eight("4", "6"), READY, MEANS)
    assert all("subflow" in e.flags and ":" in e.address for e in found.state.endpoints)


V4, V6, BOTH = "4", "6", "46"


@pytest.mark.parametrize(
    ("wans", "addresses", "chosen", "endpoints", "accepted"),
    [
        # IPv6 only on one: the address that both can serve, joined once over each
        ((V6, BOTH), DUAL, DUAL[1], "66", 0),
        # IPv4 only on one: the same the other way round; an IPv6 socket would take it as well
        ((V4, BOTH), DUAL, DUAL[0], "44", 8),
        ((V4, BOTH), DUAL[::-1], DUAL[1], "46", 8),
        # equal: the first
        ((BOTH, BOTH), DUAL, DUAL[0], "44", 8),
        ((BOTH, BOTH), DUAL[::-1], DUAL[1], "66", 0),
        # a WAN that no address in use can serve
        ((V6, BOTH), DUAL[:1], DUAL[0], "4", 8),
    ],
)
def test_the_address_that_most_wans_can_serve(
    wans: tuple[str, ...], addresses: list[str], chosen: str, endpoints: str, accepted: int
) -> None:
    texts = {"4": "10.{0}.0.2/24", "6": "2001:db8:{0}::2/64"}
    facts = router(
        LAN,
        *(
            Interface(f"wan{n}", f"eth{n}", True, tuple(texts[f].format(n) for f in families))
            for n, families in enumerate(wans, 1)
        ),
    )
    two = {k: v for k, v in to_peer(*addresses).items() if k in ("r", "client", "wan1", "wan2")}
    found = plan(config(two), facts, READY, MEANS)
    assert found.choice and found.choice.address == chosen
    assert "".join("6" if ":" in e.address else "4" for e in found.state.endpoints) == endpoints
    assert found.state.limits and found.state.limits.add_addr_accepted == accepted


def test_an_address_that_serves_more_wans_takes_over_when_nothing_runs() -> None:
    """A WAN with IPv6 only came later: a change of address restarts the proxy."""
    facts = replace(
        eight("4", "6", count=1),
        interfaces=(
            *eight("4", "6", count=1).interfaces,
            Interface("wan2", "eth2", True, ("2001:db8:2::2/64",)),
        ),
    )
    wan2 = router(Interface("wan2", "eth2", True, ("2001:db8:2::2/64",)))
    facts = replace(
        facts, links=(*facts.links, *wan2.links), addresses=(*facts.addresses, *wan2.addresses)
    )
    two = {k: v for k, v in to_peer(*DUAL).items() if k in ("r", "client", "wan1", "wan2")}
    now = choice("r", DUAL[0], two)
    listening = replace(READY, accepting_for_a_while=frozenset(DUAL))
    for seen, expected in (
        (replace(READY, idle=True), DUAL[0]),  # nobody was seen to listen there
        (replace(listening, idle=False), DUAL[0]),
        (replace(listening, idle=True), DUAL[1]),
    ):
        found = plan(config(two), facts, seen, MEANS, now)
        assert found.choice and found.choice.address == expected


def test_a_link_of_the_wrong_family_is_pointed_out() -> None:
    found = plan(config(BRIDGE_CLIENT), eight("6"), READY, MEANS)
    assert [p.where for p in found.problems] == [
        "mptcp-proxy.wan1.interface",
        "mptcp-proxy.wan2.interface",
    ]
    assert "has no IPv4 address" in found.problems[0].message
    assert found.state.endpoints == ()


# --- What a new LAN connection meets -------------------------------------------------------------

BLOCK: Sections = {**BRIDGE_CLIENT, "client": {**CLIENT, "when_down": "block"}}
NOBODY = health(*ALL_OF_R7000)


@pytest.mark.parametrize(
    ("sections", "seen", "mode", "jumps"),
    [
        (BRIDGE_CLIENT, READY, "proxy", ("br-lan",)),
        (BRIDGE_CLIENT, Health(), "starting", ()),
        (BRIDGE_CLIENT, NOBODY, "bypass", ()),
        (BLOCK, READY, "proxy", ("br-lan",)),
        (BLOCK, Health(), "block", ("br-lan",)),
        (BLOCK, NOBODY, "block", ("br-lan",)),
        (BRIDGE_SERVER, READY, "bypass", None),
    ],
)
def test_mode(sections: Sections, seen: Health, mode: str, jumps: tuple[str, ...] | None) -> None:
    found = plan(config(sections), BRIDGE, seen, MEANS)
    (firewall,) = found.state.firewalls
    assert found.mode == mode
    assert (firewall.redirect.jumps if firewall.redirect else None) == jumps
    if firewall.redirect:
        assert firewall.redirect.mode == ("block" if mode == "block" else "proxy")


def test_a_warning_of_the_engine_does_not_keep_it_from_running() -> None:
    hangs = frozenset({("none", False), ("none", True)})
    means = replace(MEANS, builds={"sing-box": replace(SING_BOX, hangs=hangs)})
    found = plan(config(BRIDGE_CLIENT), BRIDGE, READY, means)
    assert [p.severity for p in found.problems] == ["warning"]
    assert found.mode == "proxy"


FAR6 = "2001:db8:70::70"
BY_BOTH: Sections = {**BRIDGE_CLIENT, "r7000": section("peer", address=[FAR6, NEAR1])}
DUAL_WAN1 = replace(
    BRIDGE_WAN1,
    addresses=(*BRIDGE_WAN1.addresses, "2001:db8:70::78/64"),
)
OVER_BOTH = router(LOOPBACK, LAN, DUAL_WAN1, BRIDGE_WAN2)
PLAIN_OVER_6 = replace(
    MEANS, builds={"sing-box": replace(SING_BOX, plain_families=frozenset({("client", 6)}))}
)


@pytest.mark.parametrize(
    ("means", "seen", "now", "address"),
    [
        (MEANS, READY, None, FAR6),
        (PLAIN_OVER_6, READY, None, NEAR1),
        # in use because IPv4 was not there: it stays while it carries connections
        (PLAIN_OVER_6, replace(READY, idle=False), FAR6, FAR6),
        (PLAIN_OVER_6, READY, FAR6, FAR6),  # and until somebody is seen to listen
        (PLAIN_OVER_6, all_listen(READY, idle=True), FAR6, NEAR1),
        (MEANS, all_listen(READY, idle=True), FAR6, FAR6),
    ],
)
def test_an_address_that_gets_mptcp_comes_first(
    means: Capabilities, seen: Health, now: str | None, address: str
) -> None:
    in_use = choice("r7000", now, BY_BOTH) if now else None
    found = plan(config(BY_BOTH), OVER_BOTH, seen, means, in_use)
    assert chosen(found) == f"r7000 {address}"
    told = any("plain TCP" in p.message for p in found.problems)
    assert told == (means is PLAIN_OVER_6 and address == FAR6)


@pytest.mark.parametrize(
    ("means", "address", "left_out"),
    [
        (MEANS, DUAL[1], []),  # IPv6 takes all three: its socket takes IPv4 subflows as well
        (PLAIN_OVER_6, DUAL[0], ["wan2"]),  # IPv4 takes two, IPv6 would take one
    ],
)
def test_addresses_are_ranked_by_the_wans_that_carry_mptcp_with_this_build(
    means: Capabilities, address: str, left_out: list[str]
) -> None:
    """Go 1.23's fault: connections to IPv6 addresses are plain TCP, over one WAN."""
    families = {"wan1": "46", "wan2": "6", "wan3": "46"}
    texts = {"4": "10.{0}.0.2/24", "6": "2001:db8:{0}::2/64"}
    facts = router(
        LAN,
        *(
            Interface(w, f"eth{w[3]}", True, tuple(texts[f].format(w[3]) for f in of))
            for w, of in families.items()
        ),
    )
    three = {k: v for k, v in to_peer(*DUAL).items() if k in ("r", "client", *families)}
    found = plan(config(three), facts, READY, means)
    assert found.choice and found.choice.address == address
    named = [p for p in found.problems if "nothing is proxied over this WAN" in p.message]
    assert [p.where for p in named] == [f"mptcp-proxy.{wan}.interface" for wan in left_out]
    assert all("this build of the proxy speaks MPTCP over IPv4 only" in p.hint for p in named)
    assert {e.device for e in found.state.endpoints} == {
        f"eth{wan[3]}" for wan in families if wan not in left_out
    }


def test_an_engine_that_cannot_do_the_method_does_not_start() -> None:
    refuses = replace(SING_BOX, refused=frozenset({"aes-128-gcm"}))
    found = plan(config(ISP_CLIENT), BRIDGE, READY, replace(MEANS, builds={"sing-box": refuses}))
    assert [p.where for p in found.problems] == ["mptcp-proxy.vps.method"]
    assert (found.mode, found.state.processes, found.state.files) == ("bypass", (), ())


def test_both_back_ends_are_named_when_none_works() -> None:
    found = plan(config(BRIDGE_SERVER), BRIDGE, READY, replace(MEANS, backends=("iptables",)))
    assert [f.backend for f in found.state.firewalls] == ["iptables"]
    wanted = config({**BRIDGE_SERVER, "globals": section("globals", redirect="nftables")})
    means = replace(MEANS, backends=("iptables",), missing={"nftables": "no nft"})
    found = plan(wanted, BRIDGE, READY, means)
    assert found.state.firewalls == ()
    assert [p.message for p in found.problems] == [
        "no firewall back end works here (nftables: no nft)"
    ]


def test_a_restarted_agent_keeps_what_its_redirector_was_told() -> None:
    """Not the first address of the peer, but the one the running process calls."""
    told = config(BRIDGE_CLIENT)
    second = Choice(told.client_peers[0], "10.2.2.70")
    before = plan(told, BRIDGE, READY, MEANS, second)
    assert before.configured == before.choice == second
    again = plan(told, BRIDGE, READY, MEANS, now=before.state)
    assert again == replace(before, carried=())
    changed = config({**BRIDGE_CLIENT, "client": {**CLIENT, "local_port": "1090"}})
    first = plan(changed, BRIDGE, READY, MEANS, now=before.state)
    assert first.choice == Choice(told.client_peers[0], "10.1.1.70")


def test_a_wan_section_that_goes_leaves_the_others_as_they_are() -> None:
    """Another endpoint or table would close the subflows of a link that nobody touched."""
    before = plan(config(BRIDGE_CLIENT), BRIDGE, READY, MEANS).state
    left = {k: v for k, v in BRIDGE_CLIENT.items() if k != "wan1"}
    after = plan(config(left), BRIDGE, READY, MEANS, now=before).state
    assert [e for e in before.endpoints if e.device == "eth2"] == list(after.endpoints)
    # Without its section wan1 is a network of the router's own like a LAN.
    mine = [r for r in after.routes if r.table == 10902 and r.type != "throw"]
    assert mine == [r for r in before.routes if r.table == 10902 and r.type != "throw"]
    assert plan(config(left), BRIDGE, READY, MEANS, now=after).state == after


@pytest.mark.parametrize(("method", "starts"), [("none", False), ("aes-256-gcm", True)])
def test_no_server_for_everybody_where_no_firewall_works(method: str, starts: bool) -> None:
    sections = {
        name: {**values, "method": method, "password": "secret"}
        if values[".type"] == "server"
        else values
        for name, values in BRIDGE_SERVER.items()
    }
    means = replace(MEANS, backends=())
    planned = plan(config(sections), BRIDGE, READY, means).state.processes
    assert [p.name for p in planned] == ["server"] * starts
    running = plan(config(sections), BRIDGE, READY, MEANS).state.processes
    kept = plan(
        config(sections), BRIDGE, READY, means, now=RouterState(processes=running)
    ).state.processes
    assert kept == running


# --- Client and server at once -----------------------------------------------------------------


def test_an_endpoint_of_a_router_with_both_roles_stands_while_its_address_does() -> None:
    """With it the kernel would end subflows of the other router that came in on a living WAN."""
    before = plan(config(BRIDGE_BOTH), BRIDGE, READY, MEANS).state
    for facts, seen in (
        (NO_WAN1, READY),
        (BRIDGE, health(("wan1", "10.1.1.70"), ("wan1", "10.2.2.70"))),
    ):
        after = plan(config(BRIDGE_BOTH), facts, seen, MEANS, now=before).state
        assert after.endpoints == before.endpoints
        alone = plan(config(BRIDGE_CLIENT), facts, seen, MEANS, now=before).state
        assert [e.address for e in alone.endpoints] == ["10.2.2.78"]


def test_it_goes_with_its_address_or_its_section() -> None:
    before = plan(config(BRIDGE_BOTH), BRIDGE, READY, MEANS).state
    gone = replace(NO_WAN1, addresses=tuple(a for a in NO_WAN1.addresses if a[0] != "eth1"))
    off: Sections = {**BRIDGE_BOTH, "wan1": section("wan", interface="wan1", role="off")}
    for sections, facts in ((BRIDGE_BOTH, gone), (off, BRIDGE)):
        after = plan(config(sections), facts, READY, MEANS, now=before).state
        assert [e.address for e in after.endpoints] == ["10.2.2.78"]
