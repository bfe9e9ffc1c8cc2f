# SPDX-License-Identifier: GPL-2.0-or-later
"""A WAN pulled out in the middle of a download and put back, drawn while it happens."""

from __future__ import annotations

import time
from dataclasses import dataclass

from lab.draw import over_time
from lab.show import Show
from lab.topology import Network
from lab.traffic import Sampler, Transfer, start

LENGTH, PULLED, BACK = 12.0, 3.0, 7.0
"""Length of the download, and when the cable goes and comes back; seconds."""

COLUMN, SAMPLE = 0.25, 0.05
"""Seconds per column of the picture, and per sample."""


@dataclass(frozen=True)
class Pull:
    """What came of it. `recovered_s` is None when the WAN was not used again."""

    transfer: Transfer
    stall_ms: float
    recovered_s: float | None


class Experiment:
    """Pulls the cable of WAN `number` out of the client router, as a person would (no carrier)."""

    def __init__(self, net: Network, show: Show, number: int = 1) -> None:
        self._net, self._show = net, show
        self._wire = net.wires[number - 1]
        self._number = number
        self._sampler = Sampler(net.wires, SAMPLE)
        self._times: dict[str, float] = {}
        self._began = 0.0

    def run(self) -> Pull:
        stream = start(self._net.client_host, "get", self._net.target, seconds=LENGTH)
        with self._sampler:
            self._began = time.monotonic()
            while (now := time.monotonic() - self._began) < LENGTH:
                if now >= PULLED:
                    self._plug(False, "pulled")
                if now >= BACK:
                    self._plug(True, "put back")
                self._show.draw(self._picture())
                time.sleep(0.05)
            transfer = stream.result()
        self._show.settle(self._picture())
        stall = transfer.stall_ms(self._times["pulled"])
        return Pull(transfer, stall, self._recovered())

    def _plug(self, into: bool, word: str) -> None:
        if word not in self._times:
            self._wire.carrier(into)
            self._times[word] = time.monotonic()

    def _recovered(self) -> float | None:
        """Return the seconds until the link carried half its rate again."""
        back, rate = self._times["put back"], self._wire.shape.rate
        for sample in self._sampler.samples:
            if sample.at > back and sample.down[self._number - 1] > rate / 2:
                return sample.at - back
        return None

    def _picture(self) -> list[str]:
        length, each = round(LENGTH / COLUMN), round(COLUMN / SAMPLE)
        samples = self._sampler.samples[: length * each]
        full = [samples[i : i + each] for i in range(0, len(samples) - each + 1, each)]
        series = {
            f"wan{number + 1}": [sum(s.down[number] for s in part) / each for part in full]
            for number in range(len(self._net.wires))
        }
        marks = {round((at - self._began) / COLUMN): word for word, at in self._times.items()}
        rates = self._net.rates
        return over_time(self._show, series, rates, marks, length=length, seconds_per_column=COLUMN)
