# SPDX-License-Identifier: GPL-2.0-or-later
"""The pure parts of `make bench`: what is made of figures. Nothing is timed here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench import failover, heal, readme, report
from bench.cut import Cut, stall_of
from bench.heal import Carried
from bench.measure import NEVER, Measure
from bench.reaction import percentiles
from lab.home import Account
from lab.talker import Report
from lab.traffic import Transfer

GOODPUT = Measure(
    "goodput bridge equal down", "Mbit/s", "higher", [92, 93, 91], {"direct": [47.8]}, 93.8, 0.97
)
STALL = Measure(
    "failover blackhole wan1 down stall", "ms", "lower", [310, 290, 500], {"alone": [700]}, 400
)


@pytest.mark.parametrize(
    ("measure", "ratio", "reached"),
    [
        (GOODPUT, 92 / 93.8, True),
        (STALL, 310 / 400, True),
        (Measure("x", "ms", "lower", [500], limit=400), 1.25, False),
        (Measure("x", "Mbit/s", "higher", [80], limit=100, aim=0.99), 0.8, False),
        (Measure("x", "ms", "lower", [500]), None, None),
        (Measure("x", "ms", "lower", [NEVER], limit=400), NEVER / 400, False),
    ],
)
def test_a_figure_is_held_against_its_limit(
    measure: Measure, ratio: float | None, reached: bool | None
) -> None:
    assert measure.ratio == ratio
    assert measure.reached is reached


def test_an_entry_has_the_agreed_keys() -> None:
    entry = GOODPUT.entry()
    assert list(entry) == ["name", "value", "unit", "better", "peers", "ratio_to_limit"]
    assert entry["peers"] == {"direct": 47.8}
    assert json.loads(json.dumps(entry)) == entry
    assert STALL.entry()["value"] == 310


def test_what_is_kept_is_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "DETAILS", tmp_path)
    report.keep(report.Line("failover", [STALL, GOODPUT], {"repeats": 3}))
    (line,) = report.kept(["goodput", "failover"], tmp_path)
    assert line.measures == [STALL, GOODPUT]
    assert [e["name"] for e in report.entries([line])] == [STALL.name, GOODPUT.name]


def test_a_table_has_ratios_first_and_every_peer() -> None:
    head, *rows = report.rows([GOODPUT, STALL])
    assert head == ["figure", "ratio", "unit", "agent", "direct", "alone", "aim", "reached"]
    assert rows[0][1:] == [
        "0.981",
        "Mbit/s",
        "92.0 [91.0-93.0]",
        "47.8",
        "-",
        "≥ 0.97 of 93.8",
        "yes",
    ]
    assert rows[1][1:] == ["0.78", "ms", "310 [290-500]", "-", "700", "≤ 400", "yes"]
    assert report.markdown([head, *rows]).count("\n") == 3


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(NEVER, "ms", "never"), (123.4, "ms", "123"), (1.234, "ms", "1.2"), (0.1234, "%", "0.123")],
)
def test_numbers_are_as_long_as_they_are_meant(value: float, unit: str, text: str) -> None:
    assert report.number(value, unit) == text


def transfer(gaps: list[tuple[float, float]], ended: float = 20.0) -> Transfer:
    return Transfer(Report(ok=True, started=0.0, ended=ended, gaps=gaps))


@pytest.mark.parametrize(
    ("gaps", "ended", "stall"),
    [
        ([], 20, (0.0, 10)),
        ([(10.01, 0.3), (11, 0.1)], 20, (0.3, 10.31)),
        ([(9.99, 0.4)], 20, (0.4, 10.39)),  # runs over the cut
        ([(5, 0.9), (13, 0.9)], 20, (0.0, 10)),  # before it, and after what was watched
        ([(10.01, 0.1)], 10.5, (NEVER, 10.5)),  # nothing more came
    ],
)
def test_the_stall_is_the_longest_pause_around_the_cut(
    gaps: list[tuple[float, float]], ended: float, stall: tuple[float, float]
) -> None:
    assert stall_of(transfer(gaps, ended), 10, 12) == pytest.approx(stall)


def test_a_cable_is_used_again_when_it_carries_its_rate() -> None:
    carried = Carried.__new__(Carried)
    # 5 ms steps: silent until 1.0 s, one probe's frame, then 50 Mbit/s from 1.2 s on
    carried.samples = [
        (step / 200, 0 if step < 200 else 74 if step < 240 else 74 + (step - 240) * 31250)
        for step in range(400)
    ]
    assert carried.first(0.5) == 1.0
    assert carried.used(0.5, 30) == pytest.approx(1.2, abs=0.05)
    assert carried.used(0.5, 60) is None


def test_percentiles_of_few_and_many() -> None:
    assert percentiles([7.0]) == (7.0, 7.0)
    assert percentiles([float(n) for n in range(101)]) == (50.0, 99.0)


DOCUMENT = """# Benchmarks

## A WAN dies under a running stream

Old words.

| figure | ratio | unit | agent | kernel alone | aim | reached |
| --- | --- | --- | --- | --- | --- | --- |
| failover blackhole wan1 down stall | 0.80 | ms | 320 [302-336] | never | ≤ 400 | yes |
| failover blackhole wan1 open lost |  |  | 0 | - |  |  |

## A WAN comes back

Words of heal.

## The machine

An old one.

## What helped, and what did not
"""


def test_lines_that_were_not_measured_keep_what_the_document_said_of_them() -> None:
    conditions = {"repeats": 3, "date": "today", "seconds": 9, "load": 0, "cores": 2}
    line = report.Line("failover", [STALL], {**conditions, "machine": "A new one."})
    page = report.page([line], {"failover": failover, "heal": heal}, "## Notes\n", DOCUMENT)
    found = report.sections(page)
    assert list(found) == [failover.TITLE, heal.TITLE, report.MACHINE, "Notes"]
    assert "Old words" not in page and "310 [290-500]" in found[failover.TITLE]
    assert found[heal.TITLE] == "Words of heal.\n"
    assert found[report.MACHINE] == "An old one.\n\nA new one.\n"


def test_the_readme_quotes_the_document() -> None:
    quoted = readme.renewed(f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n", DOCUMENT)
    assert quoted.startswith("before\n") and quoted.endswith("\nafter\n") and "old" not in quoted
    rows = {row[0]: row[1:] for row in (line.split(" | ") for line in quoted.splitlines())}
    none = f"{readme.NOT_YET} |"
    assert rows["| the download stands still for"] == ["320 [302-336] ms", "never", none]
    assert rows["| open connections lost"] == ["0", "-", none]


def test_the_readme_of_today_quotes_the_document_of_today() -> None:
    text = readme.README.read_text()
    assert readme.renewed(text, report.DOCUMENT.read_text()) == text


def test_what_the_readme_quotes_is_measured() -> None:
    account = Account(0, 4, [], [], {"down": [], "up": []}, [])
    one = Cut(0.3, 0.3, 0.3, 0.0, 90.0, account, account)
    every = {(fault, wan, way): {"agent": [one]} for fault, wan, way in failover.CASES}
    made = [*failover.rows(every), *failover.rows(every, failover.ALONE)]
    assert {name for _, name in readme.QUOTED} <= {measure.name for measure in made}
