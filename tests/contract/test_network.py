# SPDX-License-Identifier: GPL-2.0-or-later
"""netifd's `network.interface`: the stand-in and the real one, on links of their own."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from contract.router import NETWORK, ContractRouter, Ear, RouterLinks, add_device, running
from contract.tools import Caller
from openwrt.wire import Status
from toolkit.waiting import wait_until

CONFIG = (
    NETWORK
    + """
config interface 'lan'
	option device 'br-lan'
	option proto 'static'
	option ipaddr '192.168.1.1'
	option netmask '255.255.255.0'
	option ip6addr 'fd00:1::1/64'

config interface 'wan1'
	option device 'wan1'
	option proto 'static'
	option ipaddr '10.1.1.2/24'
	option gateway '10.1.1.1'
	option metric '10'

config interface 'wan2'
	option device 'wan2'
	option proto 'static'
	option force_link '0'
	list ipaddr '10.2.2.2/24'
	list ipaddr '10.2.2.3/24'
	option gateway '10.2.2.1'
	option dns '9.9.9.9'
	option ip6addr '2001:db8::2/64'
	option ip6gw '2001:db8::1'

config interface 'wan3'
	option device 'wan3'
	option proto 'none'

config interface 'off'
	option device 'wan3'
	option proto 'none'
	option disabled '1'

config interface 'manual'
	option device 'wan3'
	option proto 'static'
	option ipaddr '10.9.9.9'
	option auto '0'

config interface 'ghost'
	option device 'late'
	option proto 'static'
	option ipaddr '10.8.8.8/24'

config interface 'strange'
	option device 'wan3'
	option proto 'unheard-of'

config interface 'leased'
	option device 'wan3'
	option proto 'dhcp'
"""
)


def wan2_is_up(router: ContractRouter) -> None:
    with router.caller() as call:
        path = "network.interface.wan2"
        wait_until(lambda: not call.context.lookup_id(path)[0], 10, "wan2")
        wait_up(call, "wan2")


@pytest.fixture(scope="module")
def links() -> RouterLinks:
    return RouterLinks(CONFIG, ("br-lan", "wan1", "wan2", "wan3"), wan2_is_up)


def status(call: Caller, name: str) -> dict[str, Any]:
    return call(f"network.interface.{name}", "status")


def wait_up(call: Caller, name: str, up: bool = True) -> dict[str, Any]:
    wait_until(lambda: status(call, name)["up"] is up, 10, f"{name} up: {up}")
    return status(call, name)


def shape(name: str) -> str:
    return (Path(__file__).parent / "shapes" / name).read_text().rstrip("\n")


def test_the_dump_looks_exactly_as_on_a_router(call: Caller) -> None:
    """Order, types and indentation; golden file made by the real netifd."""
    text = re.sub('"uptime": [0-9]+', '"uptime": 0', call.text("network.interface", "dump"))
    assert text == shape("network.interface.dump.json")


def test_each_interface_has_an_object(call: Caller) -> None:
    names = ["ghost", "lan", "leased", "loopback", "manual", "strange", "wan1", "wan2", "wan3"]
    found: list[str] = []
    call.context.lookup("network.interface*", lambda each: found.append(each.path))
    assert found == ["network.interface", *(f"network.interface.{name}" for name in names)]
    dump = call("network.interface", "dump")["interface"]
    assert [each["interface"] for each in dump] == names
    for each in dump:
        name = each.pop("interface")
        shown = status(call, name)
        for one in (each, shown):
            one.pop("uptime", None)
        assert each == shown
        by_name = call("network.interface", "status", interface=name)
        by_name.pop("uptime", None)
        assert by_name == shown


def test_wrong_names(call: Caller) -> None:
    path = "network.interface"
    assert call.status(path, "status") == Status.INVALID_ARGUMENT
    assert call.status(path, "status", interface="none") == Status.NOT_FOUND
    assert call.status(path, "nothing") == Status.METHOD_NOT_FOUND


def test_the_kernel_is_made_so(router: ContractRouter) -> None:
    assert router.addresses("wan2") == ["10.2.2.2/24", "10.2.2.3/24", "2001:db8::2/64"]
    assert router.routes("-4") == [
        "10.1.1.0/24 dev wan1 proto static scope link metric 10",
        "10.2.2.0/24 dev wan2 proto kernel scope link src 10.2.2.2",
        "192.168.1.0/24 dev br-lan proto kernel scope link src 192.168.1.1",
        "default via 10.1.1.1 dev wan1 proto static metric 10",
        "default via 10.2.2.1 dev wan2 proto static",
    ]
    assert "default via 2001:db8::1 dev wan2 proto static metric 1024 pref medium" in router.routes(
        "-6"
    )


def test_carrier_loss_takes_an_interface_down(router: ContractRouter, call: Caller) -> None:
    """Down it says nothing of addresses; its own are gone from the kernel, too."""
    ear = Ear(router, "network.interface", "network.interface", "network.interface.wan2")
    router.ip("link", "set", "wan2-far", "down")
    assert wait_up(call, "wan2", False) == {
        "up": False,
        "pending": False,
        "available": True,
        "autostart": True,
        "dynamic": False,
        "proto": "static",
        "device": "wan2",
        "data": {},
    }
    wait_until(lambda: router.addresses("wan2") == [], 10, "no addresses")
    assert [line for line in router.routes("-4") if "wan2" in line] == []
    down = ear.wait("notified", "interface.down")
    assert down[0]["interface"] == "wan2" and down[0]["up"] is False
    router.ip("link", "set", "wan2-far", "up")
    shown = wait_up(call, "wan2")
    assert shown["uptime"] <= 2
    assert [each["address"] for each in shown["ipv4-address"]] == ["10.2.2.2", "10.2.2.3"]
    wait_until(lambda: len(router.addresses("wan2")) == 3, 10, "addresses")
    assert "default via 10.2.2.1 dev wan2 proto static" in router.routes("-4")
    ear.wait("notified", "interface.update")
    assert ear.actions() == [("ifdown", "wan2"), ("ifup", "wan2")]


def test_static_without_force_link_0_does_not_care_for_carrier(
    router: ContractRouter, call: Caller
) -> None:
    ear = Ear(router, "network.interface")
    router.ip("link", "set", "wan1-far", "down")
    wait_until(lambda: "NO-CARRIER" in router.ip("link", "show", "wan1"), 10, "no carrier")
    time.sleep(0.5)
    assert status(call, "wan1")["up"] is True
    assert router.addresses("wan1") == ["10.1.1.2/24"]
    router.ip("link", "set", "wan1-far", "up")
    time.sleep(0.5)
    assert ear.actions() == []


def test_administratively_down(router: ContractRouter, call: Caller) -> None:
    router.ip("link", "set", "wan2", "down")
    wait_up(call, "wan2", False)
    router.ip("link", "set", "wan2", "up")
    wait_up(call, "wan2")
    wait_until(lambda: len(router.addresses("wan2")) == 3, 10, "addresses")


def test_a_device_that_goes_and_one_that_comes(router: ContractRouter, call: Caller) -> None:
    ear = Ear(router, "network.interface")
    assert status(call, "ghost")["errors"] == [{"subsystem": "interface", "code": "NO_DEVICE"}]
    add_device(router, "late")
    wait_up(call, "ghost")
    wait_until(lambda: router.addresses("late") == ["10.8.8.8/24"], 10, "address")
    router.ip("link", "delete", "late")
    assert wait_up(call, "ghost", False)["available"] is False
    wait_until(lambda: ear.actions() == [("ifup", "ghost"), ("ifdown", "ghost")], 10, "both")


def test_up_and_down_by_method(router: ContractRouter, call: Caller) -> None:
    ear = Ear(router, "network.interface")
    assert call("network.interface", "up", interface="manual") == {}
    assert wait_up(call, "manual")["ipv4-address"] == [{"address": "10.9.9.9", "mask": 32}]
    wait_until(lambda: router.addresses("wan3") == ["10.9.9.9/32"], 10, "address")
    assert call("network.interface.manual", "down") == {}
    assert wait_up(call, "manual", False)["autostart"] is False
    wait_until(lambda: router.addresses("wan3") == [], 10, "no address")
    wait_until(lambda: ear.actions() == [("ifup", "manual"), ("ifdown", "manual")], 10, "both")


def test_addresses_taken_by_hand_are_not_missed(router: ContractRouter, call: Caller) -> None:
    """netifd says what it once did, not what is."""
    router.ip("address", "flush", "dev", "br-lan")
    time.sleep(0.5)
    assert status(call, "lan")["ipv4-address"] == [{"address": "192.168.1.1", "mask": 24}]
    assert router.addresses("br-lan") == []
    call("network.interface.lan", "down")
    wait_up(call, "lan", False)
    call("network.interface.lan", "up")
    wait_until(lambda: len(router.addresses("br-lan")) == 2, 10, "addresses")


def test_reload(router: ContractRouter, call: Caller) -> None:
    """Only the interfaces whose sections changed are touched."""
    ear = Ear(router, "*")
    changed = CONFIG.replace("10.1.1.2/24", "10.1.1.3/24").replace("'ghost'", "'renamed'")
    router.write("network", changed)
    call("network", "reload")
    wait_until(lambda: router.addresses("wan1") == ["10.1.1.3/24"], 10, "new address")
    wait_up(call, "wan1")
    added = "network.interface.renamed"
    wait_until(lambda: call.context.lookup_id(added)[0] == Status.OK, 10, "object")
    assert call.context.lookup_id("network.interface.ghost")[0] == Status.NOT_FOUND
    wait_until(lambda: ("ifup", "wan1") in ear.actions(), 10, "event")
    assert {name for _, name in ear.actions() if name} <= {"wan1", "ghost", "renamed"}
    router.write("network", CONFIG)
    call("network", "reload")
    wait_until(lambda: router.addresses("wan1") == ["10.1.1.2/24"], 10, "old address")
    wait_up(call, "wan1")


def test_a_flood_of_address_changes_changes_nothing(router: ContractRouter, call: Caller) -> None:
    ear = Ear(router, "network.interface")
    hosts = (f"10.77.{n // 250}.{n % 250 + 1}" for n in range(2000))
    router.namespace.batch([f"address add {host}/32 dev wan3" for host in hosts])
    assert status(call, "wan3")["up"] is True
    router.ip("address", "flush", "dev", "wan3")
    router.ip("link", "set", "wan2-far", "down")
    wait_up(call, "wan2", False)
    router.ip("link", "set", "wan2-far", "up")
    wait_up(call, "wan2")
    wait_until(lambda: ear.actions() == [("ifdown", "wan2"), ("ifup", "wan2")], 10, "both")


# -- what only the stand-in has ------------------------------------------------------------

LAB_NETWORK = (
    NETWORK
    + """
config device
	option name 'br-lan'
	option type 'bridge'
	list ports 'lan1'

config interface 'lan'
	option device 'br-lan'
	option proto 'static'
	option ipaddr '192.168.1.1/24'

config interface 'given'
	option device 'wan1'
	option proto 'external'

config interface 'leased'
	option device 'wan2'
	option proto 'dhcp'
	option ipaddr '203.0.113.24/24'
	option gateway '203.0.113.1'
	list dns '203.0.113.53'

config interface 'bad'
	option device 'wan2'
	option proto 'static'
	option ipaddr '10.8.8.888/24'
"""
)


LAB_LINKS = RouterLinks(LAB_NETWORK, ("lan1", "wan1", "wan2"))


@pytest.fixture(scope="module")
def lab_router() -> Iterator[ContractRouter]:
    """The stand-in with interfaces as the lab and the documents have them."""
    with running("stand-in", LAB_LINKS) as started:
        yield started


def test_external_reports_what_the_kernel_has(lab_router: ContractRouter) -> None:
    with lab_router.caller() as call:
        ear = Ear(lab_router, "none", "network.interface")
        assert wait_up(call, "given")["ipv4-address"] == []
        lab_router.ip("address", "add", "198.51.100.7/25", "dev", "wan1")
        wanted = [{"address": "198.51.100.7", "mask": 25}]
        wait_until(lambda: status(call, "given")["ipv4-address"] == wanted, 10, "address")
        assert ear.wait("told", "interface.update")[-1]["ipv4-address"] == wanted
        lab_router.ip("link", "set", "wan1-far", "down")
        wait_up(call, "given", False)
        assert lab_router.addresses("wan1") == ["198.51.100.7/25"]
        lab_router.ip("link", "set", "wan1-far", "up")
        wait_up(call, "given")


def test_dhcp_with_addresses_looks_like_a_lease(lab_router: ContractRouter) -> None:
    with lab_router.caller() as call:
        shown = wait_up(call, "leased")
        assert shown["proto"] == "dhcp"
        assert shown["updated"] == ["addresses", "routes", "data"]
        assert shown["route"][0]["source"] == "203.0.113.24/32"
        assert shown["data"] == {"dhcpserver": "203.0.113.1", "leasetime": 3600}
        default = "default via 203.0.113.1 dev wan2 proto static src 203.0.113.24"
        assert default in lab_router.routes("-4")


def test_bridges_are_made(lab_router: ContractRouter) -> None:
    with lab_router.caller() as call:
        wait_up(call, "lan")
        assert "master br-lan" in lab_router.ip("link", "show", "lan1")


def test_a_bad_address_is_an_error_of_that_interface(lab_router: ContractRouter) -> None:
    """netifd says so three times over, one for each attempt."""
    with lab_router.caller() as call:
        shown = status(call, "bad")
        assert shown["up"] is False
        error = {"subsystem": "proto", "code": "INVALID_ADDRESS", "data": ["10.8.8.888/24"]}
        assert shown["errors"] == [error]


def test_ending_takes_the_addresses_back() -> None:
    with running("stand-in", LAB_LINKS) as router:
        with router.caller() as call:
            wait_up(call, "leased")
        pid = int((router.config.parent / "log" / "network.pid").read_text())
        subprocess.run(["kill", str(pid)], check=True)
        wait_until(lambda: router.addresses("wan2") == [], 10, "gone")
