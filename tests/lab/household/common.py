# SPDX-License-Identifier: GPL-2.0-or-later
"""What both ends have: telling what came of things, a pace, and half of the call."""

from __future__ import annotations

import asyncio
import itertools
import json
import struct
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, cast

from lab.household import CALL_SIZE, HUNG_UP

_SENT = struct.Struct("!d")


class Teller:
    """Collects what came to an end, and tells it on standard output."""

    def __init__(self) -> None:
        self.found: defaultdict[str, list[list[Any]]] = defaultdict(list)
        self.counts: dict[str, int] = {}

    def add(self, kind: str, began: float, took: float | None, *more: str) -> None:
        self.found[kind].append([round(began, 4), None if took is None else round(took, 4), *more])

    def tell(self) -> None:
        line = {"now": time.monotonic(), "cpu": round(time.process_time(), 3), **self.counts}
        print(json.dumps({**line, **self.found}, separators=(",", ":")), flush=True)
        self.found.clear()


async def paced(every: float, work: Callable[[], object]) -> None:
    """Call it so often; what was missed is caught up with, so that the count is right."""
    began = time.monotonic()
    for number in itertools.count(1):
        work()
        await asyncio.sleep(max(0.0, began + number * every - time.monotonic()))


class Call(asyncio.DatagramProtocol):
    """One end of the call. Each packet carries the time at which it was sent."""

    def __init__(self, teller: Teller) -> None:
        self._teller = teller
        self._transport: asyncio.DatagramTransport | None = None
        self._other: tuple[Any, ...] | None = None
        self._heard = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._heard = time.monotonic()
        self._other = addr
        (sent,) = _SENT.unpack_from(data)
        self._teller.add("call", sent, self._heard - sent)

    def error_received(self, exc: Exception) -> None:
        """A link without a way: the packet is lost, the call goes on."""

    def say(self) -> None:
        """To whom it is connected, or who called last."""
        assert self._transport
        connected = self._transport.get_extra_info("peername") is not None
        if connected or (self._other and time.monotonic() - self._heard < HUNG_UP):
            packet = _SENT.pack(time.monotonic()).ljust(CALL_SIZE, b"\0")
            self._transport.sendto(packet, None if connected else self._other)
