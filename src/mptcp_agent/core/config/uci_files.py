# SPDX-License-Identifier: GPL-2.0-or-later
"""What is to be said of uci's files themselves: one that cannot be read, changes that wait."""

from __future__ import annotations

from collections.abc import Iterable

from ..problem import Problem, Severity
from .options import Schema

#: Of many changes so many are told.
SHOWN = 6

#: As ``uci changes`` has them (uci cli.c); a removed thing has no value.
_OPERATORS = {"list-add": "+=", "list-del": "-="}


def secrets(schema: Schema) -> frozenset[str]:
    """The options whose values are told nobody."""
    return frozenset(
        name
        for kind in schema["$defs"].values()
        for name, rule in kind.get("properties", {}).items()
        if "x-secret" in rule
    )


def unreadable(package: str, complaint: str, severity: Severity = "error") -> Problem:
    return Problem(
        package,
        f"/etc/config/{package}: {complaint}",
        f"mend it there, until `uci show {package}` is content; the agent keeps to what it read "
        "before",
        severity,
    )


def uncommitted(
    package: str, changes: Iterable[tuple[str, ...]], hidden: frozenset[str]
) -> tuple[Problem, ...]:
    """``changes`` are those of rpcd's ``uci changes``."""
    lines = [_line(package, change, hidden) for change in changes]
    if not lines:
        return ()
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    one = len(lines) == 1
    return (
        Problem(
            package,
            f"{len(lines)} change{' is' if one else 's are'} not committed, and not in force: "
            f"{', '.join(lines[:SHOWN])}{more}",
            f"uci commit {package}; or, to forget {'it' if one else 'them'}, uci revert {package}",
            "warning",
        ),
    )


def _line(package: str, change: tuple[str, ...], hidden: frozenset[str]) -> str:
    """One change as ``uci changes`` prints it."""
    command, *words = change
    has_value = command != "remove"
    path = ".".join([package, *(words[:-1] if has_value else words)])
    if not has_value:
        return f"-{path}"
    secret = len(words) == 3 and words[1] in hidden
    value = "(hidden)" if secret else f"'{words[-1]}'" if words else "''"
    return f"{path}{_OPERATORS.get(command, '=')}{value}"
