# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/two-routers: the files as printed are valid, fit together, and make the guide's bridge.

The lab's routers read this very text. Of DHCP it stands in for the lease: an address from the
pool that R7000's file offers.
"""

from __future__ import annotations

import ipaddress
import json
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from e2e.support import assert_bonded
from lab.paths import SING_BOXES, TOP
from lab.router import Router
from lab.topology import Interface, Network, add_firewall, add_lan, open_network
from lab.traffic import WAYS, TalkServer, Way, start
from lab.wire import Shape
from openwrt import interface as netifd
from openwrt.ucifile import Package, parse
from toolkit.waiting import wait_until

from mptcp_agent.core.config import Config, reader
from mptcp_agent.core.router_firewall import sections
from mptcp_agent.core.router_firewall.judgement import Judgement
from mptcp_agent.core.router_firewall.warnings import problems

DOCS = TOP / "docs/two-routers"
ROUTERS = ("r7800", "r7000")
RATE = 30


def package(router: str, name: str) -> Package:
    return parse(name, (DOCS / router / name).read_text())


def values(router: str, name: str) -> dict[str, dict[str, object]]:
    return uci_values(package(router, name))


def configuration(router: str) -> Config:
    return understood(values(router, "mptcp-proxy"))


def understood(sections: dict[str, dict[str, object]]) -> Config:
    schema = json.loads((TOP / "schema/mptcp-proxy.schema.json").read_text())
    config, problems = reader.read(sections, schema)
    assert problems == ()
    return config


def uci_values(package: Package) -> dict[str, dict[str, object]]:
    """As `ubus call uci get` would give it."""
    return {
        s.name: {".type": s.type, ".name": s.name, ".index": i, **s.options}
        for i, s in enumerate(package.sections.values())
    }


def lease(interface: str) -> ipaddress.IPv4Interface:
    """The first address of the pool R7000 offers on a link."""
    offered = next(s for s in values("r7000", "dhcp").values() if s.get("interface") == interface)
    own = next(a for a in netifd.parse(package("r7000", "network"))[interface].addresses)
    network = ipaddress.IPv4Network(f"{own.address}/{own.mask}", strict=False)
    first = network.network_address + int(str(offered["start"]))
    assert first + int(str(offered["limit"])) < network.broadcast_address
    assert not first <= ipaddress.IPv4Address(own.address) < first + int(str(offered["limit"]))
    return ipaddress.IPv4Interface(f"{first}/{network.prefixlen}")


# --- as text ----------------------------------------------------------------------------------


@pytest.mark.parametrize("router", ROUTERS)
def test_every_file_is_uci(router: str) -> None:
    names = {path.name for path in (DOCS / router).iterdir()}
    assert names == {"network", "network-vlan", "dhcp", "firewall", "mptcp-proxy"}
    for name in names:
        assert package(router, name).sections


@pytest.mark.parametrize("router", ROUTERS)
def test_configuration_fits_the_networks(router: str) -> None:
    config = configuration(router)
    interfaces = netifd.parse(package(router, "network"))
    assert {w.interface for w in config.wans} == {"wan1", "wan2"} <= interfaces.keys()
    if config.client:
        assert set(config.client.lan) <= interfaces.keys()


@pytest.mark.parametrize("router", ROUTERS)
def test_firewall_lets_in_what_it_must(router: str) -> None:
    config = configuration(router)
    firewall = values(router, "firewall")
    assert problems(replace(config, firewall=sections(firewall)), (), Judgement()) == ()
    if config.server:  # and would not without its rule
        del firewall["mptcp_proxy_radio"]
        assert problems(replace(config, firewall=sections(firewall)), (), Judgement())
    zones = [s for s in firewall.values() if s[".type"] == "zone"]
    inside = {n for z in zones for n in z["network"]}  # type: ignore[attr-defined]
    assert inside == {"lan", "wan1", "wan2"}


@pytest.mark.parametrize("router", ROUTERS)
def test_vlans_change_the_devices_and_nothing_else(router: str) -> None:
    ports, vlans = (netifd.parse(package(router, n)) for n in ("network", "network-vlan"))
    assert [i.device for i in vlans.values()][1:] == ["br0.1", "br0.11", "br0.12"]
    for name, interface in vlans.items():
        assert (interface.proto, interface.addresses, interface.metric) == (
            ports[name].proto,
            ports[name].addresses,
            ports[name].metric,
        )
    tagged = {
        str(s.options["vlan"])
        for s in package(router, "network-vlan").sections.values()
        if s.type == "bridge-vlan"
    }
    assert tagged == {"1", "11", "12"}


def test_the_routers_agree() -> None:
    client, server = configuration("r7800"), configuration("r7000")
    assert server.server
    (peer,) = client.client_peers
    theirs = netifd.parse(package("r7000", "network"))
    assert list(peer.address) == [theirs[w].addresses[0].address for w in ("wan1", "wan2")]
    assert (peer.port, peer.method) == (server.server.port, server.server.method)
    for wan in ("wan1", "wan2"):
        allowed = [ipaddress.ip_network(n) for n in server.server.allow]
        assert any(lease(wan).ip in network for network in allowed)


def test_the_example_of_the_package_is_the_guide() -> None:
    """So that what is shown to work for the one is shown for the other."""
    text = (TOP / "files/mptcp-proxy.config").read_text()
    sections = uci_values(parse("mptcp-proxy", text))
    example, client = understood(sections), configuration("r7800")
    assert not example.globals.enabled and not example.server
    assert (example.peers, example.client) == (client.peers, client.client)
    sections["server"]["enabled"] = "1"
    assert understood(sections).server == configuration("r7000").server


def test_the_assistant_begins_with_the_method_of_the_guide() -> None:
    ciphers = TOP / "luci-app-mptcp-proxy/htdocs/luci-static/resources/mptcp-proxy/ciphers.js"
    (method,) = re.findall(r"^const RECOMMENDED = '(.*)';", ciphers.read_text(), re.MULTILINE)
    assert method == configuration("r7800").peers[0].method


def test_the_page_shows_the_files() -> None:
    page = (TOP / "docs/two-routers.md").read_text()
    for path in sorted(DOCS.rglob("*")):
        if path.is_file():
            assert str(path.relative_to(TOP / "docs")) in page


# --- at work ----------------------------------------------------------------------------------


def bring_up(router: Router, name: str, lan: Interface) -> list[Interface]:
    """What netifd makes of the file, with a lease where it asks for one."""
    text = (DOCS / name / "network").read_text()
    found = []
    for wan in ("wan1", "wan2"):
        config = netifd.parse(package(name, "network"))[wan]
        gateways = []
        if config.proto == "dhcp":
            own = lease(wan)
            gateways = [netifd.parse(package("r7000", "network"))[wan].addresses[0].address]
            text += (  # the stand-in for the lease
                f"\nconfig interface '{wan}'\n\toption ipaddr '{own.ip}'\n"
                f"\toption netmask '{own.netmask}'\n\toption gateway '{gateways[0]}'\n"
            )
            address = str(own)
        else:
            address = f"{config.addresses[0].address}/{config.addresses[0].mask}"
        found.append(Interface(wan, config.device, [address], gateways, config.metric))
    for interface in (lan, *found):
        interface.configure(router)
    router.write_config("network", text)
    for other in ("dhcp", "firewall", "mptcp-proxy"):
        router.write_config(other, Path(DOCS / name / other).read_text())
    return found


@pytest.fixture(scope="module", params=[v for v, p in SING_BOXES.items() if p.exists()])
def documented_net(request: pytest.FixtureRequest) -> Iterator[Network]:
    """Two routers that read the documents' files, with a sing-box their feed can have."""
    with open_network("r7800", "r7000", "pc78", "pc70") as network:
        for number in (1, 2):
            ends = [(r, f"br-wan{number}") for r in network.routers]
            network.wires.append(network.cabling.shaped(ends[0], ends[1], Shape(RATE)))
        lans = (
            Interface("lan", "br-lan", ["192.168.78.1/24"]),
            Interface("lan", "br-lan", ["192.168.70.1/24"]),
        )
        add_lan(network.client, network.client_host, "192.168.78", "fd00:78")
        add_lan(network.server, network.server_host, "192.168.70", "fd00:70")
        masquerade = {"r7800": ["br-wan1", "br-wan2"], "r7000": []}
        for router, name, lan in zip(network.routers, ROUTERS, lans, strict=True):
            router.install_sing_box(SING_BOXES[request.param])
            bring_up(router, name, lan)
            add_firewall(router, masquerade[name])
            router.start_openwrt()
            router.start_agent()
        for router in network.routers:
            router.wait_state("active")
        TalkServer(network.server_host)
        yield network


@pytest.mark.parametrize("way", WAYS)
def test_one_stream_over_both_links(documented_net: Network, way: Way) -> None:
    assert_bonded(documented_net, [way], "192.168.70.107")


def test_servers_that_speak_first_are_heard(documented_net: Network) -> None:
    """Mail, SSH, FTP: the client waits for the server's greeting."""
    with documented_net.server_host.namespace:
        listener = socket.create_server(("192.168.70.107", 0))
    with documented_net.client_host.namespace:
        connection = socket.socket()
    with listener, connection:
        for one in (listener, connection):
            one.settimeout(5)
        connection.connect(listener.getsockname())
        accepted, caller = listener.accept()
        with accepted:
            assert caller[0] == "192.168.70.1", "not by the proxy"
            accepted.sendall(b"220 ready")
            assert connection.recv(9) == b"220 ready"


def test_without_the_proxy_the_lan_still_gets_there(documented_net: Network) -> None:
    text = (DOCS / "r7800/mptcp-proxy").read_text()
    documented_net.client.write_config("mptcp-proxy", text.replace("enabled '1'", "enabled '0'", 1))
    documented_net.client.ubus("mptcp_proxy", "reload")
    documented_net.client.wait_state("disabled")
    transfer = start(documented_net.client_host, "get", "192.168.70.107", size=100_000).result()
    assert transfer.ok, transfer.report.error
    documented_net.client.write_config("mptcp-proxy", text)
    documented_net.client.ubus("mptcp_proxy", "reload")
    documented_net.client.wait_state("active")


def test_check_has_nothing_to_mend_but_the_password(documented_net: Network) -> None:
    def complaints() -> list[tuple[str, str]]:
        return [
            (router.role, row["message"])
            for router in documented_net.routers
            for row in router.ubus("mptcp_proxy", "check")["checks"]
            if row["result"] == "failed" or "firewall" in row["message"]
        ]

    for router in documented_net.routers:
        rows = router.ubus("mptcp_proxy", "check")["checks"]
        assert [row["result"] for row in rows if "the example's" in row["message"]] == ["warning"]
    wait_until(lambda: not complaints(), 10, lambda: f"no complaint: {complaints()}", interval=0.2)
