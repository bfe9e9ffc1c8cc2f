# SPDX-License-Identifier: GPL-2.0-or-later
"""The nftables back end against the real kernel."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from kernel.firewall_cases import (
    BLOCK,
    OFF,
    PROXIED,
    REDIRECT,
    FirewallCases,
    LabBackend,
    any_firewall,
    check_observed,
    few_examples,
    made,
)
from kernel.firewall_lab import NEAR4, NEAR6, PORT, SERVER, FirewallLab
from toolkit.namespace import Namespace

from mptcp_agent.core.state import Access, Firewall, Inbound, Redirect
from mptcp_agent.errors import FirewallError
from mptcp_agent.system.firewall.nftables import Nftables

TABLE = "inet mptcp_proxy"
_NFT = shutil.which("nft") or "nft"

# Each changes what the table means; the first takes all of it.
TAMPERING = {
    "flush ruleset": "nft flush ruleset",
    "table deleted": f"nft delete table {TABLE}",
    "rule added": f"nft insert rule {TABLE} SSREDIR accept",
    "rule added with a comment": f'nft insert rule {TABLE} SSREDIR accept comment \\"redirect\\"',
    "chain flushed": f"nft flush chain {TABLE} SSREDIR",
    "guard flushed": f"nft flush chain {TABLE} guard",
    "access flushed": f"nft flush chain {TABLE} access",
    "strip flushed": f"nft flush chain {TABLE} strip",
    "network added": f"nft add element {TABLE} bypass4 '{{ 100.64.0.0/10 }}'",
    "network removed": f"nft delete element {TABLE} bypass6 '{{ fd00::/8 }}'",
    "allowed": f"nft add element {TABLE} allow4 '{{ 192.168.78.0/24 }}'",
    "port changed": f"""
        handle=$(nft -a list chain {TABLE} SSREDIR | sed -n 's/.*redirect to .*handle //p')
        nft replace rule {TABLE} SSREDIR handle $handle meta l4proto tcp counter redirect to :1081 \
            comment '"redirect"'
        """,
    "jump removed": f"nft flush chain {TABLE} prerouting",
    "jump doubled": f"nft add rule {TABLE} prerouting iifname br-lan meta l4proto tcp jump SSREDIR",
    "foreign jump": f"nft insert rule {TABLE} prerouting iifname br-lan tcp dport 7100 accept",
    "jumps chain deleted": f"nft flush chain {TABLE} prerouting; "
    f"nft delete chain {TABLE} prerouting",
    "probe flushed": f"nft flush chain {TABLE} probe",
    "own chain added": f"nft add chain {TABLE} mine",
    "dormant": f"nft add table {TABLE} '{{ flags dormant; }}'",
}


@pytest.fixture
def backend(lab: FirewallLab) -> Iterator[LabBackend]:
    def undo() -> None:
        # As fw4 reload does: its own table is replaced, nothing else.
        lab.router.sh("nft delete table inet fw4 2>/dev/null || true")
        lab.fw4()

    yield from made(Nftables(), lab, undo)


@pytest.fixture(params=list(TAMPERING.values()), ids=list(TAMPERING))
def tampering(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestNftables(FirewallCases):
    def forward(self, lab: FirewallLab, device: str, address: str, port: int, to: str) -> None:
        target = f"{to}:7100" if device == "br-lan" else to
        lab.router.sh(
            f"nft add rule inet fw4 dstnat iifname {device} ip daddr {address} tcp dport {port} "
            f"dnat ip to {target}"
        )

    def everything(self, lab: FirewallLab) -> str:
        return lab.router.sh("nft -s list ruleset")


@few_examples
@any_firewall
def test_what_was_applied_is_observed(
    backend: LabBackend, redirect: Redirect | None, access: Access | None
) -> None:
    if redirect:  # devices are devices
        redirect = replace(redirect, uplinks=redirect.jumps)
    check_observed(backend, redirect, access)


@pytest.mark.parametrize("redirect", [None, REDIRECT])
def test_marks_of_what_comes_in_are_observed(lab: FirewallLab, redirect: Redirect | None) -> None:
    nft = Nftables()
    inbound = (Inbound("wan", 1 << 25), Inbound("wan2", 2 << 25))
    firewall = Firewall("nftables", redirect, None, inbound)
    with lab.router:
        nft.apply(firewall)
        assert nft.observe() == firewall
        lab.router.sh(f"nft flush chain {TABLE} inbound")
        assert nft.observe() != firewall
        nft.apply(firewall)
        assert nft.observe() == firewall
        nft.remove()
        assert nft.observe() is None


@pytest.mark.parametrize("redirect", [REDIRECT, BLOCK], ids=["proxy", "block"])
def test_what_the_kernel_sends_elsewhere_is_left_alone(
    lab: FirewallLab, backend: LabBackend, redirect: Redirect
) -> None:
    """A VPN's route, whoever made it, the kernel finds by itself, at that moment."""
    backend.apply(replace(redirect, uplinks=("pppoe-wan", "wan")))
    for address in PROXIED:
        assert lab.ask(address) != f"direct {address}"
    backend.apply(replace(redirect, uplinks=("pppoe-wan", "wan2")))
    for address in PROXIED:
        assert lab.ask(address) == f"direct {address}"


def test_with_uplinks_a_mark_counts_and_a_missing_route_does_not(
    lab: FirewallLab, backend: LabBackend
) -> None:
    """A policy of the user's sends marked connections elsewhere; where no route leads out the
    proxy may still have a way."""
    backend.apply(replace(REDIRECT, uplinks=("wan",)))
    lab.router.sh(
        "nft add table inet user;"
        "nft add chain inet user early '{ type filter hook prerouting priority mangle; }';"
        f"nft add rule inet user early ip daddr {PROXIED[0]} meta mark set 7;"
        "ip rule add fwmark 7 lookup 77; ip route add default dev br-lan table 77"
    )
    try:
        assert lab.ask(PROXIED[0]) != f"proxied {PROXIED[0]} {PORT}"
    finally:
        lab.router.sh("nft delete table inet user; ip rule del fwmark 7; ip route flush table 77")
    lab.router.sh("ip route del default; ip -6 route del default")
    try:
        for address in PROXIED[:2]:
            assert lab.ask(address).startswith("proxied")
    finally:
        lab.router.sh(f"ip route add default via {NEAR4}; ip -6 route add default via {NEAR6}")


def test_it_survives_a_reload_of_fw4(lab: FirewallLab, backend: LabBackend) -> None:
    firewall = backend.apply(REDIRECT, Access(SERVER, ()))
    backend.undo()
    assert backend.observe() == firewall
    assert lab.ask(PROXIED[0]).startswith("proxied")


def test_switching_off_what_is_not_there(backend: LabBackend) -> None:
    backend.set_jumps(OFF)
    assert backend.observe() is None
    with pytest.raises(FirewallError):
        backend.set_jumps(REDIRECT)


def test_block_refuses_where_there_is_no_route(lab: FirewallLab, backend: LabBackend) -> None:
    backend.apply(BLOCK)
    lab.router.sh("ip route del default")
    try:
        assert lab.ask(PROXIED[0]) == "refused"
    finally:
        lab.router.sh("ip route add default via 10.1.1.70")


def test_a_table_of_another_release_of_the_agent_is_written_anew(backend: LabBackend) -> None:
    firewall = backend.apply(REDIRECT)
    backend._space.sh(
        f"note=$(nft list chain {TABLE} readback | sed -n 's/.*comment .text [0-9a-f]*//p');"
        f"nft flush chain {TABLE} readback;"
        f'nft add rule {TABLE} readback counter comment "\\"text 0123456789abcdef$note"'
    )
    assert backend.observe() != firewall


def test_a_refused_table_leaves_the_old_one(backend: LabBackend, tmp_path: Path) -> None:
    """One transaction: a kernel that lacks a part keeps what it had, and says which part."""
    firewall = backend.apply(REDIRECT)
    broken = LabBackend(
        Nftables(_without(tmp_path, "reset tcp option")), backend._space, backend.undo
    )
    with pytest.raises(FirewallError, match=r"removal of TCP options.*nft 1\.0\.2.*Linux 5\.18"):
        broken.apply(replace(REDIRECT, strip_mptcp=True))
    assert backend.observe() == firewall


@pytest.mark.parametrize(
    ("word", "package"),
    [("fib", "kmod-nft-fib"), ("redirect", "kmod-nft-nat"), ("reject", "kmod-nft-core")],
)
def test_a_missing_module_is_named(
    backend: LabBackend, tmp_path: Path, word: str, package: str
) -> None:
    broken = LabBackend(Nftables(_without(tmp_path, word)), backend._space, backend.undo)
    assert package in broken.available()
    with pytest.raises(FirewallError, match=package):
        broken.apply(REDIRECT)


def test_missing_programs_and_rights(tmp_path: Path) -> None:
    assert "install nftables" in Nftables("no-such-program").available()
    absent, forbidden = Nftables("no-such-program"), Nftables("/dev/null")
    with pytest.raises(FirewallError, match="install nftables"):
        absent.apply(Firewall("nftables", REDIRECT))
    assert absent.observe() is forbidden.observe() is None
    assert absent.counters() == ()
    absent.remove()
    nojson = _script(tmp_path / "nojson", 'echo "JSON support not compiled-in" >&2; exit 1')
    assert "nftables-json" in Nftables(nojson).available()
    nobody = _script(tmp_path / "nobody", f'exec setpriv --reuid 65534 --clear-groups {_NFT} "$@"')
    assert "CAP_NET_ADMIN" in Nftables(nobody).available()
    with pytest.raises(FirewallError, match="CAP_NET_ADMIN"):
        Nftables(nobody).apply(Firewall("nftables", REDIRECT))


def test_nothing_is_needed_of_the_environment(
    backend: LabBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """procd's jail gives container=ujail and no PATH; nft lies in /usr/sbin."""
    for name in [n for n in os.environ if n != "PYTEST_CURRENT_TEST"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("container", "ujail")
    assert backend.available() == ""
    planned = backend.apply(REDIRECT)
    assert backend.observe() == planned


def test_nft_that_cannot_read_the_table(backend: LabBackend, tmp_path: Path) -> None:
    """nft 1.0 dies of SIGSEGV on a table written by 1.1: observed as damaged, mended by apply."""
    firewall = backend.apply(REDIRECT)
    dying = _script(tmp_path / "dying", f'[ "$2" = list ] && kill -11 $$; exec {_NFT} "$@"')
    garbled = _script(tmp_path / "garbled", 'echo "{}"')
    for program in (dying, garbled):
        seen = backend._space.call(Nftables(program).observe)
        assert seen is not None and seen != firewall and seen.redirect


def test_it_works_without_any_other_rules() -> None:
    space = Namespace()
    try:
        firewall = Firewall("nftables", REDIRECT)
        space.call(Nftables().apply, firewall)
        assert space.call(Nftables().observe) == firewall
        space.call(Nftables().remove)
        assert space.sh("nft list ruleset") == ""
    finally:
        space.close()


def _script(path: Path, body: str) -> str:
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return str(path)


def _without(directory: Path, word: str) -> str:
    """An nft whose kernel does not know a word."""
    return _script(
        directory / "nft",
        f"""input=$(cat)
        if [[ $input == *"{word}"* ]]; then
            echo "Error: Could not process rule: No such file or directory" >&2
            exit 1
        fi
        exec {_NFT} "$@" <<<"$input"
        """,
    )
