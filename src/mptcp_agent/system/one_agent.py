# SPDX-License-Identifier: GPL-2.0-or-later
"""One agent at a time: the newer takes over.

procd can lose its agent without ending it: when ujail, in which it runs, is killed, the agent goes
on, and a second one is started (seen with the procd of OpenWrt 24.10 and 25.12). Both would act,
and ``service mptcp-proxy stop`` would end the second alone. The newer is the one procd knows, so it
takes over: the older ends as before a restart, with everything left in place.

Whoever runs holds a name among the abstract Unix sockets (unix(7)), which are the network
namespace's, as is all the agent changes. No file is left of it, no full /run is in its way, and
the kernel says which process it is.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct

from ..errors import AgentError

_NAME = "\0mptcp-agent"
_CREDENTIALS = struct.Struct("=iII")  # struct ucred of socket(7)

#: Seconds an agent has to end: longer than a look at a busy router; then it is killed, which a
#: next agent can cope with.
PATIENCE = 10.0


def hold() -> socket.socket | None:
    """The name, for as long as the socket is open; None where another process holds it."""
    name = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        name.bind(_NAME)
        name.listen()
    except OSError:
        name.close()
        return None
    return name


def holder() -> int | None:
    """The process that holds the name; None where nobody does. Raises AgentError where it cannot
    be an agent of this router, so that nobody else is ended."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(1)
        try:
            asking.connect(_NAME)
        except OSError:
            return None
        given = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(given)
    if uid != 0 or pid == 0:
        raise AgentError(
            f"another program holds the name of the running agent (process {pid}, user {uid}): end "
            "it, and start the agent again"
        )
    return int(pid)


def end(pid: int) -> None:
    """End the agent that holds the name, and wait until it has ended."""
    with contextlib.suppress(ProcessLookupError):
        process = os.pidfd_open(pid)
        try:
            for how in (signal.SIGTERM, signal.SIGKILL):
                if holder() != pid:  # ended meanwhile; its number may be somebody else's
                    return
                signal.pidfd_send_signal(process, how)
                if select.select([process], [], [], PATIENCE)[0]:
                    return
        finally:
            os.close(process)
    if holder() == pid:
        raise AgentError(f"another agent runs (process {pid}) and does not end: end it by hand")
