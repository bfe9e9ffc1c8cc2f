# SPDX-License-Identifier: GPL-2.0-or-later
"""A cheap look, again and again, at what others change without an event: the path manager's
endpoints and limits, and legacy iptables where these carry the redirect. Only that something
changed is found out; the turn that follows reads it."""

from __future__ import annotations

from ..core.firewall.iptables_rules import TABLES
from ..core.state import Part
from ..errors import AgentError
from ..system.firewall import legacy_sizes
from ..system.netlink.path_manager import Glance

#: Seconds between looks: what another program has undone is seen within one.
INTERVAL = 0.8


class Lookout:
    """Looks in the thread that asks, at the network namespace it is made in."""

    def __init__(self) -> None:
        self._glance = Glance()
        self._path_manager: bytes | None = None
        self._tables: object = None

    def close(self) -> None:
        self._glance.close()

    def changed(self, legacy: bool) -> frozenset[Part]:
        """The parts that differ from the last look; also by what the agent itself has done."""
        found = set()
        before, self._path_manager = self._path_manager, self._glance.look()
        if before is not None and before != self._path_manager:
            found.add(Part.ROUTING)
        tables, self._tables = self._tables, self._sizes() if legacy else None
        if tables is not None and tables != self._tables:
            found.add(Part.FIREWALL)
        return frozenset(found)

    def _sizes(self) -> object:
        try:
            return legacy_sizes.sizes(TABLES)
        except AgentError:
            return None
