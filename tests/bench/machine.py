# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine and the moment of a measurement."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from pathlib import Path
from typing import Any

from toolkit.waiting import NotInTime, wait_until


def machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    kernel = ".".join(platform.release().split("-")[0].split("."))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{os.cpu_count()} cores ({model}), {memory:.0f} GB, Linux {kernel}, "
        f"Python {platform.python_version()}."
    )


def conditions(repeats: int) -> dict[str, Any]:
    """Known before a line begins; ``seconds`` is added after it."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "cores": os.cpu_count(),
        "load": f"{os.getloadavg()[0]:.1f}",
        "repeats": repeats,
    }


def wait_for_quiet(load: float, longest: float) -> float:
    """Wait until the machine does little else, at most some seconds; return its load."""
    with contextlib.suppress(NotInTime):
        wait_until(lambda: os.getloadavg()[0] <= load, longest, "a quiet machine", interval=2)
    return os.getloadavg()[0]
