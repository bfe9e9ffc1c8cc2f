# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m lab.household`: one of the two ends, until its input ends."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import threading

from lab.household import LONGEST, TELL
from lab.household.common import Teller, paced
from lab.household.far import far
from lab.household.lan import lan


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
