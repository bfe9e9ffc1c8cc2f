# SPDX-License-Identifier: GPL-2.0-or-later
"""Endpoints and links of a network namespace, asked and changed within a fraction of a ms.

A socket stays in the namespace in which it was made, so this process can hold one in each.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from types import TracebackType

from lab.host import Host
from toolkit.sampling import SamplingThread

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_GENERIC = 16  # linux/netlink.h NETLINK_GENERIC
_REQUEST, _ACK, _DUMP, _CREATE, _EXCL = 0x1, 0x4, 0x300, 0x400, 0x200
_ERROR, _DONE = 2, 3
#: linux/rtnetlink.h
_NEWLINK, _NEWADDR, _DELADDR = 16, 20, 21
_IFF_UP = 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
#: linux/genetlink.h: the controller's number, its question for a family, names
_CONTROLLER, _GETFAMILY, _FAMILY_ID, _FAMILY_NAME = 16, 3, 1, 2
#: linux/mptcp_pm.h
_GET_ADDR, _PM_ADDR = 3, 1
_ADDR4, _ADDR6 = 3, 4


class _Netlink:
    def __init__(self, host: Host, protocol: int) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = host.namespace.call(socket.socket, socket.AF_NETLINK, kind, protocol)
        self._socket.settimeout(5)

    def close(self) -> None:
        self._socket.close()

    def ask(self, kind: int, flags: int, body: bytes) -> Iterator[bytes]:
        """Payloads of the answer; OSError where the kernel refuses."""
        size = _HEADER.size + len(body)
        self._socket.send(_HEADER.pack(size, kind, flags | _REQUEST, 1, 0) + body)
        while True:
            data, offset = self._socket.recv(1 << 16), 0
            while offset < len(data):
                length, answer, *_ = _HEADER.unpack_from(data, offset)
                payload = data[offset + _HEADER.size : offset + length]
                offset += (length + 3) & ~3
                if answer in (_ERROR, _DONE):
                    code = struct.unpack_from("=i", payload)[0]
                    if code:
                        raise OSError(-code, os.strerror(-code))
                    return
                yield payload


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        yield kind & 0x3FFF, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def _attribute(kind: int, value: bytes) -> bytes:
    padding = -len(value) % 4
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(padding)


class Endpoints(SamplingThread):
    """The MPTCP endpoints of a router, and a thread that notes when they change."""

    def __init__(self, host: Host, interval: float = 0.002) -> None:
        super().__init__(interval)
        self.changes: list[tuple[float, frozenset[str]]] = []
        """Every change seen by `with`: its time (monotonic) and the addresses from then on."""
        self._netlink = _Netlink(host, _GENERIC)
        self._lock = threading.Lock()
        self._seen: frozenset[str] | None = None
        body = struct.pack("=BBH", _GETFAMILY, 1, 0) + _attribute(_FAMILY_NAME, b"mptcp_pm\0")
        (answer, *_) = self._netlink.ask(_CONTROLLER, _ACK, body)
        numbers = dict(_attributes(answer[4:]))[_FAMILY_ID]
        self._family = struct.unpack("=H", numbers)[0]

    def now(self) -> frozenset[str]:
        found = set()
        with self._lock:
            body = struct.pack("=BBH", _GET_ADDR, 1, 0)
            for answer in self._netlink.ask(self._family, _DUMP, body):
                inner = dict(_attributes(dict(_attributes(answer[4:]))[_PM_ADDR]))
                for kind, version in ((_ADDR4, socket.AF_INET), (_ADDR6, socket.AF_INET6)):
                    if kind in inner:
                        found.add(socket.inet_ntop(version, inner[kind]))
        return frozenset(found)

    def wait(self, address: str, present: bool, timeout: float) -> float | None:
        """Wait until an endpoint is there, or gone; when that was, None: never."""
        deadline = time.monotonic() + timeout
        while (now := time.monotonic()) < deadline:
            if (address in self.now()) == present:
                return now
            time.sleep(self._interval / 4)
        return None

    def changed(self, address: str, present: bool, after: float) -> float | None:
        """When an endpoint came (or went), the first time after a moment; seconds from it."""
        for at, addresses in self.changes:
            if at > after and (address in addresses) == present:
                return at - after
        return None

    def sample(self) -> None:
        now = self.now()
        if now != self._seen:
            self.changes.append((time.monotonic(), now))
            self._seen = now

    def close(self) -> None:
        self._netlink.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        self.close()


class Links:
    """Addresses and state of a host's interfaces, changed without starting a process."""

    def __init__(self, host: Host) -> None:
        self._netlink = _Netlink(host, socket.NETLINK_ROUTE)
        self._index: dict[str, int] = {}
        for line in host.ip("-o", "link").splitlines():
            number, name, *_ = line.split(": ")
            self._index[name.partition("@")[0]] = int(number)

    def close(self) -> None:
        self._netlink.close()

    def address(self, device: str, address: str, prefix: int, present: bool) -> None:
        """Add or remove an IPv4 address."""
        head = struct.pack("=BBBBI", socket.AF_INET, prefix, 0, 0, self._index[device])
        packed = socket.inet_aton(address)
        body = head + _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed)
        flags = _ACK | (_CREATE | _EXCL if present else 0)
        self._do(_NEWADDR if present else _DELADDR, flags, body)

    def up(self, device: str, up: bool) -> None:
        """Switch an interface on or off; the other end of its cable sees the carrier change."""
        body = struct.pack("=BxHiII", 0, 0, self._index[device], _IFF_UP * up, _IFF_UP)
        self._do(_NEWLINK, _ACK, body)

    def _do(self, kind: int, flags: int, body: bytes) -> None:
        for _ in self._netlink.ask(kind, flags, body):
            pass
