"""View -> the status document of ``schema/status.schema.json``, and the state in a word."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from .. import __version__
from .health import PathHealth
from .network.wans import WanLink
from .plan.firewall import Mode
from .plan.peers import usable_wans
from .plan.sysctls import BUFFERS, buffer_values
from .state import Endpoint, Firewall
from .view import Event, State, View

Document = dict[str, Any]  # JSON


def judge(view: View) -> tuple[State, str]:
    """The state of the whole and its reason, in words for a person."""
    config = view.snapshot.config
    if config is None:
        return "error", _first_error(view) or "the configuration is being read"
    if not config.globals.enabled:
        return "disabled", "switched off in the configuration (globals, enabled)"
    if config.client is None and config.server is None:
        bad = _first_error(view)
        return ("error", bad) if bad else ("disabled", "no client or server section is enabled")
    if config.client:
        if stuck := _stuck(view):
            does = {"proxy": "redirected", "block": "refused"}[stuck]
            return "error", f"{_why_not_proxied(view)}; the LAN is still {does}"
        mode = _mode(view)
        if mode == "block":
            return "blocked", f"{_why_not_proxied(view)}; LAN TCP is refused, as configured"
        if mode != "proxy":
            return "bypassed", f"{_why_not_proxied(view)}; the LAN goes out directly"
    elif not view.snapshot.runs("server"):
        return "error", _first_error(view) or "the proxy server does not run"
    lacking = _lacking(view)
    if lacking:
        return "degraded", lacking
    return "active", _working(view)


def _mode(view: View) -> Mode:
    """What a new LAN connection meets: as planned, unless the firewall did not take it."""
    if stuck := _stuck(view):
        return stuck
    mode = view.plan.mode
    if mode not in ("proxy", "block"):
        return mode
    return mode if view.snapshot.observed.lan == mode else "bypass"


def _stuck(view: View) -> Literal["proxy", "block"] | None:
    """What a new LAN connection meets although something else is planned, while that cannot be
    carried out: the firewall does not take it, or a daemon has not answered yet."""
    seen = view.snapshot
    unknown = seen.processes is None or not seen.facts.interfaces
    if not unknown and not any(isinstance(item, Firewall) for item in seen.failing):
        return None
    return seen.observed.lan if seen.observed.lan != view.plan.mode else None


def _first_error(view: View) -> str:
    return next((str(p) for p in view.problems if p.severity == "error"), "")


def _why_not_proxied(view: View) -> str:
    plan = view.plan
    if not any(p.name == "client" for p in plan.proxies.processes):
        return _first_error(view) or "no peer has a usable address"
    if plan.choice is None:
        if not any(w.up for w in plan.wans):
            return "no WAN is up"
        seen = view.snapshot.health
        if not seen.refused and not seen.dead_peers and all(p.state != "down" for p in seen.paths):
            return "the peers have not answered yet"
        return "no peer answers"
    if not view.snapshot.health.redirector:
        return "the proxy is starting"
    return _first_error(view) or "the redirect is not in place"


def _lacking(view: View) -> str:
    """What keeps a working set-up from being whole."""
    config = view.snapshot.config
    down = [
        f"{w.name} ({w.reason or _cause(view, w)})"
        for w in view.plan.wans
        if w.section.role != "off" and (not w.up or _wan_state(view, w) == "down")
    ]
    if down:
        return f"WAN down: {', '.join(down)}"
    if config and config.client and view.plan.choice:
        first = config.client_peers[0].name
        if view.plan.choice.peer.name != first:
            return f"peer {first} does not answer, {view.plan.choice.peer.name} is in use"
    if config and config.server and not view.snapshot.runs("server"):
        return _first_error(view) or "the proxy server does not run"
    return _first_error(view)


def _working(view: View) -> str:
    wans = [w.name for w in view.plan.wans if w.up and w.section.role != "off"]
    links = f"{len(wans)} WAN{'s' if len(wans) != 1 else ''} in use ({', '.join(wans)})"
    if view.plan.choice:
        return f"{links}, peer {view.plan.choice.peer.name}"
    return links


def _paths(view: View, wan: WanLink) -> list[PathHealth]:
    return [p for p in view.snapshot.health.paths if p.wan == wan.name]


def _wan_state(view: View, wan: WanLink) -> str:
    """down as soon as the link is, or every probed path over it."""
    paths = _paths(view, wan)
    if not wan.up or (paths and all(p.state == "down" for p in paths)):
        return "down"
    return "up" if any(p.state == "up" for p in paths) else "unknown"


def wan_states(view: View) -> list[tuple[str, str, str]]:
    """Name, state and reason of each WAN in use, as an event tells it."""
    return [
        (
            w.name,
            "up" if (now := _wan_state(view, w)) == "unknown" and w.up else now,
            w.reason or _cause(view, w) or ", ".join(a.address for a in w.addresses),
        )
        for w in view.plan.wans
        if w.section.role != "off"
    ]


def _cause(view: View, wan: WanLink) -> str:
    latest = max(_paths(view, wan), key=lambda p: p.since, default=None)
    return latest.cause if latest else ""


def document(
    view: View,
    now: float,
    state: State,
    reason: str,
    since: float,
    history: Iterable[Event] = (),
) -> Document:
    """The whole status; ``now`` and ``since`` are Unix times, ``history`` is newest first."""
    limits, sampled = view.snapshot.observed.limits, view.snapshot.sampled
    counters = {k: v for k, v in sampled.counters if v}
    fallbacks = ("MPCapableFallbackACK", "MPCapableFallbackSYNACK", "MPCapableSYNTXDrop")
    return {
        "version": __version__,
        "time": round(now, 3),
        "state": state,
        "reason": reason,
        "since": round(since, 3),
        "engine": _engine(view),
        "client": _client(view),
        "server": _server(view),
        "wans": [_wan(view, wan) for wan in view.plan.wans],
        "mptcp": {
            "enabled": view.snapshot.facts.sysctl("net.mptcp.enabled") == "1",
            "limits": {
                "subflows": limits.subflows,
                "add_addr_accepted": limits.add_addr_accepted,
            }
            if limits
            else None,
            "connections": sampled.connections,
            "fallbacks": sum(counters.get(name, 0) for name in fallbacks),
            "counters": counters,
        },
        "buffers": _buffers(view),
        "sampling": {"interval": sampled.interval, "points": sampled.points},
        "problems": [
            {"where": p.where, "message": p.message, "hint": p.hint, "severity": p.severity}
            for p in view.problems
        ],
        "history": [_event(e) for e in history],
    }


def _event(event: Event) -> Document:
    return {
        "time": round(event.time, 3),
        "what": event.what,
        "from": event.before,
        "to": event.after,
        "reason": event.reason,
    }


def _engine(view: View) -> Document | None:
    build = view.plan.proxies.build
    if build is None:
        return None
    how = "native" if build.mptcp else "mptcpize" if build.mptcpize else "none"
    return {
        "name": build.engine,
        "version": build.version,
        "mptcp": how,
        "processes": [
            {"name": p.name, "running": p.running, "pid": p.pid}
            for p in view.snapshot.processes or ()
        ],
    }


def _client(view: View) -> Document | None:
    config, health = view.snapshot.config, view.snapshot.health
    if config is None or config.client is None or not config.globals.enabled:
        return None
    choice = view.plan.choice
    return {
        "peer": choice.peer.name if choice else None,
        "address": choice.address if choice else None,
        "port": choice.peer.port if choice else None,
        "mode": _mode(view),
        "peers": [
            {
                "name": p.peer.name,
                "addresses": list(p.addresses),
                "state": "in use"
                if choice and p.peer == choice.peer
                else "unresolved"
                if not p.addresses
                else "down"
                if p.peer.name in health.dead_peers
                or not any(usable_wans(view.plan.wans, health, a) for a in p.addresses)
                else "standby",
            }
            for p in view.plan.peers
        ],
        "redirect": _redirect(view),
    }


def _redirect(view: View) -> Document | None:
    for firewall in view.snapshot.observed.firewalls:
        if firewall.redirect:
            packets, size = view.snapshot.sampled.redirected
            return {
                "backend": firewall.backend,
                "port": firewall.redirect.port,
                "devices": list(firewall.redirect.jumps),
                "packets": packets,
                "bytes": size,
            }
    return None


def _server(view: View) -> Document | None:
    config = view.snapshot.config
    if config is None or config.server is None or not config.globals.enabled:
        return None
    return {
        "listen": list(config.server.listen),
        "port": config.server.port,
        "clients": view.snapshot.sampled.server_clients,
        "connections": view.snapshot.sampled.server_connections,
    }


def _wan(view: View, wan: WanLink) -> Document:
    traffic = view.snapshot.sampled.device(wan.device)
    paths = _paths(view, wan)
    rtts = [p.rtt for p in paths if p.rtt is not None and p.state == "up"]
    subflows = dict(view.snapshot.sampled.subflows)
    return {
        "name": wan.name,
        "interface": wan.section.interface,
        "device": wan.device,
        "role": wan.section.role,
        "up": wan.up,
        "reason": wan.reason,
        "addresses": [
            {"address": a.address, "prefix": a.prefix, "gateway": a.gateway} for a in wan.addresses
        ],
        "health": {
            "state": _wan_state(view, wan),
            "rtt": round(min(rtts), 1) if rtts else None,
            "loss": round(min((p.loss for p in paths), default=0.0), 3),
            "since": round(max((p.since for p in paths), default=0.0), 3),
            "cause": wan.reason or _cause(view, wan),
            "paths": [
                {
                    "address": p.address,
                    "state": p.state,
                    "rtt": None if p.rtt is None else round(p.rtt, 1),
                    "loss": round(p.loss, 3),
                }
                for p in paths
            ],
        },
        "endpoints": [
            _endpoint(e) for e in view.snapshot.observed.endpoints if e.device == wan.device
        ],
        "subflows": sum(subflows.get(a.address, 0) for a in wan.addresses),
        "rx_bytes": traffic.rx_bytes,
        "tx_bytes": traffic.tx_bytes,
        "rx_rate": traffic.rx_rates[-1] if traffic.rx_rates else 0,
        "tx_rate": traffic.tx_rates[-1] if traffic.tx_rates else 0,
        "rates": {"rx": list(traffic.rx_rates), "tx": list(traffic.tx_rates)},
    }


def _endpoint(endpoint: Endpoint) -> Document:
    return {"id": endpoint.id, "address": endpoint.address, "flags": sorted(endpoint.flags)}


def _buffers(view: View) -> Document:
    present = {key: buffer_values(view.snapshot.facts, key) for key in BUFFERS}
    rmem, wmem = (values[2] if values else None for values in present.values())
    if view.snapshot.config is None or view.snapshot.config.globals.buffers == "off":
        reason = "left alone, as configured"
    else:
        reasons = (
            f"{name} {BUFFERS[key](view.snapshot.config, view.snapshot.facts, values)[1]}"
            for name, (key, values) in zip(("receiving:", "sending:"), present.items(), strict=True)
            if values
        )
        reason = "; ".join(reasons)
    return {"rmem": rmem, "wmem": wmem, "reason": reason}
