# SPDX-License-Identifier: GPL-2.0-or-later
"""Routers to test with: what uci, netifd and the kernel would say of them.

``BRIDGE`` is the guide's set-up: both routers on the same two links, no gateway anywhere.
``ISP`` is a router with two providers and a server somewhere behind them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mptcp_agent.core import plan as planning
from mptcp_agent.core import router_firewall
from mptcp_agent.core.config import Config, reader
from mptcp_agent.core.health import Health, PathHealth, PathState
from mptcp_agent.core.network import Facts, Interface, KernelAddress, Link
from mptcp_agent.core.problem import Problem
from mptcp_agent.core.snapshot import Capabilities, Choice, ProcessView, Snapshot
from mptcp_agent.core.state import RouterState
from mptcp_agent.engines import Build

SCHEMAS = Path(__file__).parents[2] / "schema"
SCHEMA: Mapping[str, Any] = json.loads((SCHEMAS / "mptcp-proxy.schema.json").read_text("utf-8"))

#: Stands in for every password: nothing but the engine's file may ever show it.
SECRET = "s3cr3t-horse"

Options = Mapping[str, object]
Sections = Mapping[str, Options]


def schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SCHEMAS / f"{name}.schema.json").read_text("utf-8"))
    return found


def section(kind: str, **options: object) -> Options:
    """A section as ``uci get`` of rpcd gives it, without its name and index."""
    return {".type": kind, **options}


def values(sections: Sections) -> dict[str, dict[str, object]]:
    """``uci get mptcp-proxy``: with the names and indices of the file's order."""
    return {
        name: {".name": name, ".anonymous": name.startswith("cfg"), ".index": i, **options}
        for i, (name, options) in enumerate(sections.items())
    }


def read(sections: Sections) -> tuple[Config, tuple[Problem, ...]]:
    return reader.read(values(sections), SCHEMA)


def config(sections: Sections, firewall: Sections | None = None) -> Config:
    """The configuration of sections that are all right."""
    found, problems = read(sections)
    assert not problems, problems
    return replace(found, firewall=router_firewall.sections(values(firewall or {})))


#: OpenWrt's own, with the second WAN, and some rules of a home.
FIREWALL: Sections = {
    "cfg01": section("defaults", input="REJECT", output="ACCEPT", forward="REJECT"),
    "lan": section("zone", name="lan", network=["lan"], input="ACCEPT", forward="ACCEPT"),
    "wan": section("zone", name="wan", network=["wan1", "wan2"], input="REJECT", masq="1"),
    "cfg04": section("forwarding", src="lan", dest="wan"),
    "cfg05": section(
        "rule", name="Camera", src="lan", dest="wan", src_ip="192.168.78.50", target="REJECT"
    ),
    "cfg06": section("rule", src="lan", dest="wan", proto="tcp", dest_port="25", target="DROP"),
    "kids": section(
        "rule",
        name="Bedtime",
        src="lan",
        dest="wan",
        src_mac="02:00:00:00:00:0B",
        proto="all",
        start_time="21:00",
        stop_time="07:00",
        target="REJECT",
    ),
    "cfg08": section("include", path="/etc/firewall.user"),
}

# --- The two standard routers ------------------------------------------------------------------

PEER = section("peer", address=["10.1.1.70", "10.2.2.70"])
CLIENT = section("client", peer=["r7000"])
SERVER = section("server", enabled="1", allow=["10.1.1.0/24", "10.2.2.0/24"])
WAN1 = section("wan", interface="wan1")
WAN2 = section("wan", interface="wan2")
WANS: Sections = {"wan1": WAN1, "wan2": WAN2}

BRIDGE_CLIENT: Sections = {"r7000": PEER, "client": CLIENT, **WANS}
BRIDGE_SERVER: Sections = {"server": SERVER, **WANS}
BRIDGE_BOTH: Sections = {**BRIDGE_CLIENT, "server": SERVER}

ISP_CLIENT: Sections = {
    "vps": section(
        "peer", address="198.51.100.70", port="443", method="aes-128-gcm", password=SECRET
    ),
    "client": section("client", peer="vps"),
    **WANS,
}

SYSCTLS = {
    "net.mptcp.enabled": "1",
    "net.mptcp.blackhole_timeout": "3600",
    "net.mptcp.stale_loss_cnt": "4",
    "net.ipv4.ip_dynaddr": "0",
    "net.ipv4.tcp_rmem": "4096 131072 6291456",
    "net.ipv4.tcp_wmem": "4096 16384 4194304",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv6/conf/all/disable_ipv6": "0",
}
#: Of each device, unless the router says otherwise.
DEVICE_SYSCTLS = {"rp_filter": "1", "arp_filter": "0"}


def kernel(*addresses: str) -> tuple[KernelAddress, ...]:
    """``address/prefix`` texts as what the kernel has on a device."""
    pairs = (text.split("/") for text in addresses)
    return tuple(KernelAddress(address, int(prefix)) for address, prefix in pairs)


def router(
    *interfaces: Interface,
    down: Iterable[str] = (),
    resolved: Mapping[str, tuple[str, ...]] | None = None,
    sysctls: Mapping[str, str] | None = None,
    memory: int = 256 << 20,
) -> Facts:
    """A router with these interfaces, whose addresses the kernel has as well; the devices in
    ``down`` have no carrier."""
    devices = sorted({i.device for i in interfaces if i.device})
    known = {
        **SYSCTLS,
        **{f"net/ipv4/conf/{d}/{n}": v for d in devices for n, v in DEVICE_SYSCTLS.items()},
        **(sysctls or {}),
    }
    return Facts(
        interfaces=interfaces,
        links=tuple(Link(d, n, True, d not in down) for n, d in enumerate(devices, 2)),
        addresses=tuple(
            (d, kernel(*dict.fromkeys(a for i in interfaces if i.device == d for a in i.addresses)))
            for d in devices
        ),
        resolved=tuple((resolved or {}).items()),
        sysctls=tuple(known.items()),
        memory=memory,
    )


LOOPBACK = Interface("loopback", "lo", True, ("127.0.0.1/8",), (), "static")
LAN = Interface("lan", "br-lan", True, ("192.168.78.1/24",), (), "static")
BRIDGE_WAN1 = Interface("wan1", "eth1", True, ("10.1.1.78/24",), (), "static")
BRIDGE_WAN2 = Interface("wan2", "eth2", True, ("10.2.2.78/24",), (), "static")
ISP_WAN1 = Interface("wan1", "eth1", True, ("203.0.113.24/24",), ("203.0.113.1",), "dhcp")
ISP_WAN2 = Interface("wan2", "wwan0", True, ("100.64.3.9/30",), ("100.64.3.10",), "dhcp")

BRIDGE = router(LOOPBACK, LAN, BRIDGE_WAN1, BRIDGE_WAN2)
ISP = router(LOOPBACK, LAN, ISP_WAN1, ISP_WAN2)


# --- Engines and health ------------------------------------------------------------------------

SING_BOX = Build(
    "sing-box", "/usr/bin/sing-box", "/usr/bin/sing-box", "1.14.4", True, True, keep_alive=True
)
MEANS = Capabilities(builds={"sing-box": SING_BOX}, backends=("nftables",))

READY = Health(redirector=True)
RUNNING = (ProcessView("client", True, 4711), ProcessView("server", True, 4712))


def snapshot(
    config: Config | None,
    facts: Facts,
    seen: Health = READY,
    capabilities: Capabilities = MEANS,
    in_use: Choice | None = None,
    recovering: bool = False,
    now: RouterState | None = None,
) -> Snapshot:
    """One moment of a router on which procd has not been heard of unless the router as it is
    (``now``) is given."""
    return Snapshot(
        config=config,
        capabilities=capabilities,
        facts=facts,
        health=seen,
        observed=now or RouterState(),
        processes=RUNNING if now else None,
        in_use=in_use,
        recovering=recovering,
    )


def plan(*of: Any, **more: Any) -> planning.Plan:
    """The plan for a ``snapshot`` of these."""
    return planning.plan(snapshot(*of, **more))


def health(*down: tuple[str, str], up: Iterable[tuple[str, str]] = ()) -> Health:
    """The redirector listens; these paths (WAN, peer address) are down or up, the others
    unknown."""

    def path(at: tuple[str, str], state: PathState) -> PathHealth:
        return PathHealth(*at, state=state, cause="3 probes lost" if state == "down" else "")

    return replace(READY, paths=(*(path(p, "down") for p in down), *(path(p, "up") for p in up)))
