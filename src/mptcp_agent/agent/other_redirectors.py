# SPDX-License-Identifier: GPL-2.0-or-later
"""Other transparent proxies that take the LAN's connections first, looked for beside the loop.

Listing all rules takes tens of milliseconds, and a handler of ubus has to answer before it returns:
so ``check`` is told what was found when the rules were last changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from ..core.network.wans import surroundings
from ..core.view import View
from ..errors import FirewallError
from .machine import Machine

#: Seconds from a change of the rules to the look, and from one look to the next.
SETTLE, PAUSE = 0.3, 5.0


class OtherRedirectors:
    """``view`` is what the agent knows at the moment."""

    def __init__(self, machine: Machine, view: Callable[[], View]) -> None:
        self._machine = machine
        self._view = view
        self._news = asyncio.Event()
        self._news.set()
        self.found: tuple[str, ...] = ()
        """Chains of nftables."""

    def look_again(self) -> None:
        """Rules have changed: somebody's, or ours, as they do when something else is redirected."""
        self._news.set()

    async def run(self) -> None:
        """Beside the loop, for ever."""
        while self._view().snapshot.config is None:
            await asyncio.sleep(PAUSE)
        while True:
            await self._news.wait()
            await asyncio.sleep(SETTLE)
            self._news.clear()
            loop = asyncio.get_running_loop()
            self.found = await loop.run_in_executor(None, first_takers, self._machine, self._view())
            await asyncio.sleep(PAUSE)


def first_takers(machine: Machine, view: View) -> tuple[str, ...]:
    """Blocks for tens of milliseconds. None where they cannot be listed, which others tell of."""
    config, facts = view.snapshot.config, view.snapshot.facts
    if config and config.globals.enabled and config.client:
        with suppress(FirewallError):
            return machine.first_takers(surroundings(config, facts).lan_devices)
    return ()
