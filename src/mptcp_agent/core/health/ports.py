# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose is the port that a proxy of ours is to listen at?

The agent may not look into processes of others (its jail has no CAP_SYS_PTRACE), so it goes by
time: an engine that cannot listen ends, and procd starts it again a second later.

    somebody listens while ours does not run         a suspect
    and still does when ours has ended once more     a stranger: the port is taken
    ours runs for SETTLED                            it listens, so there was no stranger
    the socket is gone                               no suspect any more
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from ..sockets import Listener

#: What procd knows of a proxy of ours: nothing, that it runs, that it has ended and will be
#: started again.
Life = Literal["absent", "runs", "ended"]

#: Seconds. Ours ends within a fraction of the first; a suspect that was there for the second saw
#: it end twice, since procd starts it again after one second.
SETTLED, TAKEN_AFTER = 1.0, 1.5


@dataclass(frozen=True)
class Port:
    """``suspects`` are sockets (their inodes), each with the time it was seen first."""

    suspects: tuple[tuple[int, float], ...] = ()
    running_since: float | None = None
    stranger: Listener | None = None


def look(before: Port, listeners: Collection[Listener], life: Life, now: float) -> Port:
    """``listeners`` are those at the port at this moment; ``now`` in seconds."""
    there = {one.inode: one for one in listeners}
    suspects = {inode: since for inode, since in before.suspects if inode in there}
    since = None
    if life == "runs":
        since = now if before.running_since is None else before.running_since
        if now - since >= SETTLED:
            suspects = {}
    else:
        suspects = {inode: suspects.get(inode, now) for inode in there}
    taken = [i for i, first in suspects.items() if now - first >= TAKEN_AFTER]
    stranger = before.stranger if before.stranger in there.values() else None
    if stranger is None and life == "ended" and taken:
        stranger = there[taken[0]]
    return Port(tuple(suspects.items()), since, stranger)


@dataclass(frozen=True)
class Taken:
    """The port of a role is held by somebody else: ``holder`` says who, for a person."""

    role: str
    holder: str
