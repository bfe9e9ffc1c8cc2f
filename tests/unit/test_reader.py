# SPDX-License-Identifier: GPL-2.0-or-later
"""Sections in, configuration and named problems out; nothing that UCI can hold raises."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.examples import (
    BRIDGE_BOTH,
    ISP_CLIENT,
    PEER,
    SCHEMA,
    SECRET,
    WAN1,
    WANS,
    Sections,
    config,
    read,
    section,
    values,
)

from mptcp_agent.core.config import Client, Config, Globals, Peer, Server, Wan, options, reader
from mptcp_agent.core.problem import Problem

# --- What is right -----------------------------------------------------------------------------


def test_the_bridge_with_both_roles() -> None:
    assert config(BRIDGE_BOTH) == Config(
        globals=Globals(True, "auto", "auto", "info", "auto"),
        peers=(Peer("r7000", ("10.1.1.70", "10.2.2.70"), 8388, "none", "", 15),),
        client=Client("client", True, ("r7000",), 1080, ("lan",), (), "bypass", 300, False),
        server=Server(
            "server",
            True,
            ("0.0.0.0",),
            8388,
            "none",
            "",
            ("10.1.1.0/24", "10.2.2.0/24"),
            300,
            False,
        ),
        wans=(
            Wan("wan1", "wan1", "subflow", 5, 2000, 3, 2),
            Wan("wan2", "wan2", "subflow", 5, 2000, 3, 2),
        ),
    )


def test_no_sections_at_all_is_a_configuration() -> None:
    assert read({}) == (Config(Globals(True, "auto", "auto", "info", "auto")), ())


@pytest.mark.parametrize("kind", SCHEMA["properties"])
def test_what_is_not_written_is_the_default_of_the_schema(kind: str) -> None:
    rules = SCHEMA["$defs"][kind]["properties"]
    required = {"address": "10.1.1.70", "peer": "r7000", "interface": "wan1"}
    given_options = {k: v for k, v in required.items() if k in rules and "default" not in rules[k]}
    sections: dict[str, Any] = {"r7000": PEER, "x": section(kind, **given_options)}
    if kind in ("client", "server"):
        sections["x"] = section(kind, **given_options, enabled="1", allow="10.0.0.0/8")
        sections["x"] = {k: v for k, v in sections["x"].items() if k != "allow" or k in rules}
    found, problems = read(sections)
    assert problems == ()
    typed = {
        "globals": found.globals,
        "peer": found.peer("x"),
        "client": found.client,
        "server": found.server,
        "wan": found.wans[0] if found.wans else None,
    }[kind]
    for name, rule in rules.items():
        if name in sections["x"]:
            continue
        expected = rule["default"]
        expected = tuple(expected) if isinstance(expected, list) else expected
        assert getattr(typed, name) == expected, name
        assert options.default(rule) == expected


def test_sections_come_in_the_order_of_the_file_not_of_the_reply() -> None:
    sections = values({"wan2": WANS["wan2"], "wan1": WANS["wan1"]})
    shuffled = dict(sorted(sections.items()))
    assert list(shuffled) == ["wan1", "wan2"]
    found, _ = reader.read(shuffled, SCHEMA)
    assert [w.name for w in found.wans] == ["wan2", "wan1"]


def test_anonymous_sections_work() -> None:
    found = config({"cfg01a2b3": PEER, "cfg02a2b3": section("client", peer="cfg01a2b3"), **WANS})
    assert found.client and [p.name for p in found.client_peers] == ["cfg01a2b3"]


def test_peers_come_in_the_order_of_preference() -> None:
    found = config({"a": PEER, "b": PEER, "client": section("client", peer=["b", "a"])})
    assert [p.name for p in found.client_peers] == ["b", "a"]


def test_empty_options_are_options_not_written() -> None:
    found = config({"wan1": {**WAN1, "role": "", "probe_interval": []}})
    assert (found.wans[0].role, found.wans[0].probe_interval) == ("subflow", 5)


# --- What is wrong -----------------------------------------------------------------------------

BAD: list[tuple[str, Sections, str]] = [
    (
        "a value",
        {"wan1": {**WAN1, "role": "primary"}},
        "mptcp-proxy.wan1.role: 'primary': unknown value; allowed is subflow, backup, off",
    ),
    (
        "a number",
        {"wan1": {**WAN1, "probe_fail": "0"}},
        "mptcp-proxy.wan1.probe_fail: '0': out of range; allowed is a whole number from 1 to 100",
    ),
    (
        "a list for one",
        {"wan1": {**WAN1, "interface": ["wan1", "wan6"]}},
        "mptcp-proxy.wan1.interface: 'wan1 wan6': given 2 times, allowed once; "
        "allowed is the name of a network interface such as wan1",
    ),
    (
        "missing",
        {"wan1": section("wan")},
        "mptcp-proxy.wan1.interface: missing; needs the name of a network interface such as wan1",
    ),
    (
        "unknown option",
        {"wan1": {**WAN1, "metric": "7"}},
        "mptcp-proxy.wan1.metric: unknown option, ignored; known are interface, role, "
        "probe_interval, probe_timeout, probe_fail, probe_recover",
    ),
    (
        "unknown type",
        {"x": section("tunnel", metric="7")},
        "mptcp-proxy.x: unknown section type 'tunnel', ignored; "
        "known are globals, peer, client, server, wan",
    ),
    (
        "password of a method",
        {"p": section("peer", address="10.1.1.70", method="aes-128-gcm")},
        "mptcp-proxy.p.password: missing, and the method is aes-128-gcm; "
        "set the server's password, or method none on a link you trust",
    ),
    (
        "password with a NUL",
        {"p": section("peer", address="10.1.1.70", method="aes-128-gcm", password=f"{SECRET}\0")},
        "mptcp-proxy.p.password: (hidden): holds a NUL character; allowed is a text",
    ),
    (
        "password twice",
        {"p": section("peer", address="10.1.1.70", method="aes-128-gcm", password=[SECRET, "x"])},
        "mptcp-proxy.p.password: (hidden): given 2 times, allowed once; allowed is a text",
    ),
    (
        "client without its peer",
        {"r": PEER, "client": section("client", peer=["r", "s"])},
        "mptcp-proxy.client.peer: 's' is not a usable peer section; usable are: r",
    ),
    (
        "client with no peer",
        {"client": section("client", peer="s")},
        "mptcp-proxy.client.peer: 's' is not a usable peer section; usable are: none",
    ),
    (
        "one address at two ports",
        {"r": PEER, "s": section("peer", address=["10.1.1.70", "10.3.3.70"], port="443")},
        "mptcp-proxy.s.address: '10.1.1.70' is already an address of peer r, at port 8388; "
        "one port per address; remove it here, or set port 8388",
    ),
    (
        "client and server at one port",
        {**BRIDGE_BOTH, "client": section("client", peer="r7000", local_port="8388")},
        "mptcp-proxy.client.local_port: 8388 is already the port of section server: only one of "
        "them can listen there; set a local_port that nothing else on this router listens at",
    ),
    (
        "open server",
        {"server": section("server", enabled="1")},
        "mptcp-proxy.server.allow: missing, and the method is none: anyone could use this "
        "router as a proxy; list the networks of your client routers, or use a method and a "
        "password",
    ),
    (
        "server without password",
        {"server": section("server", enabled="1", method="aes-128-gcm", allow="10.0.0.0/8")},
        "mptcp-proxy.server.password: missing, and the method is aes-128-gcm; "
        "set a password, or method none and allow on a link you trust",
    ),
    (
        "second client",
        {"r": PEER, "one": section("client", peer="r"), "two": section("client", peer="r")},
        "mptcp-proxy.two: second section of type client, ignored; keep one of them",
    ),
    (
        "interface twice",
        {"wan1": WAN1, "again": WAN1},
        "mptcp-proxy.again.interface: 'wan1' is already the interface of section wan1; "
        "one wan section per interface",
    ),
    (
        "nine WANs",
        {f"wan{n}": section("wan", interface=f"wan{n}") for n in range(1, 10)},
        "mptcp-proxy.wan9.interface: more than 8 WANs; remove a wan section",
    ),
    (
        "a long value",
        {"wan1": {**WAN1, "interface": "x" * 4000}},
        f"mptcp-proxy.wan1.interface: '{'x' * 60}…': not of the form; "
        "allowed is the name of a network interface such as wan1",
    ),
]


@pytest.mark.parametrize(("sections", "text"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_the_problem_says_where_what_and_the_way_out(sections: Sections, text: str) -> None:
    _, problems = read(sections)
    assert [str(p) for p in problems] == [text]


def test_a_bad_section_is_skipped_and_the_rest_runs() -> None:
    found, problems = read({**BRIDGE_BOTH, "wan2": {**WANS["wan2"], "role": "primary"}})
    assert [w.name for w in found.wans] == ["wan1"]
    assert found.client is not None and found.server is not None
    assert len(problems) == 1


def test_an_address_at_two_ports_belongs_to_the_first_peer() -> None:
    """What is left of the other one is used; the same port twice is two ways to one server."""
    second = section("peer", address=["10.1.1.70", "10.3.3.70"], port="443")
    third = section("peer", address=["10.2.2.70"], port="443")
    found, problems = read({"r": PEER, "s": second, "t": third})
    assert [(p.name, p.address) for p in found.peers] == [
        ("r", ("10.1.1.70", "10.2.2.70")),
        ("s", ("10.3.3.70",)),
    ]
    assert [p.where for p in problems] == ["mptcp-proxy.s.address", "mptcp-proxy.t.address"]
    assert len(config({"r": PEER, "again": PEER}).peers) == 2


def test_a_client_at_the_port_of_the_server_is_left_out() -> None:
    found, _ = read({**BRIDGE_BOTH, "client": section("client", peer="r7000", local_port="8388")})
    assert found.client is None and found.server is not None


def test_globals_cannot_be_skipped_and_fall_back_to_the_default() -> None:
    found, problems = read({"globals": section("globals", engine="socat", log_level="debug")})
    assert (found.globals.engine, found.globals.log_level) == ("auto", "debug")
    assert [p.where for p in problems] == ["mptcp-proxy.globals.engine"]


def test_a_disabled_role_is_not_looked_at_closely() -> None:
    found, problems = read({"client": section("client", enabled="0", peer="nobody")})
    assert (found.client, problems) == (None, ())
    found, problems = read({"server": section("server", enabled="0", method="aes-128-gcm")})
    assert (found.server, problems) == (None, ())


@pytest.mark.parametrize("text", ["0", "99999", "0000012345", "3000000000", "automatic", "-1"])
def test_buffers_the_kernel_would_refuse(text: str) -> None:
    _, problems = read({"globals": section("globals", buffers=text)})
    assert [p.where for p in problems] == (
        [] if text == "99999" else ["mptcp-proxy.globals.buffers"]
    )


# --- Anything at all ---------------------------------------------------------------------------

KINDS = [*SCHEMA["properties"], "tunnel", "", None, 7]
OPTION_NAMES = sorted({o for d in SCHEMA["$defs"].values() for o in d.get("properties", {})})
GOOD_WORDS = ["1", "0", "none", "aes-128-gcm", "10.1.1.70", "r7000", "wan1", "8388", "auto"]

texts = st.one_of(
    st.sampled_from(GOOD_WORDS),
    st.text(max_size=20),
    st.just("x" * 5000),
    st.integers().map(str),
    st.ip_addresses().map(str),
)
anything = st.recursive(
    st.one_of(texts, st.none(), st.booleans(), st.integers(), st.floats(), st.binary(max_size=5)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
raw_sections = st.dictionaries(
    st.sampled_from([*OPTION_NAMES, "mystery", ".index", ".name", ".anonymous"]) | texts,
    st.one_of(texts, st.lists(texts, max_size=3), anything),
    max_size=8,
)
#: Sections that UCI could hold, and things nobody expects.
uci = st.dictionaries(
    st.sampled_from(["r7000", "client", "server", "wan1", "wan2", "globals"]) | texts,
    st.builds(lambda raw, kind: {**raw, ".type": kind}, raw_sections, st.sampled_from(KINDS))
    | anything,
    max_size=6,
)


@given(uci)
def test_anything_gives_a_configuration_or_named_problems(given_values: Any) -> None:
    found, problems = reader.read(given_values, SCHEMA)
    assert isinstance(found, Config)
    assert all(isinstance(p, Problem) and p.where.startswith("mptcp-proxy") for p in problems)
    assert all(p.message for p in problems)
    # What made it into the configuration is whole: every reference leads somewhere.
    assert len(found.wans) <= 8
    if found.client:
        assert found.client_peers
    if found.server and found.server.method == "none":
        assert found.server.allow


@given(anything)
def test_not_even_sections(given_values: Any) -> None:
    reader.read(given_values, SCHEMA)


@given(
    st.sampled_from(["peer", "server"]),
    st.one_of(
        st.just(SECRET),
        st.just(SECRET + "\0"),
        st.lists(st.just(SECRET), min_size=1, max_size=3),
        st.dictionaries(st.just(SECRET), st.just(SECRET)),
        st.tuples(st.just(SECRET), anything),
    ),
    raw_sections,
)
def test_a_password_is_never_shown(kind: str, password: object, raw: dict[str, Any]) -> None:
    sections = {"x": {**raw, "address": "10.1.1.1", "password": password, ".type": kind}}
    found, problems = reader.read(sections, SCHEMA)
    assert SECRET not in repr(problems) + "".join(map(str, problems))
    assert SECRET not in repr(found)


def test_a_password_is_in_no_representation() -> None:
    found = config(ISP_CLIENT)
    assert found.peers[0].password == SECRET  # it is there,
    assert SECRET not in repr(found)  # and not to be seen
