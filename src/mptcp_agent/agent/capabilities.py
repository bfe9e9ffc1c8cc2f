"""What there is to work with: the configuration in uci, engines, firewall back ends."""

from __future__ import annotations

import sys

from ..core.config import PACKAGE, Config, firewall_zone, reader
from ..core.config.options import Schema
from ..core.problem import Problem
from ..core.snapshot import Capabilities
from ..core.ubus import Call
from ..engines import ENGINES, Build
from ..errors import BusError
from ..system import files
from ..system.engines import seccomp_no_netlink
from ..system.engines.trial import EngineBuilds
from .machine import Machine


def read_uci(call: Call, package: str = PACKAGE) -> reader.Values:
    """The sections of /etc/config/mptcp-proxy; none where there is no such file.

    Raises BusError where rpcd does not answer or cannot read the file.
    """
    try:
        reply = call("uci", "get", {"config": package})
    except BusError as error:
        message = str(error).lower()
        if "not found" in message and "object" not in message:
            return {}  # UBUS_STATUS_NOT_FOUND: no such package
        raise
    values = reply.get("values")
    return values if isinstance(values, dict) else {}


def read_config(call: Call, schema: Schema) -> tuple[Config, tuple[Problem, ...]]:
    """The configuration, without what the router's own firewall makes useless."""
    config, problems = reader.read(read_uci(call), schema)
    try:
        firewall = read_uci(call, "firewall")
    except BusError:
        return config, problems  # what cannot be found out is no reason
    return (
        firewall_zone.without_blocked_lans(config, firewall),
        (*problems, *firewall_zone.problems(config, firewall)),
    )


def engine_builds() -> EngineBuilds:
    """The installed engines, to be found out."""
    launcher = (sys.executable, "-I", seccomp_no_netlink.__file__)
    return EngineBuilds(launcher=launcher if seccomp_no_netlink.supported() else ())


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
    return Capabilities(builds, backends, missing, files.CONFIG_DIRECTORY)
