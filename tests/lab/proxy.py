# SPDX-License-Identifier: GPL-2.0-or-later
"""/etc/config/mptcp-proxy of the standard topologies, from the few choices that tests make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lab.router import Router
from lab.topology import Interface
from lab.uci import Package, Section, Value

Engine = Literal["auto", "shadowsocks-libev", "shadowsocks-rust", "sing-box"]
Redirect = Literal["auto", "nftables", "iptables"]
Changes = Mapping[str, Mapping[str, Value]]

PORT = 8388

DEFAULT_METHOD = {"shadowsocks-libev": "aes-256-gcm", "sing-box": "none"}
"""Debian's shadowsocks-libev refuses `none`, the guide's method; sing-box has it."""


@dataclass(frozen=True)
class Proxy:
    """The choices that a topology's /etc/config/mptcp-proxy is written from."""

    engine: Engine = "auto"
    redirect: Redirect = "auto"
    method: str | None = None
    password: str | None = None
    client: Changes = field(default_factory=dict)
    server: Changes = field(default_factory=dict)

    def globals(self) -> Section:
        return Section(
            "globals", "globals", {"enabled": "1", "engine": self.engine, "redirect": self.redirect}
        )

    def secret(self) -> dict[str, Value]:
        method = self.method or DEFAULT_METHOD.get(self.engine, "aes-256-gcm")
        password = self.password
        if password is None:
            password = "" if method == "none" else "correct horse battery staple"
        return {"port": PORT, "method": method, "password": password}

    def install(self, *routers: Router) -> None:
        """Install the engine's programs on the routers, where Debian does not have them."""
        if self.engine in ("auto", "sing-box"):
            for router in routers:
                router.install_sing_box()

    def peer(self, name: str, addresses: list[str]) -> Section:
        return Section("peer", name, {"address": addresses, **self.secret()})

    def client_package(self, peer: Section, wans: Sequence[Interface]) -> Package:
        package = Package(
            [
                self.globals(),
                peer,
                Section(
                    "client",
                    "client",
                    {
                        "enabled": "1",
                        "peer": [peer.name],
                        "local_port": 1080,
                        "lan": ["lan"],
                        "when_down": "bypass",
                        "timeout": 300,
                    },
                ),
            ]
        )
        return self._finish(package, wans, self.client)

    def server_package(self, allow: list[str], wans: Sequence[Interface]) -> Package:
        package = Package(
            [
                self.globals(),
                Section(
                    "server",
                    "server",
                    {
                        "enabled": "1",
                        "listen": ["0.0.0.0", "::"],
                        **self.secret(),
                        "allow": allow,
                        "timeout": 300,
                    },
                ),
            ]
        )
        return self._finish(package, wans, self.server)

    def _finish(self, package: Package, wans: Sequence[Interface], changes: Changes) -> Package:
        for wan in wans:
            package.add(Section("wan", wan.name, {"interface": wan.name, "role": "subflow"}))
        package.update(changes)
        return package
