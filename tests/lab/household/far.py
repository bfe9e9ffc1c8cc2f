# SPDX-License-Identifier: GPL-2.0-or-later
"""The far end: it serves."""

from __future__ import annotations

import argparse
import asyncio
import struct
from typing import Any, cast

from lab.household import (
    ANSWER,
    CALL_EVERY,
    CALL_PORT,
    DNS_PORT,
    EVERY,
    MOST,
    OPEN_PATIENCE,
    REQUEST,
    TCP_PORT,
)
from lab.household.common import Call, Teller, paced


class Server(asyncio.Protocol):
    """Gives the answer to a request and closes; a message it sends back."""

    connections = 0

    def __init__(self) -> None:
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        Server.connections += 1
        if Server.connections > MOST:
            self._transport.abort()
        self._wait()

    def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._idle = loop.call_later(EVERY + OPEN_PATIENCE + 5, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._data.endswith(b"\n"):
            return
        asked, self._data = self._data, b""
        if asked == REQUEST:
            self._transport.write(ANSWER)
            self._transport.close()
        else:
            self._idle.cancel()
            self._wait()
            self._transport.write(asked)

    def connection_lost(self, exc: Exception | None) -> None:
        self._idle.cancel()
        Server.connections -= 1


class Names(asyncio.DatagramProtocol):
    """Answers every query with the same A record (RFC 1035, section 4)."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        if len(data) <= 12:
            return
        # An answer, recursion available; one question, one answer; the name as in the question.
        head = data[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0)
        record = struct.pack("!HHHIH4s", 0xC00C, 1, 1, 60, 4, bytes((192, 0, 2, 1)))
        self._transport.sendto(head + data[12:] + record, addr)


async def far(teller: Teller, _: argparse.Namespace) -> list[asyncio.Task[None]]:
    loop = asyncio.get_running_loop()
    call = Call(teller)
    await loop.create_server(Server, None, TCP_PORT, backlog=512)
    # asyncio's datagram sockets for :: take IPv4 as well.
    await loop.create_datagram_endpoint(Names, ("::", DNS_PORT))
    await loop.create_datagram_endpoint(lambda: call, ("::", CALL_PORT))
    return [asyncio.create_task(paced(CALL_EVERY, call.say))]
