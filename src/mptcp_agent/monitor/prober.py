# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the path probes: sends what the state machines ask for, tells them what came of it.

The connection of the last answered probe is kept until the next one: when a server stops, its
kernel ends it at once, and the paths are probed then instead of at the next interval.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ..core.health import PathHealth, path_health
from ..core.health.path_health import Path
from .kernel import KERNEL, Kernel
from .sizes import Sizes
from .targets import Key, Target

log = logging.getLogger(__name__)

#: Refusals in a row after which nobody listens at an address.
REFUSED = 2
#: Seconds for which somebody has to listen at an address not in use before it may be used;
#: longer than the pause between probes of one that refuses.
A_WHILE = 1.5
#: Seconds for which what runs over a path is still under way after the path changed.
LATELY = 1.0
#: A server that ends idle connections sooner than this (s) is not watched that way.
HABIT = 1.0


@dataclass
class _Followed:
    key: Key
    target: Target
    path: Path
    refusals: int = 0
    listens: float = 0.0
    """Since when somebody listens; 0 = nobody."""
    kept: socket.socket | None = None
    kept_since: float = 0.0
    keeps: bool = True
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


class Prober:
    """``changed`` is called when a path's state, or who listens, is another than before.
    ``clock`` gives seconds and never goes back."""

    def __init__(
        self,
        changed: Callable[[], None],
        kernel: Kernel = KERNEL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._changed = changed
        self._kernel = kernel
        self._clock = clock
        self._paths: dict[Key, _Followed] = {}
        self._sizes = Sizes(changed, kernel, clock)
        self._wake = asyncio.Event()
        self.attempts = 0
        """Connections opened so far."""

    # --- What to probe ---------------------------------------------------------------------

    def follow(self, targets: Mapping[Key, Target]) -> None:
        """Probe these paths, and no others. State is kept for those that stay."""
        now = self._clock()
        for key in [k for k in self._paths if k not in targets]:
            self._drop(self._paths.pop(key))
            self._sizes.forget(key)
        for key, target in targets.items():
            one = self._paths.get(key)
            if one is None:
                one = self._paths[key] = _Followed(key, target, Path(target.settings, next_at=now))
            elif replace(one.target, settings=target.settings) != target:
                self._retarget(one, target, now)
            elif one.target != target:
                one.target = target
                one.path = path_health.with_settings(one.path, target.settings, now)
        self._wake.set()

    def _retarget(self, one: _Followed, target: Target, now: float) -> None:
        self._drop(one)
        self._sizes.moved(one.key)
        if target.down and not one.target.down:
            one.path = path_health.link_lost(one.path, now, target.down)
        elif one.path.link_lost and not target.down:
            why = f"its link is back, no probe is answered yet; before: {one.target.down}"
            one.path = replace(one.path, cause=why)
        one.path = replace(one.path, settings=target.settings, waiting=(), burst=True, next_at=now)
        one.target, one.refusals, one.listens = target, 0, 0.0

    def close(self) -> None:
        for one in self._paths.values():
            self._drop(one)
            self._sizes.forget(one.key)
        self._paths.clear()

    # --- What is known ---------------------------------------------------------------------

    def health(self) -> tuple[PathHealth, ...]:
        """All paths, with times of the clock."""
        return tuple(
            PathHealth(
                wan=wan,
                address=address,
                state=one.path.state,
                rtt=None if one.path.rtt is None else one.path.rtt * 1000,
                loss=one.path.loss,
                since=one.path.since,
                cause=one.path.cause,
                mtu=self._sizes.mtu((wan, address)),
            )
            for (wan, address), one in sorted(self._paths.items())
        )

    def usable(self, wan: str, address: str) -> bool:
        """Whether the path is not known to be dead."""
        one = self._paths.get((wan, address))
        return one is None or one.path.state != "down"

    def refused(self) -> frozenset[str]:
        """Addresses that can be reached, but where nobody listens, over any path."""
        by_address: dict[str, list[_Followed]] = {}
        for (_, address), one in self._paths.items():
            if one.path.state != "down" and not one.target.down:
                by_address.setdefault(address, []).append(one)
        return frozenset(
            address
            for address, all_ in by_address.items()
            if any(one.refusals >= REFUSED for one in all_) and not any(one.listens for one in all_)
        )

    def accepting(self) -> frozenset[str]:
        """Addresses at which somebody accepted the last probe, over some path."""
        return frozenset(address for (_, address), one in self._paths.items() if one.listens)

    def accepting_for_a_while(self) -> frozenset[str]:
        """Addresses at which somebody has been found for a while, over some path.

        After a server's restart its addresses are found one by one: the one that was in use
        shall have its turn before another takes its place.
        """
        since = self._clock() - A_WHILE
        return frozenset(
            address
            for (_, address), one in self._paths.items()
            # Not while in doubt: trouble on a WAN rarely is with one address alone.
            if one.listens and one.listens <= since and not one.path.burst
        )

    def in_doubt(self, address: str) -> bool:
        """Whether the paths to an address are in doubt, or changed a moment ago."""
        since = self._clock() - LATELY
        return any(
            one.path.since > since or (one.path.burst and not one.target.down)
            for (_, to), one in self._paths.items()
            if to == address
        )

    # --- Hints -----------------------------------------------------------------------------

    def suspect(self, wan: str | None = None) -> None:
        """Data stopped moving on a WAN (None: on all of them): find out at once."""
        now = self._clock()
        for key, one in self._paths.items():
            if wan in (None, key[0]) and not one.target.down:
                one.path = path_health.suspected(one.path, now)
                if wan:
                    self._sizes.doubt(key)
        self._wake.set()

    def confirm_alive(self, wan: str, address: str) -> None:
        """Data moved on a path: a probe less. Not after a refusal, which only the next probe
        takes back: or an address in full use would count as refused once its other paths fail."""
        one = self._paths.get((wan, address))
        if one and not one.refusals:
            one.path = path_health.confirmed_alive(one.path, self._clock())

    # --- The loop --------------------------------------------------------------------------

    async def run(self) -> None:
        try:
            while True:
                self._wake.clear()
                now = self._clock()
                at = now + 60.0
                for key, one in self._paths.items():
                    if one.target.down:
                        continue
                    before = one.path
                    self._update(one, path_health.passed(before, now))
                    if one.path.overdue > before.overdue and before.state == "up":
                        self.suspect(key[0])
                    if path_health.due(one.path, now):
                        self._send(key, one, now)
                    at = min(at, path_health.wake_at(one.path))
                try:
                    async with asyncio.timeout(max(0.0, at - self._clock())):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            self.close()

    def _send(self, key: Key, one: _Followed, now: float) -> None:
        one.path, number = path_health.sent(one.path, now)
        task = asyncio.create_task(self._probe(key, one, number))
        one.tasks.add(task)
        task.add_done_callback(one.tasks.discard)

    async def _probe(self, key: Key, one: _Followed, number: int) -> None:
        target = one.target
        self.attempts += 1
        outcome, kept = await self._kernel.connect(
            target.device, target.source, key[1], target.port, 2 * target.settings.timeout
        )
        now = self._clock()
        if outcome == "answered" and kept is not None:
            repeated = self._kernel.repeated(kept)
            self._sizes.answered(key, target, kept)
            self._keep(one, kept, now)  # or close it
            heard = one.refusals >= REFUSED or not one.listens
            if not one.listens:
                asyncio.get_running_loop().call_later(A_WHILE, self._changed)
            if heard:  # what was refused there over other paths is of yesterday
                for other in self._paths.values():
                    if other.key[1] == key[1]:
                        other.refusals = 0
            one.refusals, one.listens = 0, one.listens or now
            path = path_health.answered(one.path, number, now, repeated)
            self._update(one, path, heard)
        elif outcome == "refused":
            log.debug("path %s to %s: nobody listens", *key)
            self._release(one)
            if not one.refusals:
                self.suspect()  # somebody else may seem to listen who is gone, too
            one.refusals, one.listens = one.refusals + 1, 0.0
            path = path_health.answered(one.path, number, now)
            # A second refusal settles it; a server being restarted gets a moment.
            pause = 0.2 if one.refusals < REFUSED else path_health.DOWN_INTERVAL
            path = replace(path, next_at=now + pause)
            self._update(one, path, one.refusals == REFUSED)
        elif outcome == "unsent":
            self._update(one, path_health.unsent(one.path, number, now))
        self._wake.set()

    def _update(self, one: _Followed, path: Path, also: bool = False) -> None:
        before, one.path = one.path, path
        if path.state == "down":
            one.listens = 0.0
            self._sizes.moved(one.key)
        if before.state != path.state:
            log.debug("path %s to %s: %s (%s)", *one.key, path.state, path.cause)
        if before.state != path.state or also:
            self._changed()

    # --- The kept connection ---------------------------------------------------------------

    def _keep(self, one: _Followed, kept: socket.socket, now: float) -> None:
        self._release(one)
        if not one.keeps:
            kept.close()
            return
        one.kept, one.kept_since = kept, now
        asyncio.get_running_loop().add_reader(kept, self._ended, one)

    def _ended(self, one: _Followed) -> None:
        now = self._clock()
        one.keeps = now - one.kept_since >= HABIT
        self._release(one)
        if one.path.state != "down":
            one.path = replace(one.path, next_at=now)
        self._wake.set()

    def _release(self, one: _Followed) -> None:
        if one.kept is not None:
            asyncio.get_running_loop().remove_reader(one.kept)
            one.kept.close()
            one.kept = None

    def _drop(self, one: _Followed) -> None:
        self._release(one)
        for task in list(one.tasks):
            task.cancel()
