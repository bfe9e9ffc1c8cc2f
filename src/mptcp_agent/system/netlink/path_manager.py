# SPDX-License-Identifier: GPL-2.0-or-later
"""Speaking to the kernel's MPTCP path manager: generic netlink, family ``mptcp_pm``.

``Glance`` is what it holds, in one look that costs next to nothing. The kernel sends no event
when a program adds or removes endpoints or sets the limits: the group ``mptcp_pm_events`` tells
of connections, subflows and what peers announce (include/uapi/linux/mptcp_pm.h, read in 6.18).
So both are dumped now and then, and compared as the bytes they are.
"""

from __future__ import annotations

import struct

from .conversation import Conversation
from .framing import attribute, attributes

_NETLINK_GENERIC = 16
#: linux/genetlink.h: the controller, its command and attributes
_CONTROLLER, _GET_FAMILY, _FAMILY_ID, _FAMILY_NAME = 16, 3, 1, 2
_COMMAND = struct.Struct("=BBH")  # command, version
_FAMILY = b"mptcp_pm\0"
#: linux/mptcp_pm.h: MPTCP_PM_CMD_*
ADD_ADDRESS, DELETE_ADDRESS, GET_ADDRESS, SET_LIMITS, GET_LIMITS = 1, 2, 3, 5, 6


class PathManagerSocket:
    """Commands and their answers, as attributes. Raises Refused, or OSError without MPTCP."""

    def __init__(self) -> None:
        self._conversation = Conversation(_NETLINK_GENERIC)
        self._family = 0

    def close(self) -> None:
        self._conversation.close()

    def request(self, command: int, body: bytes = b"") -> list[bytes]:
        payload = _COMMAND.pack(command, 1, 0) + body
        return [m[_COMMAND.size :] for m in self._conversation.request(self._id(), payload)]

    def dump(self, command: int) -> list[bytes]:
        found = self._conversation.dump(self._id(), _COMMAND.pack(command, 1, 0))
        return [m[_COMMAND.size :] for m in found]

    def _id(self) -> int:
        """Numbers of families are given out at boot."""
        if not self._family:
            wanted = _COMMAND.pack(_GET_FAMILY, 1, 0) + attribute(_FAMILY_NAME, _FAMILY)
            for message in self._conversation.request(_CONTROLLER, wanted):
                found = attributes(message[_COMMAND.size :])
                self._family = int(struct.unpack("=H", found[_FAMILY_ID])[0])
        return self._family


class Glance:
    """Of the network namespace in which the first look is."""

    def __init__(self) -> None:
        self._socket = PathManagerSocket()

    def close(self) -> None:
        self._socket.close()

    def look(self) -> bytes | None:
        """Endpoints and limits, comparable with another look and with nothing else; None where
        the kernel does not say."""
        try:
            return b"".join(self._socket.dump(GET_ADDRESS) + self._socket.request(GET_LIMITS))
        except OSError:
            return None
