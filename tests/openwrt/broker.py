# SPDX-License-Identifier: GPL-2.0-or-later
"""ubusd for the lab: `python -m openwrt.broker [-s SOCKET]`.

The socket side of `bus.py`.  Source: `ubusd_main.c`, `ubusd.c`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import grp
import os
import pwd
import signal
import socket
import struct
import sys
from pathlib import Path

from . import wire
from .bus import Bus
from .busobjects import Client
from .wire import Message

DEFAULT_SOCKET = "/var/run/ubus/ubus.sock"


class _Connection(asyncio.Protocol):
    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._framer = wire.Framer()
        self._client: Client | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        uid, gid = _peer(transport.get_extra_info("socket"))
        self._client = self._bus.connect(self._send, uid, _user(uid), _group(gid))

    def data_received(self, data: bytes) -> None:
        assert self._client is not None and self._transport is not None
        self._framer.feed(data)
        try:
            while (message := self._framer.next()) is not None:
                self._bus.receive(self._client, message)
        except wire.WireError:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._client is not None:
            self._bus.disconnect(self._client)

    def _send(self, message: Message, paced: bool = False) -> None:
        """ubusd queues 1 MiB of what the client did not read, then drops whole messages."""
        assert self._transport is not None
        data = message.encode()
        waiting = self._transport.get_write_buffer_size()
        if waiting and waiting + len(data) > wire.MAX_BLOB and not paced:
            return
        if not self._transport.is_closing():
            self._transport.write(data)


def _peer(sock: socket.socket) -> tuple[int, int]:
    """uid and gid of the process at the other end (SO_PEERCRED)."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, gid = struct.unpack("3i", raw)
    return uid, gid


def _user(uid: int) -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)


def _group(gid: int) -> str:
    with contextlib.suppress(KeyError):
        return grp.getgrgid(gid).gr_name
    return str(gid)


def _bind(path: Path) -> socket.socket:
    """A listening socket at `path`, whoever had that before: one that is alive keeps its clients
    and hears of no new one."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX)
    umask = os.umask(0o111)
    try:
        server.bind(str(path))
        server.listen(128)
    finally:
        os.umask(umask)
    return server


async def serve(path: Path) -> None:
    """Run until SIGTERM or SIGINT; the socket is removed at the end, whosever it is then."""
    bus = Bus()
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_unix_server(lambda: _Connection(bus), sock=_bind(path))
    await stop.wait()
    server.close()
    path.unlink(missing_ok=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="openwrt.broker", description="ubusd for the lab")
    parser.add_argument("-s", dest="socket", type=Path, default=Path(DEFAULT_SOCKET))
    path: Path = parser.parse_args().socket
    try:
        asyncio.run(serve(path))
    except OSError as error:
        print(f"usock: {error.strerror}: {path}", file=sys.stderr)
        return 255
    return 0


if __name__ == "__main__":
    sys.exit(main())
