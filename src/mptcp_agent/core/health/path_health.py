# SPDX-License-Identifier: GPL-2.0-or-later
"""The health of one path (a WAN to a peer address): a state machine fed with probes.

Sans-I/O: whoever runs it sends the probes it asks for (``due``), tells it what became of them
and what time it is. All times are seconds of one clock that never goes back.

    state     event                     next
    unknown   probe answered            up
    unknown   ``fail`` probes overdue   down
    up        ``fail`` probes overdue   down
    down      ``recover`` answered      up     (more after flapping, see below)
    any       probe could not be sent   same   (no route, no address: not the path's fault)
    any       its link was lost         down   one answered brings it back (more after flapping)

An *overdue* probe is one without an answer for longer than a path as slow as this one is known
to be would take; its answer still counts when it comes late: slow is not dead. In *calm* one
probe goes out per interval and is overdue after the configured time-out. A probe overdue, or a
hint from outside (a subflow that stopped moving), starts a *burst*: probes in quick
succession, each overdue after a multiple of the measured round trip, so that the verdict takes
a fraction of a second. One answer to a probe of the burst ends it.

Every fall within ``FLAP_MEMORY`` asks for one more good probe before the path counts as up
again: a link that comes and goes is left out until it stays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

State = Literal["unknown", "up", "down"]

#: Weights of a new round trip in the smoothed one and in its deviation: RFC 6298 section 2.
ALPHA, BETA = 1 / 8, 1 / 4
#: Weight of one probe in the smoothed loss.
LOSS_WEIGHT = 1 / 16
#: Probes of a burst follow each other after this share of their time-out, and after this long (s)
#: at most while no round trip is known: then it is the configured one.
#: They go on until the verdict: what settles it is that not one of about eight was answered.
BURST_SPACING, FIRST_SPACING = 1 / 6, 1 / 3
#: Seconds between probes of a path that is down, however rarely it is probed while it is up; and
#: the share of the time it has been down, up to the interval: metered links are paid by the byte.
DOWN_INTERVAL, DOWN_SHARE = 0.5, 1 / 60
#: Seconds for which a fall is remembered, and the most good probes asked for.
FLAP_MEMORY = 60.0
MOST_RECOVER = 10


@dataclass(frozen=True)
class Settings:
    """Of the WAN's section. ``interval`` and ``timeout`` in seconds."""

    interval: float = 5.0
    timeout: float = 2.0
    fail: int = 3
    recover: int = 2
    burst_timeout: float = 0.12
    """A burst's probe is overdue after round trip + 4 deviations (RFC 6298's time-out), at
    least this many seconds: a radio link that repeats a frame a few times stays below."""


@dataclass(frozen=True)
class Probe:
    number: int
    sent: float
    probe_timeout: float
    """Seconds after which it is overdue; fixed when it is sent, in calm or in a burst."""
    overdue: bool = False


@dataclass(frozen=True)
class Path:
    """What is known of one path. Make changes with the functions below."""

    settings: Settings
    state: State = "unknown"
    since: float = 0.0
    cause: str = ""
    rtt: float | None = None
    """Smoothed round trip in seconds."""
    deviation: float = 0.0
    loss: float = 0.0
    burst: bool = True
    """The first verdict is worth a burst too."""
    waiting: tuple[Probe, ...] = ()
    overdue: int = 0
    """Probes overdue in a row."""
    good: int = 0
    """Probes answered in a row while down."""
    link_lost: bool = False
    """Down since its link was: its first answer shows that it is back."""
    falls: tuple[float, ...] = ()
    number: int = 0
    sent_at: float = float("-inf")
    """When the last probe went out."""
    next_at: float = 0.0

    @property
    def probe_timeout(self) -> float:
        """Seconds after which a probe sent now would be overdue."""
        if not self.burst or self.rtt is None:
            return self.settings.timeout
        at_least = max(self.settings.burst_timeout, self.rtt + 4 * self.deviation)
        return min(at_least, self.settings.timeout)

    @property
    def spacing(self) -> float:
        """Seconds between the probes of a burst."""
        spacing = self.probe_timeout * BURST_SPACING
        return spacing if self.rtt is not None else min(spacing, FIRST_SPACING)

    @property
    def needed(self) -> int:
        """Good probes in a row that make it up again."""
        if self.link_lost:
            return 1
        return min(self.settings.recover + max(0, len(self.falls) - 1), MOST_RECOVER)


def due(path: Path, now: float) -> bool:
    """Whether a probe should be sent now."""
    return now >= path.next_at


def wake_at(path: Path) -> float:
    """When to look again at the latest: a probe to send, or one that becomes overdue."""
    return min([path.next_at, *(p.sent + p.probe_timeout for p in path.waiting if not p.overdue)])


def sent(path: Path, now: float) -> tuple[Path, int]:
    """A probe went out; its number."""
    number = path.number + 1
    pause = path.spacing if path.burst else _calm(path, now)
    # Answers that come after more than a time-out are of no use to anybody.
    waiting = tuple(p for p in path.waiting if now - p.sent < 2 * path.settings.timeout)
    return replace(
        path,
        loss=_with_lost(path.loss, len(path.waiting) - len(waiting)),
        number=number,
        sent_at=now,
        next_at=now + pause,
        waiting=(*waiting, Probe(number, now, path.probe_timeout)),
    ), number


def _calm(path: Path, now: float) -> float:
    """Seconds between probes while there is no hurry."""
    if path.state != "down":
        return path.settings.interval
    return min(max(DOWN_INTERVAL, (now - path.since) * DOWN_SHARE), path.settings.interval)


def unsent(path: Path, number: int, now: float) -> Path:
    """The probe could not be sent: nothing is learnt, and there is no hurry to try again."""
    waiting = tuple(p for p in path.waiting if p.number != number)
    return replace(
        path, waiting=waiting, burst=False, next_at=max(path.next_at, now + _calm(path, now))
    )


def answered(path: Path, number: int, now: float, repeated: bool = False) -> Path:
    """An answer, late or not. ``repeated``: the kernel sent the probe more than once, and
    nobody knows which one was answered: no round trip is taken from it (Karn's rule, RFC 6298
    section 3), or every outage would end with one of seconds, and the next be noticed late."""
    probe = next((p for p in path.waiting if p.number == number), None)
    if probe is None:
        return path
    if not repeated:
        path = _measured(path, now - probe.sent)
    # An answer vouches for every probe before it: they were slow or lost, the path is alive.
    waiting = tuple(p for p in path.waiting if p.number > number)
    lost = sum(1 for p in path.waiting if p.number < number and p.overdue)
    loss = _with_lost(path.loss, lost) * (1 - LOSS_WEIGHT)
    path = replace(path, waiting=waiting, overdue=0, loss=loss)
    if path.state != "down":
        calm = replace(path, burst=False, next_at=now + path.settings.interval)
        return calm if path.state == "up" else _transition(calm, "up", now, "probes are answered")
    path = replace(path, good=path.good + 1)
    if path.good < path.needed:
        # The next good probe is asked for at once: two round trips settle it.
        return replace(path, burst=True, next_at=now)
    # What was lost while it was dead says nothing of the path that came back.
    cause = f"{path.good} probes answered in a row" if path.good > 1 else "probes are answered"
    path = replace(path, good=0, burst=False, loss=0.0, next_at=now + path.settings.interval)
    return _transition(replace(path, link_lost=False), "up", now, cause)


def _with_lost(loss: float, probes: int) -> float:
    """The smoothed loss after so many more lost probes. Overdue is not lost: it may be slow."""
    return 1 - (1 - loss) * (1 - LOSS_WEIGHT) ** probes


def _measured(path: Path, rtt: float) -> Path:
    if path.rtt is None:
        return replace(path, rtt=rtt, deviation=rtt / 2)
    deviation = (1 - BETA) * path.deviation + BETA * abs(rtt - path.rtt)
    return replace(path, rtt=(1 - ALPHA) * path.rtt + ALPHA * rtt, deviation=deviation)


def passed(path: Path, now: float) -> Path:
    """Time passed: find probes that have become overdue."""
    # As ``wake_at`` has it: another spelling is another rounding, and wakes up for nothing.
    late = {p.number for p in path.waiting if not p.overdue and now >= p.sent + p.probe_timeout}
    if not late:
        return path
    waiting = tuple(replace(p, overdue=True) if p.number in late else p for p in path.waiting)
    path = replace(
        path,
        waiting=waiting,
        overdue=path.overdue + len(late),
        good=0,
    )
    if path.state == "down":
        return replace(path, burst=False)
    if path.overdue < path.settings.fail:
        return path if path.burst else replace(path, burst=True, next_at=now)
    falls = (*(f for f in path.falls if now - f < FLAP_MEMORY), now)
    path = replace(path, falls=falls, burst=False, next_at=now + DOWN_INTERVAL)
    return _transition(path, "down", now, f"{path.overdue} probes lost")


def suspected(path: Path, now: float) -> Path:
    """A hint that the path may be dead: find out at once. Costs nothing while already at it,
    and however many hints there are, no more than a burst."""
    if path.burst or path.state == "down":
        return path
    path = replace(path, burst=True)
    return replace(path, next_at=max(now, path.sent_at + path.spacing))


def confirmed_alive(path: Path, now: float) -> Path:
    """Data came over the path: as good as an answered probe, and it saves one.

    A path that is down is not raised by that: late data of before may still trickle in.
    """
    if path.state == "down" or path.burst:
        return path
    return replace(path, overdue=0, next_at=max(path.next_at, now + path.settings.interval))


def with_settings(path: Path, settings: Settings, now: float) -> Path:
    """Other settings: probed more often from now on, or more rarely."""
    return replace(path, settings=settings, next_at=min(path.next_at, now + settings.interval))


def link_lost(path: Path, now: float, why: str) -> Path:
    """The WAN's link went down. When it returns a probe goes ahead of everything else: a modem or
    a switch has its carrier long before it forwards, and the kernel does not repeat a join that
    no neighbour answered (EHOSTUNREACH; seen on 6.18). A link that flaps has to prove itself like
    any path that was down."""
    falls = (*(f for f in path.falls if now - f < FLAP_MEMORY), now)
    flapping = sum(1 for f in falls if now - f < FLAPPING_WINDOW) >= FLAPPING_FALLS
    fresh = Path(path.settings, falls=falls, rtt=path.rtt, deviation=path.deviation)
    return _transition(replace(fresh, link_lost=not flapping), "down", now, why)


#: So many falls of the link within so many seconds are flapping.
FLAPPING_FALLS, FLAPPING_WINDOW = 4, 10.0


def _transition(path: Path, state: State, now: float, cause: str) -> Path:
    return replace(path, state=state, since=now, cause=cause)
