# SPDX-License-Identifier: GPL-2.0-or-later
"""What others see of the agent: the ubus objects, events, the log and the history."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from ..checks import run_checks
from ..core import connections, describe, status, verdict
from ..core.diff import Change
from ..core.problem import Problem
from ..core.view import Event, Moment, State, View
from ..monitor.kernel import KERNEL, Kernel
from ..monitor.sampler import proxied
from ..system.ubus.bus import Bus
from .capabilities import asked_for_check

log = logging.getLogger(__name__)

OBJECT = "mptcp_proxy"

#: Changes kept for the status.
HISTORY = 50
#: Seconds by which the clock of the day may run off before dates follow it.
TRIMMED = 1.0
#: Seconds after the last status call during which somebody counts as looking.
WATCHED = 15.0

Preview = Callable[[], tuple[tuple[Change, ...], tuple[Problem, ...]]]


class Publisher:
    """Handlers answer from memory; ``connections`` reads the kernel once, ``check`` and ``plan``
    ask for the configuration as it is now."""

    def __init__(
        self,
        bus: Bus,
        view: Callable[[], View],
        examine: Callable[[], View],
        preview: Preview,
        reload: Callable[[], None],
        first_takers: Callable[[], tuple[str, ...]],
        clock: Callable[[], float] = time.monotonic,
        unix: Callable[[], float] = time.time,
        kernel: Kernel = KERNEL,
    ) -> None:
        self._bus = bus
        self._view = view
        self._examine = examine
        self._preview = preview
        self._reload = reload
        self._first_takers = first_takers
        self._clock = clock
        self._unix = unix
        self._kernel = kernel
        self._asked_at = float("-inf")
        self._state: State | None = None
        self._reason = ""
        self._since = self._clock()
        self._apart = unix() - clock()
        self._wans: dict[str, str] = {}
        self._peer: str | None = None
        self.history: deque[Event] = deque(maxlen=HISTORY)

    def register(self) -> None:
        """Add the objects; BusError where ubusd refuses."""
        self._bus.publish(
            OBJECT,
            {
                "status": self.status,
                "connections": self.connections,
                "plan": self.plan,
                "check": self.check,
                "reload": self.reload,
            },
        )

    # --- Handlers --------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """True at this moment; the history is told at the end of the turn that is under way."""
        self._asked_at = self._clock()
        view = self._view()
        state, reason = verdict.judge(view)
        now = self._now()
        since = self._since if state == self._state else now.clock
        return status.document(view, now, state, reason, since, self.history)

    def _now(self) -> Moment:
        """Dates hold still while the clock of the day is only trimmed, and move when it is set."""
        clock, unix = self._clock(), self._unix()
        if abs(unix - clock - self._apart) > TRIMMED:
            self._apart = unix - clock
        return Moment(clock, clock + self._apart)

    def connections(self) -> dict[str, Any]:
        view = self._view()
        config = view.snapshot.config
        found = proxied(config, view.plan, self._kernel) if config else ()
        return connections.document(found, view.plan.wans)

    def plan(self) -> dict[str, Any]:
        changes, problems = self._preview()
        return plan_document(changes, problems)

    def check(self) -> dict[str, Any]:
        view, call = self._examine(), self._bus.call
        asked = asked_for_check(call, self._first_takers(), agent=True)
        return {"checks": run_checks(view, call, asked)}

    def reload(self) -> dict[str, Any]:
        self._reload()
        return {"result": "the configuration is being read again"}

    def watched(self) -> bool:
        """Whether somebody is looking at the status."""
        return self._clock() - self._asked_at < WATCHED

    # --- Changes ---------------------------------------------------------------------------

    def publish(self, view: View) -> None:
        """Compare with what was told last, and tell what is new."""
        wans = {name: (now, why) for name, now, why in verdict.wan_states(view)}
        flipped = [n for n, (now, _) in wans.items() if now != self._wans.get(n, "unknown")]
        state, reason = verdict.judge(view)
        if state != self._state:
            self._since = self._clock()
            # A WAN that comes or goes has a line of its own.
            said = bool(flipped) and {state, self._state} == {"active", "degraded"}
            level = logging.DEBUG if said else logging.INFO
            self._tell("state", self._state or "", state, reason, level)
            self._bus.send(f"{OBJECT}.state", {"state": state, "reason": reason})
        self._state, self._reason = state, reason

        peer = view.plan.choice.peer.name if view.plan.choice else None
        if peer != self._peer and (peer or self._peer):
            why = "the first that answers" if peer else "none of them answers"
            self._tell("peer", self._peer or "none", peer or "none", why)
        self._peer = peer

        for name in flipped:
            now, why = wans[name]
            self._tell(f"wan {name}", self._wans.get(name, "unknown"), now, why)
            self._bus.send(f"{OBJECT}.wan", {"name": name, "state": now, "reason": why})
        self._wans = {name: now for name, (now, _) in wans.items()}

    def publish_if_degraded(self, view: View) -> None:
        """Tell at once of a link that was lost, before the router is read back: that is so
        whatever was done about it, and a short loss would be over by then."""
        if verdict.judge(view)[0] == "degraded":
            self.publish(view)

    def _tell(
        self, what: str, before: str, after: str, reason: str, level: int = logging.INFO
    ) -> None:
        self.history.appendleft(Event(self._clock(), what, before, after, reason))
        log.log(
            level,
            "%s: %s%s%s",
            what,
            f"{before} -> " if before else "",
            after,
            f" ({reason})" if reason else "",
        )


def plan_document(changes: tuple[Change, ...], problems: tuple[Problem, ...]) -> dict[str, Any]:
    """The reply of ``plan``."""
    return {
        "changes": [
            {
                "action": change.action,
                "kind": describe.kind(change.item),
                "text": "\n".join(describe.change_lines(change)),
            }
            for change in changes
        ],
        "problems": [str(p) for p in problems],
    }
