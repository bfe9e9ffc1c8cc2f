"""netifd's words as facts, and its words as nobody would say them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.examples import WANS, config, kernel

from mptcp_agent.core.network import Facts, Interface, Link, netifd
from mptcp_agent.core.network.wans import surroundings, wan_links

DUMP = json.loads((Path(__file__).parent / "netifd" / "static-and-dhcp.json").read_text("utf-8"))


def test_a_dump_of_a_router() -> None:
    """Sorted by name; the device of layer 3; link-local addresses left out, gateways kept."""
    assert netifd.interfaces(DUMP) == (
        Interface(
            "lan",
            "br-lan",
            True,
            ("192.168.1.1/24", "fd12:3456:789a::1/60"),
            proto="static",
            prefixes=("fd12:3456:789a::/60",),
        ),
        Interface("modem", "wwan0", False, (), (), "qmi"),
        Interface("vpn", None, False, (), (), "wireguard"),
        Interface(
            "wan",
            "wan",
            True,
            ("203.0.113.24/24",),
            ("203.0.113.1",),
            "dhcp",
            sources=(("203.0.113.1", "203.0.113.24/32"),),
        ),
        Interface(
            "wan6",
            "wan",
            True,
            ("2001:db8:1::24/128",),
            ("fe80::1",),
            "dhcpv6",
            sources=(("fe80::1", "2001:db8:1::24/128"), ("fe80::1", "2001:db8:100::/56")),
        ),
    )


def one(**fields: object) -> Interface:
    (found,) = netifd.interfaces({"interface": [{"interface": "wan", **fields}]})
    return found


@pytest.mark.parametrize(
    ("fields", "device"),
    [
        ({"device": "eth1"}, "eth1"),
        ({"device": "eth1", "l3_device": "pppoe-wan"}, "pppoe-wan"),
        ({"device": "eth1", "l3_device": ""}, "eth1"),
        ({"l3_device": 7}, None),
        ({}, None),
    ],
)
def test_device(fields: dict[str, object], device: str | None) -> None:
    assert one(**fields).device == device


@pytest.mark.parametrize("word", [True, False, None, "true", "false", 1])
def test_up_is_only_what_says_so(word: object) -> None:
    assert one(up=word).up is (word is True)


@pytest.mark.parametrize(
    ("item", "address"),
    [
        ({"address": "10.64.64.2", "mask": 32, "ptpaddress": "10.64.64.1"}, "10.64.64.2/32"),
        ({"address": "2001:DB8:0::1", "mask": 64}, "2001:db8::1/64"),
        ({"address": "169.254.1.1", "mask": 16}, None),
        ({"address": "fe80::1", "mask": 64}, None),
        ({"address": "2001:db8::1%eth1", "mask": 64}, None),
        ({"address": "10.1.1.1", "mask": 33}, None),
        ({"address": "10.1.1.1"}, None),
        ({"mask": 24}, None),
        ("10.1.1.1/24", None),
        (None, None),
    ],
)
def test_address(item: object, address: str | None) -> None:
    expected = (address,) if address else ()
    assert one(**{"ipv4-address": [item]}).addresses == expected
    assert one(**{"ipv6-address": [item]}).addresses == expected


@pytest.mark.parametrize(
    ("route", "gateway"),
    [
        ({"target": "0.0.0.0", "mask": 0, "nexthop": "10.1.1.1"}, "10.1.1.1"),
        ({"target": "::", "mask": 0, "nexthop": "FE80::1"}, "fe80::1"),
        ({"target": "0.0.0.0", "mask": 0, "nexthop": "0.0.0.0"}, None),  # point-to-point
        ({"target": "10.0.0.0", "mask": 8, "nexthop": "10.1.1.1"}, None),
        ({"target": "::", "mask": 0, "nexthop": "fe80::1%eth1"}, None),
        ({"target": "0.0.0.0", "mask": 0}, None),
        ({"target": "0.0.0.0", "mask": 0, "nexthop": {}}, None),
        (7, None),
    ],
)
def test_gateway(route: object, gateway: str | None) -> None:
    assert one(route=[route]).gateways == ((gateway,) if gateway else ())


def test_a_default_route_that_is_kept_out_of_the_kernel_has_a_gateway_all_the_same() -> None:
    """``option defaultroute 0``; where another is in force, that one comes first."""
    route = {"target": "0.0.0.0", "mask": 0, "nexthop": "10.2.2.1", "source": "0.0.0.0/0"}
    assert one(route=[], inactive={"route": [route]}).gateways == ("10.2.2.1",)
    active = {**route, "nexthop": "10.2.2.9"}
    assert one(route=[active], inactive={"route": [route]}).gateways == ("10.2.2.9", "10.2.2.1")


@pytest.mark.parametrize(
    ("routes", "gateways", "sources"),
    [
        ([("10.1.1.1", "10.1.1.9/32")], ("10.1.1.1",), (("10.1.1.1", "10.1.1.9/32"),)),
        ([("10.1.1.1", "0.0.0.0/0")], ("10.1.1.1",), ()),
        # for some and for all: for all
        ([("10.1.1.1", "10.1.1.9/32"), ("10.1.1.1", "0.0.0.0/0")], ("10.1.1.1",), ()),
        ([("10.1.1.1", "nonsense")], ("10.1.1.1",), ()),
    ],
)
def test_whom_a_default_route_is_for(
    routes: list[tuple[str, str]], gateways: tuple[str, ...], sources: tuple[tuple[str, str], ...]
) -> None:
    found = one(
        route=[
            {"target": "0.0.0.0", "mask": 0, "nexthop": hop, "source": source}
            for hop, source in routes
        ]
    )
    assert (found.gateways, found.sources) == (gateways, sources)


@pytest.mark.parametrize(
    ("name", "dynamic", "parent"),
    [
        ("wan_4", True, "wan"),
        ("wan6_4", True, "wan6"),
        ("wan_6_4", True, "wan_6"),
        ("my_wan_6rd", True, "my_wan"),
        ("wan_4", False, ""),  # somebody's own name
    ],
)
def test_which_interface_made_it(name: str, dynamic: bool, parent: str) -> None:
    (found,) = netifd.interfaces({"interface": [{"interface": name, "dynamic": dynamic}]})
    assert found.parent == parent


scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 130),
    st.floats(),
    st.text(max_size=8),
    st.ip_addresses().map(str),
    st.sampled_from(["wan", "eth1", "0.0.0.0", "::", "fe80::1%eth1", "2001:db8::1%eth1", "1/2"]),
)
KEYS = st.sampled_from(
    [
        *("interface", "device", "l3_device", "up", "proto", "route", "ipv4-address"),
        *("ipv6-address", "ipv6-prefix-assignment", "local-address", "address", "mask"),
        *("target", "nexthop", "data", "inactive", "source", "ipv6-prefix", "dynamic"),
    ]
)
garbage = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=12,
)
raw_addresses = st.lists(st.fixed_dictionaries({"address": scalars, "mask": scalars}), max_size=3)
#: The right shape, with anything in it.
dumps = st.fixed_dictionaries(
    {
        "interface": st.lists(
            st.fixed_dictionaries(
                {"interface": st.sampled_from(["wan1", "lan", "wan2"]), "up": st.just(True)},
                optional={
                    "l3_device": st.sampled_from(["eth1", "br-lan"]) | garbage,
                    "ipv4-address": raw_addresses | garbage,
                    "ipv6-address": raw_addresses | garbage,
                    "route": st.lists(
                        st.fixed_dictionaries({"mask": st.just(0) | scalars, "nexthop": scalars}),
                        max_size=2,
                    )
                    | garbage,
                },
            )
            | garbage,
            max_size=4,
        )
    }
)


@given(st.one_of(dumps, st.dictionaries(KEYS, garbage, max_size=3)))
def test_no_dump_raises_here_or_later(dump: Any) -> None:
    interfaces = netifd.interfaces(dump)
    facts = Facts(
        interfaces=interfaces,
        links=(Link("eth1", 2, True, True), Link("br-lan", 3, True, True)),
        addresses=tuple((i.device, kernel(*i.addresses)) for i in interfaces if i.device),
    )
    links = wan_links(config(WANS), facts)
    assert links
    surroundings(config(WANS), facts)
