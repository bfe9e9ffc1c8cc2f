# SPDX-License-Identifier: GPL-2.0-or-later
"""What the demo says: numbered steps, findings, documents. Knows nothing of routers."""

from __future__ import annotations

import textwrap

from lab.draw import WIDTH, Screen, compact


class Show(Screen):
    def __init__(self) -> None:
        super().__init__()
        self.problems: list[str] = []
        self._steps = 0

    def title(self, text: str) -> None:
        self.line(self.style(text, "title"))

    def step(self, text: str) -> None:
        self._steps += 1
        self.line()
        self.title(f"{self._steps}  {text}")

    def good(self, text: str) -> None:
        self.line(f"  {self.style('✓', 'good')} {text}")

    def problem(self, text: str) -> None:
        """Say what is not as it should be, and remember it for the exit code."""
        self.problems.append(text)
        self.line(f"  {self.style('✗', 'bad')} {text}")

    def aside(self, text: str) -> None:
        for line in textwrap.wrap(text, WIDTH - 2):
            self.line(self.style(f"  {line}", "dim"))

    def document(self, command: str, value: object) -> None:
        """Show a JSON document that `command` gave."""
        self.line(f"  {self.style(command, 'bold')}")
        for line in compact(value, WIDTH, "  "):
            self.line(self.style(line, "dim"))
