"""Host names of peers: asked for in a thread of their own; the last good answer stays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from .core.options import is_address
from .system.resolver import resolve

#: Seconds until names are asked for again: while one is unresolved, and otherwise.
AGAIN, REFRESH = 10.0, 300.0


class Names:
    """``changed`` is called when a name has other addresses than before."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._wanted: frozenset[str] = frozenset()
        self._news = asyncio.Event()
        self._found: dict[str, tuple[str, ...]] = {}

    @property
    def resolved(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return tuple(sorted(self._found.items()))

    def want(self, hosts: Iterable[str]) -> None:
        """Resolve those of the hosts that are names; new ones at once."""
        wanted = frozenset(h for h in hosts if not is_address(h))
        if wanted != self._wanted:
            self._wanted = wanted
            self._news.set()

    async def run(self) -> None:
        while True:
            self._news.clear()
            for name in self._wanted:
                found = await asyncio.to_thread(resolve, name)
                if found and found != self._found.get(name):
                    self._found[name] = found
                    self._changed()
            patience = REFRESH if self._wanted <= self._found.keys() else AGAIN
            try:
                async with asyncio.timeout(patience):
                    await self._news.wait()
            except TimeoutError:
                continue
