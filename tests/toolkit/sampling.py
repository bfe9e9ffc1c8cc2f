# SPDX-License-Identifier: GPL-2.0-or-later
"""Looking at something again and again in the background, while something else happens."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class SamplingThread(ABC):
    """Calls sample() every `interval` seconds during a `with` block, in a thread of its own."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    @abstractmethod
    def sample(self) -> None:
        """Look once, and note what was seen."""

    def _follow(self) -> None:
        while not self._stop.wait(self._interval):
            self.sample()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
