# SPDX-License-Identifier: GPL-2.0-or-later
"""A LAN client that tries anew all the time: `python -m bench.knock serve PORT | knock ...`.

The server answers each connection with the address it comes from, so the client knows whether it
went through the proxy. `knock` prints one JSON list: [started, ended, answer or ""] per attempt.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time

EVERY = 0.05
"""Seconds between two attempts; each has PATIENCE seconds of its own."""
PATIENCE = 2.0


async def serve(port: int) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            host = str(writer.get_extra_info("peername")[0])
            writer.write(host.removeprefix("::ffff:").encode() + b"\n")
            await writer.drain()
            writer.close()

    server = await asyncio.start_server(answer, "0.0.0.0", port, backlog=512)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


async def knock(host: str, port: int, seconds: float) -> list[tuple[float, float, str]]:
    found: list[tuple[float, float, str]] = []

    async def one() -> None:
        began, answer = time.monotonic(), b""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                reader, writer = await asyncio.open_connection(host, port)
                writer.write(b"\n")
                answer = await reader.readline()
                writer.close()
        found.append((began, time.monotonic(), answer.decode().strip()))

    stop = time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        while time.monotonic() < stop:
            group.create_task(one())
            await asyncio.sleep(EVERY)
    return found


def main() -> None:
    if sys.argv[1] == "serve":
        asyncio.run(serve(int(sys.argv[2])))
    host, port, seconds = sys.argv[2:5]
    print(json.dumps(asyncio.run(knock(host, int(port), float(seconds)))))


if __name__ == "__main__":
    main()
