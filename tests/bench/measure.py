# SPDX-License-Identifier: GPL-2.0-or-later
"""A figure: its repeats, the peers measured beside it, and what it is held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Literal, Self

Better = Literal["higher", "lower"]

NEVER = 1e9
"""A value that stands for "not within the time watched"; JSON has no infinity."""


@dataclass
class Measure:
    """`limit` is the ceiling of what is better higher, the bound of what is better lower.

    The aim is reached when value / limit is at least (higher) or at most (lower) `aim`.
    """

    name: str
    unit: str
    better: Better
    values: list[float] = field(default_factory=list)
    peers: dict[str, list[float]] = field(default_factory=dict)
    limit: float | None = None
    aim: float = 1.0

    @property
    def value(self) -> float:
        return median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        return min(self.values), max(self.values)

    @property
    def ratio(self) -> float | None:
        """The median as a share of the limit."""
        return self.value / self.limit if self.limit else None

    @property
    def reached(self) -> bool | None:
        """Whether the aim is reached; None where there is none."""
        if self.ratio is None:
            return None
        return self.ratio >= self.aim if self.better == "higher" else self.ratio <= self.aim

    def entry(self) -> dict[str, object]:
        """The figure as build/bench.json has it."""
        return {
            "name": self.name,
            "value": round(self.value, 4),
            "unit": self.unit,
            "better": self.better,
            "peers": {name: round(median(each), 4) for name, each in self.peers.items() if each},
            "ratio_to_limit": None if self.ratio is None else round(self.ratio, 4),
        }

    def document(self) -> dict[str, Any]:
        """Everything, for a later rendering."""
        return asdict(self)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        return cls(**document)
