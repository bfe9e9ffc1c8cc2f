# SPDX-License-Identifier: GPL-2.0-or-later
"""View -> the status document of ``schema/status.schema.json``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import __version__
from .network.wans import WanLink
from .plan.sysctls import BUFFERS, buffer_values
from .router_firewall.warnings import called
from .state import Endpoint
from .verdict import mode, paths, peer_state, wan_cause, wan_state
from .view import Event, Moment, State, View

Document = dict[str, Any]  # JSON


def document(
    view: View,
    now: Moment,
    state: State,
    reason: str,
    since: float,
    history: Iterable[Event] = (),
) -> Document:
    """The whole status; ``since`` is of the clock that never goes back, ``history`` newest first.
    All times in the document are Unix times."""
    limits, sampled = view.snapshot.observed.limits, view.snapshot.sampled
    counters = {k: v for k, v in sampled.counters if v}
    fallbacks = ("MPCapableFallbackACK", "MPCapableFallbackSYNACK", "MPCapableSYNTXDrop")
    return {
        "version": __version__,
        "time": round(now.unix, 3),
        "state": state,
        "reason": reason,
        "since": round(now.date(since), 3),
        "engine": _engine(view),
        "client": _client(view),
        "server": _server(view),
        "wans": [_wan(view, wan, now) for wan in view.plan.wans],
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
        "history": [_event(e, now) for e in history],
    }


def _event(event: Event, now: Moment) -> Document:
    return {
        "time": round(now.date(event.time), 3),
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
    config = view.snapshot.config
    if config is None or config.client is None or not config.globals.enabled:
        return None
    choice = view.plan.choice
    return {
        "peer": choice.peer.name if choice else None,
        "address": choice.address if choice else None,
        "port": choice.peer.port if choice else None,
        "mode": mode(view),
        "peers": [
            {
                "name": p.peer.name,
                "addresses": list(p.addresses),
                "state": peer_state(view, p),
            }
            for p in view.plan.peers
        ],
        "redirect": _redirect(view),
        "left_alone": [
            {
                "interface": item.interface,
                "what": item.what,
                "section": item.section,
                "because": called(item.section, config.firewall),
                "unread": item.unread,
            }
            for item in view.plan.judged.left
        ],
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


def _wan(view: View, wan: WanLink, now: Moment) -> Document:
    traffic = view.snapshot.sampled.device(wan.device)
    known = paths(view, wan)
    since = max((p.since for p in known), default=0.0)
    rtts = [p.rtt for p in known if p.rtt is not None and p.state == "up"]
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
            "state": wan_state(view, wan),
            "rtt": round(min(rtts), 1) if rtts else None,
            "loss": round(min((p.loss for p in known), default=0.0), 3),
            "since": round(now.date(since), 3) if since else 0.0,
            "cause": wan_cause(view, wan),
            "paths": [
                {
                    "address": p.address,
                    "state": p.state,
                    "rtt": None if p.rtt is None else round(p.rtt, 1),
                    "loss": round(p.loss, 3),
                    "mtu": p.mtu or None,
                }
                for p in known
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
