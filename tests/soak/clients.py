# SPDX-License-Identifier: GPL-2.0-or-later
"""LAN clients of several kinds, until standard input ends: `python -m soak.clients IPV4 IPV6 SEED`.

One JSON object per finished connection on standard output. Every byte is checked (lab.talker).
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import queue
import random
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from lab.talker import Checker, connect, first_byte, pattern, receive_stream, send_stream
from lab.traffic import PORT

PATIENCE = 30.0
"""Seconds without a byte after which a long connection counts as lost."""

HASTE = 2.0
"""The same of a short one: a person reloads the page."""

EVERY = 0.1
"""Seconds between short ones: how finely an outage is measured."""

STALL = 0.3
"""Shorter pauses are not told."""

SILENT = 6.0
"""Seconds without a byte after which a connection that is still open at the end counts as lost."""

Work = Callable[[argparse.Namespace, Checker], None]


@dataclass
class Told:
    """One finished connection; times of the machine's monotonic clock."""

    kind: str
    began: float
    ended: float
    bytes: int
    error: str
    stalls: list[tuple[float, float]]
    """Beginning and length of pauses in which nothing came."""


class Client:
    """Makes connections of one kind, one after the other."""

    def __init__(self, kind: str, target: str, *, mptcp: bool = False) -> None:
        self.kind = kind
        self._target = target
        self._mptcp = mptcp
        self._random = random.Random(f"{kind} {random.random()}")
        self._open: tuple[float, Checker] | None = None

    def one(self, work: Work, patience: float) -> Told:
        options = argparse.Namespace(
            host=self._target, port=PORT, patience=patience, mptcp=self._mptcp, abort=False
        )
        checker = Checker()
        report = checker.report
        began, error = time.monotonic(), ""
        self._open = began, checker
        try:
            work(options, checker)
        except (OSError, ValueError) as problem:
            error = f"{type(problem).__name__}: {problem}"
        self._open = None
        stalls = [(at, length) for at, length in report.gaps if length >= STALL]
        return Told(self.kind, began, time.monotonic(), report.bytes, error, stalls)

    def unfinished(self) -> Told | None:
        """The connection that is still open at the end; an upload's receiver knows more."""
        if self._open is None or self.kind.startswith("upload"):
            return None
        began, checker = self._open
        now, report = time.monotonic(), checker.report
        quiet = now - max(report.ended, began)
        error = f"silent for {quiet:.0f} s" if quiet > SILENT else ""
        return Told(self.kind, began, now, report.bytes, error, [])

    def length(self) -> float:
        """Seconds that the next long connection lasts: longer than most faults."""
        return self._random.uniform(12, 40)

    def download(self, options: argparse.Namespace, checker: Checker) -> None:
        with connect(options, checker.report) as connection:
            connection.sendall(b"get 0\n")
            receive_stream(connection, checker, self.length())

    def upload(self, options: argparse.Namespace, checker: Checker) -> None:
        with connect(options, checker.report) as connection:
            connection.sendall(b"put\n")
            send_stream(connection, seconds=self.length())
            theirs = json.loads(connection.makefile("rb").readline() or b"{}")
            checker.report.bytes = theirs.get("bytes", 0)
            checker.report.gaps = theirs.get("gaps", [])
            if not theirs.get("ok"):
                raise ValueError(theirs.get("error", "no report from the other end"))

    def chat(self, options: argparse.Namespace, checker: Checker) -> None:
        """Some bytes there and back, five times a second: a shell over a slow line."""
        with connect(options, checker.report) as connection:
            connection.sendall(b"echo\n")
            end = time.monotonic() + self.length()
            while time.monotonic() < end:
                said = checker.report.bytes
                connection.sendall(pattern(said, 64))
                while checker.report.bytes < said + 64:
                    data = connection.recv(64)
                    if not data:
                        raise ConnectionError(f"closed after {checker.report.bytes} bytes")
                    checker.feed(data)
                time.sleep(0.2)

    def short(self, options: argparse.Namespace, checker: Checker) -> None:
        with connect(options, checker.report) as connection:
            connection.sendall(b"get 20000\n")
            first_byte(connection, checker.report)
            receive_stream(connection, checker)


class Crowd:
    """All of them at once."""

    def __init__(self, four: str, six: str, seed: str) -> None:
        random.seed(seed)
        self._told: queue.SimpleQueue[Told] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._short = [Client("short", four), Client("short IPv6", six)]
        mptcp = Client("download of MPTCP", four, mptcp=True)
        self._long: list[tuple[Client, Work]] = [(mptcp, mptcp.download)]
        for suffix, target in (("", four), (" IPv6", six)):
            clients = [Client(f"{what}{suffix}", target) for what in ("download", "upload", "chat")]
            down, up, chat = clients
            self._long += [(down, down.download), (up, up.upload), (chat, chat.chat)]

    def run(self) -> None:
        for client, work in self._long:
            threading.Thread(target=self._for_ever, args=(client, work), daemon=True).start()
        threading.Thread(target=self._shorts, daemon=True).start()
        threading.Thread(target=self._wait, daemon=True).start()
        while not (self._stop.is_set() and self._told.empty()):
            with contextlib.suppress(queue.Empty):
                self._tell(self._told.get(timeout=0.2))
        for client, _ in self._long:
            if left := client.unfinished():
                self._tell(left)

    def _tell(self, told: Told) -> None:
        print(json.dumps(asdict(told)), flush=True)

    def _for_ever(self, client: Client, work: Work) -> None:
        while not self._stop.is_set():
            told = client.one(work, PATIENCE)
            self._told.put(told)
            if told.error:
                self._stop.wait(0.5)

    def _shorts(self) -> None:
        """A new one on every tick, whatever became of those before."""
        clients = itertools.cycle(self._short)
        while not self._stop.wait(EVERY):
            threading.Thread(target=self._one_short, args=(next(clients),), daemon=True).start()

    def _one_short(self, client: Client) -> None:
        self._told.put(client.one(client.short, HASTE))

    def _wait(self) -> None:
        sys.stdin.read()
        self._stop.set()


if __name__ == "__main__":
    Crowd(*sys.argv[1:4]).run()
