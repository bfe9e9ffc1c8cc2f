# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures that the README quotes, taken from docs/benchmarks.md, so that both say the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lab.home import HOME
from lab.paths import TOP

from bench.failover import ALONE

README = TOP / "README.md"
BEGIN, END = "<!-- figures: make bench BENCH=failover -->", "<!-- end of figures -->"

_WAN1 = "failover blackhole wan1"
QUOTED = (
    ("the download stands still for", f"{_WAN1} down stall"),
    ("the link is known to be dead after", f"{_WAN1} down detected"),
    ("an upload instead stands still for", f"{_WAN1} up stall"),
    ("new connections that fail meanwhile", f"{_WAN1} new connections failed"),
    ("longest time in which none works", f"{_WAN1} new connections gap"),
    ("open connections lost", f"{_WAN1} open lost"),
    ("longest time without an answer to a DNS query", f"{_WAN1} DNS gap"),
    ("longest silence in the call", f"{_WAN1} call gap"),
    ("a download alone, nothing beside it, stands still for", f"{_WAN1} down{ALONE} stall"),
)
"""Words for a reader, and the name of the figure."""

COLUMNS = ("agent", "kernel alone", "mptcpd")
NOT_YET = "not measured yet"


def figures(document: str) -> dict[str, dict[str, str]]:
    """The cells of all tables of the document by figure, then by column."""
    found: dict[str, dict[str, str]] = {}
    head: Sequence[str] = ()
    for line in document.splitlines():
        if not line.startswith("| "):
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == "figure":
            head = cells
        elif len(cells) == len(head):
            found[cells[0]] = dict(zip(head, cells, strict=True))
    return found


def table(document: str) -> str:
    """What the README quotes of the document: a Markdown table."""
    found = figures(document)

    def lines() -> Iterator[str]:
        yield f"| beside {HOME} | mptcp-agent | its rules, nobody watching | mptcpd |"
        yield "|---|---|---|---|"
        for words, name in QUOTED:
            yield f"| {words} | {' | '.join(_cells(found.get(name, {})))} |"

    return "\n".join(lines())


def _cells(row: dict[str, str]) -> list[str]:
    unit = f" {row.get('unit', '')}".rstrip()
    cells = [row.get(name, NOT_YET) for name in COLUMNS]
    return [cell if cell in ("-", NOT_YET, "never") else f"{cell}{unit}" for cell in cells]


def renewed(readme: str, document: str) -> str:
    """The README with the figures of the document."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the README has no place for the figures")
    return f"{before}{BEGIN}\n\n{table(document)}\n\n{END}{after}"
