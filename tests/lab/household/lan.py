# SPDX-License-Identifier: GPL-2.0-or-later
"""The LAN's end: it asks, calls and keeps connections open."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import random
import struct
import time
from collections.abc import Coroutine
from typing import Any, cast

from lab.household import (
    ANSWER,
    CALL_EVERY,
    CALL_PORT,
    DNS_PORT,
    EVERY,
    IN_FLIGHT,
    MESSAGE,
    OPEN_PATIENCE,
    PATIENCE,
    RAMP,
    REQUEST,
    SILENT,
    TCP_PORT,
)
from lab.household.common import Call, Teller, paced


class Asking(asyncio.Protocol):
    """Waits for an answer of known length."""

    def __init__(self) -> None:
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._came = b""
        self._wanted = 0
        self._answer: asyncio.Future[bytes] | None = None
        self._asked = 0.0

    @property
    def waits(self) -> float:
        """For how long (seconds) nobody has answered."""
        return time.monotonic() - self._asked if self._asked else 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    async def ask(self, text: bytes, length: int) -> bytes:
        """Raises OSError; without an answer it waits for ever."""
        if self.gone.done():
            raise ConnectionError("closed")
        self._came, self._wanted = b"", length
        self._answer = asyncio.get_running_loop().create_future()
        self._asked = time.monotonic()
        self.transport.write(text)
        answer = await self._answer
        self._asked = 0.0
        return answer

    def data_received(self, data: bytes) -> None:
        self._came += data
        if self._answer and not self._answer.done() and len(self._came) >= self._wanted:
            self._answer.set_result(self._came)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError(f"closed after {len(self._came)}"))
        self.gone.set_result(None)


async def connect(target: str) -> Asking:
    _, asking = await asyncio.get_running_loop().create_connection(Asking, target, TCP_PORT)
    return asking


def named(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    return f"{type(error).__name__}: {error}".removesuffix(": ")


class Home:
    """A LAN's connections, to one target after the other."""

    def __init__(self, teller: Teller, options: argparse.Namespace) -> None:
        self._teller, self._options = teller, options
        self._targets = itertools.cycle(options.target)
        self._tasks: set[asyncio.Task[None]] = set()
        self._phase = random.Random(0)
        self._shorts = 0
        teller.counts["open"] = 0

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def fill(self) -> None:
        """Open what stays open, one after the other."""
        for _ in range(self._options.open):
            self.start(self._keep_open(next(self._targets)))
            await asyncio.sleep(RAMP)

    async def _keep_open(self, target: str) -> None:
        while True:
            began, asking, opened = time.monotonic(), None, False
            try:
                async with asyncio.timeout(OPEN_PATIENCE):
                    asking = await connect(target)
                    await asking.ask(MESSAGE, len(MESSAGE))
                opened = True
                self._teller.counts["open"] += 1
                await self._talk(asking)
            except OSError as error:
                if opened:
                    self._teller.counts["open"] -= 1
                    self._lost(began, named(error))
            except asyncio.CancelledError:
                if asking and opened and asking.waits > SILENT:
                    self._lost(began, f"silent for {asking.waits:.0f} s")
                raise
            finally:
                if asking:
                    asking.transport.abort()
            await asyncio.sleep(1)

    def _lost(self, began: float, error: str) -> None:
        self._teller.add("lost", began, time.monotonic() - began, error)

    async def _talk(self, asking: Asking) -> None:
        """Until it breaks, with an OSError."""
        pause = self._phase.uniform(0, EVERY)
        while True:
            await asyncio.wait({asking.gone}, timeout=pause)
            async with asyncio.timeout(OPEN_PATIENCE):
                await asking.ask(MESSAGE, len(MESSAGE))
            pause = EVERY

    def short(self) -> None:
        if self._shorts < IN_FLIGHT:
            self.start(self._short(next(self._targets)))
        else:
            self._teller.add("short", time.monotonic(), None, "too many at a time")

    async def _short(self, target: str) -> None:
        began, asking, error = time.monotonic(), None, ""
        self._shorts += 1
        try:
            async with asyncio.timeout(PATIENCE):
                asking = await connect(target)
                if await asking.ask(REQUEST, len(ANSWER)) != ANSWER:
                    error = "wrong bytes"
        except OSError as problem:
            error = named(problem)
        finally:
            self._shorts -= 1
            if asking:
                asking.transport.close()
        self._teller.add("short", began, None if error else time.monotonic() - began, error)

    def query(self) -> None:
        self.start(self._query(self._options.target[0]))

    async def _query(self, target: str) -> None:
        """Each from a port of its own, as resolvers do."""
        began, took = time.monotonic(), None
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            transport, name = await loop.create_datagram_endpoint(
                Name, remote_addr=(target, DNS_PORT)
            )
            try:
                async with asyncio.timeout(PATIENCE):
                    await name.answered
                took = time.monotonic() - began
            finally:
                transport.close()
        self._teller.add("dns", began, took)


class Name(asyncio.DatagramProtocol):
    """Asks for the address of a name, once."""

    def __init__(self) -> None:
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._id = random.randbytes(2)
        head = self._id + struct.pack("!HHHHH", 0x0100, 1, 0, 0, 0)
        cast(asyncio.DatagramTransport, transport).sendto(
            head + b"\4home\4test\0" + struct.pack("!HH", 1, 1)
        )

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        if data[:2] == self._id and not self.answered.done():
            self.answered.set_result(None)


async def lan(teller: Teller, options: argparse.Namespace) -> list[asyncio.Task[None]]:
    home, call = Home(teller, options), Call(teller)
    await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: call, remote_addr=(options.target[0], CALL_PORT)
    )
    rates = ((options.new, home.short), (options.dns, home.query), (1 / CALL_EVERY, call.say))
    paces = [home.start(paced(1 / rate, work)) for rate, work in rates if rate]
    return [home.start(home.fill()), *paces]
