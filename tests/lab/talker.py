# SPDX-License-Identifier: GPL-2.0-or-later
"""The two ends of a checked TCP stream: `python -m lab.talker serve PORT` and `... get|put|echo`.

Runs inside a lab host; lab/traffic.py starts it and reads the report, one JSON object. A stream
is a count of 8-byte numbers, so a byte lost, doubled or moved anywhere is seen, and ends with a
number that no count reaches, so that neither end has to rely on half-closed connections (which
shadowsocks-libev cuts short).

Requests are one line: `get BYTES` (send that many, 0: until I hang up), `put` (I send until the
end mark; answer with your report), `echo` (send back until I half-close).
"""

from __future__ import annotations

import argparse
import array
import contextlib
import json
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

CHUNK = 1 << 16
BIN_MS = 10
GAP = 0.005
"""Pauses longer than this, in seconds, are reported one by one."""

END = b"\xff" * 8
SOL_MPTCP, MPTCP_INFO = 284, 1  # linux/mptcp.h
SERVER_PATIENCE = 120
"""Seconds without a byte after which a server gives a connection up, so that no thread stays."""


@dataclass
class Report:
    """What the receiving end saw. Times are of the machine's monotonic clock, in seconds."""

    ok: bool = False
    error: str = ""
    bytes: int = 0
    connect_ms: float = 0
    first_byte_ms: float = 0
    mptcp: bool = False
    started: float = 0
    ended: float = 0
    bins: list[int] = field(default_factory=list)
    gaps: list[tuple[float, float]] = field(default_factory=list)


def pattern(offset: int, length: int) -> bytes:
    """Return `length` bytes of the stream from `offset` on."""
    first = offset // 8
    numbers = array.array("Q", range(first, (offset + length + 7) // 8))
    numbers.byteswap()
    skip = offset - first * 8
    return numbers.tobytes()[skip : skip + length]


class Checker:
    """Compares what arrives with the stream, and keeps its time line."""

    def __init__(self) -> None:
        self.report = Report(started=time.monotonic())
        self.ended = False
        self._last = self.report.started
        self._tail = b""

    def feed(self, data: bytes) -> None:
        self._time(len(data))
        data = self._tail + data
        self._tail = b""
        offset = self.report.bytes
        expected = pattern(offset, len(data))
        if data != expected:
            same = len(os.path.commonprefix([data, expected]))  # noqa: RUF071 - not paths
            # A count's first bytes are zeros, so a mark differs from it at its first byte.
            mark = data[same:]
            if (offset + same) % 8 or not END.startswith(mark):
                raise ValueError(f"byte {offset + same} is wrong")
            data = data[:same]
            self.ended = mark == END
            self._tail = b"" if self.ended else mark
        self.report.bytes += len(data)

    def _time(self, length: int) -> None:
        now = time.monotonic()
        report = self.report
        if now - self._last > GAP and report.bytes:
            report.gaps.append((self._last, now - self._last))
        self._last = report.ended = now
        number = int((now - report.started) * 1000 / BIN_MS)
        report.bins.extend([0] * (number + 1 - len(report.bins)))
        report.bins[number] += length


def send_stream(connection: socket.socket, size: int = 0, seconds: float = 0) -> int:
    """Send `size` bytes (a multiple of 8), or for `seconds`, or until hung up on; then the mark."""
    sent, stop = 0, time.monotonic() + seconds if seconds else None
    while (not size or sent < size) and (stop is None or time.monotonic() < stop):
        length = min(CHUNK, size - sent) if size else CHUNK
        connection.sendall(pattern(sent, length))
        sent += length
    connection.sendall(END)
    return sent


def receive_stream(connection: socket.socket, checker: Checker, seconds: float = 0) -> None:
    """Check what arrives until the mark, or for `seconds`. Raises OSError or ValueError."""
    stop = time.monotonic() + seconds if seconds else None
    while not checker.ended and (stop is None or time.monotonic() < stop):
        data = connection.recv(CHUNK)
        if not data:
            raise ConnectionError(f"closed after {checker.report.bytes} bytes")
        checker.feed(data)


# --- the serving end --------------------------------------------------------------------------


def serve(port: int) -> None:
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    listener.listen(512)
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def answer(connection: socket.socket) -> None:
    connection.settimeout(SERVER_PATIENCE)
    with connection, contextlib.suppress(OSError):
        line = b""
        while not line.endswith(b"\n"):
            byte = connection.recv(1)
            if not byte:
                return
            line += byte
        words = line.decode().split()
        if words[0] == "get":
            send_stream(connection, size=int(words[1]))
        elif words[0] == "put":
            checker = Checker()
            run_checked(checker, lambda: receive_stream(connection, checker))
            connection.sendall(json.dumps(asdict(checker.report)).encode() + b"\n")
        elif words[0] == "echo":
            while data := connection.recv(CHUNK):
                connection.sendall(data)


# --- the asking end ---------------------------------------------------------------------------


def run_checked(checker: Checker, work: Callable[[], None]) -> Report:
    try:
        work()
        checker.report.ok = True
    except (OSError, ValueError) as problem:
        checker.report.error = f"{type(problem).__name__}: {problem}"
    return checker.report


def ask(options: argparse.Namespace) -> Report:
    """Connect, do what was asked, and return the report of the end that received."""
    checker = Checker()
    report = checker.report

    def work() -> None:
        with connect(options, report) as connection:
            if options.what == "get":
                connection.sendall(b"get %d\n" % options.size)
                report.started = time.monotonic()
                first_byte(connection, report)
                receive_stream(connection, checker, options.seconds)
            elif options.what == "put":
                connection.sendall(b"put\n")
                send_stream(connection, options.size, options.seconds)
                theirs = json.loads(connection.makefile("rb").readline() or b"{}")
                if not theirs:
                    raise ConnectionError("no report from the other end")
                mine = {name: getattr(report, name) for name in ("connect_ms", "mptcp")}
                vars(report).update(theirs, **mine)
                if not report.ok:
                    raise ValueError(report.error)
            else:
                echo(connection, options.size, checker)

    return run_checked(checker, work)


def connect(options: argparse.Namespace, report: Report) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    protocol = socket.IPPROTO_MPTCP if options.mptcp else socket.IPPROTO_TCP
    connection = socket.socket(family, socket.SOCK_STREAM, protocol)
    if options.abort:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.settimeout(options.patience)
    before = time.monotonic()
    connection.connect((options.host, options.port))
    report.connect_ms = (time.monotonic() - before) * 1000
    with contextlib.suppress(OSError):  # EOPNOTSUPP after a fall-back, ENOPROTOOPT for plain TCP
        connection.getsockopt(SOL_MPTCP, MPTCP_INFO, 64)
        report.mptcp = True
    return connection


def first_byte(connection: socket.socket, report: Report) -> None:
    before = time.monotonic()
    connection.recv(1, socket.MSG_PEEK)
    report.first_byte_ms = report.connect_ms + (time.monotonic() - before) * 1000


def echo(connection: socket.socket, size: int, checker: Checker) -> None:
    """Send `size` bytes, half-close, and expect all of them back."""
    connection.sendall(b"echo\n")
    sender = threading.Thread(target=lambda: _send_and_close(connection, size), daemon=True)
    sender.start()
    receive_stream(connection, checker)
    if connection.recv(1):
        raise ValueError("more came back than was sent")
    if checker.report.bytes != size:
        raise ValueError(f"{checker.report.bytes} of {size} bytes came back")


def _send_and_close(connection: socket.socket, size: int) -> None:
    with contextlib.suppress(OSError):
        send_stream(connection, size)
        connection.shutdown(socket.SHUT_WR)


def main() -> None:
    parser = argparse.ArgumentParser(prog="lab.talker")
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("serve").add_argument("port", type=int)
    for name in ("get", "put", "echo"):
        command = commands.add_parser(name)
        command.add_argument("host")
        command.add_argument("port", type=int)
        command.add_argument("--size", type=int, default=0, help="bytes (0: see --seconds)")
        command.add_argument("--seconds", type=float, default=0)
        command.add_argument("--mptcp", action="store_true", help="ask with an MPTCP socket")
        command.add_argument("--abort", action="store_true", help="close by a reset")
        command.add_argument("--patience", type=float, default=30, help="seconds without a byte")
    options = parser.parse_args()
    if options.what == "serve":
        serve(options.port)
    report = ask(options)
    json.dump(asdict(report), sys.stdout)
    print()
    sys.exit(0 if report.ok else 1)


if __name__ == "__main__":
    main()
