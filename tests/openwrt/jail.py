# SPDX-License-Identifier: GPL-2.0-or-later
"""An instance's jail, as `service set` describes it.

Source: `procd/service/instance.c`, instance_jail_parse().
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from .wire import Json

UJAIL = "/sbin/ujail"
"""Where procd looks for it. It comes with the package procd-ujail, which images for small flash
leave out; jailed services then run as any other."""

#: Name in the description -> ujail's option, in the order of the command line.
FLAGS = {
    "procfs": "-p", "sysfs": "-s", "ubus": "-u", "udebug": "-D", "log": "-l", "ronly": "-o",
    "netns": "-N", "userns": "-f", "cgroupsns": "-F", "console": "-y",
}  # fmt: skip


@dataclass(frozen=True)
class Jail:
    name: str = ""
    hostname: str = ""
    flags: frozenset[str] = frozenset()
    mount: Mapping[str, str] = field(default_factory=dict)
    """Path -> "1" where it may be written."""
    pidfile: str = ""
    required: bool = False
    """Without ujail the instance is invalid."""
    immediately: bool = False

    def words(self) -> Iterator[str]:
        """Its part of ujail's command line."""
        yield from (option for name, option in FLAGS.items() if name in self.flags)
        if self.immediately:
            yield "-i"
        if self.pidfile:
            yield from ("-P", self.pidfile)
        if self.required:
            yield "-E"

    def dump(self) -> dict[str, Json]:
        """As `service list` shows it."""
        shown: dict[str, Json] = {}
        if self.name:
            shown["name"] = self.name
        if self.hostname:
            shown["hostname"] = self.hostname
        for flag in FLAGS:
            if flag not in ("udebug", "console"):
                shown[flag] = flag in self.flags
        return {**shown, "console": False}


def parse(given: Mapping[str, Json]) -> Jail:
    """What is of the wrong type counts as not given."""

    def text(name: str) -> str:
        value = given.get(name)
        return value if isinstance(value, str) else ""

    mount = given.get("mount")
    if not isinstance(mount, dict):
        mount = {}
    return Jail(
        name=text("name"),
        hostname=text("hostname"),
        flags=frozenset(flag for flag in FLAGS if given.get(flag) is True),
        mount={path: str(mount[path]) for path in sorted(mount) if isinstance(mount[path], str)},
        pidfile=text("pidfile"),
        required=given.get("requirejail") is True,
        immediately=given.get("immediately") is True,
    )
