# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run leaves: a table on the terminal, build/bench.json, docs/benchmarks.md.

Each line's figures are kept in build/bench/LINE.json, so that running one line again renews its
part of the document and leaves the others.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

from lab.paths import BUILD, TOP

from bench.measure import NEVER, Measure

DETAILS = BUILD / "bench"
DOCUMENT = TOP / "docs" / "benchmarks.md"


@dataclass(frozen=True)
class Line:
    """One line's outcome: figures, and where and when they were measured."""

    name: str
    measures: list[Measure]
    conditions: Mapping[str, Any]


# --- Words ------------------------------------------------------------------------------------


def number(value: float, unit: str) -> str:
    if value >= NEVER / 1000:
        return "never"
    if unit in ("ms", "MB", "Mbit/s", "calls/min", "kB/day"):
        return f"{value:.0f}" if value >= 100 else f"{value:.1f}"
    return f"{value:.3g}"


def spread(values: Sequence[float], unit: str) -> str:
    """Median and range, as `12 [10-15]`."""
    if not values:
        return "-"
    if len(values) == 1:
        return number(values[0], unit)
    low, high = number(min(values), unit), number(max(values), unit)
    return f"{number(median(values), unit)} [{low}-{high}]"


def ratio(measure: Measure) -> str:
    if measure.ratio is None:
        return ""
    if measure.ratio > 100:
        return "never"
    return f"{measure.ratio:.3f}" if measure.better == "higher" else f"{measure.ratio:.2f}"


def aim(measure: Measure) -> str:
    if measure.limit is None:
        return ""
    sign = "≥" if measure.better == "higher" else "≤"
    if measure.better == "higher" and measure.aim != 1.0:
        return f"{sign} {measure.aim:g} of {number(measure.limit, measure.unit)}"
    return f"{sign} {number(measure.limit * measure.aim, measure.unit)}"


def verdict(measure: Measure) -> str:
    return {None: "", True: "yes", False: "**no**"}[measure.reached]


def rows(measures: Sequence[Measure]) -> list[list[str]]:
    """A table: ratio first, then the figure, its peers in columns, the aim."""
    peers = list(dict.fromkeys(name for m in measures for name in m.peers))
    table = [["figure", "ratio", "unit", "agent", *peers, "aim", "reached"]]
    for m in measures:
        others = [spread(m.peers.get(name, []), m.unit) for name in peers]
        own = [m.name, ratio(m), m.unit, spread(m.values, m.unit)]
        table.append([*own, *others, aim(m), verdict(m)])
    return table


def plain(table: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )


def markdown(table: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in table]
    return "\n".join([lines[0], "|" + " --- |" * len(table[0]), *lines[1:]])


# --- Files ------------------------------------------------------------------------------------


def keep(line: Line) -> None:
    DETAILS.mkdir(parents=True, exist_ok=True)
    document = {
        "measures": [m.document() for m in line.measures],
        "conditions": line.conditions,
    }
    (DETAILS / f"{line.name}.json").write_text(json.dumps(document, indent=1) + "\n")


def kept(names: Sequence[str], directory: Path = DETAILS) -> list[Line]:
    """What is there of these lines, in this order."""
    found = []
    for name in names:
        path = directory / f"{name}.json"
        if path.exists():
            document = json.loads(path.read_text())
            measures = [Measure.of(each) for each in document["measures"]]
            found.append(Line(name, measures, document["conditions"]))
    return found


def entries(lines: Sequence[Line]) -> list[dict[str, object]]:
    """The content of build/bench.json."""
    return [m.entry() for line in lines for m in line.measures]


def page(
    lines: Sequence[Line], modules: Mapping[str, ModuleType], notes: str, before: str = ""
) -> str:
    """docs/benchmarks.md. What it says ``before`` of lines that were not measured stays."""
    measured = {line.name: line for line in lines}
    old = sections(before)
    parts = [_HEAD]
    stay: list[str] = []
    for name, module in modules.items():
        if name in measured:
            parts += [f"## {module.TITLE}\n", *_section(measured[name], module)]
        elif module.TITLE in old:
            parts += [f"## {module.TITLE}\n", old[module.TITLE]]
            stay = old.get(MACHINE, "").splitlines()
    machines = [*stay, *(str(line.conditions["machine"]) for line in lines)]
    parts.append(f"## {MACHINE}\n")
    parts += [f"{machine}\n" for machine in dict.fromkeys(machines) if machine]
    parts.append(notes)
    return "\n".join(parts)


def _section(line: Line, module: ModuleType) -> list[str]:
    where = line.conditions
    return [
        textwrap.fill(" ".join(module.MEANING.split()), 100) + "\n",
        markdown(rows(line.measures)) + "\n",
        f"`make bench BENCH={line.name} REPEATS={where['repeats']}`, {where['date']}, "
        f"{where['seconds']} s, load {where['load']} of {where['cores']} cores before it "
        "began.\n",
    ]


def sections(document: str) -> dict[str, str]:
    """The texts under the headings of the second level, by heading."""
    parts = (part.partition("\n") for part in f"\n{document}".split("\n## ")[1:])
    return {title: text.strip("\n") + "\n" for title, _, text in parts}


MACHINE = "The machine"

_HEAD = """# Benchmarks

Written by `make bench` (the figures) and by hand (`tests/bench/notes.md`: what did not help).
Everything runs in the lab on one machine: network namespaces, real kernels' TCP, and links whose
rate, delay and queue are made by a small program (`tests/lab/wire.c`: jitter 0.1 ms while the
machine is idle, 2 to 4 ms while it is busy; no loss, no radio, no offloads). So ratios travel to
other machines, absolute numbers do not.

    make bench                                    # all lines
    make bench BENCH='failover heal' REPEATS=3    # some, with so many repeats

A cell is the median and the range [least-most] of the repeats. *ratio* is the median divided by
what the line is held against: the ceiling where more is better, the aim where less is. Peers are
measured in the same run on the same links.
"""
