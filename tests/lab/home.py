# SPDX-License-Identifier: GPL-2.0-or-later
"""The standard load: what a home has going on beside whatever is measured.

Connections that stay open and say little, new short ones all the time, DNS queries, a call. They
go from the host in the LAN to the host at the far end; lab/household is what runs there.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import IO, Any, Self

from toolkit.command import LabError
from toolkit.stopping import end
from toolkit.waiting import NotInTime, wait_until

from lab.host import Host
from lab.household import CALL_EVERY, PATIENCE, TELL
from lab.topology import Network

LATE = 0.15
"""Seconds that a packet of the call may take longer than the quickest one: what comes later is no
use to the ear (ITU-T G.114 asks for less)."""

FILLED = 30.0
"""Seconds in which all connections that stay open are open."""


@dataclass(frozen=True)
class Load:
    """``open`` connections that each move 100 bytes every 10 s; ``new`` short ones a second, with
    an answer of 10 kB; ``dns`` queries a second; beside them always a call."""

    open: int = 300
    new: float = 50
    dns: float = 10

    def __str__(self) -> str:
        return (
            f"{self.open} open connections, {self.new:g} new ones a second, {self.dns:g} DNS "
            "queries a second, a call"
        )


HOME = Load()


@dataclass(frozen=True)
class Event:
    """Something that began at a time of the monotonic clock; ``took`` is None where it failed."""

    began: float
    took: float | None
    error: str = ""

    @property
    def ended(self) -> float:
        return self.began + (self.took or 0)


def longest_gap(worked: Iterable[float], since: float, until: float) -> float:
    """The longest time between two that worked; before the first and after the last as well."""
    inside = sorted(at for at in worked if since < at < until)
    return max(b - a for a, b in pairwise([since, *inside, until]))


@dataclass(frozen=True)
class Account:
    """What became of the load between two times; all lengths in seconds.

    A pause that goes on at the end is counted up to there. What worked only after the end is not
    counted at all: nobody knows whether it would have without what came then (a mended link).
    """

    since: float
    until: float
    short: Sequence[Event]
    """Short connections that began in that time."""
    dns: Sequence[Event]
    call: dict[str, Sequence[Event]]
    """By way (``down``, ``up``): packets sent in that time that arrived before they were LATE."""
    lost: Sequence[Event]
    """Open connections that broke in that time."""

    @property
    def judged(self) -> list[Event]:
        """Short connections that worked in that time, or failed."""
        return [each for each in self.short if each.error or each.ended < self.until]

    @property
    def failed(self) -> int:
        """Short connections that failed or took longer than PATIENCE."""
        return sum(1 for each in self.short if each.error)

    @property
    def failed_share(self) -> float:
        """The same in percent."""
        return 100 * self.failed / max(1, len(self.judged))

    @property
    def errors(self) -> Counter[str]:
        return Counter(each.error for each in self.short if each.error)

    @property
    def short_gap(self) -> float:
        """The longest time in which no new connection worked."""
        worked = (each.began for each in self.judged if not each.error)
        return longest_gap(worked, self.since, self.until)

    @property
    def short_median(self) -> float:
        """What a short connection that worked took."""
        return median([each.took for each in self.short if each.took is not None] or [math.inf])

    @property
    def dns_gap(self) -> float:
        """The longest time in which no query that was sent was answered."""
        answered = (each for each in self.dns if each.took is not None)
        worked = (each.began for each in answered if each.ended < self.until)
        return longest_gap(worked, self.since, self.until)

    @property
    def call_gap(self) -> float:
        """The longest silence at the ear, of both ways the longer."""
        arrived = ([each.ended for each in way] for way in self.call.values())
        return max(longest_gap(way, self.since, self.until) for way in arrived)

    @property
    def call_missing(self) -> int:
        """Packets of both ways that were late or lost."""
        sent = round((self.until - self.since) / CALL_EVERY)
        return sum(max(0, sent - len(way)) for way in self.call.values())

    def __str__(self) -> str:
        return (
            f"{self.failed} of {len(self.judged)} new connections failed, {len(self.lost)} open "
            f"lost, longest without new {1000 * self.short_gap:.0f} ms, DNS "
            f"{1000 * self.dns_gap:.0f} ms, call {1000 * self.call_gap:.0f} ms"
        )


class Home:
    """The load while it runs; use as a context manager, or let the lab end it.

    ``targets`` are addresses of the far host; the first one has the call and the queries.
    """

    def __init__(
        self, net: Network, load: Load = HOME, targets: Sequence[str] | None = None
    ) -> None:
        self.load = load
        self._far = _End(net.server_host, "far")
        options = [f"--{name}={value}" for name, value in vars(load).items()]
        self._lan = _End(net.client_host, "lan", *(targets or [net.target]), *options)

    def wait_open(self) -> None:
        """Until all that stay open are open. Raises LabError."""
        try:
            wait_until(lambda: self.open >= self.load.open, FILLED, self._how_many)
        except NotInTime as late:
            raise LabError(str(late)) from None

    def _how_many(self) -> str:
        return f"{self.load.open} open connections; there are {self.open}"

    @property
    def open(self) -> int:
        """Connections that are open now."""
        return int(self._lan.last.get("open", 0))

    @property
    def processor(self) -> tuple[float, float]:
        """What the LAN's and the far end cost until now, in seconds of processor time."""
        return self._lan.last.get("cpu", 0.0), self._far.last.get("cpu", 0.0)

    def account(self, since: float, until: float) -> Account:
        """Waits until all that began before ``until`` is told, some seconds. Raises LabError."""
        told = until + PATIENCE + TELL
        try:
            wait_until(lambda: min(self._lan.now, self._far.now) > told, 10, "the load's account")
        except NotInTime as late:
            raise LabError(str(late)) from None
        return Account(
            since,
            until,
            self._lan.between("short", since, until),
            self._lan.between("dns", since, until),
            {"down": self._lan.heard(since, until), "up": self._far.heard(since, until)},
            [each for each in self.lost if since < each.ended < until],
        )

    @property
    def lost(self) -> list[Event]:
        """Open connections that broke until now; after stop() also those that were silent."""
        return self._lan.events("lost")

    def stop(self) -> None:
        for each in (self._lan, self._far):
            each.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.stop()


class _End:
    """One of the two processes, and what it has told."""

    def __init__(self, host: Host, *argv: str) -> None:
        self.last: dict[str, Any] = {}
        self._events: dict[str, list[Event]] = {}
        self._process = host.popen(
            sys.executable,
            "-m",
            "lab.household",
            *argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            log=host.log(f"household-{argv[0]}"),
        )
        assert self._process.stdout
        if self._process.stdout.readline() != "ready\n":
            raise LabError(f"{host}: no load: see {_tail(host.log(f'household-{argv[0]}'))}")
        self._reader = threading.Thread(target=self._read, args=[self._process.stdout], daemon=True)
        self._reader.start()

    def _read(self, lines: IO[str]) -> None:
        for line in lines:
            told = json.loads(line)
            for kind in ("short", "dns", "call", "lost"):
                self._events.setdefault(kind, []).extend(Event(*e) for e in told.pop(kind, ()))
            self.last = told

    @property
    def now(self) -> float:
        """Up to when it has told."""
        return float(self.last.get("now", 0.0))

    def events(self, kind: str) -> list[Event]:
        return list(self._events.get(kind, ()))

    def between(self, kind: str, since: float, until: float) -> list[Event]:
        return [each for each in self.events(kind) if since <= each.began < until]

    def heard(self, since: float, until: float) -> list[Event]:
        """Packets of the call that came in time."""
        best = min((e.took for e in self.events("call") if e.took is not None), default=0)
        found = self.between("call", since, until)
        return [each for each in found if each.took is not None and each.took <= best + LATE]

    def stop(self) -> None:
        """It ends with its input, after a last word."""
        assert self._process.stdin
        self._process.stdin.close()
        self._reader.join(5)
        end(self._process)


def _tail(path: Path) -> str:
    return path.read_text()[-2000:] if path.exists() else str(path)
