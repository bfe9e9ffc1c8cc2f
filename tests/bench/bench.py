# SPDX-License-Identifier: GPL-2.0-or-later
"""What a line of the table gets: repeats, a place to say what happens, networks."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TypeVar

from lab.home import Home
from lab.topology import Network
from toolkit.command import LabError

T = TypeVar("T")


@dataclass
class Bench:
    repeats: int = 3
    quick: bool = False
    """The least that shows that a line works; its figures mean nothing."""
    failures: list[str] = field(default_factory=list)
    """Runs that did not come about, and lines without a figure."""
    began: float = field(default_factory=time.monotonic)

    @property
    def peer_repeats(self) -> int:
        """Of peers, which are slower by several times what repeats differ by, and of goodput,
        which hardly differs."""
        return max(1, self.repeats - 1)

    def say(self, text: str) -> None:
        load = os.getloadavg()[0]
        print(f"  {time.monotonic() - self.began:6.1f} s  load {load:.1f}  {text}", flush=True)

    @contextlib.contextmanager
    def network(self, name: str, setup: AbstractContextManager[Network]) -> Iterator[Network]:
        """A set-up, and which it is in a failure's text."""
        with setup as net:
            yield net

    @contextlib.contextmanager
    def home(self, net: Network) -> Iterator[Home]:
        """The standard load, once it is all there."""
        with Home(net) as home:
            home.wait_open()
            self.say(f"with {home.load}")
            yield home

    def attempt(self, work: Callable[[], T]) -> T | None:
        """One run; once more where the lab did not get so far."""
        for left in (1, 0):
            try:
                return work()
            except (LabError, AssertionError) as error:
                print(f"    a run failed: {error}", file=sys.stderr, flush=True)
                if not left:
                    self.failures.append(str(error))
        return None
