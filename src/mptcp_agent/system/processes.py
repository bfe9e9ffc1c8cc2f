# SPDX-License-Identifier: GPL-2.0-or-later
"""The proxy processes from outside: do they live, do they listen?"""

from __future__ import annotations

import os
from pathlib import Path

_LISTEN = "0A"  # TCP_LISTEN of include/net/tcp_states.h


def watch(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends (pidfd_open(2)).

    None where it has ended already or the kernel (before 5.3) cannot tell. Close it yourself.
    """
    try:
        return os.pidfd_open(pid)
    except (OSError, AttributeError):
        return None


def listens(port: int) -> bool:
    """Whether a TCP socket of this network namespace listens on the port.

    Read from the kernel rather than tried: nobody may connect to the redirector directly.
    """
    wanted = f":{port:04X}"
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(name).read_text("ascii").splitlines()[1:]
        except OSError:
            continue  # no IPv6
        for line in lines:
            fields = line.split(maxsplit=4)
            if len(fields) > 3 and fields[3] == _LISTEN and fields[1].endswith(wanted):
                return True
    return False
