# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading what the kernel says in files: four system calls, where Python's own ``open`` makes
ten. Some are read several times a second, for as long as the router runs."""

from __future__ import annotations

import os

_SIZE = 1 << 16


def read(path: str | os.PathLike[str]) -> str:
    """The whole file; what is not ASCII is replaced. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, _SIZE):
            parts.append(part)
    finally:
        os.close(descriptor)
    return b"".join(parts).decode("ascii", "replace")
