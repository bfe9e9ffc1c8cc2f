# SPDX-License-Identifier: GPL-2.0-or-later
"""What the agent does outside the plan: three things, each an emergency of running connections.

    what                             when
    restart a hung redirector        connections wait to be accepted for ``backlog.HUNG`` seconds
                                     without getting fewer, and so does the tunnel's own probe
    end hopeless sockets             a connection to a peer still sends its first SYN over a WAN
                                     that is dead by now: its source address is its fate
    reset abandoned connections      they still receive, and no process is left to read it; this
                                     has its own time and ports, and a module (``abandoned``)

Everything else the agent changes is a difference between the router as it is and as it should be
(``core.diff``). These are not: a redirector that hangs looks like one that runs, and planning
for single sockets would make them a part of the observed state, whose cost would grow with their
number at each look. All end connections that nothing could keep, so that who waits hears of it at
once and tries again.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from ..core.health import backlog
from ..core.health.backlog import Backlog
from ..core.health.path_health import Path
from ..core.sockets import TcpSocket
from ..errors import AgentError
from .kernel import KERNEL, Kernel

log = logging.getLogger(__name__)


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
        found = [s for s in sockets if hopeless(s, wans, usable)]
        if found:
            await self._work(self._end, found)

    def _end(self, sockets: Iterable[TcpSocket]) -> None:
        """The LAN client hears at once and tries again, over another WAN, instead of waiting
        for minutes. Best effort: a kernel without CONFIG_INET_DIAG_DESTROY, as stock
        OpenWrt's is, cannot close another's socket."""
        with contextlib.suppress(AgentError):
            for sock in sockets:
                self._kernel.destroy(sock)


def hopeless(sock: TcpSocket, wans: Mapping[str, str], usable: Callable[[str, str], bool]) -> bool:
    """Still calling over a WAN that is dead by now. The agent's own probes, which are bound to a
    device, are not meant."""
    wan = wans.get(sock.local)
    if sock.state != "syn-sent" or sock.device or wan is None:
        return False
    return not usable(wan, sock.remote)
