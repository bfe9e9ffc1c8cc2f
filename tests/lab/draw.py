# SPDX-License-Identifier: GPL-2.0-or-later
"""Showing things in a terminal: headings, bars, and rates over time. Colour only on a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

EIGHTHS = " ▁▂▃▄▅▆▇█"
WIDTH = 96

_STYLES = {
    "bold": "1", "dim": "2", "good": "32", "bad": "31", "title": "1;36",
    "link0": "36", "link1": "33", "link2": "35", "link3": "32",
}  # fmt: skip


class Screen:
    """Where the demo writes. `live` tells whether a picture can be drawn over and over."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self.live = out.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._colour = self.live and not os.environ.get("NO_COLOR")
        self._drawn = 0

    def style(self, text: str, *names: str) -> str:
        if not self._colour or not names:
            return text
        return f"\033[{';'.join(_STYLES[name] for name in names)}m{text}\033[0m"

    def line(self, text: str = "") -> None:
        self._out.write(text + "\n")
        self._out.flush()

    def draw(self, lines: Sequence[str]) -> None:
        """Draw `lines` in the place of what draw() drew last (on a terminal only)."""
        if self.live:
            back = f"\033[{self._drawn}A" if self._drawn else ""
            self._out.write(back + "".join(f"\033[2K{line}\n" for line in lines))
            self._out.flush()
            self._drawn = len(lines)

    def settle(self, lines: Sequence[str]) -> None:
        """Draw `lines` for the last time; anywhere but on a terminal, the only time."""
        if self.live:
            self.draw(lines)
        else:
            self._out.write("".join(f"{line}\n" for line in lines))
            self._out.flush()
        self._drawn = 0


def compact(value: object, width: int, indent: str = "", name: str = "") -> list[str]:
    """Return a JSON value as lines that are filled as a paragraph is, to be read at one glance."""
    whole = name + json.dumps(value, ensure_ascii=False)
    if len(indent) + len(whole) < width or not isinstance(value, dict | list) or not value:
        return [indent + whole]
    inner = indent + "  "
    lines = [indent + name + ("{" if isinstance(value, dict) else "[")]
    members = value.items() if isinstance(value, dict) else ((None, item) for item in value)
    open_line = False  # the last line has room for a short member
    for key, item in members:
        first, *rest = compact(item, width, inner, "" if key is None else f"{json.dumps(key)}: ")
        if not rest and open_line and len(lines[-1]) + len(first) - len(inner) + 2 < width:
            lines[-1] += f" {first[len(inner) :]},"
        else:
            lines += [first, *rest]
            lines[-1] += ","
        open_line = not rest
    lines[-1] = lines[-1].removesuffix(",")
    lines.append(indent + ("}" if isinstance(value, dict) else "]"))
    return lines


def columns(values: Sequence[float], full: float, height: int) -> list[str]:
    """One column per value, `height` cells high for `full`; top line first."""
    rows = []
    for row in reversed(range(height)):
        cells = (round((value / full * height - row) * 8) for value in values)
        rows.append("".join(EIGHTHS[max(0, min(8, cell))] for cell in cells))
    return rows


def split_bar(screen: Screen, parts: Sequence[float], full: float, width: int) -> str:
    """A bar made of one coloured piece per link, dots up to `full`."""
    ends = [round(sum(parts[: number + 1]) / full * width) for number in range(len(parts))]
    pieces = zip([0, *ends], ends, strict=False)
    painted = [
        screen.style("█" * (end - begin), f"link{number % 4}")
        for number, (begin, end) in enumerate(pieces)
    ]
    return "".join(painted) + "·" * (width - ends[-1])


def cables(screen: Screen, left: str, rates: Sequence[float], right: str) -> list[str]:
    """Draw two machines and the links between them."""
    lines = []
    last = len(rates) - 1
    for number, rate in enumerate(rates):
        wan = screen.style(f" wan{number + 1} {rate:>4g} Mbit/s ", f"link{number % 4}")
        if number == 0:
            lines.append(f"  {left} ═╦═{wan}═╦═ {right}")
        else:
            joint = "╚╝" if number == last else "╠╣"
            lines.append(f"  {' ' * len(left)}  {joint[0]}═{wan}═{joint[1]}")
    return lines


def over_time(
    screen: Screen,
    series: Mapping[str, Sequence[float]],
    limits: Sequence[float],
    marks: Mapping[int, str],
    *,
    length: int,
    seconds_per_column: float,
) -> list[str]:
    """Draw one chart per series over a common time axis; `marks` are columns with a word."""
    lines = []
    for number, ((name, values), limit) in enumerate(zip(series.items(), limits, strict=True)):
        rows = columns(values, limit, 3)
        now = f"{values[-1]:5.1f} Mbit/s" if values else ""
        for row, cells in enumerate(rows):
            label = (f"{name:>6} {limit:3g}", "", f"{0:>10}")[row]
            tail = f"  {now}" if row == 1 else ""
            painted = screen.style(cells, f"link{number % 4}")
            lines.append(f"  {label:>10} ┤{painted}{' ' * (length - len(cells))}{tail}".rstrip())
    axis = ["─"] * length
    words = [" "] * (length + 12)
    per_mark = round(2 / seconds_per_column)
    for column in range(0, length, per_mark):
        axis[column] = "┬"
        text = f"{column * seconds_per_column:g} s"
        words[column : column + len(text)] = text
    lines.append(f"  {'':>10} └{''.join(axis)}")
    lines.append(f"  {'':>10}  {''.join(words)}".rstrip())
    arrows = [" "] * (length + 20)
    for column, word in marks.items():
        text = f"↑ {word}"
        arrows[column : column + len(text)] = text
    lines.append(f"  {'':>10}  {screen.style(''.join(arrows).rstrip(), 'bold')}")
    return lines
