# SPDX-License-Identifier: GPL-2.0-or-later
"""UCI files as text: what a person would write into /etc/config."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Value = str | int | list[str]


@dataclass
class Section:
    """One section. A string becomes an `option`, a list of strings one `list` line each."""

    kind: str
    name: str = ""
    options: dict[str, Value] = field(default_factory=dict)

    def __str__(self) -> str:
        head = f"config {self.kind}" + (f" '{self.name}'" if self.name else "")
        return "\n".join([head, *self._lines(), ""])

    def _lines(self) -> Iterable[str]:
        for key, value in self.options.items():
            if isinstance(value, list):
                yield from (f"\tlist {key} {quote(item)}" for item in value)
            else:
                yield f"\toption {key} {quote(str(value))}"


class Package:
    """One file of /etc/config, to be changed before it is written.

    >>> package["client"].options["when_down"] = "block"
    """

    def __init__(self, sections: Iterable[Section] = ()) -> None:
        self.sections = list(sections)

    def __getitem__(self, name: str) -> Section:
        return next(section for section in self.sections if section.name == name)

    def add(self, section: Section) -> None:
        self.sections.append(section)

    def update(self, changes: Mapping[str, Mapping[str, Value]]) -> None:
        """Set options by section name: `{"client": {"timeout": "60"}}`."""
        for name, options in changes.items():
            self[name].options.update(options)

    def __str__(self) -> str:
        return "\n".join(map(str, self.sections))


def quote(value: str) -> str:
    """Quote a value as uci itself does, so that anything survives."""
    return "'" + value.replace("'", "'\\''") + "'"
