# SPDX-License-Identifier: GPL-2.0-or-later
"""The health of the tunnel: one probe through redirector, far end and back, over whatever path.

It finds a server or a redirector that still accepts connections and does nothing with them. Its
state is that of a path (``path_health``), with rules of its own:

    state          event                                 next
    any            the redirector was told of another
                   address, or begins to listen          unknown  probed at once, and nothing
                                                                  sent before counts
    any            probe refused: no redirector          same     its end is heard of otherwise
    not down       ``fail`` probes overdue               down     the peer hangs
    not down       the same, its paths are in doubt      same     they may have been on a WAN
                                                                  that failed: the next decides
    down           ``recover`` probes answered           up
"""

from __future__ import annotations

from dataclasses import replace

from . import path_health
from .path_health import Path, Settings

#: While all is quiet. Slower than a path's answer, since proxy and server take part; suspected at
#: once where requests stay without an answer.
SETTINGS = Settings(interval=10.0, timeout=3.0, fail=3, recover=2, burst_timeout=0.4)


def begun(before: Path, now: float) -> Path:
    """A tunnel of which nothing is known."""
    # Numbers go on: answers to probes of before are no answers to these.
    return Path(SETTINGS, number=before.number, next_at=now)


def answered(tunnel: Path, number: int, began: float, now: float) -> Path:
    """Something came back from beyond; the probe began at ``began``."""
    # What waited in a hung server tells how long it hung, not how slow the tunnel is; it all
    # comes at once, the first ones bring the tunnel up.
    waited = tunnel.state == "down" or began < tunnel.since
    return path_health.answered(tunnel, number, now, waited)


def judged(before: Path, after: Path, in_doubt: bool, now: float) -> Path:
    """What becomes of a tunnel that time would make ``after``; ``in_doubt`` are the paths to the
    address at its other end."""
    if not (after.state == "down" != before.state and in_doubt):
        return after
    return replace(
        after,
        state=before.state,
        since=before.since,
        cause=before.cause,
        falls=before.falls,
        burst=True,
        next_at=now,
    )


def waits(tunnel: Path, seconds: float, now: float) -> bool:
    """Whether a probe is without an answer for so long."""
    return any(now - probe.sent >= seconds for probe in tunnel.waiting)
