# SPDX-License-Identifier: GPL-2.0-or-later
"""Who else has a say in what is the agent's: other programs, other options, other rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..core.config import PACKAGE, Config
from ..core.ubus import Call
from ..core.view import View
from ..errors import AgentError
from .rows import Asked, Row, row

#: Programs that change what is ours, by their procd service, and what they do.
PROGRAMS = {
    "mwan3": "changes routes and rules of the same WANs",
    "pbr": "changes routes and rules of the same WANs",
    "mptcpd": "adds and removes MPTCP endpoints",
    "bsbf-mptcp": "removes all MPTCP endpoints and adds its own",
    "bsbf-route": "changes default routes of the same WANs",
    "omr-tracker": "changes routes and MPTCP endpoints of the same WANs",
}

#: What ``option multipath`` of an interface meant to the forks of OpenWrt that read it (LuCI has a
#: field for it, netifd has none), as a role.
MULTIPATH = {
    "on": "subflow",
    "master": "subflow",
    "backup": "backup",
    "handover": "backup",
    "off": "off",
}


def rivals(view: View, call: Call, asked: Asked) -> Iterator[Row]:
    yield from _programs(call)
    if view.snapshot.config and view.snapshot.config.globals.enabled:
        yield from _multipath(view.snapshot.config, asked.network)
    for chain in asked.first_takers:
        yield row(
            "other transparent proxy",
            "warning",
            f"chain {chain} of nftables takes TCP connections of the LAN before this proxy, which "
            "does not see them",
            "only one can have them: switch that one off, or take the network out of option lan "
            "of the client section",
        )


def _programs(call: Call) -> Iterator[Row]:
    try:
        services = call("service", "list", {})
    except AgentError:
        return  # said elsewhere
    found = [
        name
        for name in PROGRAMS
        if any(i.get("running") for i in (services.get(name, {}).get("instances") or {}).values())
    ]
    for name in found:
        yield row(
            name,
            "warning",
            f"{name} runs, and {PROGRAMS[name]}",
            f"switch it off: service {name} stop; service {name} disable",
        )
    if not found:
        yield row("other multi-WAN programs", "ok", "none runs")


def _multipath(config: Config, network: Mapping[str, Mapping[str, object]]) -> Iterator[Row]:
    """Options that people find in LuCI and expect something of."""
    wans = {wan.interface: wan for wan in config.wans}
    for name, section in network.items():
        value = str(section.get("multipath") or "")
        if section.get(".type") != "interface" or value not in MULTIPATH:
            continue
        option, role = f"network.{name}.multipath", MULTIPATH[value]
        forget = f"uci delete {option}; uci commit network"
        if name in wans:
            wan = wans[name]
            if wan.role == role:
                yield row(option, "ok", f"'{value}', as the role of section {wan.name}: {role}")
                continue
            yield row(
                option,
                "warning",
                f"'{value}' does nothing: OpenWrt does not read it; what counts is the role of "
                f"section {wan.name}, which is {wan.role}",
                f"uci set {PACKAGE}.{wan.name}.role='{role}'; uci commit {PACKAGE}; "
                f"service {PACKAGE} reload; or, to keep it so: {forget}",
            )
        elif role != "off":
            yield row(
                option,
                "warning",
                f"'{value}' does nothing: OpenWrt does not read it, and no wan section has this "
                "interface",
                f"uci set {PACKAGE}.{name}=wan; uci set {PACKAGE}.{name}.interface='{name}'; "
                f"uci set {PACKAGE}.{name}.role='{role}'; uci commit {PACKAGE}; "
                f"service {PACKAGE} reload; or: {forget}",
            )
