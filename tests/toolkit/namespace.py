# SPDX-License-Identifier: GPL-2.0-or-later
"""Network namespaces, nameless or named, and code and commands inside them.

What is done in a `with` block happens inside: sockets stay in the namespace they were made in,
threads and programs start in the one in which they are started. Each thread enters for itself,
and blocks may be nested.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from toolkit.command import LabError, tool

P = ParamSpec("P")
T = TypeVar("T")

NETNS = Path("/run/netns")
"""Where `ip netns` keeps the names."""

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A network namespace with loopback up.

    A nameless one goes away with the last thing that holds it open, so that even a killed test
    leaves nothing behind. A named one (as of `ip netns`, so that people can enter it) stays until
    close(), or until whoever keeps the list of names deletes it.
    """

    def __init__(self, name: str = "") -> None:
        if os.geteuid() != 0:
            raise LabError("needs root: network namespaces are made for real")
        self.name = name
        self._file: int | None = None
        self._entered = _Entered()
        if name:
            tool("ip", "netns", "add", name)
            self.path = str(NETNS / name)
        else:
            self._file = _unshared()
            self.path = f"/proc/{os.getpid()}/fd/{self._file}"
            """Where `ip link set … netns PATH` finds it."""
        self.ip("link", "set", "lo", "up")

    def __repr__(self) -> str:
        return f"Namespace({self.name or self.path})"

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function inside."""
        with self:
            return function(*args, **kwargs)

    def sh(self, command: str) -> str:
        """Run shell commands inside and return their output. Raises LabError on a failure."""
        return self.call(tool, "sh", "-ec", command)

    def ip(self, *argv: str, stdin: str | None = None) -> str:
        """Run `ip` inside and return its output. Raises LabError when it complains."""
        return self.call(tool, "ip", *argv, stdin=stdin)

    def batch(self, lines: list[str]) -> None:
        """Run many commands of `ip` at once."""
        self.ip("-batch", "-", stdin="\n".join(lines))

    def sysctl(self, key: str, value: object) -> None:
        """Set a sysctl of the network, as in `net/ipv4/ip_forward`."""
        self.call(Path("/proc/sys", key).write_text, str(value))

    def pids(self) -> list[int]:
        """Return the processes inside."""
        return pids_in(self.path)

    def close(self) -> None:
        if self._file is None:
            tool("ip", "netns", "delete", self.name)
        else:
            os.close(self._file)

    def __enter__(self) -> Self:
        home = _own()
        there = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(there)
        except BaseException:
            os.close(home)
            raise
        finally:
            os.close(there)
        self._entered.homes.append(home)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        home = self._entered.homes.pop()
        try:
            _enter(home)
        finally:
            os.close(home)


class _Entered(threading.local):
    """Where each thread came from, the last one last."""

    def __init__(self) -> None:
        self.homes: list[int] = []


def pids_in(path: str | Path) -> list[int]:
    """Return the processes whose network namespace is this file; none where there is no file."""
    try:
        inode = Path(path).stat().st_ino
    except FileNotFoundError:
        return []
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 - ten times as many Path objects as wanted
        if entry.isdigit():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{entry}/ns/net").st_ino == inode:  # noqa: PTH116
                    found.append(int(entry))
    return found


def _own() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _unshared() -> int:
    """A new namespace, open; the calling thread is where it was."""
    home = _own()
    try:
        if _libc.unshare(_CLONE_NEWNET):
            raise LabError(f"no network namespace: {os.strerror(ctypes.get_errno())}")
        made = _own()
        _enter(home)
        return made
    finally:
        os.close(home)


def _enter(file: int) -> None:
    if _libc.setns(file, _CLONE_NEWNET):
        raise LabError(f"a namespace cannot be entered: {os.strerror(ctypes.get_errno())}")
