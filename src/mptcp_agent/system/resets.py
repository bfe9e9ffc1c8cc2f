# SPDX-License-Identifier: GPL-2.0-or-later
"""Ends TCP connections of this router that no process owns any more, by resets to both ends.

What ``ss -K`` does (``netlink.diag.destroy``), for kernels that cannot (most are built without
CONFIG_INET_DIAG_DESTROY). A reset counts only with exactly the sequence number that is expected
(RFC 5961 section 3.2), which the kernel tells nobody. It writes them into each acknowledgement,
so it is made to send one: a segment from outside the window, put before its own door in the
peer's name, is answered at once (RFC 9293 section 3.10.7.4). A packet socket sees the answer leave:

    from us      SEQ, ACK  ─> peer        the answer; harmless there
    to the peer  reset, SEQ               in our own name
    to ourselves reset, ACK               in the peer's name, by way of ``lo``

The kernel takes the last one for a packet from the device of the address (seen on 6.18), so
that a subflow that is bound to it hears it too. While data arrives the number may be too old by
the time it is used, and nothing happens: whoever wants to be sure looks again and repeats it.
"""

from __future__ import annotations

import array
import contextlib
import socket
import struct
import time
from collections.abc import Iterator, Sequence

from ..core.sockets import TcpSocket
from ..errors import KernelError

#: linux/if_ether.h, linux/if_packet.h
_ETH_P_ALL, _OUTGOING = 0x0003, 4
_ETHERTYPES: dict[int, int] = {socket.AF_INET: 0x0800, socket.AF_INET6: 0x86DD}
#: Where the IP header has the protocol, by family, and where the TCP header begins in IPv6; in
#: IPv4 the header says it.
_PROTOCOL_AT: dict[int, int] = {socket.AF_INET: 9, socket.AF_INET6: 6}
_IPV6_HEADER = 40
#: Ports, sequence, acknowledgement, offset of the data in 32 bits << 4, flags, window, checksum,
#: urgent pointer (RFC 9293 section 3.1)
_TCP = struct.Struct("!HHIIBBHHH")
_FIN, _SYN, _RST, _ACK = 0x01, 0x02, 0x04, 0x10
#: A sequence number: one in a thousand connections may have it in its window, where a byte that
#: nobody will read does no harm, and is acknowledged as well.
_ANY = 0

#: linux/filter.h struct sock_filter: code, jumps, number; and the codes (linux/bpf_common.h)
_STEP = struct.Struct("=HBBI")
_LOAD_HALF, _LOAD_BYTE = 0x28, 0x30
_X_FROM_IPV4_LENGTH, _X_FROM_NUMBER, _LOAD_AT_X, _EQUAL, _RETURN = 0xB1, 0x01, 0x40, 0x15, 0x06
#: linux/filter.h: what is not in the packet
_ANCILLARY = 0xFFFFF000
_AD_PROTOCOL, _AD_PACKET_TYPE = _ANCILLARY, _ANCILLARY + 4
_SO_ATTACH_FILTER = 26

#: The filter jumps over each port pair, by a byte.
AT_ONCE = 100
#: Seconds in which the kernel has answered its own door; it takes microseconds.
PATIENCE = 0.05
#: Bytes of a packet that hold both headers.
_HEADERS = 60 + 20

Ends = tuple[str, int, str, int]


def reset(found: Sequence[TcpSocket]) -> int:
    """Send resets to both ends of these; how many could be sent. Blocks for ``PATIENCE`` seconds
    at most for every ``AT_ONCE``. Raises KernelError where raw sockets are not allowed."""
    sent = 0
    try:
        for version in (socket.AF_INET, socket.AF_INET6):
            ends = [_ends(s) for s in found if (":" in s.local) == (version == socket.AF_INET6)]
            for first in range(0, len(ends), AT_ONCE):
                sent += _reset(version, ends[first : first + AT_ONCE])
    except OSError as error:
        raise KernelError(f"sending TCP resets: {error.strerror or error}") from error
    return sent


def _reset(version: int, wanted: Sequence[Ends]) -> int:
    with contextlib.ExitStack() as stack:
        # Of all devices. What it sees before the filter is in place is no answer to anything.
        watch = stack.enter_context(
            socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
        )
        code = array.array("B", b"".join(_STEP.pack(*s) for s in _filter(version, wanted)))
        address, length = code.buffer_info()
        program = struct.pack("@HP", length // _STEP.size, address)  # struct sock_fprog
        watch.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
        own = stack.enter_context(_raw(version))
        for ends in wanted:
            _send(own, segment(_from_peer(ends), _ACK, _ANY, data=b"\0"), ends[0])
        missing, deadline = set(wanted), time.monotonic() + PATIENCE
        while missing and (left := deadline - time.monotonic()) > 0:
            watch.settimeout(left)
            try:
                answer = _answer(version, watch.recv(_HEADERS))
            except TimeoutError:
                break
            if answer is None or answer[0] not in missing:
                continue
            ends, sequence, acknowledged = answer
            missing.discard(ends)
            _send(own, segment(_from_peer(ends), _RST, acknowledged), ends[0])
            with _raw(version) as there:
                there.bind((ends[0], 0))  # its way is that of its source address
                _send(there, segment(ends, _RST, sequence), ends[2])
        return len(wanted) - len(missing)


def _raw(version: int) -> socket.socket:
    """Sends packets with headers of the sender's making (raw(7))."""
    return socket.socket(version, socket.SOCK_RAW, socket.IPPROTO_RAW)


def _send(raw: socket.socket, packet: bytes, to: str) -> None:
    with contextlib.suppress(OSError):  # no route, or the address has gone: and so has the socket
        raw.sendto(packet, (to, 0))


def _ends(sock: TcpSocket) -> Ends:
    return sock.local, sock.local_port, sock.remote, sock.remote_port


def _from_peer(ends: Ends) -> Ends:
    local, local_port, remote, remote_port = ends
    return remote, remote_port, local, local_port


# --- Packets --------------------------------------------------------------------------------


def segment(
    ends: Ends, flags: int, sequence: int, acknowledged: int = 0, data: bytes = b""
) -> bytes:
    """An IP packet with a TCP segment, from the first address and port to the second."""
    source, source_port, target, target_port = ends
    version = socket.AF_INET6 if ":" in source else socket.AF_INET
    addresses = socket.inet_pton(version, source) + socket.inet_pton(version, target)
    fields = source_port, target_port, sequence, acknowledged, _TCP.size // 4 << 4, flags, 0
    length = _TCP.size + len(data)
    pseudo = addresses + struct.pack("!II", length, socket.IPPROTO_TCP)
    check = _checksum(pseudo + _TCP.pack(*fields, 0, 0) + data)
    if version == socket.AF_INET:
        # The kernel fills in what is 0 here: the identification and the checksum (raw(7)).
        fixed = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0x4000, 64, socket.IPPROTO_TCP, 0)
    else:
        fixed = struct.pack("!IHBB", 6 << 28, length, socket.IPPROTO_TCP, 64)
    return fixed + addresses + _TCP.pack(*fields, check, 0) + data


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    padded = data + b"\0" * (len(data) % 2)
    words: tuple[int, ...] = struct.unpack(f"!{len(padded) // 2}H", padded)
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _filter(version: int, wanted: Sequence[Ends]) -> Iterator[tuple[int, int, int, int]]:
    """The program that lets through what leaves this router with these ports."""
    conditions = (
        (_LOAD_BYTE, _AD_PACKET_TYPE, _OUTGOING),
        (_LOAD_HALF, _AD_PROTOCOL, _ETHERTYPES[version]),
        (_LOAD_BYTE, _PROTOCOL_AT[version], socket.IPPROTO_TCP),
    )
    pairs = [local_port << 16 | remote_port for _, local_port, _, remote_port in wanted]
    for number, (load, at, value) in enumerate(conditions):
        yield load, 0, 0, at
        # Else to the first of the two ends.
        yield _EQUAL, 0, 2 * (len(conditions) - number - 1) + 2 + len(pairs), value
    if version == socket.AF_INET:
        yield _X_FROM_IPV4_LENGTH, 0, 0, 0
    else:
        yield _X_FROM_NUMBER, 0, 0, _IPV6_HEADER
    yield _LOAD_AT_X, 0, 0, 0
    for number, pair in enumerate(pairs):
        yield _EQUAL, len(pairs) - number, 0, pair  # to the second
    yield _RETURN, 0, 0, 0
    yield _RETURN, 0, 0, 0xFFFF


def _answer(version: int, packet: bytes) -> tuple[Ends, int, int] | None:
    """Ends, sequence and acknowledgement number of a packet; None for one that is not an
    acknowledgement alone: of what is sent again the number is an old one."""
    ipv6 = version == socket.AF_INET6
    start = _IPV6_HEADER if ipv6 else (packet[0] & 0xF) * 4
    if len(packet) < start + _TCP.size:
        return None
    local_port, remote_port, sequence, acknowledged, offset, flags, *_ = _TCP.unpack_from(
        packet, start
    )
    (total,) = struct.unpack_from("!H", packet, 4 if ipv6 else 2)
    length = total + (_IPV6_HEADER if ipv6 else 0)
    if flags & (_ACK | _SYN | _FIN | _RST) != _ACK or length != start + (offset >> 4) * 4:
        return None
    at, size = (8, 16) if ipv6 else (12, 4)
    local, remote = (socket.inet_ntop(version, packet[i : i + size]) for i in (at, at + size))
    return (local, local_port, remote, remote_port), sequence, acknowledged
