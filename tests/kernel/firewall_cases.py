# SPDX-License-Identifier: GPL-2.0-or-later
"""What either firewall back end must do, shown by real connections.

``test_nftables.py`` and ``test_iptables.py`` subclass ``FirewallCases``; each gives the
fixture ``backend`` (the back end under test, working in the lab's router).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel import firewall_lab as net
from kernel.firewall_lab import (
    HOST4,
    HOST6,
    NEAR4,
    NEAR6,
    PORT,
    REDIRECTOR,
    ROUTER4,
    ROUTER6,
    SERVER,
    WORLD4,
    WORLD6,
    FirewallLab,
)
from toolkit.namespace import Namespace

from mptcp_agent.core.firewall import (
    PROBE,
    PROBE_SOURCE,
    Counter,
    FirewallBackend,
    collapse,
    singles,
)
from mptcp_agent.core.router_firewall.packets import merged
from mptcp_agent.core.state import Access, Backend, Family, Firewall, LanRule, Redirect
from mptcp_agent.errors import FirewallError

#: The first address of the world is proxied, the second is left alone by configuration.
PROXIED, BYPASSED = (WORLD4[0], WORLD6[0]), (WORLD4[1], WORLD6[1])
REDIRECT = Redirect(
    port=REDIRECTOR,
    bypass=collapse(["10.0.0.0/8", "198.51.100.0/24", "fd00::/8", "2001:db8:9::/48"]),
    jumps=("br-lan",),
)
BLOCK = replace(REDIRECT, mode="block")
OFF = replace(REDIRECT, jumps=())


def _mac(lab: FirewallLab) -> str:
    return str(json.loads(lab.host.ip("-json", "link", "show", "eth0"))[0]["address"])


#: By field of a rule: what it has to be to match the host of the lab, and what of somebody else.
PARTS: dict[str, Callable[[FirewallLab, int], tuple[object, object]]] = {
    "sources": lambda _, way: [
        (("192.168.78.96/27",), ("192.168.78.0/27", "192.168.79.107/32")),
        (("fd78::/64",), ("fd79::107/128",)),
    ][way],
    "destinations": lambda _, way: [
        (("203.0.113.0/24",), ("203.0.112.0/24",)),
        (("::5/::ffff:ffff:ffff:ffff",), ("::6/::ffff:ffff:ffff:ffff",)),
    ][way],
    "macs": lambda lab, _: ((_mac(lab),), ("02:00:00:00:00:01", "02:00:00:00:00:02")),
    "not_macs": lambda lab, _: (("02:00:00:00:00:01", "02:00:00:00:00:02"), (_mac(lab),)),
    "sports": lambda _, __: (((1024, 1030), (1032, 65535)), ((1, 1023),)),
    "dports": lambda _, __: (((PORT, PORT),), ((1, PORT - 1), (PORT + 1, 65535))),
}


class LabBackend:
    """The back end under test; every call is made inside the router's namespace."""

    def __init__(
        self, backend: FirewallBackend, space: Namespace, undo: Callable[[], object]
    ) -> None:
        self._backend = backend
        self._space = space
        self.undo = undo
        self.name: Backend = "nftables" if type(backend).__name__ == "Nftables" else "iptables"

    def firewall(self, redirect: Redirect | None, access: Access | None = None) -> Firewall:
        if redirect and self.name == "iptables":
            redirect = replace(redirect, rules=singles(redirect.rules))
        return Firewall(self.name, redirect, access)

    def apply(self, redirect: Redirect | None, access: Access | None = None) -> Firewall:
        firewall = self.firewall(redirect, access)
        self._space.call(self._backend.apply, firewall)
        return firewall

    def available(self) -> str:
        return self._space.call(self._backend.available)

    def observe(self) -> Firewall | None:
        return self._space.call(self._backend.observe)

    def set_jumps(self, redirect: Redirect) -> None:
        self._space.call(self._backend.set_jumps, redirect)

    def remove(self) -> None:
        self._space.call(self._backend.remove)

    def counters(self) -> tuple[Counter, ...]:
        return self._space.call(self._backend.counters)


def networks4() -> st.SearchStrategy[str]:
    return st.builds(
        lambda address, length: f"{address}/{length}",
        st.ip_addresses(v=4).map(str),
        st.integers(0, 32),
    )


def networks6() -> st.SearchStrategy[str]:
    return st.builds(
        lambda address, length: f"{address}/{length}",
        st.ip_addresses(v=6).map(str),
        st.integers(0, 128),
    )


networks = st.lists(networks4() | networks6(), max_size=12).map(collapse)
devices = st.lists(
    st.from_regex(r"[a-z][a-z0-9_.-]{0,14}", fullmatch=True), max_size=4, unique=True
).map(lambda names: tuple(sorted(names)))


def of_family(family: Family) -> st.SearchStrategy[tuple[str, ...]]:
    """Networks of a rule: some, or one with holes in its mask."""
    some = st.lists(networks4() if family == 4 else networks6(), max_size=4).map(collapse)
    holed = st.sampled_from(
        (("10.0.0.7/255.0.0.255",), ("0.0.0.9/0.0.0.15",))
        if family == 4
        else (("::50/::ffff:ffff:ffff:ffff",), ("2001:db8::7/ffff:ffff::ffff",))
    )
    return holed | some.filter(lambda texts: not any(t.endswith("/0") for t in texts))


def lan_rules(family: Family) -> st.SearchStrategy[LanRule]:
    macs = st.lists(
        st.sampled_from(["02:00:00:00:00:0a", "02:00:00:00:00:0b", "fe:ff:ff:ff:ff:ff"]),
        max_size=3,
        unique=True,
    ).map(lambda found: tuple(sorted(found)))
    ports = st.lists(
        st.tuples(st.integers(0, 65535), st.integers(0, 65535)).map(lambda p: (min(p), max(p))),
        max_size=3,
    ).map(merged)
    return st.builds(
        LanRule,
        redirect=st.booleans(),
        device=st.sampled_from(["br-lan", "lan.2"]),
        family=st.just(family),
        sources=of_family(family),
        destinations=of_family(family),
        macs=macs,
        sports=ports.filter(lambda p: p != ((0, 65535),)),
        dports=ports.filter(lambda p: p != ((0, 65535),)),
    ) | st.builds(
        LanRule,
        redirect=st.booleans(),
        device=st.just("br-lan"),
        family=st.just(family),
        not_macs=macs,
    )


redirects = st.builds(
    Redirect,
    port=st.integers(1, 30000),
    bypass=networks,
    jumps=devices,
    mode=st.sampled_from(["proxy", "block"]),
    strip_mptcp=st.booleans(),
    rules=st.tuples(st.lists(lan_rules(4), max_size=3), st.lists(lan_rules(6), max_size=3)).map(
        lambda of: (*of[0], *of[1])
    ),
)
accesses = st.builds(Access, port=st.integers(30001, 65535), allow=networks)


class FirewallCases:
    # --- where a connection goes --------------------------------------------------------------

    def test_lan_tcp_is_redirected_with_its_destination(
        self, lab: FirewallLab, backend: LabBackend
    ) -> None:
        backend.apply(REDIRECT)
        for address in PROXIED:
            assert lab.ask(address) == f"proxied {address} {PORT}"
            assert lab.ask(address, 8388) == f"proxied {address} 8388"

    def test_what_is_left_alone(self, lab: FirewallLab, backend: LabBackend) -> None:
        backend.apply(REDIRECT)
        for address in (*BYPASSED, NEAR4, NEAR6, ROUTER4, ROUTER6, "10.1.1.78", "fd01::78"):
            assert lab.ask(address) == f"direct {address}"

    def test_the_routers_own_addresses_need_no_bypass(
        self, lab: FirewallLab, backend: LabBackend
    ) -> None:
        backend.apply(replace(REDIRECT, bypass=()))
        for address in (ROUTER4, ROUTER6, "10.1.1.78", "fd01::78"):
            assert lab.ask(address) == f"direct {address}"
        assert lab.ask(NEAR4) == f"proxied {NEAR4} {PORT}"

    def test_without_a_default_route_it_is_still_redirected(
        self, lab: FirewallLab, backend: LabBackend
    ) -> None:
        """Both WANs may have lost their routes; the proxy decides, not the routing table."""
        backend.apply(REDIRECT)
        lab.router.sh("ip route del default; ip -6 route del default")
        try:
            assert lab.ask(PROXIED[0]).startswith("proxied")
            assert lab.ask(PROXIED[1]).startswith("proxied")
        finally:
            lab.router.sh(f"ip route add default via {NEAR4}; ip -6 route add default via {NEAR6}")

    def test_only_the_lan_is_redirected(self, lab: FirewallLab, backend: LabBackend) -> None:
        backend.apply(replace(REDIRECT, jumps=("lan2",)))
        for address in PROXIED:
            assert lab.ask(address) == f"direct {address}"
            assert lab.ask(address, space=lab.router) == f"direct {address}"

    def test_a_device_that_comes_later(self, lab: FirewallLab, backend: LabBackend) -> None:
        backend.apply(replace(REDIRECT, jumps=("br-late",)))
        lab.router.sh("ip link set br-lan down; ip link set br-lan name br-late up")
        lab.router.sh(f"ip addr replace {ROUTER6}/64 dev br-late nodad")
        try:
            lab.wait_for_answer(PROXIED[1], "proxied")
            assert lab.ask(PROXIED[0]).startswith("proxied")
        finally:
            lab.router.sh("ip link set br-late down; ip link set br-late name br-lan up")
            lab.router.sh(
                f"ip addr replace {ROUTER6}/64 dev br-lan nodad;"
                f"ip addr replace {ROUTER4}/24 dev br-lan;"
                f"ip route replace default via {NEAR4}; ip -6 route replace default via {NEAR6}"
            )
            lab.wait_for_answer(NEAR6, f"direct {NEAR6}")

    def test_the_users_port_forward_wins(self, lab: FirewallLab, backend: LabBackend) -> None:
        self.forward(lab, "br-lan", PROXIED[0], 8081, BYPASSED[0])
        backend.apply(REDIRECT)
        assert lab.ask(PROXIED[0], 8081) == f"direct {BYPASSED[0]}"
        assert lab.ask(PROXIED[0], PORT) == f"proxied {PROXIED[0]} {PORT}"

    def forward(self, lab: FirewallLab, device: str, address: str, port: int, to: str) -> None:
        """A user's DNAT rule; undone by the fixture."""
        raise NotImplementedError

    def test_ipv4_only(self, lab: FirewallLab, backend: LabBackend) -> None:
        lab.router.sysctl("net/ipv6/conf/all/disable_ipv6", 1)
        try:
            firewall = backend.apply(REDIRECT, Access(SERVER, ("10.1.1.0/24", "fd01::/64")))
            assert backend.observe() == firewall
            assert lab.ask(PROXIED[0]).startswith("proxied")
        finally:
            lab.router.sysctl("net/ipv6/conf/all/disable_ipv6", 0)
            lab.router.sh(
                f"ip addr add {ROUTER6}/64 dev br-lan nodad; ip addr add fd01::78/64 dev wan nodad;"
                f"ip -6 route replace default via {NEAR6}"
            )
            lab.wait_for_answer(NEAR6, f"direct {NEAR6}")

    # --- what the router's own firewall refuses -----------------------------------------------

    @pytest.mark.parametrize("mode", ["proxy", "block"])
    @pytest.mark.parametrize("way", [0, 1], ids=["IPv4", "IPv6"])
    @pytest.mark.parametrize("field", PARTS)
    def test_a_part_of_the_lan_is_left_alone(
        self, lab: FirewallLab, backend: LabBackend, field: str, way: int, mode: str
    ) -> None:
        """The same rule about somebody else, and behind one that redirects, changes nothing."""
        family: Family = 6 if way else 4
        part: Callable[..., LanRule] = partial(LanRule, family=family)
        mine, others = ({field: value} for value in PARTS[field](lab, way))
        redirect = REDIRECT if mode == "proxy" else BLOCK
        asked, taken = (
            PROXIED[way],
            f"proxied {PROXIED[way]} {PORT}" if mode == "proxy" else "refused",
        )
        for rules, answer in (
            ((part(False, "br-lan", **mine),), f"direct {asked}"),
            ((part(False, "br-lan", **others),), taken),
            ((part(False, "br-lan2", **mine),), taken),
            ((part(True, "br-lan", **mine), part(False, "br-lan")), taken),
            ((part(True, "br-lan", **others), part(False, "br-lan")), f"direct {asked}"),
        ):
            backend.apply(replace(redirect, rules=rules))
            assert lab.ask(asked) == answer, rules
            other = PROXIED[1 - way]
            assert lab.ask(other) == taken.replace(asked, other), rules

    def test_who_is_let_through_is_counted_with_the_rest(
        self, lab: FirewallLab, backend: LabBackend
    ) -> None:
        backend.apply(replace(REDIRECT, rules=(LanRule(True, "br-lan", 4, (f"{HOST4}/32",)),)))
        lab.ask(PROXIED[0])
        lab.ask(PROXIED[1])
        counted = [c for c in backend.counters() if c.rule == "redirect" and c.chain == "SSREDIR"]
        assert sum(c.packets for c in counted) == 2

    # --- the guard and the server's port ------------------------------------------------------

    @pytest.mark.parametrize("redirect", [REDIRECT, OFF, BLOCK], ids=["on", "off", "block"])
    def test_nobody_reaches_the_redirector_itself(
        self, lab: FirewallLab, backend: LabBackend, redirect: Redirect
    ) -> None:
        backend.apply(redirect)
        assert lab.ask(ROUTER4, REDIRECTOR) == lab.ask(ROUTER6, REDIRECTOR) == "refused"
        assert lab.ask("10.1.1.78", REDIRECTOR, lab.world) == "refused"
        assert lab.ask("fd01::78", REDIRECTOR, lab.world) == "refused"
        assert lab.ask("127.0.0.1", REDIRECTOR, lab.router) == "refused"
        assert lab.ask("10.1.1.78", REDIRECTOR, lab.router) == "refused"

    @pytest.mark.parametrize("redirect", [REDIRECT, OFF, BLOCK], ids=["on", "off", "block"])
    def test_the_agents_probe_enters_the_tunnel(
        self, lab: FirewallLab, backend: LabBackend, redirect: Redirect
    ) -> None:
        backend.apply(redirect)
        address, port = PROBE
        assert lab.ask(address, port, lab.router, PROBE_SOURCE) == f"proxied {address} {port}"
        assert lab.ask(address, port + 1, lab.router, PROBE_SOURCE) == "refused"

    def test_a_probe_that_arrives_through_the_tunnel_ends_here(
        self, lab: FirewallLab, backend: LabBackend
    ) -> None:
        """The proxy server of a router with both roles connects to where the other's probe goes."""
        backend.apply(REDIRECT)
        assert lab.ask(*PROBE, lab.router) == "refused"
        assert lab.ask(*PROBE, lab.router, "127.0.0.1") == "refused"

    def test_who_may_reach_the_server(self, lab: FirewallLab, backend: LabBackend) -> None:
        with closing(lab.serve(lab.router, SERVER, net.direct)):
            backend.apply(None, Access(SERVER, ("10.1.1.64/28", "fd01::/64")))
            assert lab.ask("10.1.1.78", SERVER, lab.world) == "direct 10.1.1.78"
            assert lab.ask("fd01::78", SERVER, lab.world) == "direct fd01::78"
            assert lab.ask("127.0.0.1", SERVER, lab.router) == "direct 127.0.0.1"
            assert lab.ask(ROUTER4, SERVER) == lab.ask(ROUTER6, SERVER) == "refused"
            assert lab.ask(ROUTER4, PORT) == f"direct {ROUTER4}"
            backend.apply(None, Access(SERVER, ("192.168.78.107/32",)))
            assert lab.ask(ROUTER4, SERVER) == f"direct {ROUTER4}"
            assert lab.ask("10.1.1.78", SERVER, lab.world) == "refused"
            assert lab.ask("fd01::78", SERVER, lab.world) == "refused"

    def test_nobody_named_is_everyone(self, lab: FirewallLab, backend: LabBackend) -> None:
        with closing(lab.serve(lab.router, SERVER, net.direct)):
            backend.apply(None, Access(SERVER, ()))
            assert lab.ask("10.1.1.78", SERVER, lab.world) == "direct 10.1.1.78"
            assert lab.ask(ROUTER6, SERVER) == f"direct {ROUTER6}"

    def test_the_servers_port_elsewhere_is_not_our_business(
        self, lab: FirewallLab, backend: LabBackend
    ) -> None:
        with closing(lab.serve(lab.world, SERVER, net.direct)):
            backend.apply(None, Access(SERVER, ("10.9.9.9/32",)))
            assert lab.ask(PROXIED[0], SERVER) == f"direct {PROXIED[0]}"
            backend.apply(REDIRECT, Access(SERVER, ("10.9.9.9/32",)))
            assert lab.ask(PROXIED[0], SERVER) == f"proxied {PROXIED[0]} {SERVER}"

    # --- block --------------------------------------------------------------------------------

    def test_block_refuses_promptly_what_would_be_proxied(
        self, lab: FirewallLab, backend: LabBackend
    ) -> None:
        backend.apply(BLOCK)
        for address in PROXIED:
            started = time.monotonic()
            assert lab.ask(address) == "refused"
            assert time.monotonic() - started < 0.5
        for address in (*BYPASSED, ROUTER4, ROUTER6):
            assert lab.ask(address) == f"direct {address}"
            assert lab.ask(PROXIED[0], space=lab.router) == f"direct {PROXIED[0]}"

    def test_block_ends_running_direct_connections(
        self, lab: FirewallLab, backend: LabBackend
    ) -> None:
        streams = [net.connect(lab.host, address, PORT) for address in PROXIED]
        kept = net.connect(lab.host, BYPASSED[0], PORT)
        backend.apply(BLOCK)
        for stream in streams:
            with closing(stream), pytest.raises(ConnectionResetError):
                stream.echo()
        with closing(kept):
            assert kept.echo()

    def test_block_leaves_the_replies_of_a_forwarded_port(
        self, lab: FirewallLab, backend: LabBackend
    ) -> None:
        with closing(lab.serve(lab.host, 8080, net.direct)):
            self.forward(lab, "wan", "10.1.1.78", 8080, HOST4)
            backend.apply(replace(BLOCK, bypass=()))
            assert lab.ask("10.1.1.78", 8080, lab.world) == f"direct {HOST4}"
            assert lab.ask(HOST6, 8080, lab.world) == f"direct {HOST6}"

    # --- running connections ------------------------------------------------------------------

    @pytest.mark.parametrize("address", PROXIED)
    def test_running_connections_survive_every_switch(
        self, lab: FirewallLab, backend: LabBackend, address: str
    ) -> None:
        backend.apply(REDIRECT)
        with closing(net.connect(lab.host, address, PORT)) as proxied:
            backend.set_jumps(OFF)
            assert proxied.echo()
            with closing(net.connect(lab.host, address, PORT)) as direct:
                assert direct.greeting.startswith("direct")
                backend.set_jumps(REDIRECT)
                assert proxied.echo() and direct.echo()
                assert lab.ask(address).startswith("proxied")
                backend.apply(replace(REDIRECT, strip_mptcp=True), Access(SERVER, ()))
                assert proxied.echo() and direct.echo()
            backend.apply(BLOCK)
            assert lab.ask(address) == "refused"
            assert proxied.echo()
            backend.apply(REDIRECT)
            assert proxied.echo()

    @pytest.mark.parametrize("redirect", [REDIRECT, BLOCK], ids=["proxy", "block"])
    def test_jumps_are_switched_without_touching_the_rest(
        self, backend: LabBackend, redirect: Redirect
    ) -> None:
        access = Access(SERVER, ("10.0.0.0/8",))
        backend.apply(redirect, access)
        for jumps in ((), ("br-lan", "lan.2"), ("br-lan",)):
            backend.set_jumps(replace(redirect, jumps=jumps))
            assert backend.observe() == backend.firewall(replace(redirect, jumps=jumps), access)

    # --- MPTCP-speaking clients ---------------------------------------------------------------

    def test_mptcp_is_stripped_where_it_is_redirected(
        self, lab: FirewallLab, backend: LabBackend
    ) -> None:
        """An MPTCP listener cannot ask for the destination; with a plain client it can."""
        port = REDIRECTOR + 1
        lost = "lost Operation not supported"
        with (
            closing(lab.serve(lab.router, port, net.original, net.MPTCP)),
            closing(lab.serve(lab.world, 7200, net.protocol, net.MPTCP)),
        ):

            def ask(address: str) -> str:
                with closing(net.connect(lab.host, address, 7200, net.MPTCP)) as stream:
                    return stream.greeting

            backend.apply(replace(REDIRECT, port=port))
            assert [ask(a) for a in PROXIED] == [lost, lost]
            backend.apply(replace(REDIRECT, port=port, strip_mptcp=True))
            assert [ask(a) for a in PROXIED] == [f"proxied {a} 7200" for a in PROXIED]
            assert [ask(a) for a in BYPASSED] == ["MPTCP", "MPTCP"]
            backend.set_jumps(replace(OFF, port=port, strip_mptcp=True))
            assert [ask(a) for a in PROXIED] == ["MPTCP", "MPTCP"]

    # --- what is, and what should be ----------------------------------------------------------

    def test_networks_that_overlap_are_merged(self, lab: FirewallLab, backend: LabBackend) -> None:
        bypass = ("198.51.100.0/25", "198.51.100.0/24", "198.51.100.9", "198.51.101.0/24", "::/0")
        backend.apply(replace(REDIRECT, bypass=bypass))
        assert backend.observe() == backend.firewall(replace(REDIRECT, bypass=collapse(bypass)))
        assert lab.ask(BYPASSED[0]) == f"direct {BYPASSED[0]}"
        assert lab.ask(PROXIED[1]) == f"direct {PROXIED[1]}"

    def test_nothing_of_ours_is_nothing(self, backend: LabBackend) -> None:
        assert backend.observe() is None
        assert backend.counters() == ()
        backend.remove()
        backend.remove()
        assert backend.observe() is None

    def test_twice_is_once(self, backend: LabBackend) -> None:
        first = backend.apply(REDIRECT, Access(SERVER, ()))
        backend.apply(REDIRECT, Access(SERVER, ()))
        assert backend.observe() == first

    def test_foreign_rules_stay_and_removal_leaves_nothing(
        self, lab: FirewallLab, backend: LabBackend
    ) -> None:
        self.forward(lab, "wan", "10.1.1.78", 8080, HOST4)
        before = self.everything(lab)
        backend.apply(REDIRECT, Access(SERVER, ("10.0.0.0/8", "fd00::/8")))
        assert self.everything(lab) != before
        backend.set_jumps(OFF)
        backend.apply(replace(BLOCK, strip_mptcp=True))
        backend.apply(None, Access(SERVER, ()))
        backend.apply(REDIRECT)
        backend.remove()
        assert self.everything(lab) == before

    def everything(self, lab: FirewallLab) -> str:
        """All rules of the router as text, without counters."""
        raise NotImplementedError

    def test_tampering_is_seen_and_mended(
        self, lab: FirewallLab, backend: LabBackend, tampering: str
    ) -> None:
        redirect = replace(REDIRECT, strip_mptcp=True)
        firewall = backend.apply(redirect, Access(SERVER, ("10.1.1.0/24",)))
        lab.router.sh(tampering)
        assert backend.observe() != firewall
        backend.set_jumps(OFF)
        assert lab.ask(PROXIED[0]).startswith("direct")
        assert backend.observe() != firewall
        backend.apply(redirect, firewall.access)
        assert backend.observe() == firewall
        assert lab.ask(PROXIED[0]).startswith("proxied")

    def test_counters(self, lab: FirewallLab, backend: LabBackend) -> None:
        backend.apply(REDIRECT, Access(SERVER, ("10.9.9.9/32",)))
        for address in PROXIED:
            lab.ask(address)
        lab.ask(ROUTER4, REDIRECTOR)
        lab.ask(ROUTER6, SERVER)
        found = {(c.chain, c.rule): c for c in backend.counters()}
        assert found["SSREDIR", "redirect"].packets == 2
        assert found["guard", "redirected"].packets >= 6
        assert found["guard", "redirected"].bytes > found["SSREDIR", "redirect"].bytes > 0
        assert found["guard", "refused"].packets == 1
        assert found["access", "refused"].packets == 1

    # --- bad input ----------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "redirect",
        [
            replace(REDIRECT, port=0),
            replace(REDIRECT, port=65536),
            replace(REDIRECT, port=True),
            replace(REDIRECT, port="99999x"),  # type: ignore[arg-type]
            replace(REDIRECT, port=SERVER),
            replace(REDIRECT, jumps=('x" accept #',)),
            replace(REDIRECT, jumps=("br+",)),
            replace(REDIRECT, jumps=("br*",)),
            replace(REDIRECT, jumps=("sixteencharacter",)),
            replace(REDIRECT, jumps=("",)),
            replace(REDIRECT, bypass=("10.0.0.0/33",)),
            replace(REDIRECT, bypass=("example.org",)),
            replace(REDIRECT, bypass=("fe80::1%br-lan",)),
            replace(REDIRECT, bypass=("10.0.0.0/8 } ; flush ruleset",)),
        ],
        ids=lambda r: f"{r.port}-{r.jumps[0]}-{r.bypass[0]}",
    )
    def test_a_bad_value_changes_nothing(self, backend: LabBackend, redirect: Redirect) -> None:
        firewall = backend.apply(REDIRECT, Access(SERVER, ()))
        with pytest.raises(FirewallError):
            backend.apply(redirect, Access(SERVER, ()))
        assert backend.observe() == firewall

    def test_the_other_back_ends_rules_are_refused(self, backend: LabBackend) -> None:
        wrong = backend.firewall(REDIRECT)
        wrong = replace(wrong, backend="iptables" if backend.name == "nftables" else "nftables")
        with pytest.raises(FirewallError):
            backend._space.call(backend._backend.apply, wrong)

    def test_it_is_available_here(self, backend: LabBackend) -> None:
        assert backend.available() == ""
        assert backend.observe() is None


#: For a test function ``(backend, redirect, access)`` that calls ``check_observed``.
any_firewall = given(redirect=st.none() | redirects, access=st.none() | accesses)
few_examples = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def check_observed(backend: LabBackend, redirect: Redirect | None, access: Access | None) -> None:
    """What was applied is observed, whatever was there before and whatever was switched."""
    firewall = backend.apply(redirect, access)
    expected = firewall if redirect or access else None
    assert backend.observe() == expected
    if redirect:
        backend.set_jumps(replace(redirect, jumps=("lan1",)))
        backend.set_jumps(redirect)
        assert backend.observe() == expected


def made(
    implementation: FirewallBackend, lab: FirewallLab, undo: Callable[[], object]
) -> Iterator[LabBackend]:
    """For a fixture: the back end in the lab's router, cleaned up afterwards."""
    backend = LabBackend(implementation, lab.router, undo)
    try:
        yield backend
    finally:
        backend.remove()
        undo()
