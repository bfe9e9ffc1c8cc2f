# SPDX-License-Identifier: GPL-2.0-or-later
"""``check``: each precondition with the way to mend it.

Works from what the agent has seen, and judges it by ``core.verdict`` as the status does, so that
nothing is fine here and down there; plus a few questions that are only asked here. A check is a
function that yields rows; order is the order a person would look in.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence

from ..core.config import PACKAGE
from ..core.plan import buffers
from ..core.plan.peers import reachable
from ..core.plan.sysctls import RMEM, WMEM, buffer_values, strict_filter
from ..core.problem import Problem
from ..core.router_firewall.warnings import by_section, called, flood_limit, whose
from ..core.ubus import Call
from ..core.verdict import (
    idle_processes,
    judge,
    mode,
    paths,
    peer_state,
    starting,
    wan_cause,
    wan_state,
    without_mptcp,
)
from ..core.view import State, View
from ..errors import BusError
from .rivals import rivals
from .rows import Asked, Result, Row, row

__all__ = ["RELOAD", "START", "Asked", "Row", "row", "run_checks"]

_STATES: dict[State, Result] = {
    "active": "ok",
    "degraded": "warning",
    "disabled": "warning",
    "bypassed": "failed",
    "blocked": "failed",
    "error": "failed",
}

LATER = "it was started a moment ago: ask again in some seconds"

#: New connections a second of a home with several people, some pages being opened.
_FEW_CONNECTIONS = 100
#: Seconds: NATs in homes and of mobile providers forget a silent connection after four minutes and
#: more (RFC 5382 asks for two hours); some do after less than one.
SOME_NATS = 60

START, RELOAD = f"service {PACKAGE} start", f"service {PACKAGE} reload"


def run_checks(view: View, call: Call, asked: Asked) -> list[Row]:
    """All rows, ``{"name", "result", "message", "hint"}``."""
    sets_it = _sets_it(view, asked.agent)
    checks: tuple[Callable[[], Iterator[Row]], ...] = (
        lambda: _state(view),
        lambda: _kernel(view, sets_it),
        lambda: _bus(call),
        lambda: _configuration(view),
        lambda: _problems(view),
        lambda: _firewall(view),
        lambda: _left_alone(view),
        lambda: _engine(view, asked.installed),
        lambda: _peers(view),
        lambda: _wans(view),
        lambda: _mptcp_seen(view),
        lambda: _buffers(view),
        lambda: _filters(view, sets_it),
        lambda: rivals(view, call, asked),
        _validation,
    )
    return [found for check in checks for found in check()]


def _problem(problem: Problem) -> Row:
    result: Result = "failed" if problem.severity == "error" else "warning"
    return row(problem.where, result, problem.message, problem.hint)


def _state(view: View) -> Iterator[Row]:
    state, reason = judge(view)
    switch_on = f"uci set {PACKAGE}.globals.enabled='1'; uci commit {PACKAGE}; {RELOAD}"
    off = view.snapshot.config and not view.snapshot.config.globals.enabled
    result, hint = _STATES[state], switch_on if off else ""
    if result == "failed" and starting(view):
        result, hint = "warning", LATER
    yield row("state", result, f"{state}: {reason}", hint)


def _switched_off(view: View) -> bool:
    """Whether nothing is to run, as configured."""
    config = view.snapshot.config
    return config is not None and not (config.globals.enabled and (config.client or config.server))


def _sets_it(view: View, agent: bool) -> str:
    """What helps where a setting of the kernel is not the agent's."""
    if _switched_off(view):
        return "nothing, as long as all is switched off: the agent sets it when it has a role"
    return "see the system log: the agent sets it" if agent else f"{START}: the agent sets it"


def _kernel(view: View, sets_it: str) -> Iterator[Row]:
    facts = view.snapshot.facts
    why_not, present = without_mptcp(view), facts.sysctl("net.mptcp.enabled") is not None
    yield row(
        "kernel MPTCP",
        "ok" if not why_not else "warning" if present and _switched_off(view) else "failed",
        why_not or "present and enabled",
        ""
        if not why_not
        else sets_it
        if present
        else "use OpenWrt 24.10 or later on a target without SMALL_FLASH, or build the kernel "
        "with CONFIG_KERNEL_MPTCP",
    )
    if facts.sysctl("net.mptcp.blackhole_timeout") not in (None, "0"):
        yield row(
            "MPTCP black hole detection",
            "warning",
            "net.mptcp.blackhole_timeout is not 0: after a fail-over the kernel may switch "
            "MPTCP off for an hour",
            sets_it,
        )


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
    problems = [p for p in view.problems if p.where.startswith(PACKAGE)]
    yield from map(_problem, problems)
    if not problems and view.snapshot.config is None:
        if starting(view):
            yield row("configuration", "warning", "is being read", LATER)
        else:
            hint = f"see /etc/config/{PACKAGE} and rpcd"
            yield row("configuration", "failed", "not read yet", hint)
    elif not problems:
        yield row("configuration", "ok", f"/etc/config/{PACKAGE} is complete")


def _problems(view: View) -> Iterator[Row]:
    """What could not be read or carried out, and what traffic showed."""
    yield from (_problem(p) for p in view.problems if not p.where.startswith(PACKAGE))


def _firewall(view: View) -> Iterator[Row]:
    planned, present = view.plan.state.firewalls, view.snapshot.observed.firewalls
    if not planned:
        return
    where = ", ".join(f.backend for f in present) or "nothing"
    # What could not be carried out is a problem, and told as such: this may be on its way.
    result: Result = "ok" if present == planned else "warning"
    if mode(view) != view.plan.mode and not starting(view):
        result = "failed"
    yield row(
        "redirect",
        result,
        f"{planned[0].backend} planned, {where} in place",
        "" if result == "ok" else "see the system log",
    )


def _left_alone(view: View) -> Iterator[Row]:
    """What the router's own firewall refuses, and so is not redirected. What is left alone without
    being refused is a problem, and told above."""
    config = view.snapshot.config
    if not config or not config.client or not config.firewall:
        return
    for section, items in by_section(view.plan.judged.left, exact=True).items():
        said = f"{called(section, config.firewall)} refuses {whose(items)}: not redirected"
        yield row(f"firewall.{section}" if section else "firewall", "ok", said)
    limit = flood_limit(config.firewall)
    if limit is not None and limit < _FEW_CONNECTIONS:
        option = "firewall.@defaults[0].synflood"
        yield row(
            "firewall.@defaults[0]",
            "warning",
            f"synflood_protect takes {limit:g} new connections a second for the router, and "
            "redirected ones are among them: those beyond wait a second or more",
            f"uci set {option}_rate='500/second'; uci set {option}_burst='1000'; uci commit "
            "firewall; service firewall reload",
        )
    unread = [s.text("path") for s in config.firewall if s.type == "include"]
    if unread:
        said = f"only /etc/config/firewall is read, not what it includes: {', '.join(unread)}"
        yield row("firewall includes", "ok", said)


def _engine(view: View, installed: Sequence[str]) -> Iterator[Row]:
    build = view.plan.proxies.build
    if build is None:
        install = "install sing-box (OpenWrt 23.05 and later) or shadowsocks-libev"
        found = f"{', '.join(installed)} {'is' if len(installed) == 1 else 'are'} installed"
        if view.snapshot.config is None:
            pass  # nobody knows what is wanted
        elif not _switched_off(view):
            missing = "no proxy program that can be used is installed"
            yield row("engine", "failed", f"{missing} ({found})" if installed else missing, install)
        elif installed:
            yield row("engine", "ok", f"{found}, and tried when there is something to run")
        else:
            yield row("engine", "warning", "no proxy program is installed", install)
        return
    if build.mptcp:
        yield row("engine", "ok", f"{build.engine} {build.version} speaks MPTCP")
    elif build.mptcpize:
        yield row("engine", "ok", f"{build.engine} {build.version} under mptcpize")
    elif build.mptcp is None:
        yield row(
            "engine",
            "warning",
            f"whether {build.engine} {build.version} makes MPTCP connections could not be tried",
            "is tried again; see the system log",
        )
    else:
        yield row(
            "engine",
            "failed",
            f"{build.engine} {build.version} cannot make MPTCP connections",
            "install mptcpize, or use the engine sing-box",
        )
    yield from _keep_alive(view)
    idle, known = idle_processes(view), view.snapshot.processes is not None
    for process in view.plan.proxies.processes if known else ():
        if process.name not in idle:
            yield row(f"process {process.name}", "ok", "runs")
        elif starting(view):
            yield row(f"process {process.name}", "warning", "is being started", LATER)
        else:
            hint = f"see the system log; try: {' '.join(process.command)}"
            yield row(f"process {process.name}", "failed", "does not run", hint)


def _keep_alive(view: View) -> Iterator[Row]:
    """How long a connection through the tunnel may be silent without a sign of life."""
    build, engine, choice = view.plan.proxies.build, view.plan.proxies.engine, view.plan.configured
    if build is None or engine is None or choice is None:
        return
    wanted, own = choice.peer.keep_alive, engine.own_keep_alive
    if not wanted:
        yield row("keep-alive", "ok", f"left to {build.engine}, as configured")
    elif build.keep_alive:
        yield row("keep-alive", "ok", f"silent connections show every {wanted} s that they live")
    else:
        long = own > max(wanted, SOME_NATS)
        yield row(
            "keep-alive",
            "warning" if long else "ok",
            f"{build.engine} {build.version} cannot be told {wanted} s: silent connections show "
            f"every {own} s that they live" + (", and NATs forget some of them before" * long),
            "use sing-box 1.13 or later (OpenWrt 25.12), or shadowsocks-rust" if long else "",
        )


def _peers(view: View) -> Iterator[Row]:
    health = view.snapshot.health
    for peer in view.plan.peers:
        state, gone = peer_state(view, peer), ""
        hint = "is the server on, and does its firewall accept the port?"
        if state == "unresolved":
            gone = f"{' '.join(peer.peer.address)} cannot be resolved"
            hint = "check the name and the router's DNS, or give IP addresses"
        elif peer.peer.name in health.dead_peers:
            gone = "accepts connections, but nothing comes through"
            hint = "does its proxy server hang, and are method and password those of this router?"
        else:
            able = reachable(peer, view.plan.wans, health)
            dead = [a for a in peer.addresses if a not in able]
            gone = f"{', '.join(dead)} cannot be reached" if dead else ""
        yield row(
            f"peer {peer.peer.name}",
            "failed" if state in ("down", "unresolved") else "warning" if gone else "ok",
            gone or ", ".join(peer.addresses),
            hint if gone else "",
        )


def _wans(view: View) -> Iterator[Row]:
    for wan in view.plan.wans:
        if wan.section.off:
            continue
        down = wan_state(view, wan) == "down"
        yield row(
            f"WAN {wan.name}",
            "warning" if down else "ok",
            wan_cause(view, wan) if down else ", ".join(a.address for a in wan.addresses),
            "used again as soon as it is up" if down else "",
        )
        small = [f"{p.mtu} bytes to {p.address}" for p in paths(view, wan) if p.mtu]
        if small:
            yield row(
                f"MTU {wan.name}",
                "ok",
                f"larger packets than of {', of '.join(small)} are lost on the way; connections "
                "over it use such",
            )


def _mptcp_seen(view: View) -> Iterator[Row]:
    """Silent fall-back: connections that should be MPTCP and are not. Those of a single WAN are
    a problem, and told above."""
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


def _filters(view: View, sets_it: str) -> Iterator[Row]:
    for wan in view.plan.wans:
        if wan.in_use and wan.device and strict_filter(view.snapshot.facts, wan.device):
            yield row(
                f"rp_filter {wan.device}",
                "warning",
                "strict: answers that arrive on another WAN are dropped",
                f"{sets_it} (to 2)",
            )


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
