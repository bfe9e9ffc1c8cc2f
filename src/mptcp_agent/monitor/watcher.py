"""Watches paths, tunnel and proxy process, and gives the plan its ``Health``.

- path probes (``prober``), hastened by what running traffic shows (``core.health.stalls``);
- one probe through the whole tunnel, which finds a server or redirector that still accepts
  connections and does nothing with them;
- the proxy processes: their end is heard of at once (pidfd), their start is looked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from ..core.config import Config
from ..core.health import Health, path_health, quarantine, stalls
from ..core.health.path_health import Path, Settings
from ..core.health.quarantine import Quarantine
from ..core.network.wans import WanLink
from ..core.plan import Plan
from ..core.sockets import TcpSocket
from ..core.state import Part, family
from ..errors import AgentError
from ..system import counters, probes, processes
from ..system.netlink import diag
from .prober import Key, Prober, Target

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Standby addresses and peers are probed this much more rarely than the one in use.
STANDBY = 6
#: The probe through the tunnel while all is quiet. Slower than a path's answer, since proxy
#: and server take part; suspected at once where requests stay without an answer.
TUNNEL = Settings(interval=10.0, timeout=3.0, fail=3, recover=2, burst_timeout=0.4)
#: Seconds between readings of the sockets: while data moves, while connections wait, idle.
MOVING, WAITING, IDLE = 0.05, 0.25, 0.5
#: Seconds for which the redirector accepts no connection, not even the tunnel's probe, before it
#: is restarted. That ends every connection: one that waits on a busy router is no reason.
HUNG = 1.5
#: Readings may take this share of a core, while data moves or connections wait.
SHARE = 0.05
#: Seconds for which proxied connections may wait for the peer in use to be reached again, before
#: another address or peer is taken, which ends them. New ones go out directly meanwhile.
FAILOVER_GRACE = 5.0
#: Seconds without any proxied connection after which nothing is lost by changing the peer.
IDLE_LONG = 5.0


class Watcher:
    """``look`` makes the agent plan anew; ``restart`` restarts a hung redirector."""

    def __init__(self, look: Callable[..., None], restart: Callable[[], None]) -> None:
        self._look = look
        self._restart = restart
        self._prober = Prober(lambda: look())
        self._worker = ThreadPoolExecutor(1, "watcher")
        self._plan = Plan()
        self._config: Config | None = None
        self._redirector = False
        self._pids: Mapping[str, int] = {}
        self._pidfds: dict[int, int] = {}
        self._tunnel = Path(TUNNEL)
        self._tunnel_to: str | None = None
        self._tunnel_wake = asyncio.Event()
        self._quarantine = Quarantine()
        self._busy_at = 0.0
        self._reached_at = 0.0
        """When the peer in use could last be reached."""
        self._idle_timer: asyncio.TimerHandle | None = None
        self._quiet_since: int | None = None
        """Connections opened when there was last nothing to watch: until there are more there
        is nothing, and the dear look at each socket is spared."""

    def tasks(self) -> tuple[Callable[[], Coroutine[Any, Any, None]], ...]:
        """What has to run beside the loop."""
        return (self._prober.run, self._watch_tunnel, self._watch_traffic)

    def close(self) -> None:
        self._prober.close()
        for pid in list(self._pidfds):
            self._unwatch(pid)
        self._worker.shutdown(wait=False)

    # --- For the loop ----------------------------------------------------------------------

    def health(self) -> Health:
        now = time.monotonic()
        tunnelled = self._tunnelled()
        proved = self._tunnel.state == "up" or not self._quarantine.on_probation(tunnelled)
        return Health(
            paths=self._prober.health(),
            redirector=self._redirector and proved,
            refused=self._prober.refused(),
            accepting=self._prober.accepting(),
            accepting_for_a_while=self._prober.accepting_for_a_while(),
            dead_peers=self._quarantine.dead(now, tunnelled, self._tunnel.state == "down"),
            idle=now - self._busy_at > IDLE_LONG,
            in_grace_period=now - self._reached_at < FAILOVER_GRACE,
        )

    def connections_opened(self) -> int:
        """TCP connections of this router so far, the agent's own probes of paths left out."""
        return counters.tcp_opened() - self._prober.attempts

    def follow(self, config: Config, plan: Plan) -> None:
        """Watch what this plan uses."""
        if plan.choice or self._plan.choice:
            self._reached_at = time.monotonic()
        if self._plan.choice and not plan.choice:
            later = asyncio.get_running_loop().call_later
            later(FAILOVER_GRACE + 0.1, self._look)
        self._config, self._plan = config, plan
        if plan.choice and plan.choice.address != self._tunnel_to:
            self._tunnel_to = plan.choice.address
            self._fresh_tunnel()
        self._prober.follow(_targets(plan, self._tunnel_to))

    def watch_processes(self, pids: Mapping[str, int]) -> None:
        """Hear of the end of these, by name."""
        self._pids = pids
        for gone in self._pidfds.keys() - set(pids.values()):
            self._unwatch(gone)
        for pid in pids.values():
            self._watch(pid)

    async def redirector(self, config: Config, known: bool) -> None:
        """Find out whether the redirector listens. Asked only while the answer may change,
        since its end is heard of. ``known``: procd has answered."""
        if config.client is None or (known and "client" not in self._pids):
            self.redirector_gone()
        elif not self._redirector:
            self._redirector = await self._run(processes.listens, config.client.local_port)
            if self._redirector:
                self._fresh_tunnel()

    def redirector_gone(self) -> None:
        self._redirector = False

    @property
    def redirector_listens(self) -> bool:
        return self._redirector

    # --- The proxy processes ---------------------------------------------------------------

    def _watch(self, pid: int) -> None:
        if pid in self._pidfds:
            return
        descriptor = processes.watch(pid)
        if descriptor is not None:
            self._pidfds[pid] = descriptor
            asyncio.get_running_loop().add_reader(descriptor, self._process_ended, pid)

    def _unwatch(self, pid: int) -> None:
        descriptor = self._pidfds.pop(pid, None)
        if descriptor is not None:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)

    def _process_ended(self, pid: int) -> None:
        self._unwatch(pid)
        if pid == self._pids.get("client"):
            self.redirector_gone()
        self._look(Part.SERVICES)

    # --- Through the tunnel ----------------------------------------------------------------

    def _fresh_tunnel(self) -> None:
        # Numbers go on: answers to probes of before are no answers to these.
        number = self._tunnel.number
        self._tunnel = Path(TUNNEL, number=number, next_at=time.monotonic())
        self._tunnel_wake.set()

    async def _watch_tunnel(self) -> None:
        running: set[asyncio.Task[None]] = set()
        while True:
            self._tunnel_wake.clear()
            now = time.monotonic()
            wait = 1.0
            if self._redirector and self._plan.state.firewalls:
                self._tunnel_is(path_health.passed(self._tunnel, now))
                if path_health.due(self._tunnel, now):
                    self._tunnel, number = path_health.sent(self._tunnel, now)
                    task = asyncio.create_task(self._probe_tunnel(number))
                    running.add(task)
                    task.add_done_callback(running.discard)
                wait = max(0.0, path_health.wake_at(self._tunnel) - now)
            try:
                async with asyncio.timeout(wait):
                    await self._tunnel_wake.wait()
            except TimeoutError:
                continue

    async def _probe_tunnel(self, number: int) -> None:
        began = time.monotonic()
        outcome = await probes.through(2 * TUNNEL.timeout)
        now = time.monotonic()
        if outcome == "answered":
            # What waited in a hung server tells how long it hung, not how slow the tunnel is; it
            # all comes at once, the first ones bring the tunnel up.
            waited = self._tunnel.state == "down" or began < self._tunnel.since
            self._tunnel_is(path_health.answered(self._tunnel, number, now, waited))
        elif outcome in ("unsent", "refused"):  # refused: the redirector is gone, which is heard of
            self._tunnel = path_health.unsent(self._tunnel, number, now)
        self._tunnel_wake.set()

    def _tunnel_is(self, tunnel: Path) -> None:
        if tunnel.overdue and not self._tunnel.overdue:
            self._prober.suspect()  # a peer that cannot be reached does not hang
        if tunnel.state == "down" != self._tunnel.state and self._unsettled():
            # They may have been on a WAN that failed: the next probe overdue decides.
            old = self._tunnel
            self._tunnel = replace(
                tunnel,
                state=old.state,
                since=old.since,
                cause=old.cause,
                falls=old.falls,
                burst=True,
                next_at=time.monotonic(),
            )
            return
        before, self._tunnel = self._tunnel.state, tunnel
        if tunnel.state == before:
            return
        log.debug("tunnel %s: %s", tunnel.state, tunnel.cause)
        peer = self._plan.choice.peer.name if self._plan.choice else None
        if tunnel.state == "down" and peer:
            self._quarantine = quarantine.put(self._quarantine, peer, time.monotonic())
            log.warning("peer %s accepts connections, but nothing comes through", peer)
        elif tunnel.state == "up":
            self._quarantine = quarantine.release(self._quarantine, self._tunnelled())
        self._look()

    def _unsettled(self) -> bool:
        return self._tunnel_to is not None and self._prober.unsettled(self._tunnel_to)

    def _tunnelled(self) -> list[str]:
        """The peer the redirector is configured for, whether it is in use or not."""
        return [p.peer.name for p in self._plan.peers if self._tunnel_to in p.addresses]

    # --- Running traffic -------------------------------------------------------------------

    async def _watch_traffic(self) -> None:
        reading = stalls.Reading()
        piled_up, most = 0.0, 0
        """Since when connections wait to be accepted without getting fewer; 0 = none waits."""
        while True:
            if self._quiet_since == self.connections_opened():
                await asyncio.sleep(IDLE)
                continue
            started = time.monotonic()
            sockets, backlog, cost = await self._run(self._traffic)
            reading, hints = stalls.step(reading, sockets, started)
            names = {a.address: w.name for w in self._plan.wans for a in w.addresses}
            for local in hints.suspects:
                if local in names:
                    log.debug("%s suspected: traffic stopped", names[local])
                    self._prober.suspect(names[local])
            for local, remote in hints.alive:
                if local in names:
                    self._prober.confirm_alive(names[local], remote)
            hopeless = [s for s in sockets if self._hopeless(s, names)]
            if hopeless:
                await self._run(self._give_up, hopeless)
            again = piled_up > 0 and backlog > 0
            if not backlog or not piled_up or backlog < most:
                piled_up = started if backlog else 0.0
            most = backlog
            if hints.unanswered or again:
                log.debug("tunnel suspected: %d waiting for the redirector", backlog)
                self._tunnel = path_health.suspected(self._tunnel, started)
                self._tunnel_wake.set()
            if piled_up and started - piled_up >= HUNG and self._tunnel_waits(started):
                log.warning("the redirector accepts no connections; it is restarted")
                piled_up = 0.0
                self._restart()
            if any(s.state == "established" for s in sockets):  # what is closing is not cut
                self._busy(started)
            pause = MOVING if hints.moving else WAITING if reading.flows or backlog else IDLE
            await asyncio.sleep(max(pause, cost / SHARE))

    def _tunnel_waits(self, now: float) -> bool:
        """Whether a probe through the tunnel is without an answer as long as that."""
        return any(now - probe.sent >= HUNG for probe in self._tunnel.waiting)

    def _busy(self, now: float) -> None:
        """A proxied connection lives. Once none has for a while, a better peer has its turn."""
        self._busy_at = now
        if self._idle_timer:
            self._idle_timer.cancel()
        again = asyncio.get_running_loop().call_later
        self._idle_timer = again(IDLE_LONG + 0.1, self._look)

    def _hopeless(self, sock: TcpSocket, names: dict[str, str]) -> bool:
        """Still calling over a WAN that is dead by now: its address is its fate."""
        wan = names.get(sock.local)
        if sock.state != "syn-sent" or sock.device or wan is None:
            return False
        return not self._prober.usable(wan, sock.remote)

    def _give_up(self, sockets: list[TcpSocket]) -> None:
        """The LAN client hears at once and tries again, over another WAN, instead of waiting
        for minutes. Best effort: some kernels cannot close another's socket."""
        with contextlib.suppress(AgentError):
            for sock in sockets:
                diag.destroy(sock)

    def _traffic(self) -> tuple[list[TcpSocket], int, float]:
        """Sockets to the peers, connections the redirector has not accepted yet, and the
        processor time (s) this took: waiting for a busy router's processor is no cost.

        A connection under way is not yet a subflow; the agent's own probes are bound to a
        device, which a connection's first subflow is not.
        """
        config = self._config
        if config is None or config.client is None:
            return [], 0, 0.0
        began = time.thread_time()
        opened = self.connections_opened()
        found: list[TcpSocket] = []
        for port in {p.port for p in config.client_peers}:
            try:
                sockets = diag.calls(port)
            except AgentError:
                break  # said by ``check``
            found += [s for s in sockets if s.subflow or (s.state == "syn-sent" and not s.device)]
        backlog = _backlog(config.client.local_port)
        self._quiet_since = None if found or backlog else opened
        return found, backlog, time.thread_time() - began

    async def _run(self, call: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, call, *arguments)


def _backlog(port: int) -> int:
    try:
        return diag.backlog(port)
    except AgentError:
        return 0  # said by ``check``


def _targets(plan: Plan, in_use: str | None) -> dict[Key, Target]:
    """Every WAN to every peer address; those the redirector does not connect to more rarely."""
    found: dict[Key, Target] = {}
    for peer in plan.peers:
        for address in peer.addresses:
            rarely = 1 if in_use in (None, address) else STANDBY
            for wan in plan.wans:
                target = _target(wan, address, peer.peer.port, rarely)
                if target:
                    found[(wan.name, address)] = target
    return found


def _target(wan: WanLink, address: str, port: int, rarely: int) -> Target | None:
    own = wan.address(family(address))
    if wan.section.role == "off" or (wan.up and own is None):
        return None
    section = wan.section
    settings = Settings(
        interval=float(section.probe_interval * rarely),
        timeout=section.probe_timeout / 1000,
        fail=section.probe_fail,
        recover=section.probe_recover,
    )
    return Target(
        device=wan.device or "",
        source=own.address if own else "",
        port=port,
        settings=settings,
        down=wan.reason,
    )
