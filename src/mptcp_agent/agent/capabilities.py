# SPDX-License-Identifier: GPL-2.0-or-later
"""What there is to work with: the configuration in uci, engines, firewall back ends."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import replace

from ..checks import Asked
from ..core import router_firewall
from ..core.config import PACKAGE, Config, reader, uci_files
from ..core.config.options import Schema
from ..core.problem import Problem
from ..core.snapshot import Capabilities
from ..core.ubus import Call
from ..engines import ENGINES, Build
from ..errors import BusError, ConfigError
from ..system import files, programs
from ..system.engines import seccomp_no_netlink
from ..system.engines.trial import EngineBuilds
from ..system.ubus import uci
from .machine import Machine


def read_config(call: Call, schema: Schema) -> tuple[Config, tuple[Problem, ...]]:
    """The committed configuration, with the router's own firewall.

    Raises ConfigError where uci cannot read the file, BusError where rpcd does not answer.
    """
    package = uci.read(call, PACKAGE)
    config, problems = reader.read(package.sections, schema)
    hidden = uci_files.secrets(schema)
    problems += uci_files.uncommitted(PACKAGE, package.waiting, hidden)
    try:
        firewall = uci.read(call, "firewall")
    except ConfigError as error:
        said = uci_files.unreadable(error.package, error.complaint, "warning")
        return config, (*problems, said)
    except BusError:
        return config, problems  # what cannot be found out is no reason
    return (
        replace(config, firewall=router_firewall.sections(firewall.sections)),
        (
            *problems,
            *uci_files.uncommitted("firewall", firewall.waiting, hidden),
        ),
    )


def engine_builds() -> EngineBuilds:
    """The installed engines, to be found out."""
    launcher = (sys.executable, "-I", seccomp_no_netlink.__file__)
    return EngineBuilds(launcher=launcher if seccomp_no_netlink.supported() else ())


def installed_engines() -> tuple[str, ...]:
    """The engines of which a program is there, whatever it can do."""
    return tuple(
        name
        for name, engine in ENGINES.items()
        if any(programs.find(program) for program in engine.programs.values())
    )


def asked_for_check(call: Call, first_takers: tuple[str, ...], agent: bool) -> Asked:
    """What only ``check`` wants to know. Who does not answer is told of by its own row."""
    network: uci.Sections = {}
    with suppress(BusError, ConfigError):
        network = uci.read(call, "network").sections
    return Asked(agent, installed_engines(), network, first_takers)


def find_builds(config: Config, engines: EngineBuilds) -> dict[str, Build]:
    """Installed engines the configuration can use. Blocks up to some seconds the first time:
    what a build of an engine can do is tried."""
    methods = {p.method for p in config.client_peers}
    if config.server:
        methods.add(config.server.method)
    names = tuple(ENGINES) if config.globals.engine == "auto" else (config.globals.engine,)
    wanted = config.globals.enabled and methods
    return engines.find(names, frozenset(methods)) if wanted else {}


def find_capabilities(config: Config, builds: dict[str, Build], machine: Machine) -> Capabilities:
    """The engines, and a firewall back end the configuration can use."""
    backends, missing = machine.backends(config.globals.redirect)
    return Capabilities(builds, backends, missing, files.CONFIG_DIRECTORY, machine.most_endpoints())
