# SPDX-License-Identifier: GPL-2.0-or-later
"""Bounds what another process's listening socket lets its connections receive ahead:

    listener_buffer.py PID PORT BYTES

No engine has an option for it but shadowsocks-rust, and the kernel's limit for all of TCP
(tcp_rmem) has to be large for what comes over several WANs. A connection has its listener's
SO_RCVBUF, so it is enough to set that once: in a copy of the process's own descriptor
(pidfd_getfd(2), Linux 5.6), which is the same socket.

A program of its own because the kernel lets only the process's own account do so (or who may
trace everything, which the agent in its jail may not). The exit code is 0 where it was done.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

#: pidfd_getfd has one number on all machines (asm-generic/unistd.h), but for where MIPS counts
#: from, by the size of a pointer.
_NUMBER = 438
_MIPS_FIRST = {4: 4000, 8: 5000}
#: Seconds for a slow router to start it.
PATIENCE = 20


def bound(pid: int, port: int, size: int) -> bool:
    """Do it as the account of the process; whether it was done. Not to one that was root and gave
    it up by itself, which nobody but root may look into (proc(5), dumpable)."""
    try:
        owner = Path(f"/proc/{pid}").stat()
    except FileNotFoundError:
        return False
    argv = (sys.executable, "-I", "-S", __file__, str(pid), str(port), str(size))
    try:
        done = subprocess.run(
            argv,
            user=owner.st_uid,
            group=owner.st_gid,
            extra_groups=[],
            capture_output=True,
            timeout=PATIENCE,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def _sockets(pid: int) -> Iterator[socket.socket]:
    """Copies of the process's sockets. OSError where they cannot be had."""
    libc = ctypes.CDLL(None, use_errno=True)
    first = _MIPS_FIRST[ctypes.sizeof(ctypes.c_void_p)] if "mips" in platform.machine() else 0
    process = os.pidfd_open(pid)
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if not str(entry.readlink()).startswith("socket:"):
                continue
        except FileNotFoundError:  # closed meanwhile
            continue
        copy = libc.syscall(first + _NUMBER, process, int(entry.name), 0)
        if copy < 0:
            number = ctypes.get_errno()
            if number == errno.EBADF:  # closed meanwhile
                continue
            raise OSError(number, os.strerror(number))
        with socket.socket(fileno=copy) as opened:
            yield opened


def main() -> None:
    pid, port, size = map(int, sys.argv[1:])
    found = False
    for one in _sockets(pid):
        if one.family not in (socket.AF_INET, socket.AF_INET6) or one.getsockname()[1] != port:
            continue
        if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
            found = True
    sys.exit(not found)


if __name__ == "__main__":
    main()
