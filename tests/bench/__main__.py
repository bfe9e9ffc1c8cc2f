# SPDX-License-Identifier: GPL-2.0-or-later
"""`make bench`: run the lines asked for, print their tables, write what came of them."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from lab.paths import BUILD

from bench import (
    engines,
    failopen,
    failover,
    footprint,
    goodput,
    heal,
    machine,
    newconn,
    probing,
    reaction,
    readme,
    report,
)
from bench.bench import Bench

LINES = {
    "goodput": goodput,
    "failover": failover,
    "heal": heal,
    "newconn": newconn,
    "failopen": failopen,
    "reaction": reaction,
    "footprint": footprint,
    "engines": engines,
    "probing": probing,
}

#: Waiting for a quiet machine helps less than it costs: as long as this for each line, in s.
PATIENCE = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("lines", nargs="*", choices=[*LINES, []], help="default: all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="only show that the lines work")
    parser.add_argument("--render", action="store_true", help="write the documents anew, only")
    options = parser.parse_args()
    bench = Bench(options.repeats, options.quick)
    for name in [] if options.render else options.lines or LINES:
        try:
            one(name, bench)
        except KeyboardInterrupt:
            print("bench: stopped; everything is cleaned up", file=sys.stderr)
            return 1
    write(quick=options.quick)
    for failure in bench.failures:
        print(f"bench: {failure}", file=sys.stderr)
    return 1 if bench.failures else 0


def one(name: str, bench: Bench) -> None:
    module = LINES[name]
    machine.wait_for_quiet(1.0, PATIENCE)
    where = machine.conditions(bench.repeats)
    print(f"{module.TITLE} ({name})", flush=True)
    began = time.monotonic()
    try:
        measures = [m for m in module.run(bench) if m.values]
    except Exception as error:  # the other lines still count
        bench.failures.append(f"{name}: {type(error).__name__}: {error}")
        return
    where["seconds"] = round(time.monotonic() - began)
    if not measures:
        bench.failures.append(f"{name}: no run gave a figure")
        return
    print(f"\n{report.plain(report.rows(measures))}\n", flush=True)
    if not bench.quick:
        report.keep(report.Line(name, measures, where))


def write(quick: bool) -> None:
    """Compose the documents from what is known of all lines."""
    lines = report.kept(list(LINES))
    if quick or not lines:
        return
    (BUILD / "bench.json").write_text(json.dumps(report.entries(lines), indent=1) + "\n")
    notes = Path(__file__).with_name("notes.md")
    before = report.DOCUMENT.read_text() if report.DOCUMENT.exists() else ""
    page = report.page(lines, LINES, notes.read_text() if notes.exists() else "", before)
    report.DOCUMENT.write_text(page)
    readme.README.write_text(readme.renewed(readme.README.read_text(), page))
    print(f"written: build/bench.json, docs/{report.DOCUMENT.name}, {readme.README.name}")


if __name__ == "__main__":
    sys.exit(main())
