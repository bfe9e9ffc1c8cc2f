# SPDX-License-Identifier: GPL-2.0-or-later
"""What an engine is to the rest of the agent: settings of a role in, a process out.

An engine is a Shadowsocks implementation. As *client* it accepts the LAN's redirected TCP
connections and carries each one to the peer over an MPTCP connection; as *server* it accepts
those and speaks plain TCP to the destination. The files beside this one know each engine's
configuration file and command line; nothing here touches the machine. What an installed
build can really do is in its ``Build``, found out by ``system.engines.trial``.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ..core.problem import Problem

Role = Literal["client", "server"]
LogLevel = Literal["error", "warning", "info", "debug"]

#: The AEAD methods of SIP004, as sing-box and shadowsocks-libev know them.
AEAD = (
    "aes-128-gcm",
    "aes-192-gcm",
    "aes-256-gcm",
    "chacha20-ietf-poly1305",
    "xchacha20-ietf-poly1305",
)

#: Bytes of key behind the base64 password of the AEAD-2022 methods (SIP022, section 2.1).
#: Every other method takes any text but an empty one; ``none`` takes none.
KEY_BYTES: Mapping[str, int] = {
    "2022-blake3-aes-128-gcm": 16,
    "2022-blake3-aes-256-gcm": 32,
    "2022-blake3-chacha20-poly1305": 32,
}
AEAD_2022 = tuple(KEY_BYTES)

#: Methods that accept several keys joined by colons: identity headers (SIP022-2).
IDENTITY_KEYS = {"2022-blake3-aes-128-gcm", "2022-blake3-aes-256-gcm"}

#: What the package's example and the two-router guide have in place of a password.
EXAMPLE_PASSWORD = "change-me"

#: Who runs the proxies. A redirector behind REDIRECT needs no privilege at all.
UNPRIVILEGED_USER = "nobody"

#: Ports below need a privilege: the kernel's default of net.ipv4.ip_unprivileged_port_start.
FIRST_UNPRIVILEGED_PORT = 1024

#: Open files a proxy may have, by procd and by its own settings where it has one (which would
#: lower procd's). A proxied connection takes two: room for 16,000. procd would hand out 1024.
OPEN_FILES = 32768


def account(port: int) -> str:
    """Whom a program with this port is started as; empty: root, where the port needs it.

    Rather than that it gives up being root by itself: then the kernel holds it for something to
    be hidden, and ``system.engines.listener_buffer`` cannot look into it.
    """
    return UNPRIVILEGED_USER if port >= FIRST_UNPRIVILEGED_PORT else ""


@dataclass(frozen=True)
class ClientSettings:
    """The redirector of a client router."""

    server: str
    """One address of the peer, never a list: engines pick from lists at random."""
    server_port: int
    method: str
    password: str = field(repr=False)
    local_port: int
    listen: str = "::"
    """``::`` takes both families on one port; ``0.0.0.0`` where the kernel has no IPv6."""
    timeout: int = 300
    """Seconds until an idle connection is closed, where the engine knows such a thing."""
    fast_open: bool = False
    log_level: LogLevel = "info"
    keep_alive: int = 0
    """Seconds of silence towards the peer until a keep-alive; 0 = as the engine likes."""
    tproxy: bool = False
    """Take the destination from the socket's own address, as behind TPROXY, instead of from
    conntrack, as behind REDIRECT. Lets a build be tried without firewall rules; needs root."""


@dataclass(frozen=True)
class ServerSettings:
    """The proxy server of a server router. ``listen``: ``::`` stands for both families."""

    listen: tuple[str, ...]
    port: int
    method: str
    password: str = field(repr=False)
    timeout: int = 300
    fast_open: bool = False
    log_level: LogLevel = "info"


Settings = ClientSettings | ServerSettings


@dataclass(frozen=True)
class Build:
    """An installed engine and what it was seen to do."""

    engine: str
    client: str | None = None
    """Path of the program for each role; None = not installed."""
    server: str | None = None
    version: str = ""
    mptcp: bool | None = None
    """It makes MPTCP connections by itself, over IPv4; None = could not be found out."""
    plain_listener: bool = False
    """The redirector's listener was seen to accept plain TCP only (see ``strip_mptcp``)."""
    launcher: tuple[str, ...] = ()
    """Starts a program without netlink events and under an account
    (``system.engines.seccomp_no_netlink``): followed by the account, the program and its
    arguments. Empty = not on this machine."""
    keep_alive: bool = False
    """The redirector was seen to take the time until a keep-alive as a setting."""
    mptcpize: str | None = None
    """Path of the wrapper that makes the programs speak MPTCP, where it was seen to."""
    methods: frozenset[str] = frozenset()
    """Methods tried and accepted."""
    refused: frozenset[str] = frozenset()
    """Methods tried and refused."""
    hangs: frozenset[tuple[str, bool]] = frozenset()
    """(method, fast_open) with which the redirector was seen to tell the peer nothing before
    the LAN client has spoken: mail, FTP and databases, where the server speaks first, hang."""
    plain_families: frozenset[tuple[Role, int]] = frozenset()
    """(role, 6) where it was seen to speak plain TCP over IPv6: sing-box built by Go before 1.24,
    as OpenWrt 24.10's, connects so to IPv6 peers."""
    problems: tuple[Problem, ...] = ()

    def program(self, role: Role) -> str | None:
        return self.client if role == "client" else self.server


@dataclass(frozen=True)
class Rendered:
    """One proxy process: its configuration file and how to start it."""

    file_name: str
    config: str = field(repr=False)
    """Content of the file: strict JSON. Holds the password, so the file's mode is 0600."""
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    strip_mptcp: bool = False
    """The redirector's listener speaks MPTCP, and SO_ORIGINAL_DST fails on MPTCP sockets:
    the option has to be stripped from the SYNs of LAN clients, or those that speak MPTCP hang."""
    user: str = ""
    """Account to start the process under. Empty: root; engines that drop their privileges by
    themselves, or are made to by the launcher, are started so."""
    owner: str = ""
    """Account that reads the file. Empty: root."""

    def command(self, config_path: str) -> tuple[str, ...]:
        return (*self.arguments, config_path)


class Engine(ABC):
    """One Shadowsocks implementation. Stateless: everything comes from the arguments."""

    name: ClassVar[str]
    programs: ClassVar[Mapping[Role, str]]
    """Name of the program for each role."""
    methods: ClassVar[tuple[str, ...]]
    """Methods a build of it may know, the preferred ones first."""
    packages: ClassVar[str]
    """Where to get it, for the messages."""
    version_arguments: ClassVar[tuple[str, ...]]
    """What makes a program print its version."""
    own_keep_alive: ClassVar[int] = 0
    """Seconds of silence until a keep-alive of a build that takes no such setting."""
    wrappable: ClassVar[bool] = False
    """Whether mptcpize can help: it preloads a library, which static programs do not load."""

    @abstractmethod
    def client(self, settings: ClientSettings, build: Build) -> Rendered:
        """The redirector."""

    @abstractmethod
    def server(self, settings: ServerSettings, build: Build) -> Rendered:
        """The proxy server."""

    @abstractmethod
    def refuses(self, output: str) -> bool:
        """Whether a program that ended with this output did so because of the method."""

    def problems(self, settings: Settings, build: Build, section: str) -> tuple[Problem, ...]:
        """Why this build cannot do what the settings ask, before anything is started.

        ``section`` is the section the method and password come from, ``package.section``.
        """
        role: Role = "client" if isinstance(settings, ClientSettings) else "server"
        return (
            *self._program_problems(role, build),
            *self._family_problems(settings, build),
            *self._method_problems(settings.method, build, section),
            *password_problems(settings, section),
            *(self._hang_problems(settings.method, build, section) if role == "client" else ()),
        )

    def _program_problems(self, role: Role, build: Build) -> Iterable[Problem]:
        where = f"engine {self.name}"
        if build.program(role) is None:
            yield Problem(where, f"{self.programs[role]} is not installed", self.packages)
        elif build.mptcp is False and build.mptcpize is None:
            wrapper = "install mptcpize (OpenWrt 24.10 and later, Debian), or "
            yield Problem(
                where,
                f"{self.name} {build.version} makes no MPTCP connections, so only one link "
                "would be used",
                f"{wrapper if self.wrappable else ''}use another engine or a newer build",
            )

    def _family_problems(self, settings: Settings, build: Build) -> Iterable[Problem]:
        """What is plain TCP over IPv6, where an address of that family is to be used."""
        role: Role = "client" if isinstance(settings, ClientSettings) else "server"
        if isinstance(settings, ClientSettings):
            addresses: tuple[str, ...] = (settings.server,)
            what = f"connects to {settings.server} by plain TCP"
        else:
            addresses = settings.listen
            what = "takes plain TCP only from IPv6 clients"
        if (role, 6) in build.plain_families and any(":" in a for a in addresses):
            yield Problem(
                f"engine {self.name}",
                f"{self.name} {build.version} {what}, so only one link is used",
                "use an IPv4 address of the server as well, or a newer build",
                "warning",
            )

    def _method_problems(self, method: str, build: Build, section: str) -> Iterable[Problem]:
        where = f"{section}.method"
        if method not in self.methods:
            yield Problem(
                where,
                f"{self.name} does not know the method {method}",
                f"it knows {', '.join(self.methods)}; both routers need the same",
            )
        elif method in build.refused and method == "none":
            yield Problem(
                where,
                f"this build of {self.name} ({build.version}) refuses method none",
                "use aes-128-gcm and a password on both routers, or the engine sing-box",
            )
        elif method in build.refused:
            accepted = ", ".join(m for m in self.methods if m in build.methods)
            yield Problem(
                where,
                f"this build of {self.name} ({build.version}) refuses the method {method}",
                f"it accepts {accepted}" if accepted else "use aes-128-gcm on both routers",
            )

    def _hang_problems(self, method: str, build: Build, section: str) -> Iterable[Problem]:
        if {(method, False), (method, True)} <= build.hangs:
            yield Problem(
                f"{section}.method",
                f"with method {method}, {self.name} {build.version} waits for the LAN client's "
                "first bytes: connections in which the server speaks first (mail, FTP) hang",
                "use chacha20-ietf-poly1305 and a password on both routers",
                "warning",
            )


def password_problems(settings: Settings, section: str) -> Iterable[Problem]:
    """Passwords an engine would refuse or misread. No message repeats any part of one."""
    where, method, password = f"{section}.password", settings.method, settings.password
    if method == "none":
        return
    if not password:
        yield Problem(where, f"missing, and the method is {method}", "set the server's password")
        return
    if password == EXAMPLE_PASSWORD:
        yield Problem(
            where,
            "is still the example's, which everybody knows",
            "make one for both routers with: head -c 18 /dev/urandom | base64",
            "warning",
        )
    if not password.isprintable() or not _is_utf8(password):
        yield Problem(where, "holds characters that are not text", "use letters and digits")
        return
    length = KEY_BYTES.get(method)
    if length is None:
        return
    several = method in IDENTITY_KEYS and isinstance(settings, ClientSettings)
    for key in password.split(":") if several else [password]:
        have = _key_bytes(key)
        if have == length:
            continue
        found = "this is not base64" if have is None else f"this one has {have}"
        yield Problem(
            where,
            f"{method} needs a key of {length} bytes in base64, and {found}",
            f"make one for both routers with: head -c {length} /dev/urandom | base64",
        )
        return


def listeners(addresses: Iterable[str]) -> tuple[str, ...]:
    """The smallest set of listeners for these addresses: wildcards swallow the rest.

    ``::`` is both families, as it is to the kernel (net.ipv6.bindv6only 0).
    """
    wanted = sorted(set(addresses), key=lambda a: (":" in a, ipaddress.ip_address(a)))
    if "::" in wanted:
        return ("::",)
    if "0.0.0.0" in wanted:
        return ("0.0.0.0", *(a for a in wanted if ":" in a))
    return tuple(wanted)


def to_json(document: Mapping[str, object]) -> str:
    """Strict JSON, keys in the order given, so that equal settings make equal files."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _is_utf8(text: str) -> bool:
    try:
        return bool(text.encode())
    except UnicodeEncodeError:  # a byte that was no UTF-8 in /etc/config
        return False


def _key_bytes(text: str) -> int | None:
    try:
        return len(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return None
