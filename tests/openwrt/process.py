# SPDX-License-Identifier: GPL-2.0-or-later
"""The life of one process under procd: start, end, respawn, the signals.

Source: `procd/service/instance.c`.  Left out: LD_PRELOAD=/lib/libsetlbf.so, which services have
whose output goes to the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import grp
import os
import pwd
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from .instance import Config, differs
from .jail import UJAIL
from .peer import background
from .ujail import SOCKET_VARIABLE
from .wire import Json

ENVIRONMENT = {"HOME": "/", "TERM": "linux", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
"""procd's own, which it hands on to services without a jail and to its scripts: the kernel's
HOME and TERM (`init/main.c`) and the PATH of early_env() in `procd/initd/early.c`, which OpenWrt
builds with its CONFIG_TARGET_INIT_PATH."""

OPEN_FILES = (1024, 4096)
"""Soft and hard limit of open files, the kernel's for pid 1 (`include/uapi/linux/fs.h`)."""

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_prctl = ctypes.CDLL(None).prctl


@dataclass(frozen=True)
class Surroundings:
    """What all services of one procd have in common."""

    die_with_parent: bool = True
    ujail: str = UJAIL
    socket: str = ""
    """Of ubusd, for ujail, where it is not in its usual place."""


class Instance:
    """`tell(event, instance)` hears instance.start, .stop, .respawn and .fail; `gone` when a
    stopped one has ended and is to be forgotten; `log` gets the lines it prints."""

    def __init__(
        self,
        name: str,
        config: Config,
        tell: Callable[[str, Instance], None],
        gone: Callable[[Instance], None],
        log: Callable[[str], None],
        surroundings: Surroundings,
    ) -> None:
        self.name = name
        self.config = config
        self.exit_code = 0
        self.respawn_count = 0
        self.pid = 0
        """Of the last process; see `running`."""
        self.running = False
        self._respawning = config.respawn
        self._halt = False
        self._restart = False
        self._started = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._tell = tell
        self._gone = gone
        self._log = log
        self._surroundings = surroundings

    def start(self) -> None:
        config = self.config
        if config.errors or not config.command or not config.valid:
            self._log(f"Not starting instance {self.name}: error, no command or not valid")
            return
        if self.running:
            self._restart = self._restart or self._halt
            return
        self._restart = self._halt = False
        out = subprocess.PIPE if config.stdout else subprocess.DEVNULL
        err = subprocess.PIPE if config.stderr else subprocess.DEVNULL
        self.running, self._started = True, time.monotonic()
        around = self._surroundings
        try:
            self._process = process = subprocess.Popen(
                command_line(config, around.ujail),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=_environment(config, around.socket),
                preexec_fn=lambda: _prepare(config, around.die_with_parent),
            )
        except (OSError, subprocess.SubprocessError) as error:
            self._log(f"{config.command[0]}: {error}")
            self._tell("instance.start", self)  # procd forks before it knows
            asyncio.get_running_loop().call_soon(self._exited, 127)
            return
        self.pid = process.pid
        if config.pidfile:
            with contextlib.suppress(OSError):
                Path(config.pidfile).write_text(f"{self.pid}\n")
        label = f"{Path(config.command[0]).name}[{self.pid}]"
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                background(self._copy(stream, label))
        handle = os.pidfd_open(self.pid)
        asyncio.get_running_loop().add_reader(handle, self._ended, process, handle)
        self._tell("instance.start", self)

    def _ended(self, process: subprocess.Popen[bytes], handle: int) -> None:
        asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)
        code = process.wait()
        self._exited(128 - code if code < 0 else code)

    async def _copy(self, stream: IO[bytes], label: str) -> None:
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), stream)
        with contextlib.suppress(ValueError):
            while line := await reader.readline():
                self._log(f"{label}: {line.decode('utf-8', 'replace').rstrip()}")

    def _exited(self, code: int) -> None:
        self.running = False
        self.exit_code = code
        self._cancel()
        self._tell("instance.stop", self)
        if self._halt and not self._restart:
            if self.config.pidfile:
                Path(self.config.pidfile).unlink(missing_ok=True)
            self._gone(self)
        elif self._restart:
            self.start()
        elif self._respawning is not None:
            self._respawn(*self._respawning)

    def _respawn(self, threshold: int, timeout: int, retries: int) -> None:
        """After more than `retries` ends within `threshold` s of their starts: no more."""
        quick = int(time.monotonic() - self._started) < threshold
        self.respawn_count = self.respawn_count + 1 if quick else 0
        if self.respawn_count > retries > 0:
            self._log(f"Instance {self.name} is in a crash loop, {self.respawn_count} crashes")
            self._respawning = None
            self._halt = True
            self._tell("instance.fail", self)
            return
        self._tell("instance.respawn", self)
        self._timer = asyncio.get_running_loop().call_later(timeout, self.start)

    def stop(self, forget: bool) -> None:
        """SIGTERM, after `term_timeout` SIGKILL; `forget`: it leaves the service then."""
        if not self.running:
            self._cancel()
            if forget:
                self._gone(self)
            return
        self._halt, self._restart, self._respawning = forget, False, None
        self._terminate()

    def update(self, config: Config) -> None:
        """Take over a new description; the process starts anew only where it has to."""
        changed = differs(self.config, config)
        was_running, halted = self.running, self._halt
        if was_running and not halted and changed:
            if self.config.reload_signal:
                self.signal(self.config.reload_signal)
            else:
                self._halt = self._restart = True
                self._terminate()
        self.config = config
        self._respawning = config.respawn
        if not was_running or halted:
            self._cancel()
            self.start()

    def set_data(self, data: Mapping[str, Json]) -> None:
        self.config = replace(self.config, data=dict(sorted(data.items())))

    def signal(self, number: int) -> bool:
        """False when there is no process."""
        if self._process is None or self._process.returncode is not None:
            return False
        self._process.send_signal(number)
        return True

    def _terminate(self) -> None:
        self.signal(signal.SIGTERM)
        self._cancel()
        if self.config.jailed:  # ujail waits and kills
            return
        wait = self.config.term_timeout
        self._timer = asyncio.get_running_loop().call_later(wait, self.signal, signal.SIGKILL)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def dump(self) -> dict[str, Json]:
        """As `service list` shows it."""
        config = self.config
        shown: dict[str, Json] = {"running": self.running}
        if self.running:
            shown["pid"] = self.pid
        if config.command:
            shown["command"] = list(config.command)
        shown["term_timeout"] = config.term_timeout
        if not self.running:
            shown["exit_code"] = self.exit_code
        if config.errors:
            shown["errors"] = list(config.errors)
        for name in ("env", "data", "limits"):
            if getattr(config, name):
                shown[name] = dict(getattr(config, name))
        if config.netdev:
            shown["netdev"] = list(config.netdev)
        if config.reload_signal:
            shown["reload_signal"] = config.reload_signal
        if self._respawning is not None:
            names = ("threshold", "timeout", "retry")
            shown["respawn"] = dict(zip(names, self._respawning, strict=True))
        for name in ("no_new_privs", "seccomp", "capabilities", "pidfile", "user", "group"):
            if getattr(config, name):
                shown[name] = getattr(config, name)
        if config.jail is not None and config.jailed:
            shown["jail"] = config.jail.dump()
            if config.jail.mount:
                shown["mount"] = dict(config.jail.mount)
        return shown


def command_line(config: Config, ujail: str = UJAIL) -> list[str]:
    """What procd executes: the service, or ujail with the service after it."""
    jail = config.jail
    if jail is None or not config.jailed:
        return list(config.command)
    argv = [ujail, "-t", str(config.term_timeout)]
    for flag, value in (
        ("-n", jail.name),
        ("-h", jail.hostname),
        ("-S", config.seccomp),
        ("-U", config.user),
        ("-G", config.group),
        ("-C", config.capabilities),
    ):
        argv += [flag, value] if value else []
    argv += ["-c"] if config.no_new_privs else []
    argv += jail.words()
    for name in config.env:
        argv += ["-e", name]
    for path, mode in jail.mount.items():
        argv += ["-w" if mode.startswith("1") else "-r", path]
    return [*argv, "--", *config.command]


def _environment(config: Config, socket: str) -> dict[str, str]:
    """For a jailed service ujail takes from it what it needs."""
    more = {SOCKET_VARIABLE: socket} if config.jailed and socket else {}
    return {**ENVIRONMENT, **config.env, **more}


def _prepare(config: Config, die_with_parent: bool) -> None:
    """In the child, before exec."""
    if config.nice:
        os.setpriority(os.PRIO_PROCESS, 0, config.nice)
    resource.setrlimit(resource.RLIMIT_NOFILE, OPEN_FILES)
    for name, value in config.limits.items():
        _limit(name, value)
    if not config.jailed and (config.user or config.group):  # capabilities, no_new_privs: ujail's
        user = pwd.getpwnam(config.user) if config.user else None
        group = grp.getgrnam(config.group).gr_gid if config.group else None
        if user is not None:
            os.initgroups(user.pw_name, user.pw_gid)
        gid = group if group is not None else user.pw_gid if user is not None else 0
        os.setgid(gid)
        if user is not None:
            os.setuid(user.pw_uid)
    if die_with_parent:  # last: a change of user clears it
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _limit(name: str, value: str) -> None:
    """`soft hard`, one number for the soft limit alone, or `unlimited`."""
    kind = getattr(resource, f"RLIMIT_{name.upper()}", None)
    if kind is None:
        return
    soft, hard = resource.getrlimit(kind)
    words = value.split()
    if value == "unlimited":
        soft = hard = resource.RLIM_INFINITY
    elif words and all(word.isdigit() for word in words):
        soft = int(words[0])
        hard = int(words[1]) if len(words) > 1 else hard
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(kind, (soft, hard))
