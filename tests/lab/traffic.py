# SPDX-License-Identifier: GPL-2.0-or-later
"""Traffic between lab hosts, and what came of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from toolkit.command import LabError
from toolkit.sampling import SamplingThread
from toolkit.stopping import end
from toolkit.waiting import NotInTime, wait_until

from lab.host import Host
from lab.talker import BIN_MS, Report
from lab.wire import Wire

Way = Literal["down", "up"]
"""Seen from the asking host: down receives."""

WAYS: tuple[Way, Way] = ("down", "up")

PORT = 7100


@dataclass(frozen=True)
class Transfer:
    """A finished stream, as its receiver saw it. Times are of time.monotonic()."""

    report: Report

    @property
    def ok(self) -> bool:
        """Every byte arrived, in order, once."""
        return self.report.ok

    @property
    def mbit(self) -> float:
        """Goodput of the whole transfer, in Mbit/s."""
        return self.report.bytes * 8e-6 / max(self.report.ended - self.report.started, 1e-9)

    def rate(self, after: float, before: float) -> float:
        """Goodput in Mbit/s between two times."""
        first = max(0, round((after - self.report.started) * 1000 / BIN_MS))
        last = max(first + 1, round((before - self.report.started) * 1000 / BIN_MS))
        return sum(self.report.bins[first:last]) * 8e-6 / ((last - first) * BIN_MS / 1000)

    def stall_ms(self, after: float, before: float = float("inf")) -> float:
        """Longest time without a byte, of those that began between two times; in ms."""
        gaps = (length for start, length in self.report.gaps if after - length < start < before)
        return 1000 * max(gaps, default=0)

    def reached(self, mbit: float, after: float, window: float = 0.1) -> float | None:
        """Seconds from `after` until the rate over `window` seconds is at least `mbit`."""
        end = self.report.ended
        at = after
        while at + window <= end:
            if self.rate(at, at + window) >= mbit:
                return at - after
            at += BIN_MS / 1000
        return None


class Running:
    """A stream under way."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def result(self, timeout: float = 120) -> Transfer:
        """Wait for the end. Whether it went well is in `ok` and `report.error`."""
        output, _ = self.process.communicate(timeout=timeout)
        try:
            report = Report(**json.loads(output))
        except json.JSONDecodeError:
            report = Report(error=f"no report, exit code {self.process.returncode}")
        report.gaps = [(start, length) for start, length in report.gaps]
        return Transfer(report)


class TalkServer:
    """The serving end on `host`; use as a context manager or let the lab end it."""

    def __init__(self, host: Host, port: int = PORT) -> None:
        self.host, self.port = host, port
        self._process = host.popen(
            sys.executable, "-m", "lab.talker", "serve", str(port), stdout=subprocess.PIPE
        )
        assert self._process.stdout
        if self._process.stdout.readline() != "ready\n":
            raise LabError(f"{host}: nobody serves port {port}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        end(self._process)


def start(
    host: Host,
    what: Literal["get", "put", "echo"],
    target: str,
    *,
    size: int = 0,
    seconds: float = 0,
    mptcp: bool = False,
    patience: float = 30,
    port: int = PORT,
    abort: bool = False,
) -> Running:
    """Start a stream from `host` to a TalkServer at `target`, of `size` bytes or for `seconds`.

    With `abort` its process leaves nothing to be sent when it is ended, but a reset.
    """
    argv = [sys.executable, "-m", "lab.talker", what, target, str(port), f"--size={size}"]
    argv += [f"--seconds={seconds}", f"--patience={patience}", *(["--mptcp"] if mptcp else [])]
    argv += ["--abort"] if abort else []
    return Running(host.popen(*argv, stdout=subprocess.PIPE))


def iperf(
    client: Host,
    server: Host,
    target: str,
    way: Way = "down",
    *,
    seconds: float = 4,
    omit: float = 1,
    streams: int = 1,
    mptcp: bool = False,
    server_mptcp: bool = False,
    port: int = 5201,
) -> float:
    """Measure with iperf3; return the receiver's goodput in Mbit/s, the first `omit` s left out."""
    wrapped = ["mptcpize", "run"] if server_mptcp else []
    listener = server.popen(*wrapped, "iperf3", "-s", "-1", "-J", "-p", str(port))
    try:
        _wait_listening(server, port)
        prefix = ["mptcpize", "run"] if mptcp else []
        argv = [*prefix, "iperf3", "-J", "-c", target, "-p", str(port), "--get-server-output"]
        argv += ["-t", str(round(omit + seconds)), "-P", str(streams)]
        argv += ["-R"] if way == "down" else []
        done = client.run(*argv, check=False, timeout=seconds + omit + 30)
        answer = json.loads(done.stdout or "{}")
        if "error" in answer or not answer:
            raise LabError(f"iperf3 to {target}: {answer.get('error', done.stderr)}")
        return _received(answer if way == "down" else answer["server_output_json"], omit)
    finally:
        end(listener)


def _received(receiver: dict[str, Any], omit: float) -> float:
    """Return the goodput in Mbit/s from what the receiving iperf3 counted, second by second.

    Its own total is up to 3 % high: it counts what the proxies still hold when the sender stops.
    Its ``--omit`` now and then calls the second in which it ends two seconds.
    """
    sums = [interval["sum"] for interval in receiver["intervals"]]
    whole = [each for each in sums if each["start"] > omit - 0.5 and each["seconds"] > 0.9]
    return float(sum(s["bytes"] for s in whole) * 8e-6 / sum(s["seconds"] for s in whole))


def _wait_listening(host: Host, port: int, timeout: float = 5) -> None:
    def listens() -> bool:
        return bool(host.run("ss", "-Hltn", f"sport = {port}").stdout)

    try:
        wait_until(listens, timeout, f"somebody listens on port {port}")
    except NotInTime as late:
        raise LabError(f"{host}: {late}") from None


@dataclass(frozen=True)
class Sample:
    """Rates of the links in Mbit/s over the interval that ended at `at` (monotonic seconds)."""

    at: float
    up: tuple[float, ...]
    down: tuple[float, ...]

    def way(self, way: Way) -> tuple[float, ...]:
        return self.down if way == "down" else self.up


class Sampler(SamplingThread):
    """Follows the rates of cables in the background, from their own counters."""

    def __init__(self, wires: Sequence[Wire], interval: float = 0.1) -> None:
        super().__init__(interval)
        self.samples: list[Sample] = []
        self._wires = wires
        self._last, self._before = self._count()

    def _count(self) -> tuple[list[tuple[int, int]], float]:
        return [wire.bytes() for wire in self._wires], time.monotonic()

    def sample(self) -> None:
        seen, now = self._count()
        spent = now - self._before
        rates = [
            tuple((s[i] - o[i]) * 8e-6 / spent for s, o in zip(seen, self._last, strict=True))
            for i in (0, 1)
        ]
        self.samples.append(Sample(now, *rates))
        self._last, self._before = seen, now

    def __enter__(self) -> Self:
        self._last, self._before = self._count()
        return super().__enter__()
