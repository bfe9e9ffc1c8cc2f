# SPDX-License-Identifier: GPL-2.0-or-later
"""How netlink frames what it says: messages in a datagram, attributes in a message (netlink(7)).

Also what each of them counts by number: the kernel's devices.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator

#: linux/netlink.h nlmsghdr: length with header, type, flags, sequence, port
HEADER = struct.Struct("=IHHII")
#: linux/netlink.h nlattr: length with header, type
_ATTRIBUTE = struct.Struct("=HH")
_NESTED_BITS = 0xC000


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, flags and payload of each message. Raises OSError (EBADMSG) at a length that cannot
    be."""
    offset = 0
    while offset < len(data):
        rest = len(data) - offset
        known = HEADER.unpack_from(data, offset) if rest >= HEADER.size else (0, 0, 0)
        length, kind, flags = known[:3]
        if not HEADER.size <= length <= rest:
            raise OSError(errno.EBADMSG, os.strerror(errno.EBADMSG))
        yield kind, flags, data[offset + HEADER.size : offset + length]
        offset += _aligned(length)


def attributes(data: bytes) -> dict[int, bytes]:
    """A chain of attributes by type; what is cut off at the end is left out."""
    found: dict[int, bytes] = {}
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size or offset + length > len(data):
            break
        found[kind & ~_NESTED_BITS] = data[offset + _ATTRIBUTE.size : offset + length]
        offset += _aligned(length)
    return found


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded for the next."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(_aligned(length) - length)


def _aligned(length: int) -> int:
    return (length + 3) & ~3  # NLMSG_ALIGN, NLA_ALIGN


def device(index: int) -> str:
    """The name of a device; "" for index 0, which is none, and ``if3`` where it is gone by now."""
    if not index:
        return ""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return f"if{index}"


class Devices(dict[int, str]):
    """``device`` for one dump: each index is asked for once."""

    def __missing__(self, index: int) -> str:
        self[index] = device(index)
        return self[index]
