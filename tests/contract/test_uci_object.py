# SPDX-License-Identifier: GPL-2.0-or-later
"""rpcd's `uci` object: the stand-in and the real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from contract.router import ContractRouter, Ear
from contract.tools import Caller
from openwrt.wire import Status
from toolkit.waiting import wait_until

NETWORK = """
config interface 'loopback'
	option device 'lo'
	option proto 'static'
	option ipaddr '127.0.0.1'
	option netmask '255.0.0.0'

config globals 'globals'
	option ula_prefix 'fd12:3456:789a::/48'
	option packet_steering '1'

config device
	option name 'br-lan'
	option type 'bridge'
	list ports 'lan1'
	list ports 'lan2'

config interface 'lan'
	option device 'br-lan'
	option proto 'static'
	option ipaddr '192.168.1.1'
	option netmask '255.255.255.0'
	option ip6assign '60'

config interface 'wan'
	option device 'wan'
	option proto 'dhcp'

config interface 'wan6'
	option device 'wan'
	option proto 'dhcpv6'
"""

DEMO = """
config a 'n'
	option x '1 2'
	list l 'p q'
	list l "it's"
	option num '5'
config b
	option y "d\\"q"
	option common 'c1 c2'
config b
	list common 'c1'
	list common 'c3'
	option h a#b
"""

COMMITTED = """
config a 'm'
	option x '9'
	list l 'p q'
	list l 'it'\\''s'
	option num '5'
	list new '1'
	list new 'b'

config b
	list common 'c1'
	list common 'c3'
	option h 'a'

config kind 'fresh'
	option o '1'

config b

"""

B0, B1 = "cfg02b607", "cfg03b607"


@pytest.fixture(autouse=True)
def demo(router: ContractRouter) -> Any:
    router.write("demo", DEMO)
    router.write("broken", "config 'x y'\n")
    yield
    with router.caller() as call:
        call.status("uci", "revert", config="demo")


def shape(name: str) -> str:
    return (Path(__file__).parent / "shapes" / name).read_text().rstrip("\n")


def names(reply: dict[str, Any]) -> list[str]:
    return list(reply["values"])


def test_get_looks_exactly_as_on_a_router(router: ContractRouter, call: Caller) -> None:
    """Order, types and indentation of a reply captured on a router."""
    router.write("shape", NETWORK)
    assert call.text("uci", "get", config="shape") == shape("uci.get.network.json")
    lan = call.text("uci", "get", config="shape", section="lan")
    assert lan == shape("uci.get.network.lan.json")


def test_get_an_option(call: Caller) -> None:
    def get(**what: str) -> dict[str, Any]:
        return call("uci", "get", config="demo", **what)

    assert get(section="n", option="x") == {"value": "1 2"}
    assert get(section="n", option="l") == {"value": ["p q", "it's"]}
    assert get(section="@b[0]", option="y") == {"value": 'd"q'}
    assert get(section="@b[-1]", option="h") == {"value": "a"}


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ({"config": "none"}, Status.NOT_FOUND),
        ({"config": "no/ne"}, Status.NOT_FOUND),
        ({"config": "broken"}, Status.UNKNOWN_ERROR),
        ({}, Status.INVALID_ARGUMENT),
        ({"config": 5}, Status.INVALID_ARGUMENT),
    ],
    ids=str,
)
def test_get_fails(call: Caller, arguments: dict[str, Any], status: Status) -> None:
    assert call.raw("uci", "get", **arguments) == (status, [])


@pytest.mark.parametrize(
    "what",
    [
        {"section": "none"},
        {"section": "n", "option": "none"},
        {"section": "@b[7]"},
        {"section": "@b[x"},
        {"section": "a-b"},
    ],
    ids=str,
)
def test_what_is_not_there_is_ok_and_no_reply(call: Caller, what: dict[str, str]) -> None:
    """Of a package that is there; a package that is not is NOT_FOUND."""
    assert call.raw("uci", "get", config="demo", **what) == (Status.OK, [])


def test_arguments_of_a_wrong_type_or_unknown_are_not_seen(call: Caller) -> None:
    everything = ["n", B0, B1]
    assert names(call("uci", "get", config="demo", section=5)) == everything
    assert names(call("uci", "get", config="demo", extra=1)) == everything


@pytest.mark.parametrize(
    ("what", "found"),
    [
        ({"type": "b"}, [B0, B1]),
        ({"type": "none"}, []),
        ({"match": {"common": "c1"}}, [B0, B1]),
        ({"match": {"common": "c3"}}, [B1]),
        ({"match": {"num": 5}}, ["n"]),
        ({"match": {"none": "x"}}, []),
        ({"match": {}}, ["n", B0, B1]),
        ({"match": {"x": []}}, ["n", B0, B1]),
        ({"type": "b", "match": {"h": "a", "common": "c1"}}, [B0, B1]),
        ({"type": "b", "match": {"h": "a", "common": "c2"}}, [B0]),
    ],
    ids=str,
)
def test_type_and_match(call: Caller, what: dict[str, Any], found: list[str]) -> None:
    reply = call("uci", "get", config="demo", **what)
    assert names(reply) == found
    order = ["n", B0, B1]
    assert [each[".index"] for each in reply["values"].values()] == [
        order.index(name) for name in found
    ]


def test_configs(call: Caller) -> None:
    found = call("uci", "configs")["configs"]
    assert {"broken", "demo", "network"} <= set(found)
    assert found == sorted(found)


def test_changes_are_saved_then_committed(router: ContractRouter, call: Caller) -> None:
    def do(method: str, **arguments: Any) -> dict[str, Any]:
        return call("uci", method, config="demo", **arguments)

    do("set", section="n", values={"x": 9, "new": [True, "b"], "num": "5"})
    assert do("add", type="kind", name="fresh", values={"o": "1"}) == {"section": "fresh"}
    assert do("add", type="b") == {"section": "cfg05b607"}
    do("delete", section="@b[0]")
    do("rename", section="n", name="m")
    saved = [
        ["set", "n", "x", "9"],
        ["list-add", "n", "new", "1"],
        ["list-add", "n", "new", "b"],
        ["set", "fresh", "kind"],
        ["set", "fresh", "o", "1"],
        ["add", "cfg05b607", "b"],
        ["remove", B0],
        ["rename", "n", "m"],
    ]
    assert do("changes") == {"changes": saved}
    assert call("uci", "changes")["changes"] == {"demo": saved}
    assert (router.config / "demo").read_text() == DEMO
    assert do("get", section="m", option="x") == {"value": "9"}
    do("commit")
    assert (router.config / "demo").read_text() == COMMITTED
    assert do("changes") == {"changes": []}


def test_revert(call: Caller) -> None:
    call("uci", "set", config="demo", section="n", values={"x": "9"})
    call("uci", "revert", config="demo")
    assert call("uci", "changes") == {"changes": {}}
    assert call("uci", "get", config="demo", section="n", option="x") == {"value": "1 2"}


def test_set_of_many_and_of_special_values(call: Caller) -> None:
    def do(method: str, **arguments: Any) -> dict[str, Any]:
        return call("uci", method, config="demo", **arguments)

    do("set", type="b", values={"all": 5_000_000_000})
    do("set", section="n", values={"num": "", "l": "single", "flag": False})
    assert do("changes")["changes"] == [
        ["set", B0, "all", "5000000000"],
        ["set", B1, "all", "5000000000"],
        ["remove", "n", "num"],
        ["remove", "n", "l"],
        ["set", "n", "l", "single"],
        ["set", "n", "flag", "0"],
    ]
    do("order", sections=[B1, "n"])
    assert names(do("get")) == [B1, "n", B0]


@pytest.mark.parametrize(
    ("method", "arguments", "status"),
    [
        ("set", {"section": "none", "values": {"x": "1"}}, 4),
        ("set", {"section": "n", "values": {"bad-name": "1"}}, 2),
        ("set", {"section": "n", "values": {"x": None}}, 2),
        ("set", {"section": "n", "values": {"x": []}}, 2),
        ("set", {"section": "n"}, 2),
        ("set", {"values": {"x": "1"}}, 2),
        ("set", {"type": "none", "values": {"x": "1"}}, 4),
        ("add", {"type": "b c"}, 2),
        ("add", {"type": "b", "name": "x-y"}, 2),
        ("add", {}, 2),
        ("delete", {"section": "none"}, 4),
        ("delete", {"section": "n", "option": "none"}, 4),
        ("delete", {"section": "n", "options": ["none"]}, 4),
        ("delete", {}, 2),
        ("delete", {"type": "none"}, 4),
        ("rename", {"section": "none", "name": "m"}, 0),
        ("rename", {"section": "n", "name": "b-d"}, 2),
        ("order", {"sections": ["none"]}, 4),
        ("order", {"sections": [1]}, 2),
        ("apply", {}, 2),
        ("confirm", {}, 2),
        ("confirm", {"ubus_rpc_session": "x"}, 5),
        ("rollback", {}, 5),
        ("nothing", {}, 3),
    ],
    ids=str,
)
def test_refused_and_nothing_saved(
    call: Caller, method: str, arguments: dict[str, Any], status: int
) -> None:
    assert call.status("uci", method, config="demo", **arguments) == status
    assert call("uci", "changes", config="demo") == {"changes": []}


def test_commit_fires_procds_config_change(router: ContractRouter, call: Caller) -> None:
    marker = "triggered"
    script = f"echo done > {router.config_inside}/{marker}"
    rule = ["if", ["eq", "package", "demo"], ["run_script", "/bin/sh", "-c", script]]
    call("service", "set", name="watcher", triggers=[["config.change", rule, 50]], instances={})
    ear = Ear(router, "none", "service")
    call("uci", "set", config="demo", section="n", values={"x": "2"})
    call("uci", "commit", config="demo")
    ear.wait("config.change", "config.change")
    wait_until(lambda: (router.config / marker).exists(), 10, "the script has run")
    (router.config / marker).unlink()
    call("service", "delete", name="watcher")


def test_a_session_has_changes_of_its_own_and_may_what_it_was_granted(call: Caller) -> None:
    made = call("session", "create", timeout=30)
    assert made["timeout"] == 30 and made["acls"] == {}
    session = {"ubus_rpc_session": made["ubus_rpc_session"]}

    def status(method: str, **arguments: Any) -> int:
        return call.status("uci", method, config="demo", **session, **arguments)

    assert [status("get"), status("changes")] == [Status.PERMISSION_DENIED] * 2
    call("session", "grant", **session, scope="uci", objects=[["demo", "read"]])
    assert call("session", "list", **session)["acls"] == {"uci": {"demo": ["read"]}}
    assert status("set", section="n", values={"x": "7"}) == Status.PERMISSION_DENIED
    assert call.status("uci", "get", config="network", **session) == Status.PERMISSION_DENIED

    call("uci", "set", config="demo", section="n", values={"x": "9"})
    option = {"config": "demo", "section": "n", "option": "x"}
    assert call("uci", "get", **option) == {"value": "9"}
    assert call("uci", "get", **option, **session) == {"value": "1 2"}
    assert call("uci", "changes", config="demo", **session) == {"changes": []}

    call("session", "destroy", **session)
    assert status("get") == Status.PERMISSION_DENIED
    assert call.status("session", "destroy", **session) == Status.NOT_FOUND
    assert call.status("session", "destroy") == Status.INVALID_ARGUMENT
