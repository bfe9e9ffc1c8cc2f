# SPDX-License-Identifier: GPL-2.0-or-later
"""Replies as text for a terminal: a table of WANs, a diff, a list of checks.

Colour is the caller's choice; every mark also has a word, so nothing is lost without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..core.health import presumed

Document = Mapping[str, Any]  # a reply that fits its schema

_COLOURS = {"green": "32", "yellow": "33", "red": "31", "dim": "2", "bold": "1"}
_STATE_COLOUR = {
    "active": "green",
    "degraded": "yellow",
    "bypassed": "yellow",
    "blocked": "red",
    "disabled": "dim",
    "error": "red",
    "up": "green",
    "unknown": "yellow",
    "down": "red",
    "ok": "green",
    "warning": "yellow",
    "failed": "red",
}


class Painter:
    """Paints words, or leaves them alone."""

    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def __call__(self, text: str, colour: str) -> str:
        code = _COLOURS.get(_STATE_COLOUR.get(colour, colour))
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and code else text


def rate(bits: float) -> str:
    """bit/s in the unit a person would choose."""
    for unit in ("bit/s", "kbit/s", "Mbit/s"):
        if bits < 1000:
            return f"{bits:.0f} {unit}" if bits >= 100 or unit == "bit/s" else f"{bits:.1f} {unit}"
        bits /= 1000
    return f"{bits:.2f} Gbit/s"


def size(count: float) -> str:
    """Bytes with a binary prefix."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def duration(seconds: float) -> str:
    """How long, in the two largest units."""
    seconds = max(0, int(seconds))
    units = [("d", 86400), ("h", 3600), ("min", 60), ("s", 1)]
    for number, (unit, length) in enumerate(units):
        if seconds >= length:
            text = f"{seconds // length} {unit}"
            if number + 1 < len(units):
                small, small_length = units[number + 1]
                rest = seconds % length // small_length
                text += f" {rest} {small}" if rest else ""
            return text
    return "0 s"


def columns(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Rows with their columns aligned; painted text must come last."""
    rows = list(rows)
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def status(document: Document, paint: Painter) -> Iterator[str]:
    """State and reason on top, one line per WAN, then what else there is to know."""
    state = document["state"]
    since = duration(document["time"] - document["since"])
    yield f"{paint(state, state)}: {document['reason']} {paint(f'(for {since})', 'dim')}"
    if document["wans"]:
        yield ""
        yield from _wans(document["wans"], paint)
    facts = [*_facts(document)]
    if facts:
        yield ""
        width = max(len(name) for name, _ in facts)
        for name, value in facts:
            yield f"{paint(name.ljust(width), 'dim')}  {value}"
    if document["problems"]:
        yield ""
        for problem in document["problems"]:
            mark = "failed" if problem["severity"] == "error" else "warning"
            yield f"{paint(problem['severity'], mark)}: {problem['where']}: {problem['message']}"
            if problem["hint"]:
                yield f"  {problem['hint']}"


def _wans(wans: Iterable[Document], paint: Painter) -> Iterator[str]:
    wans = list(wans)
    rows = [("WAN", "DEVICE", "ADDRESS", "RTT", "DOWN", "UP", "SUBFLOWS", "")]
    states = [("STATE", "bold")]
    for wan in wans:
        health = wan["health"]
        shown = "off" if wan["role"] == "off" else presumed(health["state"], wan["up"])
        rows.append(
            (
                wan["name"],
                wan["device"] or "-",
                ", ".join(a["address"] for a in wan["addresses"]) or "-",
                f"{health['rtt']:.0f} ms" if health["rtt"] is not None else "-",
                rate(wan["rx_rate"]),
                rate(wan["tx_rate"]),
                str(wan["subflows"]),
                "backup" if wan["role"] == "backup" else "",
            )
        )
        states.append((shown + (f" ({wan['reason']})" if wan["reason"] else ""), shown))
    table = list(columns(rows))
    width = max(map(len, table))
    for text, (word, colour) in zip(table, states, strict=True):
        yield f"{text.ljust(width)}  {paint(word, colour)}"


def _facts(document: Document) -> Iterator[tuple[str, str]]:
    client, server, engine = document["client"], document["server"], document["engine"]
    if client:
        where = f"{client['peer']} ({client['address']}:{client['port']})"
        yield "client", f"{client['mode']}, peer {where if client['peer'] else 'none'}"
        if client["redirect"]:
            redirect = client["redirect"]
            yield (
                "redirect",
                f"{redirect['backend']}, from {', '.join(redirect['devices']) or 'nowhere'} "
                f"to port {redirect['port']}, {redirect['packets']} connections",
            )
        alone: dict[str, list[str]] = {}
        for item in client.get("left_alone", ()):
            alone.setdefault(item["because"], []).append(f"{item['interface']} ({item['what']})")
        for because, whose in alone.items():
            yield "not redirected", f"{', '.join(whose)}, by {because}"
    if server:
        yield (
            "server",
            f"port {server['port']}, {server['clients']} clients with "
            f"{server['connections']} connections",
        )
    if engine:
        running = ", ".join(
            f"{p['name']} {'pid ' + str(p['pid']) if p['running'] else 'not running'}"
            for p in engine["processes"]
        )
        yield "engine", f"{engine['name']} {engine['version']} ({running or 'not started'})"
    small = [
        f"{wan['name']} {path['mtu']} bytes to {path['address']}"
        for wan in document["wans"]
        for path in wan["health"]["paths"]
        if path["mtu"]
    ]
    if small:
        yield "packets", f"larger ones are lost on the way: {', '.join(small)}"
    mptcp = document["mptcp"]
    yield "MPTCP", f"{mptcp['connections']} connections, {mptcp['fallbacks']} fell back to TCP"


def check(document: Document, paint: Painter) -> Iterator[str]:
    rows = document["checks"]
    width = max((len(r["name"]) for r in rows), default=0)
    for row in rows:
        result = paint(row["result"].ljust(7), row["result"])
        yield f"{result}  {row['name'].ljust(width)}  {row['message']}"
        if row["hint"]:
            yield f"{'':7}  {'':{width}}  {paint('-> ' + row['hint'], 'dim')}"


def plan(document: Document, paint: Painter) -> Iterator[str]:
    for change in document["changes"]:
        for line in change["text"].splitlines():
            yield paint(line, "green" if line.startswith("+") else "red")
    if not document["changes"]:
        yield "nothing to change"
    for problem in document["problems"]:
        yield paint(f"! {problem}", "yellow")
