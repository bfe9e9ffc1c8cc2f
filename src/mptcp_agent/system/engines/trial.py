# SPDX-License-Identifier: GPL-2.0-or-later
"""Installed engines, and what their builds can really do.

The same version number stands on builds that make upstream MPTCP sockets and on builds that
do not, on builds that accept method none and on builds that refuse it. So each program is
started for a moment on loopback, with a generated configuration that means what a real one
means, and looked at from outside. Nothing started here outlives the call; nothing waits
longer than ``PATIENCE`` for one program.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from ...core.problem import Problem
from ...engines import ENGINES, Build, ClientSettings, Engine, Rendered, Role, ServerSettings
from ...engines.base import KEY_BYTES
from .. import programs
from . import on_trial
from .loopback import (
    LOOPBACK,
    LOOPBACK6,
    Peer,
    family,
    free_port,
    kernel_speaks_mptcp,
    speaks_mptcp,
)

#: Seconds a program may take to listen: a large one on slow flash and a busy router needs several.
PATIENCE = 8.0

#: Seconds in which a redirector has to call the peer by itself, or as long as it took to start.
#: sing-box 1.12 takes 0.3.
PROMPT = 0.8

#: Seconds until what showed nothing is tried again, doubled each time up to the longest: a busy
#: moment passes, a program that is broken costs ``PATIENCE`` each time.
AGAIN, SELDOM = 20.0, 3600.0

#: Seconds, to see whether a build takes the setting.
KEEP_ALIVE = 15

#: Known to every engine; tried where a section's own method says nothing about MPTCP.
_COMMON_METHOD = "aes-128-gcm"

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class _Seen:
    """What one trial showed. ``failure`` is why it showed nothing."""

    refused: bool = False
    failure: str = ""
    mptcp: bool | None = None
    plain_over_6: bool = False
    """With MPTCP over IPv4 all the same."""
    hangs: bool = False


class EngineBuilds:
    """Finds engines and keeps what was found out until their programs change.

    What could not be tried is tried again, each time later. ``launcher`` is how to start a program
    deaf to netlink events (``Build``), which trials do without. Blocking: a trial takes 0.1 to 2 s.
    """

    def __init__(
        self,
        places: tuple[str, ...] = programs.PLACES,
        launcher: tuple[str, ...] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._launcher = launcher
        self._places = places
        self._monotonic = clock
        self._known: dict[str, tuple[object, Build]] = {}
        self._again: dict[str, tuple[float, float]] = {}
        """What showed nothing: when it is tried again, and the pause after that."""

    def find(self, names: Collection[str], methods: Collection[str]) -> dict[str, Build]:
        """The installed ones among these engines, tried with these methods."""
        found = {name: self.probe(ENGINES[name], methods) for name in names}
        return {name: build for name, build in found.items() if build is not None}

    def forget(self) -> None:
        """Try those again that could not be tried; what was seen stays seen."""
        self._known = {
            name: (key, build)
            for name, (key, build) in self._known.items()
            if build.mptcp is not None and not build.problems
        }
        self._again = {}

    def probe(self, engine: Engine, methods: Collection[str]) -> Build | None:
        """What this engine's build can do; None = not installed."""
        client = self._which(engine.programs["client"])
        server = self._which(engine.programs["server"])
        if not client and not server:
            return None
        wrapper = self._which("mptcpize") if engine.wrappable else None
        kernel = kernel_speaks_mptcp()
        key = (
            kernel,
            kernel_speaks_mptcp(LOOPBACK6),
            frozenset(methods),
            *map(_identity, (client, server, wrapper)),
        )
        known = self._known.get(engine.name)
        if known and known[0] == key and not self._is_due(known[1]):
            return known[1]
        build = Build(engine.name, client, server, _version(engine, client or server or ""))
        try:
            if kernel:
                build = self._try(engine, build, wrapper, methods)
        except OSError as error:
            problem = Problem(
                f"engine {engine.name}",
                f"could not be tried: {error.strerror or error}",
                "it is tried again, each time later",
                "warning",
            )
            build = replace(build, problems=(problem,))
        build = replace(build, launcher=self._launcher)
        self._known[engine.name] = (key, build)
        if kernel and build.mptcp is None:
            _, pause = self._again.get(engine.name, (0.0, AGAIN))
            self._again[engine.name] = self._monotonic() + pause, min(2 * pause, SELDOM)
        else:
            self._again.pop(engine.name, None)
        return build

    def _is_due(self, build: Build) -> bool:
        return build.engine in self._again and self._monotonic() >= self._again[build.engine][0]

    def _which(self, program: str) -> str | None:
        return programs.find(program, self._places)

    def _try(
        self, engine: Engine, build: Build, wrapper: str | None, methods: Collection[str]
    ) -> Build:
        """Every method in every role, then what only has to be seen once."""
        wanted = [m for m in engine.methods if m in methods]
        for method in wanted:
            build = self._try_method(engine, build, method)
        if not build.methods and not build.problems and _COMMON_METHOD not in wanted:
            build = self._try_method(engine, build, _COMMON_METHOD)
        usable = [m for m in engine.methods if m in build.methods]
        if not usable:
            return build
        if build.mptcp is False and wrapper:
            wrapped = replace(build, mptcpize=wrapper)  # every socket, of both families
            seen = [*self._trials(engine, wrapped, usable[0])]
            return wrapped if all(s.mptcp for s in seen) else build
        if build.client:
            build = self._with_settings(engine, build, usable[0])
            if build.mptcp and kernel_speaks_mptcp(LOOPBACK6):
                over_6 = self._try_client(engine, build, usable[0], False, LOOPBACK6)
                if over_6.mptcp is False:
                    build = _plain_over_6(build, "client")
        return build

    def _try_method(self, engine: Engine, build: Build, method: str) -> Build:
        if build.problems:  # it does not start, or not in time: once is enough
            return build
        seen = [*self._trials(engine, build, method)]
        if seen[-1].refused:
            return replace(build, refused=build.refused | {method})
        if seen[-1].failure:
            hint = f"start it by hand, or install it anew ({engine.packages})"
            problem = Problem(f"engine {engine.name}", seen[-1].failure, hint, "warning")
            return replace(build, problems=(problem,))
        build = replace(
            build,
            methods=build.methods | {method},
            mptcp=build.mptcp is not False and all(s.mptcp for s in seen),
        )
        if any(s.plain_over_6 for s in seen):
            build = _plain_over_6(build, "server")
        if any(s.hangs for s in seen):
            build = replace(build, hangs=build.hangs | {(method, False)})
            fast = self._try_client(engine, build, method, True)
            if fast.hangs or not fast.mptcp:  # kernels before 6.2 have no MPTCP fast open
                build = replace(build, hangs=build.hangs | {(method, True)})
        return build

    def _trials(self, engine: Engine, build: Build, method: str) -> Iterator[_Seen]:
        """Of the server, then of the client; one that showed nothing is the last."""
        if build.server:
            seen = self._try_server(engine, build, method)
            yield seen
            if seen.refused or seen.failure:
                return
        if build.client:
            yield self._try_client(engine, build, method, False)

    def _try_server(self, engine: Engine, build: Build, method: str) -> _Seen:
        """Does the method work, and do the listeners answer MPTCP with MPTCP?"""
        port = free_port()
        listen = (LOOPBACK, LOOPBACK6) if kernel_speaks_mptcp(LOOPBACK6) else (LOOPBACK,)
        settings = ServerSettings(listen, port, method, _password(method))
        with self._started(engine.server(settings, build)) as program:
            speaks = []
            for address in listen:
                connection = program.connect(port, socket.IPPROTO_MPTCP, address)
                if connection is None:
                    return program.failure(engine)
                with connection:
                    speaks.append(speaks_mptcp(connection))
        return _Seen(mptcp=speaks[0], plain_over_6=speaks[0] and not speaks[-1])

    def _try_client(
        self,
        engine: Engine,
        build: Build,
        method: str,
        fast_open: bool,
        address: str = LOOPBACK,
    ) -> _Seen:
        """Does it call its peer with MPTCP, and does it before the LAN client has spoken?"""
        with Peer(address) as peer:
            settings = replace(
                _client(peer.port, method), server=address, fast_open=fast_open, tproxy=True
            )
            with self._started(engine.client(settings, build)) as program:
                began = time.monotonic()
                connection = program.connect(settings.local_port, socket.IPPROTO_TCP)
                if connection is None:
                    return program.failure(engine)
                prompt = max(PROMPT, time.monotonic() - began)
                with connection:
                    hangs = not peer.hears(prompt)
                    if hangs:
                        connection.sendall(b"\n")
                        if not peer.hears(prompt):
                            return program.failure(engine, "did not call its peer")
                    return _Seen(mptcp=peer.speaks_mptcp(), hangs=hangs)

    def _with_settings(self, engine: Engine, build: Build, method: str) -> Build:
        """Does it start with a time until keep-alives, and is its listener plain TCP?"""
        asked = replace(build, keep_alive=True)
        settings = replace(_client(free_port(), method), keep_alive=KEEP_ALIVE)
        if engine.client(settings, asked) != engine.client(settings, build):
            plain = self._listens_plainly(engine, asked, settings)
            if plain is not None:
                return replace(asked, plain_listener=plain)
        return replace(build, plain_listener=bool(self._listens_plainly(engine, build, settings)))

    def _listens_plainly(
        self, engine: Engine, build: Build, settings: ClientSettings
    ) -> bool | None:
        """None: it does not listen at all."""
        with self._started(engine.client(settings, build)) as program:
            connection = program.connect(settings.local_port, socket.IPPROTO_MPTCP)
            if connection is None:
                return None
            with connection:
                return not speaks_mptcp(connection)

    @contextlib.contextmanager
    def _started(self, rendered: Rendered) -> Iterator[_Program]:
        """The program running; ended when the block is left."""
        with on_trial.started(rendered) as (process, output):
            yield _Program(process, output)


@dataclass(frozen=True)
class _Program:
    """A program under trial."""

    process: subprocess.Popen[bytes]
    output: IO[str]

    def connect(self, port: int, protocol: int, address: str = LOOPBACK) -> socket.socket | None:
        """A connection as soon as it listens; None = it ended, or never listened."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            connection = socket.socket(family(address), socket.SOCK_STREAM, protocol)
            connection.settimeout(PATIENCE)
            try:
                connection.connect((address, port))
                return connection
            except OSError:
                connection.close()
                time.sleep(0.01)
        return None

    def failure(self, engine: Engine, what: str = "did not listen in time") -> _Seen:
        """Why there was nothing to see, in the program's own words."""
        self.output.seek(0)
        text = self.output.read()
        if self.process.poll() is not None:
            if engine.refuses(text):
                return _Seen(refused=True)
            what = f"ended with exit code {self.process.returncode}"
        last = _COLOUR.sub("", text).strip().rpartition("\n")[2]
        return _Seen(failure=f"on trial it {what}" + (f": {last}" if last else ""))


def _plain_over_6(build: Build, role: Role) -> Build:
    return replace(build, plain_families=build.plain_families | {(role, 6)})


def _client(peer_port: int, method: str) -> ClientSettings:
    return ClientSettings(
        server=LOOPBACK,
        server_port=peer_port,
        method=method,
        password=_password(method),
        local_port=free_port(),
        listen=LOOPBACK,
    )


def _password(method: str) -> str:
    """A new one each time: for a moment there is a proxy on loopback."""
    return base64.b64encode(os.urandom(KEY_BYTES.get(method, 16))).decode()


def _identity(path: str | None) -> tuple[str, int, int] | None:
    """Of a program: an upgrade changes it."""
    if path is None:
        return None
    status = Path(path).stat()
    return path, status.st_size, status.st_mtime_ns


def _version(engine: Engine, program: str) -> str:
    try:
        result = subprocess.run(
            (program, *engine.version_arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            env=programs.environment(),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    number = re.search(r"\d+(\.\d+)+\S*", result.stdout + result.stderr)
    return number.group() if number else ""
