# SPDX-License-Identifier: GPL-2.0-or-later
"""Connections that the redirector has not accepted: one that hangs lets them pile up.

reading                                   it means
some wait, and did at the one before      the tunnel deserves a look
they wait for ``HUNG`` seconds without
getting fewer, and so does the tunnel's
own probe                                 the redirector hangs
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from . import tunnel
from .path_health import Path

#: Seconds for which the redirector accepts no connection, not even the tunnel's probe, before it
#: counts as hung. Its restart ends every connection: one that waits on a busy router is no reason.
HUNG = 1.5


@dataclass(frozen=True)
class Backlog:
    waiting: int = 0
    since: float | None = None
    """Since when connections wait without getting fewer; None: none does."""


def step(before: Backlog, waiting: int, now: float) -> tuple[Backlog, bool]:
    """The next reading, and whether connections wait for the second time in a row."""
    again = before.since is not None and waiting > 0
    if not waiting:
        return Backlog(), again
    fewer = waiting < before.waiting
    return Backlog(waiting, now if before.since is None or fewer else before.since), again


def hung(backlog: Backlog, through: Path, now: float) -> bool:
    """Whether the redirector hangs; ``through`` is the tunnel."""
    if backlog.since is None or now - backlog.since < HUNG:
        return False
    return tunnel.waits(through, HUNG, now)


def restarted(backlog: Backlog) -> Backlog:
    """The redirector is another one: what waits now waits anew."""
    return replace(backlog, since=None)
