# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything that is watched beside the loop, and the ``Health`` the plan is given.

    processes   the proxies live, the redirector listens
    tunnel      something comes through it
    prober      each path answers
    traffic     what running connections show
    failover    when another peer may have its turn
    abandoned   what arrives has somebody to read it

What each finds goes down this wiring, and only there: they do not know each other.

    traffic  ── hints ──> prober, tunnel        processes ── listens ──> tunnel
             ── lives ──> failover              tunnel ── overdue ──> prober
             ── all ────> interventions                ── verdict ──> failover
             ── moving ─> abandoned

They act on nothing: that is the plan's, but for four emergencies (``interventions``,
``abandoned``).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ..core.config import Config
from ..core.health import Health
from ..core.health.path_health import State
from ..core.health.ports import Life
from ..core.network.wans import names_by_address
from ..core.plan import Plan
from ..core.state import Part
from .abandoned import Abandoned
from .failover import Failover
from .interventions import Interventions
from .kernel import KERNEL, Kernel
from .ports import Ports
from .prober import Prober
from .processes import ProxyProcesses
from .targets import targets
from .traffic import Seen, Traffic
from .tunnel import Tunnel

log = logging.getLogger(__name__)

T = TypeVar("T")


class Monitor:
    """``request`` makes the agent look at a part of the router again, and plan anew in any case;
    ``restart`` restarts a hung redirector."""

    def __init__(
        self,
        request: Callable[..., None],
        restart: Callable[[], None],
        kernel: Kernel = KERNEL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._request = request
        self._kernel = kernel
        self._clock = clock
        self._worker = ThreadPoolExecutor(1, "monitor")
        self._plan = Plan()
        self._processes = ProxyProcesses(lambda: request(Part.SERVICES), self._work, kernel)
        self._ports = Ports(self._work, kernel, clock)
        self._prober = Prober(request, kernel, clock)
        self._tunnel = Tunnel(
            lambda: self._processes.redirector_listens,
            self._prober.in_doubt,
            self._prober.suspect,
            self._tunnel_changed,
            kernel,
            clock,
        )
        self._traffic = Traffic(
            self._traffic_seen, self._work, self.connections_opened, kernel, clock
        )
        self._failover = Failover(request, clock)
        self._interventions = Interventions(restart, self._work, kernel)
        self._abandoned = Abandoned(self._work, kernel)

    def tasks(self) -> tuple[Callable[[], Coroutine[Any, Any, None]], ...]:
        """What has to run beside the loop."""
        return (self._prober.run, self._tunnel.run, self._traffic.run, self._abandoned.run)

    def close(self) -> None:
        self._prober.close()
        self._processes.close()
        self._worker.shutdown(wait=False)

    # --- For the loop ----------------------------------------------------------------------

    def health(self) -> Health:
        peers, tunnel = self._tunnelled(), self._tunnel.path.state
        listens = self._processes.redirector_listens
        return Health(
            paths=self._prober.health(),
            redirector=listens and self._failover.proved(peers, tunnel),
            refused=self._prober.refused(),
            accepting=self._prober.accepting(),
            accepting_for_a_while=self._prober.accepting_for_a_while(),
            dead_peers=self._failover.dead_peers(peers, tunnel),
            taken=self._ports.taken(),
            idle=self._failover.idle,
            in_grace_period=self._failover.in_grace_period,
        )

    def connections_opened(self) -> int:
        """TCP connections of this router so far, the agent's own probes of paths left out."""
        return self._kernel.tcp_opened() - self._prober.attempts

    def follow(self, config: Config, plan: Plan) -> None:
        """Watch what this plan uses."""
        self._plan = plan
        self._failover.follow(plan)
        self._traffic.follow(config)
        self._abandoned.follow(config)
        self._tunnel.follow(plan)
        self._prober.follow(targets(plan, self._tunnel.address))

    def firewall_changed(self) -> None:
        """Somebody's rules are others than before; the agent's own count, too."""
        self._interventions.firewall_changed(self._clock())

    def watch_processes(self, pids: Mapping[str, int]) -> None:
        """Hear of the end of these, by name."""
        self._processes.follow(pids)

    async def redirector(self, config: Config, life: Mapping[str, Life] | None) -> None:
        """Find out whether the redirector listens, and nobody else in its place. ``life`` is what
        procd has answered; None: it has not."""
        if life is not None:
            await self._ports.look(config, life)
        if self._ports.suspected("client"):
            self._processes.redirector_gone()
        elif await self._processes.find_redirector(config, life is not None):
            self._tunnel.begin()

    def redirector_gone(self) -> None:
        self._processes.redirector_gone()

    @property
    def ports_taken(self) -> bool:
        return bool(self._ports.taken())

    @property
    def redirector_listens(self) -> bool:
        return self._processes.redirector_listens

    # --- The wiring ------------------------------------------------------------------------

    def _tunnel_changed(self, state: State) -> None:
        in_use = self._plan.choice.peer.name if self._plan.choice else None
        self._failover.tunnel_is(state, in_use, self._tunnelled())
        self._request()

    def _tunnelled(self) -> list[str]:
        """The peer the redirector is configured for, whether it is in use or not."""
        return [p.peer.name for p in self._plan.peers if self._tunnel.address in p.addresses]

    async def _traffic_seen(self, seen: Seen) -> None:
        if seen.hints.moving:
            self._abandoned.client_moves()
        wans = names_by_address(self._plan.wans)
        for local in seen.hints.suspects:
            if local in wans:
                log.debug("%s suspected: traffic stopped", wans[local])
                self._prober.suspect(wans[local])
        for local, remote in seen.hints.alive:
            if local in wans:
                self._prober.confirm_alive(wans[local], remote)
        await self._interventions.end_hopeless(seen.sockets, wans, self._prober.usable)
        plan = self._plan
        endpoints = plan.state.endpoints if plan.choice else ()
        bare = self._interventions.without_subflow(seen.orphans, seen.stopped, seen.at)
        await self._interventions.join_anew(bare, seen.sockets, endpoints, seen.at)
        again = self._interventions.connections_wait(seen.waiting, seen.at)
        if again or seen.hints.unanswered:
            log.debug("tunnel suspected: %d waiting for the redirector", seen.waiting)
            self._tunnel.suspect(seen.at)
        self._interventions.restart_if_hung(self._tunnel.path, seen.at)
        if seen.alive:
            self._failover.connections_live(seen.at)

    async def _work(self, call: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, call, *arguments)
