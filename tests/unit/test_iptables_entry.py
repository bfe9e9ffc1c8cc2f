# SPDX-License-Identifier: GPL-2.0-or-later
"""iptables rules and their bytes, and a firewall as chains of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcp_agent.core.firewall import FOREIGN_JUMP, TAMPERED, collapse
from mptcp_agent.core.firewall.iptables_entry import UNKNOWN, XtRule, bare, counters, decode, encode
from mptcp_agent.core.firewall.iptables_rules import Content, counters_in, firewall_in, tables
from mptcp_agent.core.state import Access, Family, Firewall, Redirect

BOTH: Mapping[Family, bool] = {4: True, 6: True}
FAMILIES: list[Mapping[Family, bool]] = [BOTH, {4: True}, {4: True, 6: False}]

addresses = {4: st.ip_addresses(v=4), 6: st.ip_addresses(v=6)}
ports = st.integers(1, 65535)


def network(family: Family) -> st.SearchStrategy[str]:
    lengths = st.integers(1, 32 if family == 4 else 128)
    pairs = st.tuples(addresses[family], lengths)
    return pairs.map(lambda pair: collapse([f"{pair[0]}/{pair[1]}"])[0])


def rules(family: Family) -> st.SearchStrategy[XtRule]:
    rule = st.builds(
        XtRule,
        family=st.just(family),
        target=st.sampled_from(["RETURN", "REJECT", "TCPOPTSTRIP", "REDIRECT", "SSREDIR"]),
        source=st.none() | network(family),
        destination=st.none() | network(family),
        device=st.none() | st.from_regex(r"[a-z][a-z0-9.-]{0,14}", fullmatch=True),
        dport=st.none() | ports,
        syn=st.booleans(),
        dnat=st.booleans(),
        reply=st.booleans(),
        own=st.booleans(),
        to_port=ports,
    )
    return rule.map(lambda r: r if r.target == "REDIRECT" else replace(r, to_port=None))


@given(rules(4) | rules(6))
def test_a_rule_is_read_as_it_was_written(rule: XtRule) -> None:
    data = encode(rule)
    assert decode(data, rule.family, rule.target) == rule
    assert bare(data, rule.family, rule.target) == data
    assert counters(data, rule.family) == (0, 0)


@given(rules(4) | rules(6), st.data())
def test_a_changed_bit_is_another_rule(rule: XtRule, data: st.DataObject) -> None:
    """Or none at all; but never the same, except where the kernel keeps its own notes."""
    was = encode(rule)
    place = data.draw(st.integers(0, len(was) - 1))
    changed = bytearray(was)
    changed[place] ^= 1 << data.draw(st.integers(0, 7))
    found = decode(bytes(changed), rule.family, rule.target)
    if found == rule:
        assert bare(bytes(changed), rule.family, rule.target) == was
        # Behind struct ipt_ip; in struct ip6t_ip6 three bytes of padding come before its end.
        assert place >= (84 if rule.family == 4 else 133)


@given(st.binary(), st.sampled_from([4, 6]), st.text(max_size=5))
def test_any_bytes_are_some_rule(data: bytes, family: Family, target: str) -> None:
    assert decode(data, family, target).target in (UNKNOWN, target)


def test_an_ipv6_device_is_matched_whole() -> None:
    """iptc's own mask is 0x01 for each byte: eth0 would match eth2."""
    device = encode(XtRule(6, "SSREDIR", device="eth0"))
    assert device[64:80] == b"eth0" + b"\0" * 12
    assert device[96:112] == b"\xff" * 5 + b"\0" * 11


# --- Chains -----------------------------------------------------------------------------------

anywhere = st.lists(network(4) | network(6) | st.sampled_from(["0.0.0.0/0", "::/0"]), max_size=6)
networks = anywhere.map(collapse)
firewalls = st.builds(
    Firewall,
    st.just("iptables"),
    st.none()
    | st.builds(
        Redirect,
        port=st.integers(1, 30000),
        bypass=networks,
        jumps=st.lists(st.sampled_from(["br-lan", "lan2", "lan3"]), unique=True).map(
            lambda names: tuple(sorted(names))
        ),
        mode=st.sampled_from(["proxy", "block"]),
        strip_mptcp=st.booleans(),
    ),
    st.none() | st.builds(Access, port=st.integers(30001, 65535), allow=networks),
).filter(lambda f: f.redirect or f.access)


@given(firewalls, st.sampled_from(FAMILIES))
def test_chains_say_what_they_were_made_for(
    firewall: Firewall, families: Mapping[Family, bool]
) -> None:
    assert firewall_in(tables(firewall, families), families, firewall) == firewall


def test_nothing_is_nothing() -> None:
    assert firewall_in({}, BOTH, None) is None
    assert tables(Firewall("iptables"), BOTH) == {}
    assert counters_in({}) == ()


FIREWALL = Firewall(
    "iptables",
    Redirect(1080, ("10.0.0.0/8", "fd00::/8"), ("br-lan",), strip_mptcp=True),
    Access(8388, ("10.0.0.0/8",)),
)
TABLES = tables(FIREWALL, BOTH)
PLACES = [
    (key, chain, place)
    for key, content in TABLES.items()
    for chain, found in content.chains.items()
    for place in range(len(found))
]


@pytest.mark.parametrize(("key", "chain", "place"), PLACES)
def test_any_rule_missing_or_strange_is_damage(
    key: tuple[Family, str], chain: str, place: int
) -> None:
    was = TABLES[key].chains[chain]
    strange = XtRule(key[0], UNKNOWN)
    for now in (
        was[:place] + was[place + 1 :],
        (*was[:place], strange, *was[place + 1 :]),
        (*was[:place], strange, *was[place:]),
        (*was[:place], was[place], *was[place:]),
    ):
        changed = {**TABLES, key: replace(TABLES[key], chains={**TABLES[key].chains, chain: now})}
        assert firewall_in(changed, BOTH, None) != FIREWALL


@pytest.mark.parametrize("key", TABLES)
def test_a_table_missing_is_damage(key: tuple[Family, str]) -> None:
    less = {k: content for k, content in TABLES.items() if k != key}
    seen = firewall_in(less, BOTH, None)
    assert seen != FIREWALL
    assert seen and seen.redirect and seen.redirect.port == TAMPERED


def test_what_leads_into_the_chains() -> None:
    def seen(family: Family, **jumps: tuple[XtRule, ...]) -> Redirect:
        key = (family, "nat")
        content = replace(TABLES[key], jumps={**TABLES[key].jumps, **jumps})
        found = firewall_in({**TABLES, key: content}, BOTH, None)
        assert found and found.redirect
        return found.redirect

    into = XtRule(4, "SSREDIR", device="br-lan")
    assert seen(4, PREROUTING=(into,)) == FIREWALL.redirect
    # Not in both families, twice, from elsewhere, with more conditions, or overtaken.
    assert seen(4, PREROUTING=()).jumps == ("br-lan", FOREIGN_JUMP)
    assert seen(6, PREROUTING=()).jumps == ("br-lan", FOREIGN_JUMP)
    assert seen(4, PREROUTING=(into, into)).jumps == ("br-lan", FOREIGN_JUMP)
    for strange in (
        replace(into, dport=80),
        replace(into, device=None),
        replace(into, target=UNKNOWN),
    ):
        assert seen(4, PREROUTING=(into, strange)).jumps == ("br-lan", FOREIGN_JUMP)
    assert seen(4, OUTPUT=()).port == TAMPERED
    every = [seen(4, PREROUTING=()), seen(6, PREROUTING=()), seen(4, PREROUTING=(into, into))]
    assert all(redirect.port == 1080 for redirect in every)


def test_both_switched_off_is_off() -> None:
    off = {
        key: replace(c, jumps={n: r for n, r in c.jumps.items() if n != "PREROUTING"})
        for key, c in TABLES.items()
    }
    seen = firewall_in(off, BOTH, None)
    assert FIREWALL.redirect
    assert seen == replace(FIREWALL, redirect=replace(FIREWALL.redirect, jumps=()))


def test_counters_of_both_families_are_added() -> None:
    numbers = itertools.count(1)
    found = {
        key: Content(
            content.chains,
            content.jumps,
            {
                name: tuple((next(numbers), 60) for _ in chain)
                for name, chain in content.chains.items()
            },
        )
        for key, content in TABLES.items()
    }
    named = {(c.chain, c.rule): c for c in counters_in(found)}
    assert set(named) == {
        ("guard", "redirected"),
        ("guard", "refused"),
        ("access", "allowed"),
        ("access", "refused"),
        ("strip", "strip MPTCP"),
        ("SSREDIR", "redirect"),
        ("probe", "redirect"),
    }
    assert named["guard", "redirected"].bytes == named["SSREDIR", "redirect"].bytes == 120
