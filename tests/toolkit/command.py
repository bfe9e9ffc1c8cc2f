# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands that make what a test stands on."""

from __future__ import annotations

import subprocess


class LabError(Exception):
    """The lab itself could not do what was asked (not: the thing under test)."""


def tool(*argv: str, stdin: str | None = None) -> str:
    """Run a command of the lab's own and return its output; its complaint is the error's text."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise LabError(f"{' '.join(argv)}: {done.stderr.strip() or done.returncode}")
    return done.stdout
