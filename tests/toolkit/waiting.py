# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting for a condition, with a deadline and the name of what did not come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

What = str | Callable[[], str]
"""The name of what is waited for; or asked for it when it is late, to tell of the state then."""

INTERVAL = 0.02
"""Seconds between two looks, where the look is not itself what is measured."""


class NotInTime(AssertionError):
    """What was waited for did not come; to a test, an assertion that failed."""

    def __init__(self, timeout: float, what: What) -> None:
        super().__init__(f"not within {timeout:g} s: {what if isinstance(what, str) else what()}")


def wait_until(
    condition: Callable[[], T], timeout: float, what: What, interval: float = INTERVAL
) -> T:
    """Return the first true value of `condition`. Raises NotInTime after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise NotInTime(timeout, what)
        time.sleep(interval)
    return value


async def wait_until_async(
    condition: Callable[[], T], timeout: float, what: What, interval: float = INTERVAL
) -> T:
    """The same, while the event loop goes on."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise NotInTime(timeout, what)
        await asyncio.sleep(interval)
    return value
