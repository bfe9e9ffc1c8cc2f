# SPDX-License-Identifier: GPL-2.0-or-later
"""What a check is made of: rows, and what was asked for them alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Result = Literal["ok", "warning", "failed"]
Row = dict[str, str]


def row(name: str, result: Result, message: str, hint: str = "") -> Row:
    return {"name": name, "result": result, "message": message, "hint": hint}


@dataclass(frozen=True)
class Asked:
    """What costs too much, or changes too seldom, to be in every snapshot."""

    agent: bool = True
    """Whether one runs."""
    installed: tuple[str, ...] = ()
    """Engines of which a program is there, tried or not."""
    network: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Committed sections of the package network."""
    first_takers: tuple[str, ...] = ()
    """Chains of others that take the LAN's connections before ours."""
