# SPDX-License-Identifier: GPL-2.0-or-later
"""sing-box (SagerNet/sing-box): the engine of the official OpenWrt feeds.

Written for 1.12 to 1.14 at once: no field that one of them does not know, unless it was tried
(``tcp_keep_alive`` and its kin came with 1.13), and none that a later one dropped. It needs no
DNS section, since the redirector hears addresses only. It has no idle time-out for TCP
(``timeout`` is not used); its keep-alive finds dead peers.

Half-close (one direction of a connection ends, the other goes on) works from 1.14 on, and
only with method none; elsewhere the client's FIN ends the whole connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from .base import (
    AEAD,
    AEAD_2022,
    Build,
    ClientSettings,
    Engine,
    LogLevel,
    Rendered,
    Role,
    ServerSettings,
    account,
    listeners,
    to_json,
)

#: At ``info`` sing-box writes two lines for every connection of the LAN, and at ``error`` one for
#: each that a destination refuses or a client breaks off. What keeps it from running is fatal.
_LEVELS: dict[LogLevel, str] = {
    "error": "fatal",
    "warning": "fatal",
    "info": "fatal",
    "debug": "debug",
}

#: Go's own switch (go doc net, MultipathTCP): 0 nobody, 1 all, 2 listeners (the default since
#: Go 1.24), 3 dialers. The redirector's listener must not speak MPTCP (SO_ORIGINAL_DST);
#: its dialers must, and ``tcp_multi_path`` alone leaves out IPv6 peers: up to 1.14 sing-box
#: applies it to its IPv4 dialer only (common/dialer/default.go). Before Go 1.24 the value 3 is
#: unknown and changes nothing: neither side speaks MPTCP unless told to.
_DIALERS_ONLY = (("GODEBUG", "multipathtcp=3"),)

#: The server's listener is told by ``tcp_multi_path``; its connections to the destinations
#: stay plain TCP, whatever Go's default becomes: subflows are for the WANs between the routers.
_LISTENER_ONLY = (("GODEBUG", "multipathtcp=0"),)


class SingBox(Engine):
    name = "sing-box"
    own_keep_alive = 600  # 1.12: constant/timeout.go; from 1.13 on 300, and it can be set
    programs: ClassVar[Mapping[Role, str]] = {"client": "sing-box", "server": "sing-box"}
    methods = ("none", *AEAD, *AEAD_2022)
    version_arguments = ("version",)
    packages = "install the package sing-box (official feeds of OpenWrt 23.05 and later)"

    def client(self, settings: ClientSettings, build: Build) -> Rendered:
        config = {
            "log": _log(settings.log_level),
            "inbounds": [
                {
                    "type": "tproxy" if settings.tproxy else "redirect",
                    "tag": "lan",
                    "listen": settings.listen,
                    "listen_port": settings.local_port,
                }
            ],
            "outbounds": [
                {
                    "type": "shadowsocks",
                    "tag": "peer",
                    "server": settings.server,
                    "server_port": settings.server_port,
                    **_cipher(settings.method, settings.password),
                    "network": "tcp",
                    "tcp_fast_open": _fast_open(settings, build),
                    "tcp_multi_path": True,
                    **_keep_alive(settings, build),
                }
            ],
            "route": {"final": "peer"},
        }
        return Rendered(
            file_name="sing-box-client.json",
            config=to_json(config),
            arguments=_arguments(build, settings.local_port),
            environment=_DIALERS_ONLY,
            strip_mptcp=not build.plain_listener,
            user="" if build.launcher else account(settings.local_port),
            owner=account(settings.local_port),
        )

    def server(self, settings: ServerSettings, build: Build) -> Rendered:
        config = {
            "log": _log(settings.log_level),
            "inbounds": [
                {
                    "type": "shadowsocks",
                    "tag": f"clients-{number}",
                    "listen": address,
                    "listen_port": settings.port,
                    "network": "tcp",
                    **_cipher(settings.method, settings.password),
                    "tcp_fast_open": settings.fast_open,
                    "tcp_multi_path": True,
                }
                for number, address in enumerate(listeners(settings.listen), 1)
            ],
            "outbounds": [{"type": "direct", "tag": "destinations"}],
            "route": {"final": "destinations"},
        }
        return Rendered(
            file_name="sing-box-server.json",
            config=to_json(config),
            arguments=_arguments(build, settings.port),
            environment=_LISTENER_ONLY,
            user="" if build.launcher else account(settings.port),
            owner=account(settings.port),
        )

    def refuses(self, output: str) -> bool:
        return "unsupported method" in output or "unknown method" in output


def _log(level: LogLevel) -> dict[str, object]:
    return {"level": _LEVELS[level], "timestamp": False}


def _cipher(method: str, password: str) -> dict[str, object]:
    """``password`` is left out with method none, which has none."""
    return {"method": method} if method == "none" else {"method": method, "password": password}


def _keep_alive(settings: ClientSettings, build: Build) -> dict[str, object]:
    """The kernel hands it on to every subflow (net/mptcp/sockopt.c; seen on 6.18). The interval is
    not only that of what is not answered: once the kernel has sent one, it looks again after the
    interval (tcp_keepalive_timer of net/ipv4/tcp_timer.c), so the larger of the two counts."""
    if not settings.keep_alive or not build.keep_alive:
        return {}
    every = f"{settings.keep_alive}s"
    return {"tcp_keep_alive": every, "tcp_keep_alive_interval": every}


def _fast_open(settings: ClientSettings, build: Build) -> bool:
    """Also where only that makes the redirector call the peer before the client has spoken.

    With method none the address of the destination waits for the client's first bytes
    (sing-shadowsocks2 cipher/method_none.go). A connection still to be opened is asked to
    write at once by sing-box 1.12 (after 300 ms) and 1.14; by 1.13 it is not either.
    """
    method = settings.method
    return settings.fast_open or (
        (method, False) in build.hangs and (method, True) not in build.hangs
    )


def _arguments(build: Build, port: int) -> tuple[str, ...]:
    """Deaf to netlink events: else it ends every connection when the main WAN's link changes."""
    program = (build.client or build.server or "sing-box", "run", "--disable-color", "-c")
    return (*build.launcher, account(port), *program) if build.launcher else program
