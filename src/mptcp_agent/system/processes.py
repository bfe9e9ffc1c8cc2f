# SPDX-License-Identifier: GPL-2.0-or-later
"""The proxy processes from outside: do they live, do they listen?"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from ..core.sockets import Listener
from . import procfs

_LISTEN = "0A"  # TCP_LISTEN of include/net/tcp_states.h


def watch(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends (pidfd_open(2)).

    None where it has ended already or the kernel (before 5.3) cannot tell. Close it yourself.
    """
    try:
        return os.pidfd_open(pid)
    except (OSError, AttributeError):
        return None


def only_forked(pid: int) -> bool:
    """Whether a process is still a copy of the one that made it, before the program that it is to
    become runs: both have the same command line, or it is just losing that one (execve(2): empty
    for a moment, seen on 6.18). False where it has ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        state, parent = status.rpartition(")")[2].split()[:2]
        own = Path(f"/proc/{pid}/cmdline").read_bytes()
        of_parent = Path(f"/proc/{parent}/cmdline").read_bytes()
        return state not in "ZX" and own in (b"", of_parent)
    except (OSError, ValueError):
        return False


def owner(of: Listener) -> str:
    """Who holds a listening socket, in words, as far as the caller may know: in the agent's jail
    processes of root keep their descriptors to themselves, and the control group that procd puts
    each service into says whose the socket is; where the kernel does not tell, its account."""
    link = f"socket:[{of.inode}]"
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(fd.readlink()) == link for fd in Path(process, "fd").iterdir()):
                name = Path(process, "comm").read_text("utf-8", "replace").strip()
                return f"{name} (process {process.name})"
        except OSError:
            continue  # it has ended, or is not ours to look into
    if of.cgroup and (service := _service(of.cgroup)):
        return f"service {service}"
    try:
        return f"a program of {pwd.getpwuid(of.account).pw_name}"
    except KeyError:
        return f"a program of user {of.account}"


def _service(cgroup: int, services: str = "/sys/fs/cgroup/services") -> str:
    """The procd service of a control group: services/NAME/INSTANCE, whose inode is its id (on 32
    bits the lower half of it: fs/kernfs)."""
    for folder in (*Path(services).glob("*"), *Path(services).glob("*/*")):
        try:
            number = folder.stat().st_ino
        except OSError:
            continue
        if number in (cgroup, cgroup & 0xFFFFFFFF):
            return folder.relative_to(services).parts[0]
    return ""


def listens(port: int) -> bool:
    """Whether a TCP socket of this network namespace listens on the port.

    Read from the kernel rather than tried: nobody may connect to the redirector directly.
    """
    wanted = f":{port:04X}"
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = procfs.read(name).splitlines()[1:]
        except OSError:
            continue  # no IPv6
        for line in lines:
            fields = line.split(maxsplit=4)
            if len(fields) > 3 and fields[3] == _LISTEN and fields[1].endswith(wanted):
                return True
    return False
