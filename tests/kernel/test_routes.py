# SPDX-License-Identifier: GPL-2.0-or-later
"""Routes and rules against the real kernel."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from kernel.support import cost
from toolkit.namespace import Namespace
from toolkit.waiting import wait_until

from mptcp_agent.core.network import AddressFlag, Link
from mptcp_agent.core.state import Route, Rule
from mptcp_agent.errors import KernelError
from mptcp_agent.system.netlink.routes import Routing

TABLE = 10901

ROUTES = [
    Route(TABLE, "10.1.1.0/24", "wan1"),
    Route(TABLE, "0.0.0.0/0", "wan1", "10.1.1.2", "10.1.1.1"),
    Route(TABLE, "0.0.0.0/0", "wan1", "10.1.1.2"),
    Route(TABLE, "0.0.0.0/0", "wan1", source="10.1.1.1"),
    Route(TABLE, "203.0.113.70/32", "wan2", "10.2.2.2"),
    Route(TABLE, "203.0.113.70/32", "wan2", "10.2.2.2", mtu=1400),
    Route(TABLE, "10.2.2.2/32", "wan2", mtu=1400),
    Route(TABLE, "203.0.113.0/24", "wan1", "192.0.2.1"),  # a gateway outside every network
    Route(TABLE, "198.51.100.0/24", type="throw"),
    Route(TABLE, "198.51.101.0/24", type="unreachable"),
    Route(10900, "10.9.9.9/32", "wan1"),
    Route(TABLE, "2001:db8:1::/64", "wan1"),
    Route(TABLE, "::/0", "wan1", "2001:db8:1::2", "2001:db8:1::1"),
    Route(TABLE, "::/0", "wan1", "2001:db8:1::2"),
    Route(TABLE, "::/0", "wan1", "fe80::2"),
    Route(TABLE, "::/0", "wan2"),
    Route(TABLE, "2001:db8:70::/48", "wan1", "2001:db8:1::2", mtu=1280),
    Route(TABLE, "2001:db8:70::/48", "wan1", "2001:db8:99::1"),
    Route(TABLE, "2001:db8:71::/48", type="throw"),
    Route(TABLE, "2001:db8:72::/48", type="unreachable"),
]

RULES = [
    Rule(700, 4, TABLE, source="10.1.1.1/32", sport=8388),
    Rule(700, 4, TABLE, sport=8388),
    Rule(710, 4, TABLE, oif="wan1"),
    Rule(710, 4, TABLE, oif="not-there-yet"),
    Rule(710, 4, TABLE, oif="wan1", suppress=0),
    Rule(711, 4, 254, oif="wan1", suppress=1),
    Rule(715, 4, TABLE, source="10.1.1.1/32", destination="203.0.113.70/32", dport=8388, iif="lo"),
    Rule(720, 4, TABLE, source="10.1.1.1/32"),
    Rule(730, 4, 10900, destination="203.0.113.70/32", iif="lo"),
    Rule(730, 4, 10900, destination="203.0.113.0/24", iif="lo", oif="wan1"),
    Rule(700, 6, TABLE, source="2001:db8:1::1/128", sport=8388),
    Rule(733, 4, TABLE, mark=0x2000000),
    Rule(733, 4, TABLE, mark=0x2000000, suppress=0),
    Rule(734, 6, 254, mark=0x4000000, suppress=4),
    Rule(710, 6, TABLE, oif="wan1"),
    Rule(720, 6, TABLE, source="2001:db8:1::1/128"),
    Rule(720, 6, TABLE, source="2001:db8:1::1/128", suppress=0),
    Rule(721, 6, 254, source="2001:db8:1::1/128", suppress=4),
    Rule(730, 6, 10900, destination="2001:db8:70::/48", iif="lo"),
]


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_route_is_seen_as_it_was_set(client: Namespace, route: Route) -> None:
    routing = Routing()
    for _ in range(2):  # the second time, it is there already
        routing.set_route(route)
        assert routing.observe() == ((route,), ())
    for _ in range(2):
        routing.remove_route(route)
        assert routing.observe() == ((), ())


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rule_is_seen_as_it_was_added(client: Namespace, rule: Rule) -> None:
    routing = Routing()
    for _ in range(2):
        routing.add_rule(rule)
        assert routing.observe() == ((), (rule,))
    for _ in range(2):
        routing.remove_rule(rule)
        assert routing.observe() == ((), ())


@pytest.mark.parametrize("order", [1, -1])
def test_rules_that_resemble_each_other_are_kept_apart(client: Namespace, order: int) -> None:
    """The kernel takes a selector left out for "any" when it looks for an existing rule."""
    alike = [
        Rule(730, 4, TABLE),
        Rule(730, 4, TABLE, iif="lo"),
        Rule(730, 4, TABLE, iif="lo", destination="203.0.113.0/24"),
        Rule(730, 4, TABLE, iif="lo", destination="203.0.113.70/32"),
        Rule(730, 4, TABLE, iif="lo", destination="203.0.113.70/32", sport=8388),
    ][::order]
    routing = Routing()
    for rule in alike:
        routing.add_rule(rule)
    assert set(routing.observe()[1]) == set(alike)
    for number, rule in enumerate(alike):
        routing.remove_rule(rule)
        assert set(routing.observe()[1]) == set(alike[number + 1 :])


@pytest.mark.parametrize(
    ("destination", "gateway"), [("0.0.0.0/0", "10.1.1.2"), ("::/0", "2001:db8:1::2")]
)
def test_a_place_holds_one_route_of_whatever_kind(
    client: Namespace, destination: str, gateway: str
) -> None:
    kinds = [
        Route(TABLE, destination, "wan1"),
        Route(TABLE, destination, "wan1", gateway),
        Route(TABLE, destination, type="throw"),
        Route(TABLE, destination, "wan2"),
        Route(TABLE, destination, type="unreachable"),
    ]
    routing = Routing()
    for old in kinds:
        for new in kinds:
            routing.set_route(old)
            routing.set_route(new)
            assert routing.observe()[0] == (new,), f"{old} replaced by {new}"


@pytest.mark.parametrize(
    ("target", "gateways"),
    [
        ("203.0.113.70", ("10.1.1.2", "10.2.2.2")),
        ("2001:db8:70::70", ("2001:db8:1::2", "2001:db8:2::2")),
    ],
)
def test_replacing_a_route_leaves_no_gap(
    client: Namespace, target: str, gateways: tuple[str, str]
) -> None:
    """There is no other route: a packet in between would find the network unreachable."""
    version = 6 if ":" in target else 4
    prefix = f"{target}/{128 if version == 6 else 32}"
    hops = [Route(10900, prefix, f"wan{n + 1}", gateway) for n, gateway in enumerate(gateways)]
    routing = Routing()
    routing.set_route(hops[0])
    routing.add_rule(Rule(730, version, 10900, destination=prefix))  # type: ignore[arg-type]
    stop = threading.Event()
    lookups, failures = 0, 0

    def look_up() -> None:
        nonlocal lookups, failures
        while not stop.is_set():
            with socket.socket(
                socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM
            ) as probe:
                try:
                    probe.connect((target, 9))
                except OSError:
                    failures += 1
                lookups += 1

    with ThreadPoolExecutor(1) as worker:
        looking = worker.submit(look_up)
        replaced = 0
        deadline = time.monotonic() + 20
        while (replaced < 200 or lookups < 2000) and time.monotonic() < deadline:
            routing.set_route(hops[replaced % 2])
            replaced += 1
        stop.set()
        looking.result()
    assert (replaced >= 200, lookups >= 2000, failures) == (True, True, 0)


def test_a_place_that_somebody_filled_several_times_is_tidied(client: Namespace) -> None:
    client.sh(
        f"ip -6 route add ::/0 via 2001:db8:1::2 dev wan1 proto 109 table {TABLE};"
        f"ip -6 route append ::/0 via 2001:db8:2::2 dev wan2 proto 109 table {TABLE};"
        f"ip -6 route append ::/0 dev wan2 proto 109 table {TABLE}"
    )
    routing = Routing()
    wanted = Route(TABLE, "::/0", "wan1", "2001:db8:1::2")
    routing.set_route(wanted)
    assert routing.observe()[0] == (wanted,)


def test_what_others_made_is_neither_shown_nor_touched(client: Namespace) -> None:
    client.sh(
        f"ip route add 203.0.113.1 dev wan1 table {TABLE};"  # our table, not our protocol
        "ip route add 203.0.113.2 dev wan1 proto 109;"  # our protocol, not our table
        "ip route add default via 10.1.1.2 dev wan1 proto 109 table 77;"
        f"ip rule add priority 710 oif wan1 lookup {TABLE};"  # our priority
        f"ip rule add priority 900 oif wan1 lookup {TABLE} protocol 109;"
        f"ip -6 rule add priority 710 oif wan1 lookup {TABLE}"
    )
    before = client.sh("ip route show table all; ip rule; ip -6 rule")
    routing = Routing()
    assert routing.observe() == ((), ())
    own = [Route(TABLE, "0.0.0.0/0", "wan1", "10.1.1.2"), Route(TABLE, "::/0", "wan1")]
    same = [Rule(710, 4, TABLE, oif="wan1"), Rule(710, 6, TABLE, oif="wan1")]
    for route in own:
        routing.set_route(route)
    for rule in same:  # identical to other people's, but for the protocol
        routing.add_rule(rule)
    assert routing.observe() == (tuple(own), tuple(same))
    for route in own:
        routing.remove_route(route)
    for rule in same:
        routing.remove_rule(rule)
    assert client.sh("ip route show table all; ip rule; ip -6 rule") == before


def test_a_place_taken_by_somebody_else_is_reported_and_left(client: Namespace) -> None:
    client.sh(f"ip route add default via 10.1.1.2 dev wan1 table {TABLE} proto static")
    routing = Routing()
    with pytest.raises(KernelError, match=r"0\.0\.0\.0/0.*table 10901.*protocol 4"):
        routing.set_route(Route(TABLE, "0.0.0.0/0", "wan2", "10.2.2.2"))
    routing.remove_route(Route(TABLE, "0.0.0.0/0", "wan2", "10.2.2.2"))
    assert "via 10.1.1.2" in client.sh(f"ip route show table {TABLE}")


def test_routes_go_with_their_link(client: Namespace) -> None:
    routing = Routing()
    kept = Route(TABLE, "198.51.100.0/24", type="throw")
    for route in (Route(TABLE, "0.0.0.0/0", "wan2", "10.2.2.2"), Route(TABLE, "::/0", "wan2")):
        routing.set_route(route)
    routing.set_route(kept)
    rule = Rule(710, 4, TABLE, oif="wan2")
    routing.add_rule(rule)
    client.sh("ip link set wan2 down")
    assert routing.observe() == ((kept,), (rule,))
    client.sh("ip link del wan2")
    assert routing.observe() == ((kept,), (rule,))
    routing.remove_route(Route(TABLE, "0.0.0.0/0", "wan2", "10.2.2.2"))


@pytest.mark.parametrize(
    ("route", "said"),
    [
        (Route(TABLE, "0.0.0.0/0", "gone", "10.1.1.2"), "dev gone .*is gone up"),
        (Route(TABLE, "0.0.0.0/0", "wan1", "10.1.1.2", "10.1.1.77"), r"the address 10\.1\.1\.77"),
        (Route(TABLE, "::/0", "wan1", "2001:db8:1::2", "2001:db8::7"), "address 2001:db8::7"),
        (Route(TABLE, "0.0.0.0/0", "wan1", "224.0.0.1"), "via 224.0.0.1"),
    ],
    ids=str,
)
def test_a_refused_route_names_itself(client: Namespace, route: Route, said: str) -> None:
    with pytest.raises(KernelError, match=said):
        Routing().set_route(route)


def test_a_route_over_a_link_that_is_down_is_refused(client: Namespace) -> None:
    client.sh("ip link set wan1 down")
    with pytest.raises(KernelError, match="is wan1 up"):
        Routing().set_route(Route(TABLE, "0.0.0.0/0", "wan1", "10.1.1.2"))


def test_links_and_addresses(client: Namespace) -> None:
    client.sh(
        "ip link set wan2 down; echo 1 > /proc/sys/net/ipv6/conf/wan2/accept_dad;"
        "ip addr add 100.64.3.3 peer 192.0.2.9 dev wan1;"  # point-to-point: ours is the local
        "ip addr add 169.254.7.7/16 dev wan1 scope link;"
        "ip addr add 2001:db8:5::5/64 dev wan1 nodad preferred_lft 0;"  # deprecated
        "ip addr add 2001:db8:6::6/64 dev wan2"  # tentative while the link is down
    )
    routing = Routing()
    links = {link.name: link for link in routing.links()}
    assert set(links) == {"lo", "wan1", "wan2"}
    assert links["lo"] == Link("lo", 1, up=True, carrier=True)
    assert (links["wan1"].up, links["wan1"].carrier) == (True, True)
    assert (links["wan2"].up, links["wan2"].carrier) == (False, False)
    addresses = dict(routing.addresses())
    permanent: frozenset[AddressFlag] = frozenset({"permanent"})
    assert [(str(a), a.scope, a.flags) for a in addresses["wan1"] if a.address[:4] != "fe80"] == [
        ("169.254.7.7/16", "link", permanent),
        ("10.1.1.1/24", "global", permanent),
        ("100.64.3.3/32", "global", permanent),
        # The newest first, as RFC 6724 leaves it to the implementation.
        ("2001:db8:5::5/64", "global", permanent | {"deprecated"}),
        ("2001:db8:1::1/64", "global", permanent),
    ]
    (tentative,) = [a for a in addresses["wan2"] if a.address == "2001:db8:6::6"]
    assert tentative.flags == permanent | {"tentative"}
    assert {(str(a), a.scope) for a in addresses["lo"]} == {
        ("127.0.0.1/8", "host"),
        ("::1/128", "host"),
    }


def test_carrier_loss_is_seen(pair: tuple[Namespace, Namespace]) -> None:
    client, server = pair
    server.sh("ip link set wan1 down")
    with client:
        routing = Routing()
        wait_until(
            lambda: (
                [(x.up, x.carrier) for x in routing.links() if x.name == "wan1"] == [(True, False)]
            ),
            5,
            "wan1 is up without carrier",
        )


def test_a_full_internet_table_costs_nothing(client: Namespace) -> None:
    """The kernel filters: fetched whole and compared in Python they take more than a second."""
    client.batch([f"route add 20.{i}.{j}.0/24 dev wan1" for i in range(100) for j in range(250)])
    routing = Routing()
    routing.set_route(ROUTES[0])
    began = time.monotonic()
    assert routing.observe() == ((ROUTES[0],), ())
    routing.set_route(ROUTES[0])
    assert time.monotonic() - began < 1


def test_reading_while_everything_changes(client: Namespace) -> None:
    """An interrupted dump is read again: what stands still is always seen."""
    routing = Routing()
    for route in (ROUTES[0], ROUTES[9]):
        routing.set_route(route)
    routing.add_rule(RULES[2])
    stop = threading.Event()

    things = [
        thing
        for n in range(100)
        for thing in (
            ("route", f"20.0.{n}.0/24 dev wan1 proto 109 table 10902"),
            ("route", f"2001:db8:{n:x}:7::/64 dev wan1 proto 109 table 10902"),
            ("rule", f"priority {800 + n} from 192.0.2.{n} lookup 99"),
        )
    ]

    def stir() -> int:
        rounds = 0
        while not stop.is_set():
            client.batch([f"{w} {do} {rest}" for do in ("add", "del") for w, rest in things])
            rounds += 1
        return rounds

    with ThreadPoolExecutor(1) as worker:
        stirring = worker.submit(stir)
        try:
            for _ in range(200):
                routes, rules = routing.observe()
                assert {ROUTES[0], ROUTES[9]} <= set(routes)
                assert rules == (RULES[2],)
        finally:
            stop.set()
        assert stirring.result() > 5


def test_works_from_a_worker_thread_and_after_a_broken_socket(client: Namespace) -> None:
    routing = Routing()
    with ThreadPoolExecutor(1) as worker:
        worker.submit(routing.set_route, ROUTES[0]).result()
        assert worker.submit(routing.observe).result() == ((ROUTES[0],), ())
        worker.submit(routing.close).result()
        assert worker.submit(routing.observe).result() == ((ROUTES[0],), ())
        worker.submit(routing.close).result()
        worker.submit(routing.close).result()


def test_observing_is_cheap(client: Namespace, capsys: pytest.CaptureFixture[str]) -> None:
    routing = Routing()
    for route in ROUTES:
        routing.set_route(route)
    for rule in RULES:
        routing.add_rule(rule)
    with capsys.disabled():
        print()
        for call in (routing.observe, routing.links, routing.addresses):
            print(cost(f"Routing.{call.__name__}", call))
