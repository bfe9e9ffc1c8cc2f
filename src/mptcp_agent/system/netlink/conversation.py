# SPDX-License-Identifier: GPL-2.0-or-later
"""A conversation with the kernel: a request goes out, its answer comes back (netlink(7)).

Own code, because pyroute2's sockets cost a router more than any other library the agent loads
(0.9.7: 3 MB and 30 ms at the start; 0.9's are an event loop in a loop of ours), and its two
generations in use, 0.7 and 0.9, agree on nothing here. What is said, the messages of rtnetlink,
is pyroute2's (``library``).
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator

from .framing import HEADER, attributes, messages

#: linux/netlink.h: NLM_F_*
REQUEST, ACK, REPLACE, EXCLUSIVE, CREATE = 0x1, 0x4, 0x100, 0x200, 0x400
_DUMP, _DUMP_INTERRUPTED = 0x300, 0x10
_ERROR, _DONE = 2, 3
#: linux/netlink.h: SOL_NETLINK; CAP_ACK keeps the request out of an error's message (Linux 4.3),
#: EXT_ACK puts the kernel's words in (4.12), GET_STRICT_CHK lets it filter dumps (4.20).
_SOL_NETLINK, _CAP_ACK, _EXT_ACK, _GET_STRICT_CHK = 270, 10, 11, 12
#: nlmsgerr: code, and the header of the request; NLMSGERR_ATTR_MSG
_CODE = struct.Struct("=i")
_ERROR_SIZE = _CODE.size + HEADER.size
_WORDS = 1
_DUMP_ATTEMPTS = 5
#: struct timeval: 5 s, with the two sizes its fields have on 32 bit
_PATIENCE = struct.pack("@ll", 5, 0), struct.pack("@qq", 5, 0)


class Refused(OSError):
    """The kernel's answer is no. ``strerror`` is in its own words where it has some."""


class Conversation:
    """A netlink socket that is opened on first use, and anew after it broke.

    Of the network namespace in which that is, and used by one thread at a time. Every method
    blocks, and raises Refused, or OSError where there is no talking at all.
    """

    def __init__(self, protocol: int) -> None:
        self._protocol = protocol
        self._socket: socket.socket | None = None

    def close(self) -> None:
        """The next use opens a new socket."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def request(self, kind: int, body: bytes, flags: int = 0) -> list[bytes]:
        """One request; the payloads of what is said to it beside yes."""
        return list(self._ask(kind, REQUEST | ACK | flags, body, []))

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """The payloads of a whole dump, asked for again while changes interrupt it.

        A table that changes faster than it can be read gives what the last attempt saw: the
        change that interrupted it has already been reported as an event.
        """
        found: list[bytes] = []
        for _ in range(_DUMP_ATTEMPTS):
            interrupted: list[bool] = []
            found = list(self._ask(kind, REQUEST | _DUMP, body, interrupted))
            if not interrupted:
                break
        return found

    def some(self, kind: int, body: bytes) -> Iterator[bytes]:
        """A dump of which the caller takes as much as it likes: the rest is never sent."""
        return self._ask(kind, REQUEST | _DUMP, body, [])

    def _ask(self, kind: int, flags: int, body: bytes, interrupted: list[bool]) -> Iterator[bytes]:
        finished = False
        try:
            opened = self._open()
            opened.send(HEADER.pack(HEADER.size + len(body), kind, flags, 1, 0) + body)
            while not finished:
                for answer, marks, payload in messages(opened.recv(1 << 16)):
                    if marks & _DUMP_INTERRUPTED:
                        interrupted.append(True)
                    if answer in (_ERROR, _DONE):
                        finished = True
                        _complain(payload, words=answer == _ERROR)
                        break
                    yield payload
        finally:
            if not finished:  # broken, or the caller has had enough
                self.close()

    def _open(self) -> socket.socket:
        if self._socket is None:
            opened = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, self._protocol
            )
            # The kernel answers within the call; never hang on it. (Python's own time-out would
            # poll before each call.)
            for patience in _PATIENCE:
                with contextlib.suppress(OSError):
                    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
            for option in (_CAP_ACK, _EXT_ACK, _GET_STRICT_CHK):
                with contextlib.suppress(OSError):  # an older kernel
                    opened.setsockopt(_SOL_NETLINK, option, 1)
            self._socket = opened
        return self._socket


def _complain(payload: bytes, words: bool) -> None:
    code = -_CODE.unpack_from(payload)[0] if len(payload) >= _CODE.size else 0
    if code:
        said = attributes(payload[_ERROR_SIZE:]).get(_WORDS, b"") if words else b""
        raise Refused(code, said.rstrip(b"\0").decode(errors="replace") or os.strerror(code))
