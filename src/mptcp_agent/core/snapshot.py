# SPDX-License-Identifier: GPL-2.0-or-later
"""The router at one moment: all that is planned from, and that status and ``check`` judge by.

A turn of the agent takes one; so does the command line where no agent runs. Whatever was read is
in it, so nothing that works from it can see another world than the plan did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..engines import Build
from .carried import Carried
from .config import Config, Peer
from .diff import Item
from .health import Health
from .network import Facts
from .problem import Problem
from .sampled import Sampled
from .state import FEWEST_ENDPOINTS, Backend, RouterState


@dataclass(frozen=True)
class Choice:
    """The peer in use and the one address of it that the proxy connects to."""

    peer: Peer
    address: str


@dataclass(frozen=True)
class Capabilities:
    """What this machine offers: installed engines by name, working firewall back ends (in
    order of preference) and why the others do not work, where generated files go, and how many
    endpoints the kernel holds at once."""

    builds: Mapping[str, Build] = field(default_factory=dict)
    backends: tuple[Backend, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    directory: str = "/var/etc/mptcp-proxy"
    endpoints: int = FEWEST_ENDPOINTS

    def incomplete(self, config: Config) -> bool:
        """Whether a part was not found that may be found another time."""
        if not config.globals.enabled:
            return False
        return not self.backends or any(b.mptcp is None for b in self.builds.values())


@dataclass(frozen=True)
class ProcessView:
    """A proxy process as procd sees it."""

    name: str
    running: bool
    pid: int | None


@dataclass(frozen=True)
class Snapshot:
    """``config`` is the configuration in force; None until uci has answered once."""

    config: Config | None = None
    capabilities: Capabilities = field(default_factory=Capabilities)
    facts: Facts = field(default_factory=Facts)
    health: Health = field(default_factory=Health)
    observed: RouterState = field(default_factory=RouterState)
    """What is ours in the kernel, in files and at procd."""
    processes: tuple[ProcessView, ...] | None = None
    """None: procd has not answered yet, and nobody knows what runs."""
    in_use: Choice | None = None
    """What the redirector was told last; None: by an agent before this one, or nothing."""
    carried: tuple[Carried, ...] | None = None
    """Proxies that the plan before left as an agent before this one had started them; None: there
    was no plan before that knew what runs."""
    recovering: bool = False
    """The plan before chose no peer, and the LAN is not redirected: it is not led into a tunnel
    before somebody has answered at its other end."""
    starting: bool = False
    """The agent, or a proxy process, was started only a moment ago."""
    failing: tuple[Item, ...] = ()
    """What could not be carried out, and waits for another try."""
    sampled: Sampled = field(default_factory=Sampled)
    problems: tuple[Problem, ...] = ()
    """What is wrong with the configuration, and who does not answer."""
    failures: tuple[Problem, ...] = ()
    """What could not be read or carried out, and what traffic showed."""

    @property
    def used(self) -> bool:
        """Whether connections are proxied, as far as is known."""
        sampled = self.sampled
        known = bool(sampled.devices)
        return not (known and self.health.idle) or bool(
            sampled.connections or sampled.server_connections
        )

    def runs(self, name: str) -> bool:
        """Whether a proxy process (client, server) runs."""
        return any(p.name == name and p.running for p in self.processes or ())
