# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's own programs in C."""

from __future__ import annotations

import os
from pathlib import Path

from toolkit.command import tool

from lab.paths import BUILD


def compiled(name: str, *options: str) -> Path:
    """Return the compiled NAME.c, compiled now if it is missing or older than its source."""
    source = Path(__file__).with_name(f"{name}.c")
    binary = BUILD / "bin" / name
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        binary.parent.mkdir(parents=True, exist_ok=True)
        fresh = binary.with_name(f"{name}.{os.getpid()}")
        tool("gcc", "-O2", "-Wall", *options, "-o", str(fresh), str(source))
        fresh.rename(binary)
    return binary
