# SPDX-License-Identifier: GPL-2.0-or-later
"""What starting and ending is like for each stand-in process."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from .broker import DEFAULT_SOCKET
from .peer import Peer, background

PATIENCE = 5.0


def parser(program: str, description: str) -> argparse.ArgumentParser:
    parsed = argparse.ArgumentParser(prog=program, description=description)
    parsed.add_argument("-s", dest="socket", default=DEFAULT_SOCKET, help="ubus socket")
    parsed.add_argument("--ready", type=Path, help="file to make once the objects are there")
    return parsed


async def run(
    peer: Peer, options: argparse.Namespace, start: Callable[[], None] | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; `start` is called once the first connection stands.

    Without a ubusd it is called after `PATIENCE` seconds all the same.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    serving = background(peer.run())
    background(_begin(peer, options, start))
    await stop.wait()
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving


async def _begin(peer: Peer, options: argparse.Namespace, start: Callable[[], None] | None) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(peer.registered.wait(), PATIENCE)
    if start is not None:
        start()
    if options.ready is not None:
        await peer.registered.wait()
        options.ready.touch()
