# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines of the log that repeat themselves: a few are told, the others counted.

    reading of a line                                 it is
    one of the first ``MOST`` within ``WINDOW``       told
    a further one                                     counted
    the next one afterwards                           told, with the number of those counted

A link that flaps says the same few things over and over, and a router's log is a ring in memory.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

#: Seconds, and how often the same line is told within them.
WINDOW, MOST = 60.0, 5
#: Lines that are remembered; then those whose time is over are forgotten.
REMEMBERED = 200


@dataclass
class _Line:
    since: float
    told: int = 0
    counted: int = 0


class Repeats(logging.Filter):
    """For all handlers that tell different records. Who asked for debug gets every line."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: dict[str, _Line] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno <= logging.DEBUG:
            return True
        text, now = record.getMessage(), record.created
        if len(self._lines) > REMEMBERED:
            recent = {t: line for t, line in self._lines.items() if _lasts(line, now)}
            self._lines = recent if len(recent) <= REMEMBERED else {}
        line = self._lines.get(text)
        counted = 0
        if line is None or not _lasts(line, now):
            counted = line.counted if line else 0
            line = self._lines[text] = _Line(now)
        if line.told == MOST:
            line.counted += 1
            return False
        line.told += 1
        if counted:
            record.msg, record.args = f"{text} (and {counted} times more before)", ()
        elif line.told == MOST:
            record.msg, record.args = f"{text} (again; for a minute this is only counted)", ()
        return True


def _lasts(line: _Line, now: float) -> bool:
    """The clock of the day may be set back."""
    return 0 <= now - line.since < WINDOW
