# SPDX-License-Identifier: GPL-2.0-or-later
"""Bringing a configuration into force, which takes until it is known what it can be done with.

    stage      event                                    next
    unread     uci has answered                         names
    names      the peers' names have answers, or will   engines
               not have any, or nobody needs to wait
    engines    engines and firewall were tried          in force
    in force   another configuration, or look again     names
    engines    the same, while they are being tried     names, when the trial has ended:
                                                        what it found is of yesterday
    engines    the trial failed by a bug                names, after a pause

Whatever the stage, what was in force before stays so. Trying an engine takes seconds, in which
links are watched and nothing else waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Literal

from ..core.config import Config
from ..core.snapshot import Capabilities

log = logging.getLogger(__name__)

#: Seconds until it is looked again for what was not found to work with.
LOOK_AGAIN = 30.0

Stage = Literal["unread", "names", "engines", "in force"]


@dataclass(frozen=True)
class Progress:
    """How far the configuration that uci has is. ``outdated``: what is being tried is for
    another one, or has to be looked at once more."""

    stage: Stage = "unread"
    wanted: Config | None = None
    outdated: bool = False


def read(progress: Progress, config: Config) -> Progress:
    """uci has answered."""
    if config == progress.wanted:
        return progress
    return look_again(replace(progress, wanted=config))


def look_again(progress: Progress) -> Progress:
    """What there is to work with may be another than it was."""
    if progress.wanted is None:
        return progress
    if progress.stage == "engines":
        return replace(progress, outdated=True)
    return replace(progress, stage="names")


def named(progress: Progress) -> Progress:
    """Names are waited for no longer."""
    return replace(progress, stage="engines") if progress.stage == "names" else progress


def tried(progress: Progress) -> Progress:
    """A trial has ended."""
    if progress.stage != "engines":
        return progress
    return replace(progress, stage="names" if progress.outdated else "in force", outdated=False)


class Configuration:
    """The configuration in force, and the way there.

    ``named`` asks for the names of a configuration and tells whether they are waited for no
    longer; ``find`` finds what there is to work with, and blocks nobody; ``in_force`` is called
    after another configuration or other capabilities have come into force.
    """

    def __init__(
        self,
        named: Callable[[Config], bool],
        find: Callable[[Config], Awaitable[Capabilities]],
        in_force: Callable[[], None],
    ) -> None:
        self._named = named
        self._find = find
        self._in_force = in_force
        self._news = asyncio.Event()
        self._again: asyncio.TimerHandle | None = None
        self.progress = Progress()
        self.config: Config | None = None
        """In force, with these capabilities."""
        self.capabilities = Capabilities()

    def read(self, config: Config | None) -> None:
        """uci has answered with this; None: it never has. The same again is no news, and nobody
        asks for names once more."""
        if config is not None and config != self.progress.wanted:
            self._become(read(self.progress, config))

    def look_again(self) -> None:
        """A name has news, somebody asked for a reload, or something was missing."""
        self._become(look_again(self.progress))

    def _become(self, progress: Progress) -> None:
        self.progress = progress
        if progress.stage == "names":
            self._news.set()

    async def run(self) -> None:
        """Beside the loop, for ever. A bug of a trial is raised; started again it tries again."""
        if self.progress.stage == "engines":
            self.progress = tried(replace(self.progress, outdated=True))
            self._news.set()
        while True:
            await self._news.wait()
            self._news.clear()
            wanted = self.progress.wanted
            if self.progress.stage != "names" or wanted is None or not self._named(wanted):
                continue
            self.progress = named(self.progress)
            found = await self._find(wanted)
            self.progress = tried(self.progress)
            if self.progress.stage == "names":
                self._news.set()
                continue
            self._bring_into_force(wanted, found)

    def _bring_into_force(self, config: Config, found: Capabilities) -> None:
        if self._again:
            self._again.cancel()
        if found.incomplete(config):
            # A busy moment, or MPTCP was off until the agent switched it on.
            later = asyncio.get_running_loop().call_later
            self._again = later(LOOK_AGAIN, self.look_again)
        if (config, found) == (self.config, self.capabilities):
            return
        self.config, self.capabilities = config, found
        log.info("configuration read")
        self._in_force()
