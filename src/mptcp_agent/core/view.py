# SPDX-License-Identifier: GPL-2.0-or-later
"""What others are told of: a snapshot, and the plan that was made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .plan import Plan
from .problem import Problem
from .snapshot import Snapshot

State = Literal["active", "degraded", "bypassed", "blocked", "disabled", "error"]


@dataclass(frozen=True)
class View:
    snapshot: Snapshot
    plan: Plan

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Each once, causes before what follows from them."""
        seen = self.snapshot
        return tuple(dict.fromkeys((*seen.problems, *self.plan.problems, *seen.failures)))


@dataclass(frozen=True)
class Moment:
    """Now, on the clock that never goes back and on that of the day; both in seconds.

    A router without a battery starts years off and is set right later. So the agent remembers the
    first alone, and what was is dated by how far apart the two are when somebody asks.
    """

    clock: float
    unix: float

    def date(self, clock: float) -> float:
        """The Unix time of another moment."""
        return self.unix - self.clock + clock


@dataclass(frozen=True)
class Event:
    """One change worth telling. ``time`` is of the clock that never goes back."""

    time: float
    what: str
    before: str
    after: str
    reason: str
