# SPDX-License-Identifier: GPL-2.0-or-later
"""Host names of peers: asked for in a thread of their own; the last good answer stays, beyond
the agent's life as well: a router whose WANs are down has no DNS."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

from ..core.config import Config
from ..core.config.options import is_address
from ..core.network import Facts
from ..core.problem import Problem
from ..errors import AgentError
from ..system import files
from ..system.resolver import resolve
from ..system.ubus.services import Running

log = logging.getLogger(__name__)

#: Seconds until names are asked for again: while one has no answer, and otherwise.
AGAIN, REFRESH = 10.0, 300.0
#: A name without an answer is waited for until it has had none so many times.
TRIES = 3
#: Addresses of earlier answers that are remembered of each name. Running connections keep one of
#: them, while a name that rotates has another answer every ``REFRESH`` seconds.
FORMER = 64


class Names:
    """``changed`` is called when a name has other addresses than before, ``settled`` when
    ``request`` shall be asked again. ``path`` is where answers are kept (on a router in memory);
    it is written only when one changes. ``ask`` resolves a name."""

    def __init__(
        self,
        changed: Callable[[], None],
        settled: Callable[[], None],
        path: str = f"{files.STATE_DIRECTORY}/{files.NAMES}",
        ask: Callable[[str], tuple[str, ...]] = resolve,
    ) -> None:
        self._changed = changed
        self._settled = settled
        self._path = path
        self._ask_dns = ask
        self._wanted: frozenset[str] = frozenset()
        self._news = asyncio.Event()
        self._found: dict[str, tuple[str, ...]] = {}
        self._former: dict[str, tuple[str, ...]] = {}
        self._failures: dict[str, int] = {}
        """Questions in a row without an answer."""
        self._held = False
        self._load()

    def known(self, facts: Facts) -> Facts:
        """The facts with what the names lead to, and led to."""
        resolved, formerly = (tuple(sorted(d.items())) for d in (self._found, self._former))
        return replace(facts, resolved=resolved, formerly=formerly)

    def request(self, config: Config, running: Iterable[Running] | None) -> bool:
        """Ask for the names of this configuration now; whether it may come into force.

        It waits while a proxy client runs and a name has had neither an answer nor ``TRIES``
        failures: a peer without an address is none, and what carries traffic would be taken
        away. Meanwhile all stays as it is, under the configuration before; a restarted agent
        has none, and touches nothing. ``running`` None: procd has not answered.
        """
        hosts = (host for peer in config.client_peers for host in peer.address)
        wanted = frozenset(h for h in hosts if not is_address(h))
        self._failures = {n: c for n, c in self._failures.items() if n in wanted}
        self._wanted = wanted
        self._news.set()
        runs = running is None or any(r.name == "client" for r in running)
        held = config.globals.enabled and runs and bool(self._open())
        if held and not self._held:
            log.warning("%s", self._waiting())
        self._held = held
        return not held

    @property
    def waiting(self) -> Problem | None:
        """Why a configuration is not in force yet."""
        return self._waiting() if self._held and self._open() else None

    def _waiting(self) -> Problem:
        return Problem(
            "names",
            f"no answer yet for {' '.join(sorted(self._open()))}: what runs stays as it is, and "
            f"the configuration waits for one, or for {TRIES} failures",
            "check the name and the router's DNS, or give IP addresses",
            severity="warning",
        )

    def _open(self) -> set[str]:
        """Names that may still have their first answer."""
        return {
            n for n in self._wanted if n not in self._found and self._failures.get(n, 0) < TRIES
        }

    async def run(self) -> None:
        while True:
            self._news.clear()
            for name in sorted(self._wanted):
                await self._ask(name)
                if self._held and not self._open():
                    self._settled()
            patience = AGAIN if self._wanted & self._failures.keys() else REFRESH
            try:
                async with asyncio.timeout(patience):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def _ask(self, name: str) -> None:
        answer = await asyncio.to_thread(self._ask_dns, name)
        if not answer:
            self._failures[name] = self._failures.get(name, 0) + 1
            return
        self._failures.pop(name, None)
        last = self._found.get(name, ())
        if set(answer) == set(last):  # the order of an answer says nothing
            return
        earlier = dict.fromkeys((*last, *self._former.get(name, ())))
        self._former[name] = tuple(a for a in earlier if a not in answer)[:FORMER]
        self._found[name] = answer
        self._changed()
        await asyncio.to_thread(self._save)

    # --- Beyond the agent's life -----------------------------------------------------------

    def _save(self) -> None:
        kept = {n: (self._found[n], self._former[n]) for n in self._wanted & self._found.keys()}
        try:
            files.write_private(self._path, json.dumps(kept, indent=1, sort_keys=True))
        except AgentError as error:
            log.warning("answers of DNS do not outlive this agent: %s", error)

    def _load(self) -> None:
        try:
            for name, (now, former) in json.loads(files.read(self._path) or "{}").items():
                addresses, earlier = (tuple(filter(is_address, some)) for some in (now, former))
                if addresses:
                    self._found[name], self._former[name] = addresses, earlier
        except (AgentError, AttributeError, TypeError, ValueError) as error:
            log.warning("%s is not used: %s", self._path, error)
