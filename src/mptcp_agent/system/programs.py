# SPDX-License-Identifier: GPL-2.0-or-later
"""Other programs: where they are, and the environment they are started with.

The agent needs nothing from its own environment. procd starts it in a jail that gives
``container=ujail`` and no PATH (procd jail/jail.c), and Python then looks into /bin and /usr/bin
only, where OpenWrt has neither nft nor ip.
"""

from __future__ import annotations

import os
import shutil

#: Where programs are, in the order in which OpenWrt's own PATH has them (base-files, /etc/profile).
PLACES = ("/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin")


def path(places: tuple[str, ...] = PLACES) -> str:
    """A PATH: what the caller has of one, then the usual places."""
    given = (folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder)
    return os.pathsep.join(dict.fromkeys((*given, *places)))


def find(program: str, places: tuple[str, ...] = PLACES) -> str | None:
    """The full path of a program that can be run; None where there is none. A name with a slash
    is looked at as it is."""
    return shutil.which(program, path=path(places))


def environment(**more: str) -> dict[str, str]:
    """For a program the agent starts: its own with a PATH, and what is given."""
    return {**os.environ, "PATH": path(), **more}
