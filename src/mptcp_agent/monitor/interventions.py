# SPDX-License-Identifier: GPL-2.0-or-later
"""What the agent does outside the plan: three things, each an emergency of running connections.

    what                             when
    restart a hung redirector        connections wait to be accepted for ``backlog.HUNG`` seconds
                                     without getting fewer, and so does the tunnel's own probe
    join anew                        a connection lives and has no subflow: its endpoints are added
                                     again. If the far end refuses, the kernel ends it
    end hopeless sockets             a connection to an IPv6 address of a peer still sends its first
                                     SYN over a WAN that is dead by now: its source address is its
                                     fate. With IPv4 the kernel takes another one (``core.plan``)
    reset abandoned connections      they still receive, and no process is left to read it; this
                                     has its own time and ports, and a module (``abandoned``)

Everything else the agent changes is a difference between the router as it is and as it should be
(``core.diff``). These are not: a redirector that hangs looks like one that runs, and planning for
single sockets would make them a part of the observed state, whose cost would grow with their number
at each look. What they end nothing could keep, so that who waits hears of it and tries again.

OpenWrt's kernels cannot close another's socket (CONFIG_INET_DIAG_DESTROY is off), so nothing relies
on it. There, calls to a dead IPv6 path end with the engine's own patience: sing-box has 5 s,
shadowsocks-libev 10 s.

All subflows of a connection are reset when the router's firewall is restarted: fw4 forgets what it
tracks and refuses what it does not know. Neither end is told, and both wait for a minute. Joins
over endpoints that are added again revive it without loss (seen on 6.1, 6.18, 7.3). Where the far
end knows it no more it refuses, and after ``net.mptcp.close_timeout`` without a subflow (60 s, in
which a link may come back) the kernel ends it. That time is shortened for the last try: a join
under way, answered or not, counts as a subflow, so only what is refused ends sooner. Linux 6.6 has
no such setting; there it is a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any

from ..core.health import backlog
from ..core.health.backlog import Backlog
from ..core.health.path_health import Path
from ..core.sockets import TcpSocket
from ..core.state import Endpoint, family
from ..errors import AgentError
from .kernel import KERNEL, Kernel

log = logging.getLogger(__name__)

#: Tries to join anew, and seconds between them: a firewall that restarts refuses for a while.
TRIES, BETWEEN = 3, 1.5
#: Seconds after which the tries of a connection that has a subflow again count no more.
FORGOTTEN = 30.0
#: Seconds for which a change of the firewall explains why a connection stopped.
LATELY = 4.0
#: Seconds between endpoints, where connections live that may have no other subflow.
ONE_BY_ONE = 0.3
#: How long (s) the kernel waits for a subflow after the last try, and for how long that is so.
CLOSE_TIMEOUT, PATIENCE, HELD = "net.mptcp.close_timeout", 2, 4.0


class Interventions:
    """``restart`` restarts the redirector, ``work`` runs a call in a worker thread."""

    def __init__(
        self,
        restart: Callable[[], None],
        work: Callable[..., Awaitable[Any]],
        kernel: Kernel = KERNEL,
    ) -> None:
        self._restart = restart
        self._work = work
        self._kernel = kernel
        self._backlog = Backlog()
        self._can_destroy = True
        self._firewall_changed = -LATELY
        self._tries: dict[int, tuple[int, float]] = {}
        """By the token of a connection without a subflow, and when it was last."""
        self._to_add: tuple[Endpoint, ...] = ()
        self._next_try = self._next_endpoint = 0.0
        self._impatient: asyncio.Task[None] | None = None

    def connections_wait(self, waiting: int, now: float) -> bool:
        """Note how many connections the redirector has not accepted; whether that happened twice
        in a row, which makes the tunnel suspect."""
        self._backlog, again = backlog.step(self._backlog, waiting, now)
        return again

    def restart_if_hung(self, tunnel: Path, now: float) -> None:
        if backlog.hung(self._backlog, tunnel, now):
            log.warning("the redirector accepts no connections; it is restarted")
            self._backlog = backlog.restarted(self._backlog)
            self._restart()

    async def end_hopeless(
        self,
        sockets: Iterable[TcpSocket],
        wans: Mapping[str, str],
        usable: Callable[[str, str], bool],
    ) -> None:
        """``wans`` are the WANs by their addresses; ``usable`` says whether the path from a WAN
        to an address is."""
        found = [s for s in sockets if hopeless(s, wans, usable)] if self._can_destroy else []
        if found:
            await self._work(self._end, found)

    def _end(self, sockets: Iterable[TcpSocket]) -> None:
        """The LAN client hears at once and tries again, over another WAN. Where the kernel cannot
        it is not asked again."""
        try:
            for sock in sockets:
                self._kernel.destroy(sock)
        except AgentError as error:
            log.debug("%s", error)
            self._can_destroy = False

    def firewall_changed(self, now: float) -> None:
        self._firewall_changed = now

    def without_subflow(
        self, orphans: frozenset[int], stopped: frozenset[int], now: float
    ) -> frozenset[int]:
        """``stopped`` are connections that were busy and have stopped. Where the firewall changed a
        moment ago the far end was told that its subflows are no more, and we were not: who only
        receives sends nothing that would be answered by a reset."""
        lately = now - self._firewall_changed < LATELY
        return orphans | stopped if lately else orphans

    async def join_anew(
        self,
        orphans: Collection[int],
        sockets: Iterable[TcpSocket],
        endpoints: Iterable[Endpoint],
        now: float,
    ) -> None:
        """``orphans`` are connections without a subflow, by token; ``sockets`` the subflows of the
        others, ``endpoints`` what there is to join over: none while no peer answers.

        Not on a router that is client and server at once: with an endpoint the kernel ends what
        came in at its address, too (``core.plan.routing.with_standing``).
        """
        joining = tuple(e for e in endpoints if "subflow" in e.flags)
        if not joining or any("signal" in e.flags for e in joining):
            return
        if self._to_add and now >= self._next_endpoint:
            await self._add_again(sockets, now)
        lately = {t: tried for t, tried in self._tries.items() if now - tried[1] < FORGOTTEN}
        self._tries = lately | {t: (lately.get(t, (0, now))[0], now) for t in orphans}
        due = {t: self._tries[t][0] for t in orphans if self._tries[t][0] < TRIES}
        if not due or now < self._next_try:
            return
        self._next_try = now + BETWEEN
        self._tries |= {t: (tries + 1, now) for t, tries in due.items()}
        log.info("%d connections have no subflow; they are joined anew", len(due))
        if TRIES - 1 in due.values() and not (self._impatient and not self._impatient.done()):
            self._impatient = asyncio.create_task(self._be_impatient())
            await asyncio.sleep(0)
        self._to_add = joining
        await self._add_again(sockets, now)

    async def _add_again(self, sockets: Iterable[TcpSocket], now: float) -> None:
        """Each connection that lives keeps a subflow meanwhile, if it has more than one."""
        count = 1 if any(s.subflow for s in sockets) else len(self._to_add)
        some, self._to_add = self._to_add[:count], self._to_add[count:]
        self._next_endpoint = now + ONE_BY_ONE
        with contextlib.suppress(AgentError):  # the plan has them missing, and says why
            await self._work(self._kernel.rejoin, some)

    async def _be_impatient(self) -> None:
        """Shorten the kernel's patience for a moment."""
        with contextlib.suppress(AgentError):  # not in Linux 6.6
            before = self._kernel.get_sysctl(CLOSE_TIMEOUT)
            if before is None or int(before) <= PATIENCE:
                return
            self._kernel.set_sysctl(CLOSE_TIMEOUT, str(PATIENCE))
            try:
                await asyncio.sleep(HELD)
            finally:
                self._kernel.set_sysctl(CLOSE_TIMEOUT, before)


def hopeless(sock: TcpSocket, wans: Mapping[str, str], usable: Callable[[str, str], bool]) -> bool:
    """Still calling over a WAN that is dead by now, with an address that the kernel will not
    change. The agent's own probes, which are bound to a device, are not meant."""
    wan = wans.get(sock.local)
    if sock.state != "syn-sent" or sock.device or wan is None or family(sock.local) == 4:
        return False
    return not usable(wan, sock.remote)
