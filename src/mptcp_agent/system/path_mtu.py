# SPDX-License-Identifier: GPL-2.0-or-later
"""How large a packet a path carries, also where nobody says so.

A router with a narrower link behind it has to say that a packet was too large (ICMP, RFC 1191, RFC
8201). Where that is filtered, TCP loses every full packet for ever: its handshake passes, its data
does not. Here the other end of an open connection is asked, whatever program it is:

    a segment of old data   its number lies before everything that was sent: the kernel there
    (padded to the size)    drops it and acknowledges at once (RFC 9293, 3.10.7.4), as it does
                            with keep-alives; no program sees a byte of it

Whether it was acknowledged is read from the connection's counter of segments received. Answers are
small, so what is found out is the way there; the way back is taken to be as narrow, since what is
narrow is a link (but see ``SLACK``).
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
from collections.abc import Awaitable, Callable

#: linux/tcp.h: a socket in repair tells its numbers. Needs CAP_NET_ADMIN; -1 ends it silently,
#: where 0 would send a packet.
_REPAIR, _REPAIR_QUEUE, _QUEUE_SEQ = 19, 20, 21
_ON, _OFF = 1, -1
_RECEIVED, _SENT = 1, 2
#: Offsets in struct tcp_info: the smoothed round trip (µs), segments received (Linux 4.2).
_RTT, _SEGMENTS_IN = 68, 140
#: linux/in.h, linux/in6.h: never fragment, and do not believe what the kernel remembers.
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PROBE = 10, 23, 3
_SIOCGIFMTU = 0x8921

#: Bytes: what every path has to carry (RFC 8200; for IPv4 what every host has to accept, RFC 791).
LEAST = {4: 576, 6: 1280}
#: Bytes by which less may pass on the way back: a device takes in frames that are longer than its
#: MTU by a VLAN's tag (is_skb_forwardable of net/core/dev.c), and sends none.
SLACK = 4
#: A packet without an answer so often in a row was too large; one that was lost is sent again.
TRIES = 3
#: Seconds until the next try, besides three round trips; and the longest.
PATIENCE, LONGEST = 0.1, 1.0
#: Seconds between two looks at the counter.
LOOK = 0.02

_HEADERS = {4: 40, 6: 60}
_ACK = 0x10

Passes = Callable[[int], Awaitable[bool]]


async def path_mtu(device: str, connection: socket.socket) -> int | None:
    """Bytes of the largest IP packet that a TCP connection's path is sure to carry both ways; 0
    where it carries what the device does. None where that cannot be found out: nobody
    acknowledges, or this kernel refuses. Takes a round trip, or seconds where it is smaller."""
    try:
        most = _device_mtu(device)
        with _Probe(device, connection) as probe:
            least, headers = LEAST[probe.family], _HEADERS[probe.family]
            found = await largest(probe.passes, least, most, headers)
    except OSError:
        return None
    if found is None:
        return None
    return 0 if found == most else max(found - SLACK, least)


async def largest(passes: Passes, least: int, most: int, smallest: int) -> int | None:
    """The most bytes that pass, from ``least`` to ``most``: mostly found out with the first
    packet. ``smallest`` is what has to pass in any case, or nothing is learnt."""
    if await passes(most):
        return most
    if not await passes(smallest + 1) or not await passes(least):
        return None
    while most - least > 1:
        middle = (least + most) // 2
        if await passes(middle):
            least = middle
        else:
            most = middle
    return least


class _Probe:
    """Sends segments of old data on behalf of a connection."""

    def __init__(self, device: str, connection: socket.socket) -> None:
        self._connection = connection
        self._own, self._remote = connection.getsockname(), connection.getpeername()
        self.family = 6 if connection.family == socket.AF_INET6 else 4
        self._sent, self._received = _numbers(connection)
        # IPPROTO_RAW: headers are given, and nothing is received.
        self._raw = socket.socket(connection.family, socket.SOCK_RAW, socket.IPPROTO_RAW)
        try:
            self._raw.setblocking(False)
            self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
            if self.family == 6:
                self._raw.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PROBE)
            else:
                self._raw.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PROBE)
            self._raw.bind((self._own[0], 0))
        except OSError:
            self._raw.close()
            raise

    def __enter__(self) -> _Probe:
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    async def passes(self, size: int) -> bool:
        """Whether a packet of so many bytes is acknowledged. OSError where it cannot be sent."""
        packet = self._packet(size)
        before = _info(self._connection, _SEGMENTS_IN)
        wait = min(3 * _info(self._connection, _RTT) / 1e6 + PATIENCE, LONGEST)
        for _ in range(TRIES):
            self._raw.sendto(packet, (self._remote[0], 0))
            left = wait
            while left > 0:
                await asyncio.sleep(LOOK)
                left -= LOOK
                if _info(self._connection, _SEGMENTS_IN) != before:
                    return True
        return False

    def _packet(self, size: int) -> bytes:
        own, remote = (socket.inet_pton(self._raw.family, e[0]) for e in (self._own, self._remote))
        data = bytes(size - _HEADERS[self.family])
        first = (self._sent - len(data)) & 0xFFFFFFFF
        tcp = struct.pack(
            "!HHIIBBHHH", self._own[1], self._remote[1], first, self._received, 5 << 4, _ACK,
            0xFFFF, 0, 0
        )  # fmt: skip
        pseudo = own + remote + struct.pack("!II", len(tcp) + len(data), socket.IPPROTO_TCP)
        checksum = _checksum(pseudo + tcp + data)
        tcp = tcp[:16] + struct.pack("!H", checksum) + tcp[18:]
        if self.family == 6:
            header = struct.pack("!IHBB", 6 << 28, len(tcp) + len(data), socket.IPPROTO_TCP, 64)
        else:
            # Don't fragment; the kernel fills in the checksum (raw(7)).
            header = struct.pack("!BBHHHBBH", 0x45, 0, size, 0, 0x4000, 64, socket.IPPROTO_TCP, 0)
        return header + own + remote + tcp + data


def _numbers(connection: socket.socket) -> tuple[int, int]:
    """The next number to be sent, and the next one awaited."""
    connection.setsockopt(socket.IPPROTO_TCP, _REPAIR, _ON)
    try:
        found = []
        for queue in (_SENT, _RECEIVED):
            connection.setsockopt(socket.IPPROTO_TCP, _REPAIR_QUEUE, queue)
            value = connection.getsockopt(socket.IPPROTO_TCP, _QUEUE_SEQ)
            found.append(value & 0xFFFFFFFF)
    finally:
        connection.setsockopt(socket.IPPROTO_TCP, _REPAIR, _OFF)
    return found[0], found[1]


def _info(connection: socket.socket, offset: int) -> int:
    """A number of struct tcp_info. OSError where the kernel's is shorter."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, offset + 4)
    if len(info) < offset + 4:
        raise OSError("struct tcp_info is too short")
    return int(struct.unpack_from("=I", info, offset)[0])


def _device_mtu(device: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        answer = fcntl.ioctl(asking, _SIOCGIFMTU, struct.pack("16si12x", device.encode(), 0))
    mtu: int = struct.unpack_from("16si", answer)[1]
    return mtu


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
