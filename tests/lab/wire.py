# SPDX-License-Identifier: GPL-2.0-or-later
"""Cables between machines: rate, delay, queue, silence and counters per direction.

A shaped cable is one small program (wire.c) that carries frames between two interfaces of the
namespace `LAB-wire`; knobs and counters are a mapped file, so changing a rate or reading a counter
costs no system call and disturbs nothing. A cable without a rate is a kernel bridge.

Direction "up" goes from end a (the client router) to end b, "down" comes back.

Limits, measured on a virtual machine of two cores (the cost includes the receiver's share of TCP,
which runs where the frame is delivered): 22 % of a core for 100 Mbit/s of full frames with their
acknowledgements, 26 % with 100 Mbit/s both ways, so four such links keep one core busy; no loss of
its own up to 1 Gbit/s (50 to 75 %), 230,000 frames a second or 2.7 Gbit/s unshaped. While busy
it looks every 0.2 ms, so frames leave up to that much late: jitter of an idle link 0.1 ms (median),
2 to 4 ms (99th percentile, with the machine otherwise busy). It runs before everything else (FIFO).
"""

from __future__ import annotations

import mmap
import select
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from toolkit.command import LabError, tool

from lab.compiled import compiled
from lab.host import Host
from lab.lab import Lab

Direction = Literal["up", "down", "both"]

_KNOBS = struct.Struct("=4Q")
_COUNTERS = struct.Struct("=6Q")
_DIRECTION_SIZE = _KNOBS.size + _COUNTERS.size
"""`struct direction` of wire.c."""


@dataclass(frozen=True)
class Shape:
    """How a cable behaves. `rate` in Mbit/s (both ways unless `up` says otherwise), times in ms.

    `delay` is one way. `queue` is the longest time that a frame waits for the cable; 40 ms is what
    a home router's modem typically holds, and enough for one TCP stream to fill the link.
    """

    rate: float
    delay: float = 0
    up: float | None = None
    queue: float = 40

    def rate_of(self, direction: Literal["up", "down"]) -> float:
        return self.up if direction == "up" and self.up is not None else self.rate


@dataclass(frozen=True)
class Counters:
    """What one direction of a cable has seen since it was made (bytes as of Ethernet frames)."""

    offered: int
    frames: int
    bytes: int
    queue_drops: int
    blackhole_drops: int
    waiting: int


class Wire:
    """A shaped cable between `end_a` and `end_b`, each a machine and the name of its interface."""

    def __init__(
        self, lab: Lab, shelf: Host, end_a: tuple[Host, str], end_b: tuple[Host, str], shape: Shape
    ) -> None:
        self.shape = shape
        self.ends = {"a": end_a, "b": end_b}
        self._shelf = shelf
        number = len(list(lab.directory.glob("wire*")))
        self._ports = {"a": f"w{number}a", "b": f"w{number}b"}
        for end, (host, device) in self.ends.items():
            _plug(shelf, self._ports[end], host, device)
        path = lab.directory / f"wire{number}"
        path.write_bytes(bytes(2 * _DIRECTION_SIZE))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 2 * _DIRECTION_SIZE)
        self._silent = {"up": False, "down": False}
        self.set(shape)
        self._start(path, lab.logs / "wire.log")

    def _start(self, path: Path, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as errors:
            # The program ends when this pipe does, that is at the latest when we do.
            self._program = subprocess.Popen(
                [*self._shelf.enter(), str(compiled("wire")), str(path), *self._ports.values()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        assert self._program.stdout
        select.select([self._program.stdout], [], [], 5)
        if self._program.stdout.readline() != b"ready\n":
            raise LabError(f"the cable did not start: {log.read_text().strip()}")

    @property
    def pid(self) -> int:
        """The carrying program, for measuring what it costs."""
        return self._program.pid

    def port(self, end: Literal["a", "b"]) -> tuple[Host, str]:
        """The cable's own interface at an end; down, it takes that machine's carrier away."""
        return self._shelf, self._ports[end]

    def set(self, shape: Shape) -> None:
        """Change rate, delay and queue; frames already under way keep their time."""
        self.shape = shape
        for name in _ways("both"):
            self._write(name)

    def rate(self, rate: float, direction: Direction = "both") -> None:
        """Change the rate (Mbit/s) of one direction or both."""
        if direction == "both":
            self.set(replace(self.shape, rate=rate, up=None))
        elif direction == "down":
            self.set(replace(self.shape, rate=rate, up=self.shape.rate_of("up")))
        else:
            self.set(replace(self.shape, up=rate))

    def blackhole(self, on: bool, direction: Direction = "both") -> None:
        """Swallow everything, also what is under way. No interface notices."""
        for name in _ways(direction):
            self._silent[name] = on
            self._write(name)

    def carrier(self, up: bool, end: Literal["a", "b", "both"] = "a") -> None:
        """Take the carrier away from the machine at one end (as pulling its plug does), or both."""
        for name in ("a", "b") if end == "both" else (end,):
            self._shelf.ip("link", "set", self._ports[name], "up" if up else "down")

    def counters(self, direction: Literal["up", "down"]) -> Counters:
        """Return what `direction` has carried so far."""
        at = (direction == "down") * _DIRECTION_SIZE + _KNOBS.size
        return Counters(*_COUNTERS.unpack_from(self._map, at))

    def bytes(self) -> tuple[int, int]:
        """Return the bytes carried (up, down)."""
        return self.counters("up").bytes, self.counters("down").bytes

    def _write(self, direction: Literal["up", "down"]) -> None:
        shape = self.shape
        values = (
            int(shape.rate_of(direction) * 1e6),
            int(shape.delay * 1e6),
            int(shape.queue * 1e6),
            int(self._silent[direction]),
        )
        _KNOBS.pack_into(self._map, (direction == "down") * _DIRECTION_SIZE, *values)


class Cabling:
    """The namespace `LAB-wire` in which all cables of a lab lie."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._shelf = Host(lab, "wire")
        self._shelf.sysctl(net__ipv6__conf__default__disable_ipv6=1)
        self._bridges = 0

    def shaped(self, end_a: tuple[Host, str], end_b: tuple[Host, str], shape: Shape) -> Wire:
        """Lay a cable with the given shape."""
        return Wire(self._lab, self._shelf, end_a, end_b, shape)

    def switch(self, *ends: tuple[Host, str]) -> None:
        """Connect any number of machines to one unshaped switch."""
        self._bridges += 1
        bridge = f"br{self._bridges}"
        self._shelf.ip("link", "add", bridge, "type", "bridge")
        self._shelf.ip("link", "set", bridge, "up")
        for number, (host, device) in enumerate(ends):
            port = f"{bridge}p{number}"
            _plug(self._shelf, port, host, device, offload=True)
            self._shelf.ip("link", "set", port, "master", bridge)


def cable(end_a: tuple[Host, str], end_b: tuple[Host, str]) -> None:
    """Connect two machines directly, with nothing between."""
    _plug(*end_a, *end_b, offload=True)


def _plug(
    host_a: Host, device_a: str, host_b: Host, device_b: str, *, offload: bool = False
) -> None:
    """Make a veth pair. Without `offload`, frames are as long as on a cable, with checksums."""
    peer = ["peer", "name", device_b, "netns", host_b.netns]
    tool("ip", "link", "add", device_a, "netns", host_a.netns, "type", "veth", *peer)
    for host, device in ((host_a, device_a), (host_b, device_b)):
        if not offload:
            off = [word for name in ("tso", "gso", "gro", "tx") for word in (name, "off")]
            host.run("ethtool", "-K", device, *off)
        host.ip("link", "set", device, "up")


def _ways(direction: Direction) -> Iterator[Literal["up", "down"]]:
    if direction in ("up", "both"):
        yield "up"
    if direction in ("down", "both"):
        yield "down"
