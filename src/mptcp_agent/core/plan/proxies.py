# SPDX-License-Identifier: GPL-2.0-or-later
"""The proxy processes: which engine, with which configuration file and command."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import cast

from ...engines import (
    Build,
    ClientSettings,
    Engine,
    LogLevel,
    Rendered,
    Role,
    ServerSettings,
    choose,
)
from ...errors import EngineError
from ..carried import Carried, in_place, same_job
from ..config import PACKAGE, Config
from ..diff import Item
from ..health.ports import Taken
from ..network import Facts
from ..problem import Problem
from ..snapshot import Choice
from ..state import File, Firewall, Process
from .peers import PeerAddresses, previous_addresses


@dataclass(frozen=True)
class Proxies:
    """What the engines are to be told. A role that cannot run has no process, only a problem."""

    engine: Engine | None = None
    build: Build | None = None
    processes: tuple[Process, ...] = ()
    files: tuple[File, ...] = ()
    strip_mptcp: bool = False
    problems: tuple[Problem, ...] = ()

    def carrying(self, carried: Iterable[Carried]) -> Proxies:
        """With processes that run in another form left as they are."""
        processes, files = in_place(carried, self.processes, self.files)
        return replace(self, processes=processes, files=files)

    def without(self, taken: Iterable[Taken], config: Config) -> Proxies:
        """Not started where somebody else has the port: it would end at once, for ever."""
        held = {t.role: t.holder for t in taken}
        said = []
        for process in self.processes:
            option, port = _port(process.name, config)
            if process.name in held:
                said.append(
                    Problem(
                        f"{PACKAGE}.{option}",
                        f"port {port} is held by {held[process.name]}, so that the proxy "
                        f"{process.name} cannot listen",
                        f"stop that program, or set another {option.rpartition('.')[2]} (netstat "
                        f"-lntp tells who listens where)",
                    )
                )
        kept = tuple(p for p in self.processes if p.name not in held)
        return replace(self, processes=kept, problems=(*self.problems, *said)) if said else self


def _port(role: str, config: Config) -> tuple[str, int]:
    """The option that says where a role listens, and the port."""
    if role == "client" and config.client:
        return f"{config.client.name}.local_port", config.client.local_port
    if config.server:
        return f"{config.server.name}.port", config.server.port
    return role, 0


def proxies(
    config: Config,
    facts: Facts,
    choice: Choice | None,
    builds: Mapping[str, Build],
    directory: str,
) -> Proxies:
    """``directory`` is where generated configuration goes; ``choice`` the peer to connect to."""
    roles = _roles(config)
    if not roles:
        return Proxies()
    try:
        engine, build = choose(config.globals.engine, builds, roles)
    except EngineError as error:
        return Proxies(problems=(Problem(f"{PACKAGE}.globals.engine", str(error)),))
    processes, files, problems = [], [], list(build.problems)
    strip = False
    for role, section, settings in _settings(config, facts, choice):
        found = engine.problems(settings, build, f"{PACKAGE}.{section}")
        problems += found
        if any(p.severity == "error" for p in found):
            continue
        if isinstance(settings, ClientSettings):
            rendered = engine.client(settings, build)
            strip = rendered.strip_mptcp
        else:
            rendered = engine.server(settings, build)
        process, file = _process(role, rendered, directory)
        processes.append(process)
        files.append(file)
    return Proxies(
        engine, build, tuple(processes), tuple(files), strip, tuple(dict.fromkeys(problems))
    )


def plain_families(config: Config, builds: Mapping[str, Build]) -> frozenset[int]:
    """The families in which the redirector makes plain TCP connections only."""
    try:
        _, build = choose(config.globals.engine, builds, _roles(config))
    except EngineError:
        return frozenset()
    return frozenset(family for role, family in build.plain_families if role == "client")


def running_choice(
    config: Config,
    facts: Facts,
    peers: Iterable[PeerAddresses],
    builds: Mapping[str, Build],
    directory: str,
    running: Iterable[Process],
    files: Iterable[File] = (),
) -> Choice | None:
    """The choice a running redirector was configured for by an agent before this one: it stays,
    or a restarted agent would end its connections. None where there is none. ``files`` are those
    that were found."""
    clients = [p for p in running if p.name == "client"]
    digests = {p.digest for p in clients}
    paths = {p.config_path for p in clients}
    contents = [(f.path, f.content) for f in files if f.path in paths]
    for choice in (
        Choice(p.peer, a)
        for p in (peers if digests else ())
        for a in (*p.addresses, *previous_addresses(p.peer, facts))
    ):
        found = proxies(config, facts, choice, builds, directory)
        if any(p.name == "client" and p.digest in digests for p in found.processes):
            return choice
        alike = ((f, c) for f in found.files for path, c in contents if f.path == path)
        if any(same_job(file.content, content) for file, content in alike):
            return choice
    return None


def as_running(
    config: Config,
    facts: Facts,
    peers: Iterable[PeerAddresses],
    in_use: Choice | None,
    builds: Mapping[str, Build],
    directory: str,
    running: tuple[Process, ...],
) -> Mapping[str, Build]:
    """The builds, of which one that could not be tried is taken for what the running processes
    were started for: not to know it is no reason to end their connections."""
    untried = {name: build for name, build in builds.items() if build.mptcp is None}
    most, best = 0, builds
    for guess in _guesses(config, running) if untried and running else ():
        guessed = {**builds, **{name: guess(build) for name, build in untried.items()}}
        choice = in_use or running_choice(config, facts, peers, guessed, directory, running)
        alike = set(running) & {*proxies(config, facts, choice, guessed, directory).processes}
        if len(alike) > most:
            most, best = len(alike), guessed
    return best


def _guesses(config: Config, running: tuple[Process, ...]) -> Iterable[Callable[[Build], Build]]:
    """What a trial finds out and a process shows: a setting that is taken, a method that hangs, the
    wrapper."""
    methods = {p.method for p in config.client_peers}
    wrapper = next((p.command[0] for p in running if p.command[1:2] == ("run",)), None)
    return (
        lambda build: build,
        lambda build: replace(build, keep_alive=True),
        lambda build: replace(build, hangs=frozenset((m, False) for m in methods)),
        lambda build: replace(build, keep_alive=True, hangs=frozenset((m, False) for m in methods)),
        lambda build: replace(build, mptcp=False, mptcpize=wrapper),
    )


def runnable(
    planned: Iterable[Process], running: tuple[Process, ...], failing: Iterable[Item]
) -> tuple[Process, ...]:
    """The planned processes, given what failed. One whose file could not be written stays as it
    is: a running proxy with yesterday's settings beats one that does not start. None is started
    behind a firewall that does not stand: anybody could use it."""
    failing = tuple(failing)
    before = {p.name: p for p in running}
    unwritten = {item.path for item in failing if isinstance(item, File)}
    open_ = any(isinstance(item, Firewall) for item in failing)
    found = [
        before.get(p.name) if p.config_path in unwritten or (open_ and p.name not in before) else p
        for p in planned
    ]
    return tuple(p for p in found if p is not None)


def _roles(config: Config) -> list[Role]:
    roles: list[Role] = []
    if config.client:
        roles.append("client")
    if config.server:
        roles.append("server")
    return roles


def _settings(
    config: Config, facts: Facts, choice: Choice | None
) -> list[tuple[Role, str, ClientSettings | ServerSettings]]:
    """The settings of each role with the section its method and password come from."""
    level = cast(LogLevel, config.globals.log_level)
    found: list[tuple[Role, str, ClientSettings | ServerSettings]] = []
    if config.client and choice:
        # A kernel booted without IPv6 has no AF_INET6 sockets, so nothing can listen on "::".
        ipv6 = facts.sysctl("net/ipv6/conf/all/disable_ipv6") is not None
        settings = ClientSettings(
            server=choice.address,
            server_port=choice.peer.port,
            method=choice.peer.method,
            password=choice.peer.password,
            local_port=config.client.local_port,
            listen="::" if ipv6 else "0.0.0.0",
            timeout=config.client.timeout,
            fast_open=config.client.fast_open,
            log_level=level,
            keep_alive=choice.peer.keep_alive,
        )
        found.append(("client", choice.peer.name, settings))
    if config.server:
        server = config.server
        found.append(
            (
                "server",
                server.name,
                ServerSettings(
                    listen=server.listen,
                    port=server.port,
                    method=server.method,
                    password=server.password,
                    timeout=server.timeout,
                    fast_open=server.fast_open,
                    log_level=level,
                ),
            )
        )
    return found


def _process(role: Role, rendered: Rendered, directory: str) -> tuple[Process, File]:
    path = f"{directory}/{rendered.file_name}"
    process = Process(
        name=role,
        command=rendered.command(path),
        environment=tuple(sorted(rendered.environment)),
        config_path=path,
        digest=hashlib.sha256(rendered.config.encode()).hexdigest()[:16],
        user=rendered.user,
    )
    return process, File(path, rendered.config, rendered.owner)
