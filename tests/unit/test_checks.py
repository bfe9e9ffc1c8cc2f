# SPDX-License-Identifier: GPL-2.0-or-later
"""Each row of ``check``: when it is there, what it says, and the way out it gives.

That ``check`` and the status agree is held by ``test_verdict``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from jsonschema import Draft202012Validator
from unit.examples import (
    BRIDGE,
    BRIDGE_BOTH,
    BRIDGE_CLIENT,
    BRIDGE_SERVER,
    BRIDGE_WAN1,
    BRIDGE_WAN2,
    FIREWALL,
    ISP_CLIENT,
    LAN,
    LOOPBACK,
    MEANS,
    READY,
    SECRET,
    SING_BOX,
    health,
    router,
    schema,
    section,
)
from unit.fakes import FakeBus
from unit.test_status import DARK, ONE, PATHS, view

from mptcp_agent.checks import Asked, run_checks
from mptcp_agent.checks.rivals import PROGRAMS
from mptcp_agent.core.network import Facts
from mptcp_agent.core.problem import Problem
from mptcp_agent.core.sampled import Sampled
from mptcp_agent.core.snapshot import Capabilities
from mptcp_agent.core.state import RouterState
from mptcp_agent.core.view import View

Rows = dict[str, dict[str, str]]
Bus = Callable[[FakeBus], object]


def sysctl(key: str, value: str) -> Facts:
    return router(LOOPBACK, LAN, BRIDGE_WAN1, BRIDGE_WAN2, sysctls={key: value})


def engine(**of: object) -> Capabilities:
    return replace(MEANS, builds={"sing-box": replace(SING_BOX, **of)})  # type: ignore[arg-type]


def seen(**counters: int) -> Sampled:
    return Sampled(counters=tuple(counters.items()))


def runs(service: str) -> Bus:
    instances = {"main": {"command": [service]}}
    return lambda bus: bus.procd.answer("set", {"name": service, "instances": instances})


def away(object_: str) -> Bus:
    return lambda bus: bus.away.add(object_)


def rows(of: View, happens: Bus = lambda bus: None) -> Rows:
    bus = FakeBus(BRIDGE_CLIENT, BRIDGE.interfaces)
    bus.connect()
    happens(bus)
    found = run_checks(of, bus.call, Asked(installed=("sing-box",)))
    Draft202012Validator(schema("check")).validate({"checks": found})
    assert len({row["name"] for row in found}) == len(found)
    return {row["name"]: row for row in found}


WHOLE = view(BRIDGE_CLIENT)


@dataclass(frozen=True)
class Case:
    """A row by its name, on a router, with its result, parts of its message and of its hint.
    ``absent``: there is no such row."""

    name: str
    result: str
    message: str = ""
    hint: str = ""
    of: View = field(default_factory=lambda: WHOLE)
    happens: Bus = lambda bus: None


REFUSAL = Problem("endpoint 10.1.1.78", "not permitted", "run as root")
SERVER = view(BRIDGE_SERVER)


def flooded(rate: str = "") -> View:
    given = {"synflood_rate": rate} if rate else {}
    defaults = {**FIREWALL["cfg01"], "synflood_protect": "1", **given}
    return view(BRIDGE_CLIENT, firewall={**FIREWALL, "cfg01": defaults})


GUARDED = view(BRIDGE_CLIENT, firewall=FIREWALL)
UNRESOLVED = {**BRIDGE_CLIENT, "r7000": section("peer", address="vps.example")}
UNSET = view({**BRIDGE_CLIENT, "wan2": section("wan", interface="wan2", role="main")})
HUNG = replace(READY, dead_peers=frozenset({"r7000"}))
REFUSED = replace(READY, refused=frozenset({"10.1.1.70"}))
DEAD = replace(READY, refused=frozenset({"10.1.1.70", "10.2.2.70"}))
PROBED = health(*PATHS[:2])

CASES = (
    # The whole
    Case("state", "ok", "active: 2 WANs in use"),
    Case("state", "warning", "degraded: WAN down: wan1", of=view(BRIDGE_CLIENT, ONE)),
    Case("state", "failed", "bypassed: no WAN is up", of=view(BRIDGE_CLIENT, DARK)),
    # The kernel
    Case("kernel MPTCP", "ok", "present and enabled"),
    Case(
        *("kernel MPTCP", "failed", "is 0", "the agent sets it"),
        of=view(BRIDGE_CLIENT, sysctl("net.mptcp.enabled", "0")),
    ),
    Case(
        *("kernel MPTCP", "failed", "no Multipath TCP", "CONFIG_KERNEL_MPTCP"),
        of=view(BRIDGE_CLIENT, replace(BRIDGE, sysctls=())),
    ),
    Case("MPTCP black hole detection", "warning", "for an hour", "the agent sets it"),
    Case(
        *("MPTCP black hole detection", "absent"),
        of=view(BRIDGE_CLIENT, sysctl("net.mptcp.blackhole_timeout", "0")),
    ),
    # The bus
    Case("ubus uci", "ok", "rpcd answers"),
    Case("ubus uci", "failed", "not found", "start rpcd", happens=away("uci")),
    Case("ubus network.interface", "ok", "netifd answers"),
    Case(
        *("ubus network.interface", "failed", "not found", "start netifd"),
        happens=away("network.interface"),
    ),
    Case("ubus service", "ok", "procd answers"),
    Case("ubus service", "failed", "not found", "start procd", happens=away("service")),
    # The configuration
    Case("configuration", "ok", "is complete"),
    Case("configuration", "failed", "not read yet", "rpcd", of=view(None)),
    Case("configuration", "absent", of=UNSET),
    Case("mptcp-proxy.wan2.role", "failed", "'main'", of=UNSET),
    # What went wrong
    Case(
        *("endpoint 10.1.1.78", "failed", "not permitted", "run as root"),
        of=view(BRIDGE_CLIENT, failures=(REFUSAL,)),
    ),
    Case(
        *("wan wan1", "warning", "plain TCP"),
        of=view(BRIDGE_CLIENT, failures=(Problem("wan wan1", "plain TCP", severity="warning"),)),
    ),
    # The firewall
    Case("redirect", "ok", "nftables planned, nftables in place"),
    Case(
        *("redirect", "failed", "nothing in place", "system log"),
        of=view(BRIDGE_CLIENT, observed=RouterState()),
    ),
    Case("redirect", "ok", of=SERVER),
    Case("redirect", "warning", "nothing in place", of=view(BRIDGE_SERVER, observed=RouterState())),
    Case("redirect", "absent", of=view({})),
    # Engines and processes
    Case("engine", "ok", "sing-box 1.14.4 speaks MPTCP"),
    Case("engine", "failed", "", "install sing-box", of=view(BRIDGE_CLIENT, means=Capabilities())),
    Case("engine", "ok", "is installed", of=view({}, means=Capabilities())),
    Case("engine", "absent", of=view(None)),
    Case(
        "engine", "warning", "could not be tried", of=view(BRIDGE_CLIENT, means=engine(mptcp=None))
    ),
    Case(
        *("engine", "ok", "under mptcpize"),
        of=view(BRIDGE_CLIENT, means=engine(mptcp=False, mptcpize="/usr/bin/mptcpize")),
    ),
    Case(
        *("engine", "failed", "cannot make MPTCP", "mptcpize"),
        of=view(BRIDGE_CLIENT, means=engine(mptcp=False)),
    ),
    Case("keep-alive", "ok", "every 15 s"),
    Case(
        *("keep-alive", "warning", "every 600 s", "sing-box 1.13"),
        of=view(BRIDGE_CLIENT, means=engine(keep_alive=False)),
    ),
    Case(
        *("keep-alive", "ok", "left to sing-box"),
        of=view({**BRIDGE_CLIENT, "r7000": section("peer", address="10.1.1.70", keep_alive="0")}),
    ),
    Case("keep-alive", "absent", of=SERVER),
    Case("process client", "ok", "runs"),
    Case(
        *("process client", "failed", "does not run", "sing-box run"),
        of=view(BRIDGE_CLIENT, processes=()),
    ),
    Case("process client", "absent", of=view(BRIDGE_CLIENT, processes=None)),
    Case("process server", "ok", of=view(BRIDGE_BOTH)),
    Case("process server", "failed", of=view(BRIDGE_SERVER, processes=())),
    # Peers
    Case("peer r7000", "ok", "10.1.1.70, 10.2.2.70"),
    Case("peer r7000", "failed", "cannot be resolved", "DNS", of=view(UNRESOLVED)),
    Case(
        "peer r7000",
        "warning",
        "10.1.1.70 cannot",
        "firewall",
        of=view(BRIDGE_CLIENT, seen=REFUSED),
    ),
    Case("peer r7000", "failed", "10.2.2.70 cannot", of=view(BRIDGE_CLIENT, seen=DEAD)),
    Case("peer r7000", "failed", "nothing comes", "hang", of=view(BRIDGE_CLIENT, seen=HUNG)),
    # The router's own firewall
    Case("firewall.@rule[0]", "absent"),
    Case(
        *("firewall.@rule[0]", "ok"),
        "'Camera' (firewall.@rule[0]) refuses lan (192.168.78.50): not redirected",
        of=GUARDED,
    ),
    Case("firewall.@rule[1]", "ok", "lan (to port 25)", of=GUARDED),
    Case(
        *("firewall.kids", "warning"),
        "depends on more than addresses and ports (hours), which cannot be asked before the "
        "redirect: lan (02:00:00:00:00:0b) is never redirected",
        "nothing, if",
        of=GUARDED,
    ),
    Case("firewall.@defaults[0]", "absent", of=GUARDED),
    Case(
        *("firewall.@defaults[0]", "warning", "takes 25 new connections a second"),
        "uci set firewall.@defaults[0].synflood_rate='500/second'",
        of=flooded(),
    ),
    Case("firewall.@defaults[0]", "warning", "takes 1.5 new", "uci", of=flooded("90/minute")),
    Case("firewall.@defaults[0]", "absent", of=flooded("500/second")),
    Case("firewall includes", "ok", "/etc/firewall.user", of=GUARDED),
    Case("state", "ok", "active", of=GUARDED),
    # WANs
    Case("WAN wan1", "ok", "10.1.1.78"),
    Case("WAN wan1", "warning", "no carrier", "as soon as", of=view(BRIDGE_CLIENT, ONE)),
    Case("WAN wan1", "warning", "3 probes lost", of=view(BRIDGE_CLIENT, seen=PROBED)),
    Case("WAN wan2", "absent", of=UNSET),
    # What traffic showed
    Case("MPTCP on the way", "absent"),
    Case("MPTCP on the way", "ok", of=view(BRIDGE_CLIENT, sampled=seen(MPCapableSYNTX=7))),
    Case(
        *("MPTCP on the way", "warning", "3 connections", "middlebox"),
        of=view(
            BRIDGE_CLIENT,
            sampled=seen(MPCapableSYNTX=7, MPCapableFallbackACK=1, MPCapableFallbackSYNACK=2),
        ),
    ),
    # Settings
    Case("net.ipv4.tcp_rmem", "ok", "6144 KiB"),
    Case(
        *("net.ipv4.tcp_rmem", "warning", "256 KiB", "option buffers"),
        of=view(BRIDGE_CLIENT, sysctl("net.ipv4.tcp_rmem", "4096 131072 262144")),
    ),
    Case("net.ipv4.tcp_wmem", "ok", "4096 KiB"),
    Case(
        *("net.ipv4.tcp_wmem", "warning", "128 KiB", "option buffers"),
        of=view(BRIDGE_CLIENT, sysctl("net.ipv4.tcp_wmem", "4096 16384 131072")),
    ),
    Case("rp_filter eth1", "warning", "strict", "the agent sets it (to 2)"),
    Case(
        "rp_filter eth1",
        "absent",
        of=view(BRIDGE_CLIENT, sysctl("net/ipv4/conf/eth1/rp_filter", "2")),
    ),
    Case("rp_filter eth1", "absent", of=view(BRIDGE_CLIENT, DARK)),
    # Others
    Case("other multi-WAN programs", "ok", "none runs"),
    *(Case(r, "warning", f"{r} runs", f"service {r} stop", happens=runs(r)) for r in PROGRAMS),
    Case("other multi-WAN programs", "absent", happens=runs("mwan3")),
    Case("other multi-WAN programs", "absent", happens=away("service")),
)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.name}: {c.result} {c.message}".strip())
def test_a_row(case: Case) -> None:
    found = rows(case.of, case.happens).get(case.name)
    if case.result == "absent":
        assert found is None
        return
    assert found is not None
    assert (found["result"], case.message in found["message"]) == (case.result, True), found
    assert case.hint in found["hint"]
    assert (found["result"] == "ok") <= (found["hint"] == ""), "what is fine needs no way out"


def test_every_row_is_in_the_table_as_it_is_on_a_router_in_order() -> None:
    for of in (WHOLE, SERVER):
        said = rows(of).keys() - {"jsonschema", "rp_filter eth2", "WAN wan2"}
        assert said <= {case.name for case in CASES}


@pytest.mark.parametrize("there", [True, False])
def test_whether_generated_files_can_be_validated(
    there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec("json")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: real if there else None)
    row = rows(WHOLE)["jsonschema"]
    assert row["result"] == "ok" and ("not installed" in row["message"]) != there


def test_no_secret_is_in_any_row() -> None:
    for happens in (away("service"), runs("mwan3")):
        assert SECRET not in str(rows(view(ISP_CLIENT), happens))
