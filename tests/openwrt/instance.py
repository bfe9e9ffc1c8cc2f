# SPDX-License-Identifier: GPL-2.0-or-later
"""What one process under procd is to be, and what makes two descriptions different.

Source: `procd/service/instance.c`.
"""

from __future__ import annotations

import contextlib
import grp
import hashlib
import pwd
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import jail
from .jail import Jail
from .wire import Json


@dataclass(frozen=True)
class Config:
    """An instance as `service set` describes it; see `differs`."""

    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Json] = field(default_factory=dict)
    netdev: Mapping[str, int] = field(default_factory=dict)
    """Device -> ifindex when it was set; a device made anew makes a difference."""
    file: Mapping[str, str] = field(default_factory=dict)
    """Path -> MD5 of the content when it was set."""
    limits: Mapping[str, str] = field(default_factory=dict)
    errors: tuple[str, ...] = ()
    respawn: tuple[int, int, int] | None = None
    """Threshold s, timeout s, retries; procd's default when empty is 3600 5 5."""
    term_timeout: int = 5
    reload_signal: int = 0
    nice: int = 0
    user: str = ""
    group: str = ""
    pidfile: str = ""
    no_new_privs: bool = False
    capabilities: str = ""
    seccomp: str = ""
    jail: Jail | None = None
    jailed: bool = False
    """It has a jail, and there is a ujail; else jail, capabilities and no_new_privs do nothing."""
    stdout: bool = False
    stderr: bool = False
    triggers: Json = None
    valid: bool = True


_EXACT = (
    "command", "respawn", "term_timeout", "reload_signal", "nice", "user", "group", "pidfile",
    "no_new_privs", "capabilities", "seccomp", "jailed", "netdev", "file",
)  # fmt: skip


def differs(old: Config, new: Config) -> bool:
    """Whether procd starts the process anew.

    Not for `data`, `stdout`, `stderr` and triggers; and not for a change in the last three
    characters of an `env` or `limits` value that keeps its length: blobmsg_list_equal() in
    `procd/utils/utils.c` compares four bytes too few (seen with procd of 2026-08).
    """
    if not old.valid or any(getattr(old, name) != getattr(new, name) for name in _EXACT):
        return True
    was, will_be = old.jail or Jail(), new.jail or Jail()
    if replace(was, mount={}) != replace(will_be, mount={}):
        return True
    lists = ((old.env, new.env), (old.limits, new.limits), (was.mount, will_be.mount))
    if any(_looks(one) != _looks(other) for one, other in lists):
        return True
    return _looks(dict.fromkeys(old.errors, "")) != _looks(dict.fromkeys(new.errors, ""))


def _looks(values: Mapping[str, str]) -> list[tuple[int, bytes]]:
    """What of each entry is compared: length, and all but the last four bytes (with the NUL)."""
    entries = ((name.encode(), value.encode() + b"\0") for name, value in values.items())
    return [(len(name) + len(value), (name + b"\0" + value)[:-4]) for name, value in entries]


def parse(given: Mapping[str, Json], ujail: str = jail.UJAIL) -> Config:
    """A field of the wrong type counts as not given; a bad list makes the instance invalid.

    `ujail` is where that program would be.
    """
    valid = True

    def strings(name: str) -> list[str]:
        nonlocal valid
        value = given.get(name, [])
        if not isinstance(value, list):
            return []
        if not all(isinstance(item, str) for item in value):
            valid = False
            return []
        return [str(item) for item in value]

    def table(name: str) -> dict[str, str]:
        nonlocal valid
        value = given.get(name, {})
        if not isinstance(value, dict):
            return {}
        if not all(isinstance(item, str) for item in value.values()):
            valid = False
            return {}
        return {key: str(value[key]) for key in sorted(value)}

    def number(name: str, default: int) -> int:
        value = given.get(name)
        return default if not isinstance(value, int) or isinstance(value, bool) else value

    def text(name: str) -> str:
        value = given.get(name)
        return value if isinstance(value, str) else ""

    command = strings("command")
    if isinstance(given.get("command"), list) and not command:
        valid = False
    data = given.get("data")
    jailing = given.get("jail")
    wanted = jail.parse(jailing) if isinstance(jailing, dict) else None
    jailed = wanted is not None and Path(ujail).exists()
    if wanted is not None and wanted.required and not jailed:
        valid = False
    config = Config(
        command=tuple(command),
        env=table("env"),
        data=dict(sorted(data.items())) if isinstance(data, dict) else {},
        netdev={name: _ifindex(name) for name in sorted(strings("netdev"))},
        file={name: _md5(name) for name in sorted(strings("file"))},
        limits=table("limits"),
        errors=tuple(sorted(strings("error"))),
        respawn=_respawn(given.get("respawn")),
        term_timeout=number("term_timeout", 5),
        reload_signal=number("reload_signal", 0),
        nice=number("nice", 0),
        user=_known(text("user"), pwd.getpwnam),
        group=_known(text("group"), grp.getgrnam),
        pidfile=text("pidfile"),
        no_new_privs=given.get("no_new_privs") is True,
        capabilities=text("capabilities"),
        seccomp=text("seccomp"),
        jail=wanted,
        jailed=jailed,
        stdout=given.get("stdout") is True,
        stderr=given.get("stderr") is True,
        triggers=given.get("triggers"),
    )
    return config if valid else Config(valid=False)


def _ifindex(name: str) -> int:
    with contextlib.suppress(OSError):
        return socket.if_nametoindex(name)
    return 0


def _md5(name: str) -> str:
    with contextlib.suppress(OSError):
        return hashlib.md5(Path(name).read_bytes()).hexdigest()
    return ""


def _known(name: str, find: Callable[[str], object]) -> str:
    """A user or group that does not exist is not used."""
    with contextlib.suppress(KeyError):
        if name and find(name):
            return name
    return ""


def _respawn(given: Json) -> tuple[int, int, int] | None:
    if not isinstance(given, list):
        return None
    values = [3600, 5, 5]
    for at, item in enumerate(given[:3]):
        values[at] = int(item) if isinstance(item, str) and item.isdigit() else 0
    return values[0], values[1], values[2]
