# SPDX-License-Identifier: GPL-2.0-or-later
"""The iptables back end against the real kernel; iptables-legacy is the witness."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from kernel.firewall_cases import (
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
from kernel.firewall_lab import NEAR4, SERVER, FirewallLab
from toolkit.namespace import Namespace

from mptcp_agent.core.firewall.iptables_entry import XtRule
from mptcp_agent.core.state import Access, Family, Firewall, Redirect
from mptcp_agent.errors import FirewallError
from mptcp_agent.system.firewall import iptables, iptc_tables
from mptcp_agent.system.firewall.iptables import Iptables

V4, V6 = "iptables-legacy -w", "ip6tables-legacy -w"

TAMPERING = {
    "everything flushed": "\n".join(
        f"{program} -t {table} {option}"
        for program in (V4, V6)
        for table in ("nat", "filter", "mangle")
        for option in ("-F", "-X")
    ),
    "rule added": f"{V4} -t nat -I SSREDIR -j ACCEPT",
    "rule added (IPv6)": f"{V6} -t nat -I SSREDIR -p tcp -j RETURN",
    "rule removed": f"{V4} -t nat -D SSREDIR 1",
    "chain flushed": f"{V4} -t nat -F SSREDIR",
    "chain removed (IPv6)": f"""{V6} -t nat -D PREROUTING -i br-lan -p tcp -j SSREDIR
        {V6} -t nat -F SSREDIR
        {V6} -t nat -X SSREDIR""",
    "guard flushed": f"{V4} -F SSREDIR_IN",
    "guard no longer asked": f"{V4} -D INPUT -p tcp -j SSREDIR_IN",
    "guard asked elsewhere": f"{V4} -A FORWARD -p tcp -j SSREDIR_IN",
    "strip flushed (IPv6)": f"{V6} -t mangle -F SSREDIR_IN",
    "network added": f"{V4} -t nat -I SSREDIR 5 -d 100.64.0.0/10 -p tcp -j RETURN",
    "network removed": f"{V6} -t nat -D SSREDIR -d fd00::/8 -p tcp -j RETURN",
    "allowed": f"{V4} -I SSREDIR_IN 4 -p tcp -s 192.168.78.0/24 --dport {SERVER} -j RETURN",
    "port changed": f"""{V4} -t nat -D SSREDIR -p tcp -j REDIRECT --to-ports 1080
        {V4} -t nat -A SSREDIR -p tcp -j REDIRECT --to-ports 1081""",
    "ports changed": f"""{V4} -t nat -D SSREDIR -p tcp -j REDIRECT --to-ports 1080
        {V4} -t nat -A SSREDIR -p tcp -j REDIRECT --to-ports 1080-1081""",
    "one match more": f"""{V4} -t nat -D SSREDIR -p tcp -j REDIRECT --to-ports 1080
        {V4} -t nat -A SSREDIR -p tcp -m mark --mark 0 -j REDIRECT --to-ports 1080""",
    "jump removed": f"{V4} -t nat -F PREROUTING",
    "jump removed (IPv6)": f"{V6} -t nat -F PREROUTING",
    "jump doubled": f"{V4} -t nat -A PREROUTING -i br-lan -p tcp -j SSREDIR",
    "jump by goto": f"""{V4} -t nat -F PREROUTING
        {V4} -t nat -A PREROUTING -i br-lan -p tcp -g SSREDIR""",
    "jump with a match": f"""{V4} -t nat -F PREROUTING
        {V4} -t nat -A PREROUTING -i br-lan -p tcp -m tcp --dport 7100 -j SSREDIR""",
    "jump inverted": f"""{V4} -t nat -F PREROUTING
        {V4} -t nat -A PREROUTING ! -i br-lan -p tcp -j SSREDIR""",
    "jump by prefix": f"""{V4} -t nat -F PREROUTING
        {V4} -t nat -A PREROUTING -i br-lan+ -p tcp -j SSREDIR""",
    "jump from elsewhere": f"{V4} -t nat -A OUTPUT -p tcp --dport 9 -j SSREDIR",
    "overtaken": f"{V4} -t nat -A PREROUTING -p tcp --dport 9 -j ACCEPT",
    "probe flushed": f"{V4} -t nat -F SSREDIR_OUT",
    "block besides": f"""{V4} -N SSREDIR
        {V4} -A FORWARD -i br-lan -p tcp -j SSREDIR""",
}


@pytest.fixture
def backend(lab: FirewallLab) -> Iterator[LabBackend]:
    yield from made(Iptables(), lab, lambda: lab.router.sh(TAMPERING["everything flushed"]))


@pytest.fixture(params=list(TAMPERING.values()), ids=list(TAMPERING))
def tampering(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestIptables(FirewallCases):
    def forward(self, lab: FirewallLab, device: str, address: str, port: int, to: str) -> None:
        target = f"{to}:7100" if device == "br-lan" else to
        lab.router.sh(
            f"{V4} -t nat -A PREROUTING -i {device} -d {address} -p tcp --dport {port} "
            f"-j DNAT --to-destination {target}"
        )

    def everything(self, lab: FirewallLab) -> str:
        """Rules and own chains; the tables themselves stay once somebody has looked at them."""
        text = lab.router.sh("iptables-legacy-save; ip6tables-legacy-save")
        return "\n".join(x for x in text.splitlines() if x.startswith("-A") or " - [" in x)


@few_examples
@any_firewall
def test_what_was_applied_is_observed(
    backend: LabBackend, redirect: Redirect | None, access: Access | None
) -> None:
    check_observed(backend, redirect, access)


def test_as_iptables_shows_it(lab: FirewallLab, backend: LabBackend) -> None:
    redirect = replace(REDIRECT, jumps=("br-lan", "wlan0-1"), strip_mptcp=True)
    backend.apply(redirect, Access(SERVER, ("10.1.1.0/24", "10.2.2.7/32")))

    def rules(table: str, program: str = "iptables-legacy-save") -> list[str]:
        text = lab.router.sh(f"{program} -t {table}")
        return [line for line in text.splitlines() if line.startswith("-A")]

    assert rules("nat") == [
        "-A PREROUTING -i br-lan -p tcp -j SSREDIR",
        "-A PREROUTING -i wlan0-1 -p tcp -j SSREDIR",
        "-A OUTPUT -p tcp -j SSREDIR_OUT",
        "-A SSREDIR -p tcp -m addrtype --dst-type LOCAL,BROADCAST,ANYCAST -j RETURN",
        "-A SSREDIR -d 0.0.0.0/8 -p tcp -j RETURN",
        "-A SSREDIR -d 127.0.0.0/8 -p tcp -j RETURN",
        "-A SSREDIR -d 169.254.0.0/16 -p tcp -j RETURN",
        "-A SSREDIR -d 224.0.0.0/4 -p tcp -j RETURN",
        "-A SSREDIR -d 10.0.0.0/8 -p tcp -j RETURN",
        "-A SSREDIR -d 198.51.100.0/24 -p tcp -j RETURN",
        "-A SSREDIR -p tcp -j REDIRECT --to-ports 1080",
        "-A SSREDIR_OUT -s 127.109.0.2/32 -d 127.109.0.1/32 -p tcp -m tcp --dport 1 "
        "-j REDIRECT --to-ports 1080",
    ]
    assert rules("nat", "ip6tables-legacy-save") == [
        "-A PREROUTING -i br-lan -p tcp -j SSREDIR",
        "-A PREROUTING -i wlan0-1 -p tcp -j SSREDIR",
        "-A SSREDIR -p tcp -m addrtype --dst-type LOCAL,ANYCAST -j RETURN",
        "-A SSREDIR -d ::/127 -p tcp -j RETURN",
        "-A SSREDIR -d fe80::/10 -p tcp -j RETURN",
        "-A SSREDIR -d ff00::/8 -p tcp -j RETURN",
        "-A SSREDIR -d 2001:db8:9::/48 -p tcp -j RETURN",
        "-A SSREDIR -d fd00::/8 -p tcp -j RETURN",
        "-A SSREDIR -p tcp -j REDIRECT --to-ports 1080",
    ]
    assert rules("filter") == [
        "-A INPUT -p tcp -j SSREDIR_IN",
        "-A SSREDIR_IN -p tcp -m tcp --dport 1080 -m conntrack --ctstate DNAT -j RETURN",
        "-A SSREDIR_IN -p tcp -m tcp --dport 1080 -j REJECT --reject-with tcp-reset",
        "-A SSREDIR_IN -i lo -p tcp -m tcp --dport 8388 -j RETURN",
        "-A SSREDIR_IN -s 10.1.1.0/24 -p tcp -m tcp --dport 8388 -j RETURN",
        "-A SSREDIR_IN -s 10.2.2.7/32 -p tcp -m tcp --dport 8388 -j RETURN",
        "-A SSREDIR_IN -p tcp -m tcp --dport 8388 -j REJECT --reject-with tcp-reset",
    ]
    assert rules("filter", "ip6tables-legacy-save") == [
        "-A INPUT -p tcp -j SSREDIR_IN",
        "-A SSREDIR_IN -p tcp -m tcp --dport 1080 -m conntrack --ctstate DNAT -j RETURN",
        "-A SSREDIR_IN -p tcp -m tcp --dport 1080 -j REJECT --reject-with tcp-reset",
        "-A SSREDIR_IN -i lo -p tcp -m tcp --dport 8388 -j RETURN",
        "-A SSREDIR_IN -p tcp -m tcp --dport 8388 -j REJECT --reject-with tcp-reset",
    ]
    assert rules("mangle") == [
        "-A INPUT -p tcp -j SSREDIR_IN",
        "-A SSREDIR_IN -p tcp -m tcp --dport 1080 --tcp-flags FIN,SYN,RST,ACK SYN "
        "-m conntrack --ctstate DNAT -j TCPOPTSTRIP --strip-options 30",
    ]


@pytest.mark.parametrize(
    ("table", "arguments", "rule"),
    [
        ("nat", "-i br-lan -p tcp -j SSREDIR", {"target": "SSREDIR", "device": "br-lan"}),
        ("nat", "-p tcp -j REDIRECT --to-ports 1080", {"target": "REDIRECT", "to_port": 1080}),
        ("nat", "-p tcp -j RETURN", {"target": "RETURN"}),
        ("filter", "-p tcp --dport 80 -j RETURN", {"target": "RETURN", "dport": 80}),
        ("filter", "-p tcp -j REJECT --reject-with tcp-reset", {"target": "REJECT"}),
        (
            "nat",
            "-i br-lan -p tcp -m tcp --sport 5000:5999 --dport 20:30 -m mac --mac-source "
            "02:00:00:00:00:0b -j RETURN",
            {
                "target": "RETURN",
                "device": "br-lan",
                "sports": (5000, 5999),
                "dports": (20, 30),
                "mac": "02:00:00:00:00:0b",
            },
        ),
        (
            "filter",
            "-i br-lan -p tcp -m mac ! --mac-source 02:00:00:00:00:0b -m mac ! --mac-source "
            "02:00:00:00:00:0c -j RETURN",
            {
                "target": "RETURN",
                "device": "br-lan",
                "not_macs": ("02:00:00:00:00:0b", "02:00:00:00:00:0c"),
            },
        ),
        (
            "filter",
            "-p tcp -m conntrack --ctstate DNAT --ctdir REPLY -j RETURN",
            {"target": "RETURN", "dnat": True, "reply": True},
        ),
        (
            "mangle",
            "-p tcp --dport 9 --syn -m conntrack --ctstate DNAT -j TCPOPTSTRIP --strip-options 30",
            {"target": "TCPOPTSTRIP", "dport": 9, "syn": True, "dnat": True},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("family", [4, 6])
def test_our_bytes_are_those_of_iptables(
    backend: LabBackend, family: Family, table: str, arguments: str, rule: dict[str, object]
) -> None:
    """A rule made by the iptables program is read as the rule we would have made."""
    backend._space.sh(
        f"""{V6 if family == 6 else V4} -t {table} -N SSREDIR
        {V6 if family == 6 else V4} -t {table} -N SSREDIR_IN
        {V6 if family == 6 else V4} -t {table} -A SSREDIR_IN {arguments}"""
    )

    def read() -> tuple[XtRule, ...]:
        with iptc_tables.locked(), iptc_tables.opened(family, table) as handle:
            return handle.read().chains["SSREDIR_IN"]

    assert backend._space.call(read) == (XtRule(family, **rule),)  # type: ignore[arg-type]


def test_a_port_forward_made_later_is_put_before_ours(
    lab: FirewallLab, backend: LabBackend
) -> None:
    firewall = backend.apply(REDIRECT)
    TestIptables().forward(lab, "br-lan", PROXIED[0], 8081, NEAR4)
    assert backend.observe() != firewall
    backend.set_jumps(REDIRECT)
    assert backend.observe() == firewall
    assert lab.ask(PROXIED[0], 8081) == f"direct {NEAR4}"


def test_nobody_loses_a_rule(lab: FirewallLab, backend: LabBackend) -> None:
    """Another program changes the same table all the while, under the lock as we are.

    Replacing a rule keeps the table's size: the kernel would take our outdated table.
    """
    hammer = """
        set -e
        iptables-legacy -w -t nat -N HAMMER
        iptables-legacy -w -t nat -A HAMMER -p tcp --dport 1 -j RETURN
        for port in $(seq 2 150); do
            iptables-legacy -w -t nat -R HAMMER 1 -p tcp --dport $port -j RETURN
            iptables-legacy -w -t nat -C HAMMER -p tcp --dport $port -j RETURN
        done
        iptables-legacy -w -t nat -F HAMMER
        iptables-legacy -w -t nat -X HAMMER
    """
    process = lab.router.call(subprocess.Popen, ["sh", "-c", hammer], stderr=subprocess.PIPE)
    rounds = 0
    while process.poll() is None:
        backend.apply(REDIRECT)
        backend.set_jumps(OFF)
        backend.set_jumps(REDIRECT)
        assert backend.observe() == backend.firewall(REDIRECT)
        rounds += 1
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert rounds >= 5


def test_a_change_without_the_lock_is_noticed(lab: FirewallLab, backend: LabBackend) -> None:
    """The kernel refuses a table of another size; we look again and write again."""
    backend.apply(REDIRECT)
    meddled: list[bool] = []

    def write(table: iptc_tables.OpenTable) -> None:
        if not meddled:
            meddled.append(True)
            subprocess.run(
                ["iptables-legacy", "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "-j", "RETURN"],
                env={"PATH": "/usr/sbin:/sbin", "XTABLES_LOCKFILE": "/dev/null"},
                check=True,
            )
        table.remove_jumps()

    def change() -> None:
        with iptc_tables.locked():
            iptc_tables.change(4, "nat", write)

    lab.router.call(change)
    assert "-A OUTPUT -p tcp -j RETURN" in lab.router.sh("iptables-legacy-save -t nat")
    assert "-j SSREDIR" not in lab.router.sh("iptables-legacy-save -t nat")


def test_the_lock_is_waited_for_but_not_for_ever(
    backend: LabBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "xtables.lock"
    monkeypatch.setenv("XTABLES_LOCKFILE", str(path))
    monkeypatch.setattr(iptc_tables, "_LOCK_TIMEOUT", 0.05)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(FirewallError, match=r"xtables\.lock"):
            backend.apply(REDIRECT)
    backend.apply(REDIRECT)


def test_looking_creates_no_table_and_imports_nothing() -> None:
    """On a router with nftables, asking whether there is anything left must cost nothing."""
    code = """
from mptcp_agent.system.firewall.iptables import Iptables
import sys
backend = Iptables()
assert backend.observe() is None and backend.counters() == ()
backend.remove()
assert not {m for m in sys.modules if m.startswith("iptc")}
print(open("/proc/net/ip_tables_names").read() + open("/proc/net/ip6_tables_names").read())
"""
    assert _python(code, "unshare", "--net").stdout.strip() == ""


def test_it_works_without_ldconfig() -> None:
    """As on OpenWrt: nothing is there to find libraries with, and nothing may be started."""
    code = """
import ctypes.util, glob, subprocess
from mptcp_agent.core.state import *
from mptcp_agent.system.firewall import iptc_tables
from mptcp_agent.system.firewall.iptables import Iptables

libraries = glob.glob("/usr/lib/*/libip4tc.so*") + glob.glob("/usr/lib*/libip4tc.so*")
iptc_tables._LIBRARY_PATHS = (libraries[0].rpartition("/")[0],)
iptc_tables._PLUGIN_PATHS = (iptc_tables._LIBRARY_PATHS[0] + "/xtables",)
before = ctypes.util.find_library
def nothing(*arguments, **options):
    raise OSError("no such program")
subprocess.Popen = nothing
with iptc_tables._openwrt():
    import iptc
assert ctypes.util.find_library is before
firewall = Firewall("iptables", Redirect(1080, ("10.0.0.0/8",), ("br-lan",)))
Iptables().apply(firewall)
assert Iptables().observe() == firewall
print("works")
"""
    assert _python(code, "unshare", "--net").stdout.strip() == "works"


def test_missing_rights_and_programs(monkeypatch: pytest.MonkeyPatch, lab: FirewallLab) -> None:
    code = (
        "from mptcp_agent.system.firewall.iptables import Iptables; print(Iptables().available())"
    )
    done = _python(code, "setpriv", "--bounding-set=-net_admin")
    assert "CAP_NET_ADMIN" in done.stdout
    monkeypatch.setitem(sys.modules, "iptc", None)
    backend = Iptables()
    assert "install the package python3-iptables" in lab.router.call(backend.available)
    with pytest.raises(FirewallError, match="python3-iptables"):
        lab.router.call(backend.apply, Firewall("iptables", REDIRECT))
    # Somebody else's tables are no reason to complain on a router that uses nftables.
    lab.router.sh(f"{V4} -t nat -L")
    assert lab.router.call(backend.observe) is None
    lab.router.call(backend.remove)


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_iptables_nft_in_use_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variant: str
) -> None:
    for name in ("iptables", "iptables-save"):
        program = name.replace("iptables", f"iptables-{variant}")
        (tmp_path / name).symlink_to(f"/usr/sbin/{program}")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin")
    space = Namespace()
    try:
        assert space.call(Iptables().available) == ""
        space.sh("iptables -A INPUT -p tcp -j ACCEPT")
        said = space.call(Iptables().available)
        assert ("nftables" in said) == (variant == "nft")
    finally:
        space.close()


def test_no_chain_to_lead_into() -> None:
    space = Namespace()
    try:
        space.call(Iptables().set_jumps, OFF)
        with pytest.raises(FirewallError, match="no chain SSREDIR"):
            space.call(Iptables().set_jumps, REDIRECT)
        space.sh(f"{V4} -t nat -L")
        space.call(Iptables().set_jumps, OFF)
        with pytest.raises(FirewallError, match="no chain SSREDIR"):
            space.call(Iptables().set_jumps, REDIRECT)
    finally:
        space.close()


# --- Kernels that lack parts ------------------------------------------------------------------


def _lacking(
    monkeypatch: pytest.MonkeyPatch, lacks: Callable[[Family, str], bool]
) -> Iterator[Namespace]:
    real = iptables._has
    monkeypatch.setattr(iptables, "_has", lambda f, t: not lacks(f, t) and real(f, t))
    space = Namespace()
    try:
        yield space
    finally:
        space.close()


def test_no_legacy_iptables_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for space in _lacking(monkeypatch, lambda family, table: True):
        assert "nftables" in space.call(Iptables().available)
        with pytest.raises(FirewallError, match="kmod-ipt-nat"):
            space.call(Iptables().apply, Firewall("iptables", REDIRECT))


def test_no_ip6tables_where_ipv6_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    for space in _lacking(monkeypatch, lambda family, table: family == 6):
        backend = Iptables()
        firewall = Firewall("iptables", REDIRECT, Access(SERVER, ("10.0.0.0/8", "fd00::/8")))
        space.call(backend.apply, firewall)
        assert space.call(backend.observe) == firewall
        # Nothing here can hold IPv6 networks: a restarted agent writes once more.
        assert space.call(Iptables().observe) != firewall


def test_no_ip6tables_where_ipv6_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the ports would be open to everybody by IPv6: better no redirect at all."""
    for space in _lacking(monkeypatch, lambda family, table: family == 6):
        space.sh("ip link add d0 type veth peer d1; ip link set d0 up; ip addr add fd00::1 dev d0")
        assert "kmod-ip6tables" in space.call(Iptables().available)
        with pytest.raises(FirewallError, match="kmod-ip6tables"):
            space.call(Iptables().apply, Firewall("iptables", REDIRECT))
        assert space.call(Iptables().observe) is None


def test_no_ipv6_nat(monkeypatch: pytest.MonkeyPatch) -> None:
    """IPv6 goes its own way, and nobody reaches the redirector by it."""
    for space in _lacking(monkeypatch, lambda family, table: (family, table) == (6, "nat")):
        backend = Iptables()
        for redirect in (REDIRECT, replace(REDIRECT, mode="block")):
            firewall = Firewall("iptables", redirect)
            space.call(backend.apply, firewall)
            assert space.call(backend.observe) == firewall
            rules = space.sh("ip6tables-legacy-save")
            assert "--dport 1080 -j REJECT" in rules and "REDIRECT" not in rules
            assert "FORWARD -i" not in rules


def _python(code: str, *prefix: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*prefix, sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done
