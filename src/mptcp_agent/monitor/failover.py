# SPDX-License-Identifier: GPL-2.0-or-later
"""When another peer may have its turn: what waits for time to pass, and who is left out.

    the peer in use cannot be reached   its connections wait for ``GRACE`` seconds: it may be back
    no proxied connection lives         after ``IDLE_LONG`` seconds a better peer takes over
    a peer hangs                        it is left out for a while (``core.health.quarantine``)

When one of these times is over the plan is made anew.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from ..core.health import quarantine
from ..core.health.path_health import State
from ..core.health.quarantine import Quarantine
from ..core.plan import Plan

log = logging.getLogger(__name__)

#: Seconds for which proxied connections may wait for the peer in use to be reached again, before
#: another address or peer is taken, which ends them. New ones go out directly meanwhile.
GRACE = 5.0
#: Seconds without any proxied connection after which nothing is lost by changing the peer.
IDLE_LONG = 5.0
#: Seconds by which the plan is made later than that: the time has to be over by then.
MARGIN = 0.1


class Failover:
    """``plan_anew`` is called when a time is over."""

    def __init__(
        self, plan_anew: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._plan_anew = plan_anew
        self._clock = clock
        self._alive_at = float("-inf")
        """When a proxied connection was last seen to live."""
        self._reached_at = float("-inf")
        """When the peer in use could last be reached."""
        self._reachable = False
        self._idle_timer: asyncio.TimerHandle | None = None
        self._quarantine = Quarantine()

    # --- What happened ---------------------------------------------------------------------

    def follow(self, plan: Plan) -> None:
        reachable = plan.choice is not None
        if reachable or self._reachable:
            self._reached_at = self._clock()
        if self._reachable and not reachable:
            asyncio.get_running_loop().call_later(GRACE + MARGIN, self._plan_anew)
        self._reachable = reachable

    def connections_live(self, now: float) -> None:
        """A proxied connection lives. Once none has for a while, a better peer has its turn."""
        self._alive_at = now
        if self._idle_timer:
            self._idle_timer.cancel()
        again = asyncio.get_running_loop().call_later
        self._idle_timer = again(IDLE_LONG + MARGIN, self._plan_anew)

    def tunnel_is(self, state: State, in_use: str | None, tunnelled: Iterable[str]) -> None:
        """A verdict of the tunnel. ``in_use`` is the peer the plan has chosen, ``tunnelled`` who
        is at the other end."""
        if state == "down" and in_use:
            self._quarantine = quarantine.put(self._quarantine, in_use, self._clock())
            log.warning("peer %s accepts connections, but nothing comes through", in_use)
        elif state == "up":
            self._quarantine = quarantine.release(self._quarantine, tunnelled)

    # --- What follows ----------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        return self._clock() - self._alive_at > IDLE_LONG

    @property
    def in_grace_period(self) -> bool:
        return self._clock() - self._reached_at < GRACE

    def dead_peers(self, tunnelled: Iterable[str], tunnel: State) -> frozenset[str]:
        return self._quarantine.dead(self._clock(), tunnelled, tunnel == "down")

    def proved(self, tunnelled: Iterable[str], tunnel: State) -> bool:
        """Whether the LAN may be led into the tunnel: not to a peer that hung, until something
        has come through."""
        return tunnel == "up" or not self._quarantine.on_probation(tunnelled)
