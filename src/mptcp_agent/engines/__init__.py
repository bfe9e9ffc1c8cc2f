# SPDX-License-Identifier: GPL-2.0-or-later
"""Engines: the proxy programs the agent can run, one file each.

``choose`` picks one by the name in the configuration; the engine's ``problems`` says what is
in the way; ``client`` and ``server`` render the process. All of it pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..errors import EngineError
from .base import Build, ClientSettings, Engine, LogLevel, Rendered, Role, ServerSettings, Settings
from .shadowsocks_libev import ShadowsocksLibev
from .shadowsocks_rust import ShadowsocksRust
from .sing_box import SingBox

__all__ = [
    "ENGINES",
    "Build",
    "ClientSettings",
    "Engine",
    "LogLevel",
    "Rendered",
    "Role",
    "ServerSettings",
    "Settings",
    "choose",
]

#: By name, in the order ``auto`` tries them.
ENGINES: Mapping[str, Engine] = {
    engine.name: engine for engine in (SingBox(), ShadowsocksRust(), ShadowsocksLibev())
}


def choose(name: str, builds: Mapping[str, Build], roles: Collection[Role]) -> tuple[Engine, Build]:
    """The engine for ``option engine``: the one named, or the first installed for ``auto``.

    ``builds`` are the installed ones by engine name; installed means: with the programs of
    all ``roles``. Raises EngineError with the way out.
    """
    wanted = list(ENGINES.values()) if name == "auto" else [ENGINES[name]]
    for engine in wanted:
        build = builds.get(engine.name)
        if build is not None and all(build.program(role) for role in roles):
            return engine, build
    if name == "auto":
        raise EngineError(
            "no proxy program is installed: install sing-box (OpenWrt 23.05 and later), "
            "or shadowsocks-libev (OpenWrt up to 23.05, Debian)"
        )
    engine = ENGINES[name]
    build = builds.get(name, Build(name))
    missing = {engine.programs[role] for role in roles if not build.program(role)}
    of = "" if missing == {name} else f" of {name}"
    raise EngineError(f"{' and '.join(sorted(missing))}{of} not installed: {engine.packages}")
