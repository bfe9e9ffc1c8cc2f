# SPDX-License-Identifier: GPL-2.0-or-later
"""Takes snapshots: the one place where a turn reads health, facts and what is known of processes.

What is read here a second time within a turn would be another world than the plan was made for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ..core.config import Config
from ..core.health import mptcp_blocked
from ..core.plan import Plan
from ..core.problem import Problem
from ..core.snapshot import Capabilities, Choice, ProcessView, Snapshot
from ..monitor.hostnames import Names
from ..monitor.monitor import Monitor
from ..monitor.sampler import Sampler
from ..system.ubus.services import Running
from .applier import Applier
from .machine import Observation
from .openwrt import Daemons


def process_views(running: Iterable[Running]) -> tuple[ProcessView, ...]:
    return tuple(ProcessView(r.name, r.running, r.pid) for r in running)


@dataclass(frozen=True)
class Snapshots:
    """``more`` are problems of the agent itself."""

    daemons: Daemons
    monitor: Monitor
    sampler: Sampler
    names: Names
    applier: Applier
    more: Callable[[], Iterable[Problem]]

    def take(
        self,
        seen: Observation,
        config: Config | None,
        capabilities: Capabilities,
        in_use: Choice | None,
        before: Plan,
    ) -> Snapshot:
        """``seen`` is what was read of kernel and files; ``before`` the plan before this one."""
        sampled = self.sampler.sampled
        observed = replace(seen.state, processes=self.daemons.instances)
        running = self.daemons.running
        return Snapshot(
            config=config,
            capabilities=capabilities,
            facts=replace(
                self.names.known(seen.facts),
                interfaces=self.daemons.interfaces or (),
                measured=sampled.measured,
            ),
            health=self.monitor.health(),
            observed=observed,
            processes=None if running is None else process_views(running),
            in_use=in_use,
            carried=before.carried,
            # Not where an agent before this one has left the LAN redirected.
            recovering=before.choice is None and observed.lan != "proxy",
            starting=self.applier.starting(),
            failing=self.applier.retries.failing(),
            sampled=sampled,
            problems=self.daemons.problems,
            failures=(
                *(p for _, p in seen.problems),
                *self.more(),
                *self.applier.problems(),
                *mptcp_blocked.problems(sampled.blocked_wans),
            ),
        )
