# SPDX-License-Identifier: GPL-2.0-or-later
"""What the path manager holds, in one look that costs next to nothing.

The kernel sends no event when a program adds or removes endpoints or sets the limits: the group
``mptcp_pm_events`` tells of connections, subflows and what peers announce (include/uapi/linux/
mptcp_pm.h, read in 6.18). So both are dumped now and then, and compared as the bytes they are.
"""

from __future__ import annotations

import socket
import struct

from .framing import HEADER, attributes, messages

_NETLINK_GENERIC = 16
#: linux/netlink.h
_REQUEST, _DUMP = 0x1, 0x300
_ERROR, _DONE = 2, 3
#: linux/genetlink.h: the controller, its command and attributes
_CONTROLLER, _GET_FAMILY, _FAMILY_ID, _FAMILY_NAME = 16, 3, 1, 2
_COMMAND = struct.Struct("=BBH")  # command, version
#: linux/mptcp_pm.h
_FAMILY = b"mptcp_pm\0"
_GET_ADDR, _GET_LIMITS = 3, 6


class Glance:
    """Of the network namespace it is made in. Each ``look`` is seven system calls."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._family = 0

    def close(self) -> None:
        if self._socket:
            self._socket.close()
        self._socket = None

    def look(self) -> bytes | None:
        """Endpoints and limits, comparable with another look and with nothing else; None where
        the kernel does not say."""
        try:
            if self._socket is None:
                self._open()
            endpoints = self._ask(self._family, _GET_ADDR, _REQUEST | _DUMP)
            return endpoints + self._ask(self._family, _GET_LIMITS, _REQUEST)
        except OSError:
            self.close()
            return None

    def _open(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_GENERIC
        )
        self._socket.settimeout(1)  # the kernel answers within the call; never hang on it
        name = struct.pack("=HH", 4 + len(_FAMILY), _FAMILY_NAME) + _FAMILY
        name += b"\0" * (-len(name) % 4)
        reply = attributes(self._ask(_CONTROLLER, _GET_FAMILY, _REQUEST, name)[_COMMAND.size :])
        self._family = int(struct.unpack("=H", reply[_FAMILY_ID])[0])

    def _ask(self, family: int, command: int, flags: int, body: bytes = b"") -> bytes:
        """The payloads of the answer, one after the other."""
        assert self._socket
        payload = _COMMAND.pack(command, 1, 0) + body
        self._socket.send(HEADER.pack(HEADER.size + len(payload), family, flags, 0, 0) + payload)
        found = b""
        while True:
            for kind, content in messages(self._socket.recv(1 << 16)):
                if kind == _DONE:
                    return found
                if kind == _ERROR:
                    raise OSError(-struct.unpack_from("=i", content)[0], "netlink")
                found += content
            if flags == _REQUEST:
                return found
