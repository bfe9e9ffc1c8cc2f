# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's main routing table, as little of it as is asked for.

Hand-written, because a router in a mesh or with a routing daemon has thousands of routes that
come and go: the kernel walks them in a millisecond and sends only what is wanted (strict
checking, Linux 4.20), and nothing here is unpacked that is not (pyroute2: 40 µs a route).
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Collection, Iterator

from ...core.network import MainRoute
from ...core.state import Family
from ...errors import KernelError
from .conversation import Conversation
from .framing import Devices, attribute, attributes, device
from .route_messages import INET, ROUTE_HEADER

#: Somewhere in the Internet, in both halves of it: OpenVPN leaves the default alone and puts two
#: halves of one before it.
_SOMEWHERE: dict[Family, tuple[str, ...]] = {
    4: ("11.0.0.1", "192.0.2.1"),
    6: ("2000::1", "3ffe::1"),
}
#: linux/rtnetlink.h: RTM_GETROUTE, RT_TABLE_MAIN
_GET_ROUTE, _MAIN = 26, 254
_INDEX = struct.Struct("=I")
_NEXT_HOP = struct.Struct("=HBBi")  # rtnexthop: length, flags, hops, device
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_MULTIPATH = 1, 4, 5, 9
#: RTN_UNICAST; RTN_BLACKHOLE, _UNREACHABLE, _PROHIBIT
_UNICAST, _REFUSING = 1, (6, 7, 8)
#: What the kernel answers where there is no route, or one that refuses.
_NO_WAY = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL, errno.ENODEV}
#: … and where it has no IPv6
_NO_WAY |= {errno.EAFNOSUPPORT, errno.EOPNOTSUPP}


def main_routes(devices: Collection[str] | None, limit: int) -> tuple[MainRoute, ...]:
    """Routes of main over ``devices`` (None: over any), and those that refuse; sorted.

    At most ``limit`` of each family, whichever come first. A route with several next hops is
    several. Raises KernelError.
    """
    found: set[MainRoute] = set()
    names = Devices()
    with contextlib.closing(Conversation(socket.NETLINK_ROUTE)) as kernel:
        for version in (socket.AF_INET, socket.AF_INET6):
            of_family: set[MainRoute] = set()
            for kind, index in _questions(devices):
                try:
                    for route in _routes(kernel, version, kind, index, names):
                        of_family.add(route)
                        if len(of_family) >= limit:
                            break
                except OSError as error:
                    if error.errno not in (errno.ENODEV, errno.ENOENT):  # a device that just went
                        raise KernelError(f"reading the main table: {error.strerror}") from error
            found |= of_family
    return tuple(sorted(found, key=lambda r: (r.destination, r.device or "", r.gateway or "")))


def ways_out() -> tuple[tuple[Family, str], ...]:
    """Devices over which the router's own packets go to the Internet now, whatever table says so.
    Raises KernelError."""
    found: set[tuple[Family, str]] = set()
    with contextlib.closing(Conversation(socket.NETLINK_ROUTE)) as kernel:
        for family, addresses in _SOMEWHERE.items():
            for address in addresses:
                if over := _way(kernel, INET[family], address):
                    found.add((family, over))
    return tuple(sorted(found))


def _way(kernel: Conversation, version: int, address: str) -> str | None:
    """The device over which packets to the address leave."""
    packed = socket.inet_pton(version, address)
    body = ROUTE_HEADER.pack(version, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0)
    try:
        for message in kernel.request(_GET_ROUTE, body + attribute(_RTA_DST, packed)):
            given = attributes(message[ROUTE_HEADER.size :])
            if ROUTE_HEADER.unpack_from(message)[7] == _UNICAST and _RTA_OIF in given:
                return device(_INDEX.unpack(given[_RTA_OIF])[0])
    except OSError as error:
        if error.errno not in _NO_WAY:
            raise KernelError(f"asking for a route: {error.strerror}") from error
    return None


def _questions(devices: Collection[str] | None) -> Iterator[tuple[int, int]]:
    """Type of route and device of each dump; 0 for any device."""
    if devices is None:
        yield _UNICAST, 0
    for name in devices or ():
        with contextlib.suppress(OSError):
            yield _UNICAST, socket.if_nametoindex(name)
    yield from ((kind, 0) for kind in _REFUSING)


def _routes(
    kernel: Conversation, version: int, kind: int, index: int, names: Devices
) -> Iterator[MainRoute]:
    body = ROUTE_HEADER.pack(version, 0, 0, 0, _MAIN, 0, 0, kind, 0)
    if index:
        body += attribute(_RTA_OIF, _INDEX.pack(index))
    for message in kernel.some(_GET_ROUTE, body):
        family, length, _, _, table, _, _, seen, _ = ROUTE_HEADER.unpack_from(message)
        if family != version or table != _MAIN or seen != kind:
            continue  # a kernel that does not filter
        given = attributes(message[ROUTE_HEADER.size :])
        packed = given.get(_RTA_DST, b"\0" * (16 if version == socket.AF_INET6 else 4))
        destination = f"{socket.inet_ntop(version, packed)}/{length}"
        if kind in _REFUSING:
            yield MainRoute(destination, refuses=True)
            continue
        for hop_index, gateway in _hops(given):
            if index in (0, hop_index):
                yield MainRoute(
                    destination,
                    names[hop_index],
                    socket.inet_ntop(version, gateway) if gateway else None,
                )


def _hops(given: dict[int, bytes]) -> Iterator[tuple[int, bytes | None]]:
    """Device and gateway of each next hop."""
    if _RTA_OIF in given:
        yield _INDEX.unpack(given[_RTA_OIF])[0], given.get(_RTA_GATEWAY)
    rest = given.get(_RTA_MULTIPATH, b"")
    while len(rest) >= _NEXT_HOP.size:
        length, _, _, index = _NEXT_HOP.unpack_from(rest)
        if length < _NEXT_HOP.size:
            return
        yield index, attributes(rest[_NEXT_HOP.size : length]).get(_RTA_GATEWAY)
        rest = rest[(length + 3) & ~3 :]  # RTNH_ALIGN
