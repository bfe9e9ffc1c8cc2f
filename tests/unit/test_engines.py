# SPDX-License-Identifier: GPL-2.0-or-later
"""What each engine is told: the generated file and command line, and what stands in the way."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest

from mptcp_agent.engines import (
    ENGINES,
    Build,
    ClientSettings,
    Rendered,
    Role,
    ServerSettings,
    choose,
)
from mptcp_agent.engines.base import listeners
from mptcp_agent.errors import EngineError

SING_BOX = ENGINES["sing-box"]
RUST = ENGINES["shadowsocks-rust"]
LIBEV = ENGINES["shadowsocks-libev"]

#: Builds that can do all that is asked of them.
BUILDS = {
    "sing-box": Build("sing-box", "/usr/bin/sing-box", "/usr/bin/sing-box", "1.14.4", True, True),
    "shadowsocks-rust": Build(
        "shadowsocks-rust", "/usr/bin/sslocal", "/usr/bin/ssserver", "1.24.0", True, True
    ),
    "shadowsocks-libev": Build(
        "shadowsocks-libev", "/usr/bin/ss-redir", "/usr/bin/ss-server", "3.3.6", True, True
    ),
}
#: OpenWrt 23.05's shadowsocks-libev: no upstream MPTCP, so it runs under the wrapper.
WRAPPED = replace(
    BUILDS["shadowsocks-libev"], mptcp=False, plain_listener=False, mptcpize="/usr/bin/mptcpize"
)

CLIENT = ClientSettings(
    server="10.1.1.70",
    server_port=8388,
    method="aes-128-gcm",
    password="correct horse",
    local_port=1080,
)
SERVER = ServerSettings(
    listen=("0.0.0.0",), port=8388, method="aes-128-gcm", password="correct horse"
)
KEY_16, KEY_32 = (base64.b64encode(bytes(n)).decode() for n in (16, 32))


def document(rendered: Rendered) -> object:
    return json.loads(rendered.config)


# --- What the files look like ------------------------------------------------------------------


def test_sing_box_client() -> None:
    rendered = SING_BOX.client(CLIENT, BUILDS["sing-box"])
    assert document(rendered) == {
        "log": {"level": "fatal", "timestamp": False},
        "inbounds": [{"type": "redirect", "tag": "lan", "listen": "::", "listen_port": 1080}],
        "outbounds": [
            {
                "type": "shadowsocks",
                "tag": "peer",
                "server": "10.1.1.70",
                "server_port": 8388,
                "method": "aes-128-gcm",
                "password": "correct horse",
                "network": "tcp",
                "tcp_fast_open": False,
                "tcp_multi_path": True,
            }
        ],
        "route": {"final": "peer"},
    }
    assert rendered.command("/f") == ("/usr/bin/sing-box", "run", "--disable-color", "-c", "/f")
    # Dialers speak MPTCP (IPv6 peers too), the LAN listener does not.
    assert rendered.environment == (("GODEBUG", "multipathtcp=3"),)
    assert rendered.file_name == "sing-box-client.json"


def test_sing_box_server() -> None:
    rendered = SING_BOX.server(SERVER, BUILDS["sing-box"])
    assert document(rendered) == {
        "log": {"level": "fatal", "timestamp": False},
        "inbounds": [
            {
                "type": "shadowsocks",
                "tag": "clients-1",
                "listen": "0.0.0.0",
                "listen_port": 8388,
                "network": "tcp",
                "method": "aes-128-gcm",
                "password": "correct horse",
                "tcp_fast_open": False,
                "tcp_multi_path": True,
            }
        ],
        "outbounds": [{"type": "direct", "tag": "destinations"}],
        "route": {"final": "destinations"},
    }
    # Nothing but the listener speaks MPTCP: destinations get plain TCP.
    assert rendered.environment == (("GODEBUG", "multipathtcp=0"),)


def test_sing_box_method_none_has_no_password() -> None:
    settings = replace(CLIENT, method="none", password="left over")
    assert "left over" not in SING_BOX.client(settings, BUILDS["sing-box"]).config


def test_shadowsocks_libev_client() -> None:
    rendered = LIBEV.client(CLIENT, BUILDS["shadowsocks-libev"])
    assert document(rendered) == {
        "server": "10.1.1.70",
        "server_port": 8388,
        "local_address": "::",
        "local_port": 1080,
        "method": "aes-128-gcm",
        "password": "correct horse",
        "timeout": 300,
        "mode": "tcp_only",
        "mptcp": True,
        "fast_open": False,
        "no_delay": True,
        "nofile": 32768,
    }
    assert rendered.command("/f") == ("/usr/bin/ss-redir", "-c", "/f")
    assert rendered.environment == ()


def test_shadowsocks_libev_under_mptcpize() -> None:
    client, server = LIBEV.client(CLIENT, WRAPPED), LIBEV.server(SERVER, WRAPPED)
    wrapper = ("/usr/bin/mptcpize", "run")
    assert client.command("/f") == (*wrapper, "/usr/bin/ss-redir", "-c", "/f")
    assert server.command("/f") == (*wrapper, "/usr/bin/ss-server", "-c", "/f")
    # The wrapper turns the LAN listener, too; and "mptcp" would only log an error each time.
    assert client.strip_mptcp and not server.strip_mptcp
    assert '"mptcp": false' in client.config and '"mptcp": false' in server.config


def test_shadowsocks_libev_server_listens_on_each_family_by_itself() -> None:
    settings = replace(SERVER, listen=("::",))
    assert '"server": [\n    "0.0.0.0",\n    "::"\n  ]' in LIBEV.server(settings, WRAPPED).config


def test_shadowsocks_rust_client() -> None:
    rendered = RUST.client(CLIENT, BUILDS["shadowsocks-rust"])
    assert document(rendered) == {
        "locals": [
            {
                "protocol": "redir",
                "local_address": "::",
                "local_port": 1080,
                "tcp_redir": "redirect",
                "mode": "tcp_only",
            }
        ],
        "servers": [
            {
                "server": "10.1.1.70",
                "server_port": 8388,
                "method": "aes-128-gcm",
                "password": "correct horse",
                "mode": "tcp_only",
            }
        ],
        "mode": "tcp_only",
        "mptcp": True,
        "fast_open": False,
        "no_delay": True,
        "keep_alive": 60,
        "nofile": 32768,
        "log": {"level": 0, "format": {"without_time": True}},
    }
    assert rendered.command("/f") == ("/usr/bin/sslocal", "-c", "/f")


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("plain", [True, False])
def test_the_option_is_stripped_unless_the_listener_was_seen_to_be_plain(
    name: str, plain: bool
) -> None:
    build = replace(BUILDS[name], plain_listener=plain)
    assert ENGINES[name].client(CLIENT, build).strip_mptcp is not plain


@pytest.mark.parametrize(
    ("name", "high", "low"),
    [
        ("sing-box", "nobody", ""),
        ("shadowsocks-rust", "", ""),  # drops by itself: --user
        ("shadowsocks-libev", "", ""),  # drops by itself: "user"
    ],
)
def test_privileges_are_kept_only_for_low_ports(name: str, high: str, low: str) -> None:
    engine, build = ENGINES[name], BUILDS[name]
    assert engine.server(replace(SERVER, port=1024), build).user == high
    assert engine.server(replace(SERVER, port=443), build).user == low
    if name == "shadowsocks-rust":  # it drops them before it binds the port
        assert "--user" not in engine.server(replace(SERVER, port=443), build).arguments


@pytest.mark.parametrize("name", ENGINES)
def test_a_redirector_is_started_without_privileges_unless_its_port_needs_them(name: str) -> None:
    """Started as somebody else it can be looked into by that account."""
    high = ENGINES[name].client(CLIENT, BUILDS[name])
    assert (high.user, high.owner) == ("nobody", "nobody")
    low = ENGINES[name].client(replace(CLIENT, local_port=80), BUILDS[name])
    assert (low.user, low.owner) == ("", "")


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (("0.0.0.0",), ("0.0.0.0",)),
        (("::", "0.0.0.0", "10.0.0.1"), ("::",)),
        (("2001:db8::1", "10.0.0.1", "0.0.0.0"), ("0.0.0.0", "2001:db8::1")),
        (("10.0.0.9", "10.0.0.10", "fd00::1"), ("10.0.0.9", "10.0.0.10", "fd00::1")),
    ],
)
def test_listeners(addresses: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert listeners(addresses) == expected
    assert listeners(reversed(addresses)) == expected


# --- Server-first protocols --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hangs", "fast_open", "warned"),
    [
        (set(), False, False),
        ({("none", False)}, True, False),  # sing-box 1.12 and 1.14: fast open cures it
        ({("none", False), ("none", True)}, False, True),  # 1.13: nothing does
        ({("aes-128-gcm", False)}, False, False),  # another method's trouble
    ],
)
def test_a_redirector_that_waits_for_the_client(
    hangs: set[tuple[str, bool]], fast_open: bool, warned: bool
) -> None:
    build = replace(BUILDS["sing-box"], hangs=frozenset(hangs))
    settings = replace(CLIENT, method="none", password="")
    expected = f'"tcp_fast_open": {json.dumps(fast_open)}'
    assert expected in SING_BOX.client(settings, build).config
    problems = SING_BOX.problems(settings, build, "mptcp-proxy.r7000")
    assert [p.severity for p in problems] == (["warning"] if warned else [])
    assert not SING_BOX.problems(replace(SERVER, method="none", password=""), build, "x.server")


# --- Plain TCP over IPv6 ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "role", "warned"),
    [
        (replace(CLIENT, server="2001:db8::70"), "client", True),
        (CLIENT, "client", False),  # over IPv4
        (replace(CLIENT, server="2001:db8::70"), "server", False),  # the other role's trouble
        (replace(SERVER, listen=("::",)), "server", True),
        (SERVER, "server", False),
    ],
)
def test_a_family_without_mptcp_is_named_where_it_is_used(
    settings: ClientSettings | ServerSettings, role: Role, warned: bool
) -> None:
    build = replace(BUILDS["sing-box"], version="1.12.22", plain_families=frozenset({(role, 6)}))
    problems = SING_BOX.problems(settings, build, WHERE)
    assert [(p.where, p.severity) for p in problems] == [("engine sing-box", "warning")] * warned
    for problem in problems:
        assert "sing-box 1.12.22" in problem.message and "plain TCP" in problem.message


# --- Problems ----------------------------------------------------------------------------------

WHERE = "mptcp-proxy.r7000"


@pytest.mark.parametrize(
    ("engine", "changes", "build", "where", "says"),
    [
        ("sing-box", {"method": "rc4-md5"}, {}, f"{WHERE}.method", "it knows none, aes-128-gcm"),
        (
            "shadowsocks-libev",
            {"method": "none", "password": ""},
            {"refused": frozenset({"none"})},
            f"{WHERE}.method",
            "(3.3.6) refuses method none; use aes-128-gcm and a password on both routers, or",
        ),
        (
            "shadowsocks-libev",
            {"method": "xchacha20-ietf-poly1305"},
            {
                "refused": frozenset({"xchacha20-ietf-poly1305"}),
                "methods": frozenset({"aes-256-gcm", "aes-128-gcm"}),
            },
            f"{WHERE}.method",
            "it accepts aes-128-gcm, aes-256-gcm",
        ),
        ("sing-box", {"password": ""}, {}, f"{WHERE}.password", "missing"),
        ("sing-box", {"password": "a\nb"}, {}, f"{WHERE}.password", "not text"),
        ("sing-box", {"password": "\udcff"}, {}, f"{WHERE}.password", "not text"),
        (
            "sing-box",
            {"method": "2022-blake3-aes-128-gcm"},
            {},
            f"{WHERE}.password",
            "16 bytes in base64, and this is not base64; make one for both routers with: head",
        ),
        (
            "shadowsocks-rust",
            {"method": "2022-blake3-aes-256-gcm", "password": KEY_16},
            {},
            f"{WHERE}.password",
            "this one has 16",
        ),
        ("shadowsocks-rust", {"password": "${HOME}"}, {}, f"{WHERE}.password", "variable"),
        (
            "shadowsocks-libev",
            {},
            {"client": None},
            "engine shadowsocks-libev",
            "ss-redir is not installed; install shadowsocks-libev-ss-redir",
        ),
        (
            "shadowsocks-libev",
            {},
            {"mptcp": False},
            "engine shadowsocks-libev",
            "only one link would be used; install mptcpize",
        ),
        ("sing-box", {}, {"mptcp": False}, "engine sing-box", "used; use another engine"),
    ],
)
def test_problems_name_the_place_and_the_way_out(
    engine: str, changes: dict[str, str], build: dict[str, object], where: str, says: str
) -> None:
    settings = replace(CLIENT, **changes)  # type: ignore[arg-type]
    have = replace(BUILDS[engine], **build)  # type: ignore[arg-type]
    problem, *others = ENGINES[engine].problems(settings, have, WHERE)
    assert not others
    assert problem.where == where
    assert says in str(problem)
    assert problem.severity == "error"


@pytest.mark.parametrize("name", ENGINES)
def test_what_is_right_is_no_problem(name: str) -> None:
    engine, build = ENGINES[name], BUILDS[name]
    for method in engine.methods:
        key = KEY_16 if method == "2022-blake3-aes-128-gcm" else KEY_32
        for settings in (
            replace(CLIENT, method=method, password=key),
            replace(SERVER, method=method, password=key),
        ):
            assert engine.problems(settings, build, WHERE) == ()


@pytest.mark.parametrize("settings", [CLIENT, SERVER])
def test_the_password_of_the_example_is_warned_of(
    settings: ClientSettings | ServerSettings,
) -> None:
    settings = replace(settings, password="change-me")
    (problem,) = SING_BOX.problems(settings, BUILDS["sing-box"], WHERE)
    assert problem.severity == "warning" and "everybody knows" in problem.message


def test_identity_keys_are_for_clients() -> None:
    """A client of a server with many users has keys joined by colons (SIP022-2)."""
    keys = {"method": "2022-blake3-aes-128-gcm", "password": f"{KEY_16}:{KEY_16}"}
    build = BUILDS["sing-box"]
    assert SING_BOX.problems(replace(CLIENT, **keys), build, WHERE) == ()  # type: ignore[arg-type]
    assert SING_BOX.problems(replace(SERVER, **keys), build, WHERE)  # type: ignore[arg-type]


def test_an_unpatched_build_under_the_wrapper_is_no_problem() -> None:
    assert LIBEV.problems(CLIENT, WRAPPED, WHERE) == ()


# --- choose ------------------------------------------------------------------------------------


def test_auto_takes_the_first_of_the_table_that_is_installed() -> None:
    assert choose("auto", BUILDS, ["client", "server"])[0] is SING_BOX
    without = {name: b for name, b in BUILDS.items() if name != "sing-box"}
    assert choose("auto", without, ["client"]) == (RUST, BUILDS["shadowsocks-rust"])
    half = {**without, "shadowsocks-rust": replace(BUILDS["shadowsocks-rust"], server=None)}
    assert choose("auto", half, ["client", "server"])[0] is LIBEV
    assert choose("auto", half, ["client"])[0] is RUST


def test_an_engine_that_is_named_is_the_one() -> None:
    assert choose("shadowsocks-libev", BUILDS, ["client"])[0] is LIBEV


@pytest.mark.parametrize(
    ("name", "builds", "says"),
    [
        ("auto", {}, "install sing-box"),
        ("sing-box", {}, "sing-box not installed: install the package sing-box"),
        (
            "shadowsocks-libev",
            {"shadowsocks-libev": Build("shadowsocks-libev", client="/usr/bin/ss-redir")},
            "ss-server of shadowsocks-libev not installed",
        ),
    ],
)
def test_no_engine(name: str, builds: dict[str, Build], says: str) -> None:
    with pytest.raises(EngineError, match=says):
        choose(name, builds, ["client", "server"])
