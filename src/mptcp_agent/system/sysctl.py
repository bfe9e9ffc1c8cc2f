# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel parameters below /proc/sys.

A key is written with dots (``net.mptcp.enabled``), or with slashes where a device name has
dots itself (``net/ipv4/conf/eth0.2/rp_filter``), as sysctl(8) accepts both.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import KernelError
from . import procfs

_ROOT = Path("/proc/sys")


def read(key: str) -> str | None:
    """The value with its fields separated by single spaces; None where the key is absent."""
    try:
        return " ".join(procfs.read(_path(key)).split())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise KernelError(f"sysctl {key}: {error.strerror}") from error


def write(key: str, value: str) -> None:
    """Set the value and read it back: some parameters are clamped without a word."""
    try:
        _path(key).write_text(value + "\n", "ascii")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise KernelError(f"sysctl {key}: this kernel does not have it") from error
    except OSError as error:
        raise KernelError(
            f"sysctl {key}: the kernel refuses the value {value} ({error.strerror})"
        ) from error
    kept = read(key)
    if kept != " ".join(value.split()):
        raise KernelError(f"sysctl {key}: wrote {value}, but the kernel keeps {kept}")


def _path(key: str) -> Path:
    parts = key.split("/") if "/" in key else key.split(".")
    if not all(parts) or any(part in (".", "..") for part in parts):
        raise KernelError(f"sysctl {key!r} is not the name of a kernel parameter")
    return _ROOT.joinpath(*parts)
