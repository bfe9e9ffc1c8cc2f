"""The nftables table as text, and nft's listings in the forms its releases have."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcp_agent.core.firewall import FOREIGN_JUMP, TAMPERED
from mptcp_agent.core.firewall.nft_readback import (
    counters_in,
    firewall_in,
    meaning,
    parse,
    readback_text,
)
from mptcp_agent.core.firewall.nft_ruleset import jumps_text, table_text
from mptcp_agent.core.state import Access, Firewall, Redirect

REDIRECT = Redirect(1080, ("10.0.0.0/8", "fd00::/8"), ("br-lan", "lan2"))


def test_the_table_as_text() -> None:
    firewall = Firewall(
        "nftables", replace(REDIRECT, strip_mptcp=True), Access(8388, ("fd00::/8",))
    )
    assert table_text(firewall).splitlines() == [
        "add table inet mptcp_proxy",
        "delete table inet mptcp_proxy",
        "table inet mptcp_proxy {",
        "\tchain readback {}",
        "\tset bypass4 { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 }; }",
        "\tset bypass6 { type ipv6_addr; flags interval; elements = { fd00::/8 }; }",
        "\tchain SSREDIR {",
        "\t\tfib daddr type { local, broadcast, anycast, multicast } return "
        'comment "the router itself"',
        "\t\tip daddr { 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/4 } return "
        'comment "left alone always"',
        '\t\tip6 daddr { ::/127, fe80::/10, ff00::/8 } return comment "left alone always"',
        '\t\tip daddr @bypass4 return comment "left alone by configuration"',
        '\t\tip6 daddr @bypass6 return comment "left alone by configuration"',
        '\t\tmeta l4proto tcp counter redirect to :1080 comment "redirect"',
        "\t}",
        "\tchain prerouting { type nat hook prerouting priority dstnat + 1; policy accept;",
        '\t\tiifname "br-lan" meta l4proto tcp jump SSREDIR',
        '\t\tiifname "lan2" meta l4proto tcp jump SSREDIR',
        "\t}",
        "\tchain probe { type nat hook output priority -99; policy accept;",
        "\t\tip saddr 127.109.0.2 ip daddr 127.109.0.1 tcp dport 1 redirect to :1080",
        "\t}",
        "\tchain strip { type filter hook prerouting priority dstnat + 2; policy accept;",
        "\t\ttcp dport 1080 ct status dnat fib daddr type local tcp flags & (syn | ack) == syn "
        'counter reset tcp option mptcp comment "strip MPTCP"',
        "\t}",
        "\tchain guard { type filter hook input priority filter - 1; policy accept;",
        '\t\ttcp dport 1080 ct status dnat counter accept comment "redirected"',
        '\t\ttcp dport 1080 counter reject with tcp reset comment "refused"',
        "\t}",
        "\tset allow4 { type ipv4_addr; flags interval; }",
        "\tset allow6 { type ipv6_addr; flags interval; elements = { fd00::/8 }; }",
        "\tchain access { type filter hook input priority filter - 1; policy accept;",
        '\t\ttcp dport 8388 iif lo accept comment "the router itself"',
        '\t\ttcp dport 8388 ip saddr @allow4 counter accept comment "allowed"',
        '\t\ttcp dport 8388 ip6 saddr @allow6 counter accept comment "allowed"',
        '\t\ttcp dport 8388 counter reject with tcp reset comment "refused"',
        "\t}",
        "}",
    ]


def test_the_way_of_a_packet_is_asked_for_only_where_uplinks_are_known() -> None:
    assert "oifname" not in table_text(Firewall("nftables", REDIRECT))
    text = table_text(Firewall("nftables", replace(REDIRECT, uplinks=("eth1", "wwan0"))))
    assert (
        '\t\tfib daddr . mark oif exists fib daddr . mark oifname != { "eth1", "wwan0" } return '
        'comment "routed elsewhere"\n'
        "\t\tmeta l4proto tcp counter redirect"
    ) in text


def test_switching_touches_only_the_jumps() -> None:
    assert jumps_text(replace(REDIRECT, jumps=())) == "flush chain inet mptcp_proxy prerouting\n"
    assert jumps_text(replace(REDIRECT, jumps=("br-lan",), mode="block")).splitlines() == [
        "flush chain inet mptcp_proxy block",
        'add rule inet mptcp_proxy block iifname "br-lan" meta l4proto tcp jump SSREDIR',
    ]


# --- Listings ---------------------------------------------------------------------------------


def rule(chain: str, *statements: Any, **more: Any) -> dict[str, Any]:
    return {"rule": {"family": "inet", "chain": chain, "expr": list(statements), **more}}


def match(left: Any, right: Any) -> dict[str, Any]:
    return {"match": {"op": "==", "left": left, "right": right}}


DPORT = {"payload": {"protocol": "tcp", "field": "dport"}}


def jump(device: Any, protocol: Any = "tcp", *more: Any) -> dict[str, Any]:
    return rule(
        "prerouting",
        match({"meta": {"key": "iifname"}}, device),
        match({"meta": {"key": "l4proto"}}, protocol),
        {"jump": {"target": "SSREDIR"}},
        *more,
    )


def listing(*entries: dict[str, Any], bypass4: Any = (), note: str = "", handle: int = 7) -> str:
    """A listing as of nft, cut down to what is read."""
    return json.dumps(
        {
            "nftables": [
                {"metainfo": {"version": "1.0.6"}},
                {"table": {"family": "inet", "name": "mptcp_proxy", "handle": handle}},
                {"chain": {"name": "SSREDIR", "handle": handle + 1}},
                {"chain": {"name": "prerouting"}},
                {"chain": {"name": "guard"}},
                {"set": {"name": "bypass4", **({"elem": list(bypass4)} if bypass4 else {})}},
                rule("guard", match(DPORT, 1080), {"counter": {"packets": handle, "bytes": 60}}),
                rule("readback", {"counter": {"packets": 0, "bytes": 0}}, comment=note),
                *entries,
            ]
        }
    )


@pytest.mark.parametrize(
    ("right", "uplinks"),
    [
        ("wan", ("wan",)),  # nft makes a comparison of a set of one
        ({"set": ["wan", "pppoe-wan"]}, ("pppoe-wan", "wan")),
        (["wan", "eth2"], ("eth2", "wan")),
    ],
)
def test_uplinks_are_read_from_the_rule_that_asks(right: Any, uplinks: tuple[str, ...]) -> None:
    asked = {"fib": {"result": "oifname", "flags": ["daddr", "mark"]}}
    there = {"fib": {"result": "oif", "flags": ["daddr", "mark"]}}
    entry = rule("SSREDIR", match(there, True), match(asked, right), {"return": None})
    found = meaning(parse(listing(entry))).redirect
    assert found and found.uplinks == uplinks


def noted(*entries: dict[str, Any], **more: Any) -> str:
    """The listing after its readback rule was written."""
    seen = parse(listing(*entries, **more))
    note = readback_text(meaning(seen), seen).partition('comment "')[2].partition('"')[0]
    return listing(*entries, note=note, **more)


def test_a_table_as_we_left_it() -> None:
    text = noted(jump("br-lan"), bypass4=["192.0.2.1", {"prefix": {"addr": "10.0.0.0", "len": 8}}])
    expected = Redirect(1080, ("10.0.0.0/8", "192.0.2.1/32"), ("br-lan",))
    assert firewall_in(parse(text)) == Firewall("nftables", expected)


@pytest.mark.parametrize(
    ("elements", "networks"),
    [
        (["10.0.0.1"], ("10.0.0.1/32",)),
        ([{"range": ["0.0.0.0", "255.255.255.255"]}], ("0.0.0.0/0",)),
        ([{"range": ["10.0.0.255", "10.0.1.0"]}], ("10.0.0.255/32", "10.0.1.0/32")),
        ([{"elem": {"val": "10.0.0.1", "comment": "x"}}], ("10.0.0.1/32",)),
        ([{"elem": {"val": {"prefix": {"addr": "10.0.0.0", "len": 8}}}}], ("10.0.0.0/8",)),
    ],
)
def test_the_forms_of_a_network(elements: Any, networks: tuple[str, ...]) -> None:
    seen = meaning(parse(listing(bypass4=elements)))
    assert seen.redirect and seen.redirect.bypass == networks


def test_counters_and_handles_make_no_difference() -> None:
    one, other = parse(listing(jump("lan"))), parse(listing(jump("lan"), handle=99))
    assert one.digest == other.digest
    assert [c.packets for c in counters_in(other)] == [99]


def test_jumps_are_not_part_of_the_hash() -> None:
    text = noted(jump("br-lan"))
    note = parse(text).note
    for jumps in ((), (jump("lan2"), jump("br-lan", 6))):
        seen = firewall_in(parse(listing(*jumps, note=note)))
        assert seen.redirect and seen.redirect.port == 1080
        assert seen.redirect.jumps == (("br-lan", "lan2") if jumps else ())


@pytest.mark.parametrize(
    "foreign",
    [
        jump("br-lan", "udp"),
        jump({"set": ["a", "b"]}),
        jump("br-lan", "tcp", {"accept": None}),
        rule("prerouting", {"accept": None}),
        rule("block", {"accept": None}),
    ],
)
def test_a_rule_that_is_no_jump_of_ours(foreign: dict[str, Any]) -> None:
    seen = meaning(parse(listing(jump("br-lan"), foreign)))
    assert seen.redirect and seen.redirect.jumps == (FOREIGN_JUMP, "br-lan")


@pytest.mark.parametrize(
    "entry",
    [
        rule("SSREDIR", {"accept": None}),
        rule("guard", {"accept": None}),
        {"chain": {"name": "mine"}},
        {"chain": {"name": "block"}},
        {"chain": {"name": "access"}},
        {"set": {"name": "allow4", "elem": ["10.0.0.1"]}},
        {"map": {"name": "x"}},
    ],
)
def test_anything_else_is_damage(entry: dict[str, Any]) -> None:
    note = parse(noted(jump("br-lan"))).note
    seen = firewall_in(parse(listing(jump("br-lan"), entry, note=note)))
    assert seen.redirect and seen.redirect.port == TAMPERED and seen.redirect.jumps == ("br-lan",)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "match",
                    "left",
                    "right",
                    "counter",
                    "elem",
                    "val",
                    "range",
                    "prefix",
                    "expr",
                    "jump",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
items = st.dictionaries(
    st.sampled_from(["name", "chain", "expr", "elem", "comment", "handle"]),
    values | st.sampled_from(["SSREDIR", "prerouting", "readback", "bypass4", "access", "guard"]),
)
entries = st.lists(
    st.dictionaries(st.sampled_from(["rule", "chain", "set", "table"]), items, max_size=2)
)


@given(values | entries.map(lambda found: {"nftables": found}))
def test_any_json_is_a_listing_or_a_value_error(found: Any) -> None:
    try:
        seen = parse(json.dumps(found))
    except ValueError:
        return
    assert firewall_in(seen).backend == "nftables"
    counters_in(seen)


@given(st.text())
def test_any_text_is_a_listing_or_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)
