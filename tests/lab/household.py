# SPDX-License-Identifier: GPL-2.0-or-later
"""The two ends of a home's load: `python -m lab.household far | lan TARGET... [--open N] …`.

lab/home.py starts both and reads what they tell: a line of JSON every TELL seconds, with what came
to an end since the line before. Times are of the machine's monotonic clock, in seconds.

far     serves: short connections, open ones, DNS queries, its half of the call
lan     makes them, from a host of the LAN

Each end is one process with one event loop, so that it costs little beside what is measured. It
ends with its standard input, at the latest after LONGEST, and holds no more than MOST connections.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import struct
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine
from typing import Any, cast

from lab.talker import pattern

TCP_PORT, CALL_PORT, DNS_PORT = 7200, 5004, 53

REQUEST = b"GET / HTTP/1.0" + b" " * 185 + b"\n"
ANSWER = pattern(0, 10_000)
"""What a short connection asks and gets: the size of a small web request."""

PATIENCE = 2.0
"""Seconds after which a short connection or a query has failed: a person reloads the page."""

MESSAGE = b"m" * 99 + b"\n"
EVERY = 10.0
"""An open connection says MESSAGE and hears it back so often (seconds)."""
OPEN_PATIENCE = 20.0
"""Seconds without an answer after which an open connection counts as lost."""
SILENT = 6.0
"""The same at the end, where nobody waits any longer."""
RAMP = 0.01
"""Seconds between two that are opened: no more at a time than a home would."""

CALL_EVERY, CALL_SIZE = 0.02, 160
"""One voice as G.711 has it: 50 packets a second."""
HUNG_UP = 30.0
"""Seconds without a packet after which the far end stops talking."""

TELL = 0.5
LONGEST = 4 * 3600.0
MOST = 800
IN_FLIGHT = 250
"""Short connections at a time: those of PATIENCE seconds of silence, and some more."""

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


# --- The far end ------------------------------------------------------------------------------


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


# --- The LAN's end ----------------------------------------------------------------------------


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


# --- Both -------------------------------------------------------------------------------------


async def run(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=wait, daemon=True).start()
    teller = Teller()
    works = await (far if options.end == "far" else lan)(teller, options)
    print("ready", flush=True)
    works.append(asyncio.create_task(paced(TELL, teller.tell)))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), LONGEST)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for each in left:
        each.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    teller.tell()


def main() -> None:
    parser = argparse.ArgumentParser(prog="lab.household")
    ends = parser.add_subparsers(dest="end", required=True)
    ends.add_parser("far")
    inner = ends.add_parser("lan")
    inner.add_argument("target", nargs="+")
    inner.add_argument("--open", type=int, default=0)
    inner.add_argument("--new", type=float, default=0, help="a second")
    inner.add_argument("--dns", type=float, default=0, help="a second")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
