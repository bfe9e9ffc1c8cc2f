# SPDX-License-Identifier: GPL-2.0-or-later
"""shadowsocks-libev: OpenWrt up to 23.05, Debian, own builds.

Only builds after the tag 3.3.5 (Debian's 3.3.5 among them) make upstream MPTCP sockets for
``"mptcp": true``: ss-redir for its connection to the peer, ss-server for its listener; the
redirector's LAN listener stays plain TCP, as it must. Any other build runs under ``mptcpize``,
which turns every socket of the process, so that the LAN listener needs the option stripped.
It cannot close one direction of a connection alone (no half-close), and most builds refuse
method none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from .base import (
    AEAD,
    OPEN_FILES,
    UNPRIVILEGED_USER,
    Build,
    ClientSettings,
    Engine,
    LogLevel,
    Rendered,
    Role,
    ServerSettings,
    Settings,
    account,
    listeners,
    to_json,
)


class ShadowsocksLibev(Engine):
    name = "shadowsocks-libev"
    programs: ClassVar[Mapping[Role, str]] = {"client": "ss-redir", "server": "ss-server"}
    methods = ("none", *AEAD)
    version_arguments = ("-h",)
    own_keep_alive = 40  # keepIdle in redir.c, and no option
    wrappable = True
    packages = (
        "install shadowsocks-libev-ss-redir and shadowsocks-libev-ss-server "
        "(OpenWrt up to 23.05) or shadowsocks-libev (Debian); "
        "from OpenWrt 24.10 on use the engine sing-box"
    )

    def client(self, settings: ClientSettings, build: Build) -> Rendered:
        config = {
            "server": settings.server,
            "server_port": settings.server_port,
            # IPv4 too: ss-redir leaves IPV6_V6ONLY alone and asks for SO_ORIGINAL_DST of both.
            "local_address": settings.listen,
            "local_port": settings.local_port,
            **_common(settings, build),
        }
        user = "" if settings.tproxy else account(settings.local_port)
        if user:
            del config["user"]
        if settings.tproxy:
            config["tcp_tproxy"] = True
        return Rendered(
            file_name="shadowsocks-libev-client.json",
            config=to_json(config),
            arguments=self._arguments("client", settings.log_level, build),
            strip_mptcp=_wrapped(build) or not build.plain_listener,
            user=user,
            owner=user,
        )

    def server(self, settings: ServerSettings, build: Build) -> Rendered:
        addresses = listeners(settings.listen)
        config = {
            # ss-server sets IPV6_V6ONLY, so both families are two listeners.
            "server": ["0.0.0.0", "::"] if addresses == ("::",) else list(addresses),
            "server_port": settings.port,
            **_common(settings, build),
        }
        return Rendered(
            file_name="shadowsocks-libev-server.json",
            config=to_json(config),
            arguments=self._arguments("server", settings.log_level, build),
        )

    def refuses(self, output: str) -> bool:
        # crypto.c: unknown names; stream.c: `table`; then names the crypto library lacks.
        return "invalid cipher name" in output or "not found in crypto library" in output

    def _arguments(self, role: Role, level: LogLevel, build: Build) -> tuple[str, ...]:
        wrapper = (build.mptcpize, "run") if _wrapped(build) and build.mptcpize else ()
        verbose = ("-v",) if level == "debug" else ()
        return (*wrapper, build.program(role) or self.programs[role], *verbose, "-c")


def _wrapped(build: Build) -> bool:
    return build.mptcp is False


def _common(settings: Settings, build: Build) -> dict[str, object]:
    return {
        "method": settings.method,
        # Wanted even with method none.
        "password": "" if settings.method == "none" else settings.password,
        "timeout": settings.timeout,
        "mode": "tcp_only",
        "mptcp": not _wrapped(build),
        "fast_open": settings.fast_open,
        "no_delay": True,
        "nofile": OPEN_FILES,
        # Dropped to once this file is read and the port is bound.
        "user": UNPRIVILEGED_USER,
    }
