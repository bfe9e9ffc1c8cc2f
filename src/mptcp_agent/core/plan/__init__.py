# SPDX-License-Identifier: GPL-2.0-or-later
"""plan(): a snapshot of the router -> the router as it should be.

peers      which of them, which of its addresses, which WANs
routing    routes, rules, endpoints
proxies    engine, configuration files, processes
firewall   the chain SSREDIR and the server's access list
sysctls    kernel settings
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from .. import carried
from ..carried import Carried
from ..config import PACKAGE, Config
from ..network import MAIN_LIMIT, Facts
from ..network.topology import Topology
from ..network.wans import WanLink, surroundings, wan_links
from ..problem import Problem
from ..router_firewall import warnings
from ..router_firewall.judgement import Judgement, judge
from ..snapshot import Capabilities, Choice, Snapshot
from ..state import Backend, Family, Process, RouterState
from ..state import family as family_of
from . import routing
from .firewall import Mode, firewall
from .peers import (
    PeerAddresses,
    choose,
    client_families,
    resolve,
    used_families,
    wan_families,
    with_address_in_use,
)
from .proxies import Proxies, as_running, plain_families, proxies, runnable, running_choice
from .sysctls import sysctls


@dataclass(frozen=True)
class Plan:
    """The router as it should be, and the choices that led there (for the status)."""

    state: RouterState = field(default_factory=RouterState)
    problems: tuple[Problem, ...] = ()
    wans: tuple[WanLink, ...] = ()
    peers: tuple[PeerAddresses, ...] = ()
    choice: Choice | None = None
    configured: Choice | None = None
    """What the redirector is told; the choice, or the last one while there is none."""
    mode: Mode = "bypass"
    proxies: Proxies = field(default_factory=Proxies)
    carried: tuple[Carried, ...] | None = None
    """Proxies that stay in the form in which an agent before this one has started them."""
    judged: Judgement = field(default_factory=Judgement)
    """What of the LAN the router's own firewall permits to be redirected."""


def plan(snapshot: Snapshot) -> Plan:
    """The router as it should be. Nothing for a snapshot without a configuration."""
    config, facts, health = snapshot.config, snapshot.facts, snapshot.health
    observed, capabilities = snapshot.observed, snapshot.capabilities
    if config is None:
        return Plan()
    wans = wan_links(config, facts, observed.rules)
    if not config.globals.enabled or not (config.client or config.server):
        return Plan(wans=wans)
    peers = resolve(config.client_peers, facts)
    builds, directory = capabilities.builds, capabilities.directory
    in_use, running = snapshot.in_use, observed.processes
    builds = as_running(config, facts, peers, in_use, builds, directory, running)
    if in_use is None:
        files = observed.files
        in_use = running_choice(config, facts, peers, builds, directory, running, files)
    peers = with_address_in_use(peers, in_use, facts, health)
    plain = plain_families(config, builds)
    choice = choose(peers, wans, health, in_use, snapshot.recovering, plain)
    configured = choice or _fallback(peers, in_use)
    engine = proxies(config, facts, configured, builds, directory).without(health.taken, config)
    carry = _carried(snapshot, engine)
    engine = engine.carrying(carry or ())
    backend, problems = _backend(config, capabilities)
    processes = _processes(snapshot, engine, fenced=backend is not None)
    around = surroundings(config, facts, observed.rules)
    judged = _judged(config, around, facts, backend)
    switch = backend is not None and bool(config.client and judged.devices)
    mode = _mode(snapshot, choice, engine, processes) if switch else "bypass"
    addresses = tuple(a for p in peers for a in p.addresses)
    used = next((p.addresses for p in peers if choice and p.peer == choice.peer), ())
    families = client_families(family_of(configured.address) if configured else None, peers)
    endpoints = routing.with_standing(
        routing.endpoints(config, wans, peers, health, used, families),
        observed.endpoints,
        config,
        wans,
        facts,
    )
    inbound = routing.inbound(wans) if backend == "nftables" else ()
    state = RouterState(
        endpoints=routing.within_kernel_limit(endpoints, capabilities.endpoints),
        limits=routing.limits(wans, families),
        routes=routing.routes(wans, around.connected, peers, health, families),
        rules=routing.rules(config, wans, peers, health, inbound),
        firewalls=(
            firewall(config, backend, mode, around, addresses, engine.strip_mptcp, judged, inbound),
        )
        if backend
        else (),
        processes=processes,
        files=engine.files,
        sysctls=sysctls(config, wans, facts),
    )
    return Plan(
        state=state,
        problems=(
            *problems,
            *engine.problems,
            *_notes(config, wans, peers, facts, len(endpoints), capabilities.endpoints),
            *_left_out(config, wans, configured, families, plain),
            *_unproxied(config, around, facts),
            *_old_form(carry or ()),
            *warnings.problems(config, facts.interfaces, judged),
        ),
        wans=wans,
        peers=peers,
        choice=choice,
        configured=configured,
        mode=mode,
        proxies=engine,
        carried=carry,
        judged=judged,
    )


def _judged(config: Config, around: Topology, facts: Facts, backend: Backend | None) -> Judgement:
    """Of the LAN what the router's own firewall permits to be redirected: all, where there is no
    firewall."""
    if config.client is None:
        return Judgement()
    if not config.firewall:
        return Judgement(devices=around.lan_devices)
    client = config.client
    return judge(
        config.firewall,
        facts.interfaces,
        client.lan,
        around.uplinks,
        client.local_port,
        backend,
    )


def _carried(snapshot: Snapshot, engine: Proxies) -> tuple[Carried, ...] | None:
    """The running proxies that are left as they are, though another form of them is wanted; None
    as long as procd has not said what runs."""
    if snapshot.processes is None:
        return snapshot.carried
    seen = snapshot.observed
    runs = tuple(p for p in seen.processes if snapshot.runs(p.name))
    if snapshot.carried is None:
        return carried.carried(engine.processes, engine.files, runs, seen.files)
    if not snapshot.used:
        return ()
    return carried.still(snapshot.carried, engine.processes, runs)


def _old_form(carry: Iterable[Carried]) -> Iterator[Problem]:
    for each in carry:
        yield Problem(
            f"{PACKAGE}.{each.wanted.name}",
            f"the proxy {each.wanted.name} carries connections, and runs on as the version of "
            "mptcp-agent before this one has started it",
            "nothing: it is started anew when it has none (at once, ending them: "
            "service mptcp-proxy stop; service mptcp-proxy start)",
            severity="warning",
        )


def _processes(snapshot: Snapshot, engine: Proxies, fenced: bool) -> tuple[Process, ...]:
    """Of what the engines are to run that which may be started, ``fenced`` by a firewall or not."""
    config, running = snapshot.config, snapshot.observed.processes
    wanted = engine.processes
    if config and _open_to_all(config) and not fenced:
        wanted = tuple(p for p in wanted if p.name != "server" or p in running)
    return runnable(wanted, running, snapshot.failing)


def _fallback(peers: tuple[PeerAddresses, ...], in_use: Choice | None) -> Choice | None:
    """While no peer can be reached the proxy stays configured as it was: when links come back
    it is ready, and nothing restarts."""
    if in_use and any(p.peer == in_use.peer and in_use.address in p.addresses for p in peers):
        return in_use
    return next((Choice(p.peer, p.addresses[0]) for p in peers if p.addresses), None)


def _mode(
    snapshot: Snapshot, choice: Choice | None, engine: Proxies, processes: tuple[Process, ...]
) -> Mode:
    """What a new LAN connection meets."""
    config = snapshot.config
    if config is None or config.client is None:
        return "bypass"
    runs = any(p.name == "client" for p in engine.processes)
    if choice and runs and snapshot.health.redirector and not _restarts(snapshot, processes):
        return "proxy"
    if config.client.when_down == "block":
        return "block"
    return "starting" if choice and runs else "bypass"


def _restarts(snapshot: Snapshot, processes: tuple[Process, ...]) -> bool:
    """Whether this plan starts the redirector anew: the LAN goes out directly meanwhile, rather
    than being refused. Unknown as long as procd has not said what runs."""

    def redirector(all_: Iterable[Process]) -> list[Process]:
        return [p for p in all_ if p.name == "client"]

    known = snapshot.processes is not None
    return known and redirector(processes) != redirector(snapshot.observed.processes)


def _open_to_all(config: Config) -> bool:
    """Whether anybody could use the server if no firewall kept them off."""
    return config.server is not None and config.server.method == "none"


def _backend(config: Config, means: Capabilities) -> tuple[Backend | None, tuple[Problem, ...]]:
    wanted = config.globals.redirect
    for backend in means.backends:
        if wanted in ("auto", backend):
            return backend, ()
    why = "; ".join(f"{b}: {w}" for b, w in means.missing.items() if wanted in ("auto", b))
    return None, (
        Problem(
            f"{PACKAGE}.globals.redirect",
            f"no firewall back end works here ({why or 'none known'})",
            "install nftables (OpenWrt: nftables-json), or iptables and python3-iptables",
        ),
    )


def _left_out(
    config: Config,
    wans: tuple[WanLink, ...],
    configured: Choice | None,
    families: tuple[Family, ...],
    plain: Collection[int],
) -> Iterator[Problem]:
    """WANs over which the address in use cannot be reached, though another of the peer's can.
    ``plain``: the families in which the redirector makes plain TCP connections."""
    if not config.client or config.server or not configured:
        return
    for wan in wans:
        others = {a.family for a in wan.addresses} & {family_of(a) for a in configured.peer.address}
        if wan.in_use and not wan_families(wan, families) and others:
            used = configured.address
            mend = f"see that most WANs have IPv{min(others)}"
            if others <= set(plain):
                mend = (
                    f"this build of the proxy speaks MPTCP over IPv{family_of(used)} only: give "
                    "the WAN such an address, use a newer build"
                )
            yield Problem(
                f"{PACKAGE}.{wan.name}.interface",
                f"'{wan.section.interface}' has no IPv{family_of(used)} address, and the peer's "
                f"address in use is {used}: nothing is proxied over this WAN",
                f"{mend}, or set the role of this one to off",
                severity="warning",
            )


def _unproxied(config: Config, around: Topology, facts: Facts) -> Iterator[Problem]:
    """What of the LAN's goes out directly because main says so, as nobody may expect."""
    if config.client is None:
        return
    where = f"{PACKAGE}.{config.client.name}.lan"
    for family, device in around.elsewhere:
        yield Problem(
            where,
            f"IPv{family} leaves by {device}, which is no wan: what goes there is not proxied",
            f"if it is to be, add a wan section for the interface of {device} (role off is enough)",
            severity="warning",
        )
    for family in (4, 6):
        if sum(family_of(r.destination) == family for r in facts.main) >= MAIN_LIMIT:
            yield Problem(
                where,
                f"main has more than {MAIN_LIMIT} IPv{family} routes that have to be copied; "
                "what the others lead to is proxied",
                "name these networks in option bypass, or use nftables",
                severity="warning",
            )


def _notes(
    config: Config,
    wans: tuple[WanLink, ...],
    peers: tuple[PeerAddresses, ...],
    facts: Facts,
    endpoints: int,
    most_endpoints: int,
) -> list[Problem]:
    """What works, but not as somebody meant it."""
    notes: list[Problem] = []

    def note(where: str, message: str, hint: str) -> None:
        notes.append(Problem(f"{PACKAGE}.{where}", message, hint, severity="warning"))

    for peer in peers:
        if not peer.addresses:
            note(
                f"{peer.peer.name}.address",
                f"{' '.join(peer.peer.address)} cannot be resolved",
                "check the name and the router's DNS, or give IP addresses",
            )
    if config.client:
        for name in config.client.lan:
            interface = facts.interface(name)
            if interface is None or interface.device is None:
                note(
                    f"{config.client.name}.lan",
                    f"there is no network interface '{name}'",
                    f"interfaces are: {', '.join(i.name for i in facts.interfaces) or 'none'}",
                )
    if all(w.section.off for w in wans):
        note("wan", "no wan section in use", "add one for each link")
    v4, v6 = used_families(config, peers)
    for wan in wans:
        if (v4 or v6) and wan.in_use and not any((v4, v6)[a.family == 6] for a in wan.addresses):
            kind = "IPv4" if v4 else "IPv6"
            note(
                f"{wan.name}.interface",
                f"'{wan.section.interface}' has no {kind} address, and the peer only has {kind}",
                "give the peer an address of the family this link has",
            )
    if endpoints > most_endpoints:
        note(
            "wan",
            f"{endpoints} addresses, and the kernel takes {most_endpoints}",
            "use one address family for the peers, or fewer WANs",
        )
    return notes
