# SPDX-License-Identifier: GPL-2.0-or-later
"""What to say of each thing in a view: the one place where status, events and ``check`` ask.

Of the whole ``judge`` says the worst that there is:

    error      there is nothing to run, or the server alone is to run and does not; or LAN
               connections are led where they should not be, and that cannot be changed now
    disabled   nothing is to run
    blocked    LAN connections are refused, as configured
    bypassed   LAN connections go out directly
    degraded   it works, and something is missing
    active     nothing is missing
"""

from __future__ import annotations

from typing import Literal

from .health import PathHealth, PathState, presumed
from .network.wans import WanLink, surroundings
from .plan.firewall import Mode
from .plan.peers import PeerAddresses, reachable
from .state import Firewall
from .view import State, View

PeerState = Literal["in use", "standby", "down", "unresolved"]


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
        if still := stuck(view):
            does = {"proxy": "redirected", "block": "refused"}[still]
            return "error", f"{_why_not_proxied(view)}; the LAN is still {does}"
        now = mode(view)
        if now == "block":
            return "blocked", f"{_why_not_proxied(view)}; LAN TCP is refused, as configured"
        if now != "proxy":
            return "bypassed", f"{_why_not_proxied(view)}; the LAN goes out directly"
    elif not view.snapshot.runs("server"):
        unknown = view.snapshot.processes is None
        why = "procd has not answered yet" if unknown else "the proxy server does not run"
        return "error", _first_error(view) or why
    missing = _missing(view)
    if missing:
        return "degraded", missing
    return "active", _working(view)


def mode(view: View) -> Mode:
    """What a new LAN connection meets: as planned, unless the firewall did not take it."""
    if still := stuck(view):
        return still
    planned = view.plan.mode
    if planned not in ("proxy", "block"):
        return planned
    return planned if view.snapshot.observed.lan == planned else "bypass"


def stuck(view: View) -> Literal["proxy", "block"] | None:
    """What a new LAN connection meets although something else is planned, while that cannot be
    carried out: the firewall does not take it, or a daemon has not answered yet."""
    seen = view.snapshot
    unknown = seen.processes is None or not seen.facts.interfaces
    if not unknown and not any(isinstance(item, Firewall) for item in seen.failing):
        return None
    return seen.observed.lan if seen.observed.lan != view.plan.mode else None


def peer_state(view: View, peer: PeerAddresses) -> PeerState:
    """``standby`` is a peer that could be used."""
    choice = view.plan.choice
    if choice and choice.peer == peer.peer:
        return "in use"
    if not peer.addresses:
        return "unresolved"
    return "standby" if reachable(peer, view.plan.wans, view.snapshot.health) else "down"


def wan_state(view: View, wan: WanLink) -> PathState:
    """down as soon as the link is, or every probed path over it."""
    known = paths(view, wan)
    if not wan.up or (known and all(p.state == "down" for p in known)):
        return "down"
    return "up" if any(p.state == "up" for p in known) else "unknown"


def wan_cause(view: View, wan: WanLink) -> str:
    """Why its state is what it is, as far as something was seen."""
    latest = max(paths(view, wan), key=lambda p: p.since, default=None)
    return wan.reason or (latest.cause if latest else "")


def wan_states(view: View) -> list[tuple[str, str, str]]:
    """Name, state and reason of each WAN that is not switched off, as an event tells it."""
    return [
        (
            w.name,
            presumed(wan_state(view, w), w.up),
            wan_cause(view, w) or ", ".join(a.address for a in w.addresses),
        )
        for w in view.plan.wans
        if not w.section.off
    ]


def paths(view: View, wan: WanLink) -> list[PathHealth]:
    return [p for p in view.snapshot.health.paths if p.wan == wan.name]


def idle_processes(view: View) -> list[str]:
    """Proxies that should run and do not; none as long as procd has not answered."""
    if view.snapshot.processes is None:
        return []
    return [p.name for p in view.plan.proxies.processes if not view.snapshot.runs(p.name)]


def starting(view: View) -> bool:
    """What is not there yet was started a moment ago, and nothing says that it will not come."""
    seen, plan = view.snapshot, view.plan
    if not seen.starting or _first_error(view):
        return False
    if seen.config is None or seen.processes is None or idle_processes(view):
        return True
    if plan.choice is None:
        return any(peer_state(view, peer) == "standby" for peer in plan.peers)
    if seen.config.client is None:
        return False
    return not seen.health.redirector or mode(view) != plan.mode


def without_mptcp(view: View) -> str:
    """Why the kernel makes no MPTCP connections; "" where it does."""
    enabled = view.snapshot.facts.sysctl("net.mptcp.enabled")
    if enabled is None:
        return "this kernel has no Multipath TCP"
    return "" if enabled == "1" else f"net.mptcp.enabled is {enabled}"


# --- Reasons -----------------------------------------------------------------------------------


def _first_error(view: View) -> str:
    return next((str(p) for p in view.problems if p.severity == "error"), "")


def _why_not_proxied(view: View) -> str:
    plan = view.plan
    if not any(p.name == "client" for p in plan.state.processes):
        return _first_error(view) or "no peer has a usable address"
    if plan.choice is None:
        if not any(w.in_use for w in plan.wans):
            return "no WAN is up"
        if any(peer_state(view, p) == "standby" for p in plan.peers):
            return "the peers have not answered yet"
        return "no peer answers"
    if not view.snapshot.health.redirector:
        return "the proxy is starting"
    config, facts = view.snapshot.config, view.snapshot.facts
    if config and config.client and not surroundings(config, facts).lan_devices:
        return "there is no LAN network to redirect"
    if config and config.client and not view.plan.judged.devices:
        return "the router's own firewall lets nothing of the LAN be redirected"
    return _first_error(view) or "the redirect is not in place"


def _missing(view: View) -> str:
    """What keeps a working set-up from being whole."""
    down = [
        f"{w.name} ({wan_cause(view, w)})"
        for w in view.plan.wans
        if not w.section.off and wan_state(view, w) == "down"
    ]
    if down:
        return f"WAN down: {', '.join(down)}"
    first, choice = next(iter(view.plan.peers), None), view.plan.choice
    if first and choice and choice.peer != first.peer:
        name, other = first.peer.name, choice.peer.name
        if peer_state(view, first) == "standby":
            return f"peer {other} is still in use, {name} can be reached again"
        return f"peer {name} does not answer, {other} is in use"
    idle = idle_processes(view)
    if idle:
        return _first_error(view) or f"the proxy {idle[0]} does not run"
    return _first_error(view) or without_mptcp(view)


def _working(view: View) -> str:
    wans = [w.name for w in view.plan.wans if w.in_use]
    links = f"{len(wans)} WAN{'s' if len(wans) != 1 else ''} in use ({', '.join(wans)})"
    if view.plan.choice:
        return f"{links}, peer {view.plan.choice.peer.name}"
    return links
