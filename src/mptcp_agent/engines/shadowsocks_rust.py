# SPDX-License-Identifier: GPL-2.0-or-later
"""shadowsocks-rust: third-party OpenWrt feeds (OpenMPTCProuter, OverTheBox, ImmortalWrt).

Options as its README documents them; ``mptcp`` is known since 1.16. It applies to the
connections to the peer and to ssserver's listener, and to ssserver's connections to the
destinations as well (``connect_opts`` in crates/shadowsocks-service/src/server/mod.rs), which
fall back to TCP at every destination that does not speak MPTCP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ..core.problem import Problem
from .base import (
    AEAD_2022,
    FIRST_UNPRIVILEGED_PORT,
    OPEN_FILES,
    UNPRIVILEGED_USER,
    Build,
    ClientSettings,
    Engine,
    Rendered,
    Role,
    ServerSettings,
    Settings,
    account,
    listeners,
    to_json,
)

#: Seconds between keep-alives where nothing is set, so that connections of vanished hosts end: the
#: programs have no idle time-out for TCP.
_KEEP_ALIVE = 60


class ShadowsocksRust(Engine):
    name = "shadowsocks-rust"
    own_keep_alive = _KEEP_ALIVE
    programs: ClassVar[Mapping[Role, str]] = {"client": "sslocal", "server": "ssserver"}
    methods = ("none", "aes-128-gcm", "aes-256-gcm", "chacha20-ietf-poly1305", *AEAD_2022)
    version_arguments = ("--version",)
    packages = (
        "install sslocal and ssserver from a third-party feed (packages shadowsocks-rust-*), "
        "or use the engine sing-box"
    )

    def client(self, settings: ClientSettings, build: Build) -> Rendered:
        config = {
            "locals": [
                {
                    "protocol": "redir",
                    "local_address": settings.listen,
                    "local_port": settings.local_port,
                    "tcp_redir": "tproxy" if settings.tproxy else "redirect",
                    "mode": "tcp_only",
                }
            ],
            # No "timeout": to the client it is the time a connection attempt may take.
            "servers": [
                {
                    "server": settings.server,
                    "server_port": settings.server_port,
                    **_cipher(settings),
                    "mode": "tcp_only",
                }
            ],
            **_common(settings),
            "keep_alive": (build.keep_alive and settings.keep_alive) or _KEEP_ALIVE,
        }
        user = "" if settings.tproxy else account(settings.local_port)
        return Rendered(
            file_name="shadowsocks-rust-client.json",
            config=to_json(config),
            arguments=(build.client or "sslocal", "-c"),
            strip_mptcp=not build.plain_listener,
            user=user,
            owner=user,
        )

    def server(self, settings: ServerSettings, build: Build) -> Rendered:
        config = {
            "servers": [
                {
                    "server": address,
                    "server_port": settings.port,
                    **_cipher(settings),
                    "timeout": settings.timeout,
                    "mode": "tcp_only",
                }
                for address in listeners(settings.listen)
            ],
            **_common(settings),
        }
        return Rendered(
            file_name="shadowsocks-rust-server.json",
            config=to_json(config),
            arguments=_arguments(
                build.server or "ssserver", drop=settings.port >= FIRST_UNPRIVILEGED_PORT
            ),
        )

    def refuses(self, output: str) -> bool:
        return "unsupported method" in output

    def problems(self, settings: Settings, build: Build, section: str) -> tuple[Problem, ...]:
        found = super().problems(settings, build, section)
        if settings.password.startswith("${") and settings.password.endswith("}"):
            found += (
                Problem(
                    f"{section}.password",
                    "shadowsocks-rust takes a password in ${ } for the name of a variable",
                    "use another password on both routers",
                ),
            )
        return found


def _cipher(settings: Settings) -> dict[str, object]:
    """The programs warn of a password beside method none."""
    if settings.method == "none":
        return {"method": "none"}
    return {"method": settings.method, "password": settings.password}


def _common(settings: Settings) -> dict[str, object]:
    return {
        "mode": "tcp_only",
        "mptcp": True,
        "fast_open": settings.fast_open,
        "no_delay": True,
        "keep_alive": _KEEP_ALIVE,
        "nofile": OPEN_FILES,
        # 0 is the quietest there is; 1 is debug.
        "log": {
            "level": 1 if settings.log_level == "debug" else 0,
            "format": {"without_time": True},
        },
    }


def _arguments(program: str, *, drop: bool) -> tuple[str, ...]:
    """Privileges are dropped once the file is read, but before the port is bound."""
    return (program, *(("--user", UNPRIVILEGED_USER) if drop else ()), "-c")
