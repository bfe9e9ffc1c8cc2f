"""``check``: each precondition with the way to mend it.

Works from what the agent has seen, plus a few questions that are only asked here. A check is
a function that yields rows; order is the order a person would look in.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from ..core.config import PACKAGE
from ..core.health import mptcp_blocked
from ..core.plan import buffers
from ..core.plan.peers import usable_wans
from ..core.plan.sysctls import RMEM, WMEM, buffer_values
from ..core.ubus import Call
from ..core.view import View
from ..errors import AgentError, BusError

Result = Literal["ok", "warning", "failed"]
Row = dict[str, str]

#: Other programs that install policy routing for several WANs, by their procd service.
RIVALS = ("mwan3", "pbr", "mptcpd")


def run_checks(view: View, call: Call) -> list[Row]:
    """All rows, ``{"name", "result", "message", "hint"}``."""
    checks: tuple[Callable[[], Iterator[Row]], ...] = (
        lambda: _kernel(view),
        lambda: _bus(call),
        lambda: _configuration(view),
        lambda: _firewall(view),
        lambda: _engine(view),
        lambda: _peers(view),
        lambda: _wans(view),
        lambda: _mptcp_seen(view),
        lambda: _buffers(view),
        lambda: _filters(view),
        lambda: _rivals(call),
        _validation,
    )
    return [found for check in checks for found in check()]


def row(name: str, result: Result, message: str, hint: str = "") -> Row:
    return {"name": name, "result": result, "message": message, "hint": hint}


def _kernel(view: View) -> Iterator[Row]:
    enabled = view.snapshot.facts.sysctl("net.mptcp.enabled")
    if enabled is None:
        enabled = _proc("net/mptcp/enabled")
    if enabled is None:
        yield row(
            "kernel MPTCP",
            "failed",
            "this kernel has no Multipath TCP",
            "use OpenWrt 24.10 or later on a target without SMALL_FLASH, or build the kernel "
            "with CONFIG_KERNEL_MPTCP",
        )
    elif enabled != "1":
        yield row("kernel MPTCP", "failed", "net.mptcp.enabled is 0", "start the agent; it sets it")
    else:
        yield row("kernel MPTCP", "ok", "present and enabled")
    if _proc("net/mptcp/blackhole_timeout") not in (None, "0"):
        yield row(
            "MPTCP black hole detection",
            "warning",
            "net.mptcp.blackhole_timeout is not 0: after a fail-over the kernel may switch "
            "MPTCP off for an hour",
            "start the agent; it sets it",
        )


def _proc(key: str) -> str | None:
    try:
        return Path("/proc/sys", key).read_text("ascii").strip()
    except OSError:
        return None


def _bus(call: Call) -> Iterator[Row]:
    for object_, method, arguments, owner in (
        ("uci", "configs", {}, "rpcd"),
        ("network.interface", "dump", {}, "netifd"),
        ("service", "list", {"name": "mptcp-proxy-engine"}, "procd"),
    ):
        try:
            call(object_, method, arguments)
        except BusError as error:
            yield row(f"ubus {object_}", "failed", str(error), f"start {owner}, which provides it")
        else:
            yield row(f"ubus {object_}", "ok", f"{owner} answers")


def _configuration(view: View) -> Iterator[Row]:
    if view.snapshot.config is None:
        yield row("configuration", "failed", "not read yet", f"see /etc/config/{PACKAGE} and rpcd")
        return
    for problem in view.problems:
        if problem.where.startswith(PACKAGE):
            result: Result = "failed" if problem.severity == "error" else "warning"
            yield row(problem.where, result, problem.message, problem.hint)
    if not any(p.where.startswith(PACKAGE) for p in view.problems):
        yield row("configuration", "ok", f"/etc/config/{PACKAGE} is complete")


def _firewall(view: View) -> Iterator[Row]:
    planned = view.plan.state.firewalls
    for problem in view.problems:
        if problem.where in ("firewall", "nftables", "iptables"):
            yield row(problem.where, "failed", problem.message, problem.hint)
    if planned:
        where = ", ".join(f.backend for f in view.snapshot.observed.firewalls) or "nothing"
        same = view.snapshot.observed.firewalls == planned
        yield row(
            "redirect",
            "ok" if same else "failed",
            f"{planned[0].backend} planned, {where} in place",
            "" if same else "see the system log",
        )


def _engine(view: View) -> Iterator[Row]:
    build = view.plan.proxies.build
    if build is None:
        if view.snapshot.config and (view.snapshot.config.client or view.snapshot.config.server):
            yield row(
                "engine",
                "failed",
                "no proxy program is installed",
                "install sing-box (OpenWrt 23.05 and later) or shadowsocks-libev",
            )
        return
    if build.mptcp:
        yield row("engine", "ok", f"{build.engine} {build.version} speaks MPTCP")
    elif build.mptcpize:
        yield row("engine", "ok", f"{build.engine} {build.version} under mptcpize")
    else:
        yield row(
            "engine",
            "failed",
            f"{build.engine} {build.version} cannot make MPTCP connections",
            "install mptcpize, or use the engine sing-box",
        )
    for process in view.plan.state.processes:
        running = view.snapshot.runs(process.name)
        yield row(
            f"process {process.name}",
            "ok" if running else "failed",
            "runs" if running else "does not run",
            "" if running else f"see the system log; try: {' '.join(process.command)}",
        )


def _peers(view: View) -> Iterator[Row]:
    health = view.snapshot.health
    for peer in view.plan.peers:
        name = f"peer {peer.peer.name}"
        if not peer.addresses:
            yield row(
                name,
                "failed",
                f"{' '.join(peer.peer.address)} cannot be resolved",
                "check the name and the router's DNS, or give IP addresses",
            )
            continue
        dead = [
            a
            for a in peer.addresses
            if a in health.refused or not usable_wans(view.plan.wans, health, a)
        ]
        yield row(
            name,
            "failed" if len(dead) == len(peer.addresses) else "warning" if dead else "ok",
            f"{', '.join(dead)} cannot be reached" if dead else ", ".join(peer.addresses),
            "is the server on, and does its firewall accept the port?" if dead else "",
        )


def _wans(view: View) -> Iterator[Row]:
    for wan in view.plan.wans:
        if wan.section.role == "off":
            continue
        yield row(
            f"WAN {wan.name}",
            "ok" if wan.up else "warning",
            ", ".join(a.address for a in wan.addresses) if wan.up else wan.reason,
            "" if wan.up else "used again as soon as it is up",
        )


def _mptcp_seen(view: View) -> Iterator[Row]:
    """Silent fall-back: connections that should be MPTCP and are not."""
    for problem in mptcp_blocked.problems(view.snapshot.sampled.blocked_wans):
        yield row(f"MPTCP on {problem.where}", "warning", problem.message, problem.hint)
    counters = dict(view.snapshot.sampled.counters)
    lost = counters.get("MPCapableFallbackACK", 0) + counters.get("MPCapableFallbackSYNACK", 0)
    if lost:
        yield row(
            "MPTCP on the way",
            "warning",
            f"{lost} connections fell back to plain TCP since boot",
            "the server does not speak MPTCP, or a middlebox on a WAN strips its option",
        )
    elif counters.get("MPCapableSYNTX", 0):
        yield row("MPTCP on the way", "ok", "no connection fell back to plain TCP")


def _buffers(view: View) -> Iterator[Row]:
    for key, least in ((RMEM, buffers.RECEIVE // 4), (WMEM, buffers.LEAST_SEND)):
        values = buffer_values(view.snapshot.facts, key)
        if values:
            enough = values[2] >= least
            yield row(
                key,
                "ok" if enough else "warning",
                f"at most {values[2] // 1024} KiB per connection",
                ""
                if enough
                else f"below {least // 1024} KiB two links carry less than one: set option "
                "buffers to auto, or use a router with more memory",
            )


def _filters(view: View) -> Iterator[Row]:
    for wan in view.plan.wans:
        strict = (
            "1"
            in (
                view.snapshot.facts.sysctl(f"net/ipv4/conf/{wan.device}/rp_filter"),
                view.snapshot.facts.sysctl("net/ipv4/conf/all/rp_filter"),
            )
            and view.snapshot.facts.sysctl(f"net/ipv4/conf/{wan.device}/rp_filter") != "2"
        )
        if wan.up and strict:
            yield row(
                f"rp_filter {wan.device}",
                "warning",
                "strict: answers that arrive on another WAN are dropped",
                "start the agent; it sets it to 2",
            )


def _rivals(call: Call) -> Iterator[Row]:
    try:
        services = call("service", "list", {})
    except AgentError:
        return  # said above
    found = [
        name
        for name in RIVALS
        if any(i.get("running") for i in (services.get(name, {}).get("instances") or {}).values())
    ]
    for name in found:
        yield row(
            name,
            "warning",
            f"{name} runs, and changes routes or endpoints of the same WANs",
            f"switch it off for the WANs of {PACKAGE}: service {name} stop",
        )
    if not found:
        yield row("other multi-WAN programs", "ok", "none runs")


def _validation() -> Iterator[Row]:
    """Only looked for: it takes 10 MB, which the agent does without."""
    found = importlib.util.find_spec("jsonschema") is not None
    yield row(
        "jsonschema",
        "ok",
        "installed: the command line validates generated files with it too"
        if found
        else "not installed (optional): the agent's own reader validates",
    )
