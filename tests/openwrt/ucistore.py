# SPDX-License-Identifier: GPL-2.0-or-later
"""UCI directories: configuration files, and changes saved beside them until they are committed.

Source: `uci/delta.c`, `uci/list.c`, `uci/file.c`.  A change is one line in SAVEDIR/PACKAGE, in
libuci's own form, so that the `uci` command and the `uci` ubus object see each other's changes.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import ucifile
from .ucifile import Package, Section, UciError

CONFDIR = Path("/etc/config")

SAVEDIR = Path("/var/run/.uci")
"""libuci's is /tmp/.uci; in the lab /tmp belongs to all routers, /var/run to one."""


class NotFound(Exception):
    """No such package, section or option (UCI_ERR_NOTFOUND)."""

    def __str__(self) -> str:
        return "Entry not found"


class Invalid(Exception):
    """A name or value that UCI does not have (UCI_ERR_INVAL)."""

    def __str__(self) -> str:
        return "Invalid argument"


_PREFIX = {"add": "+", "remove": "-", "rename": "@", "order": "^", "list-add": "|", "list-del": "~"}
_COMMAND = {prefix: command for command, prefix in _PREFIX.items()}


@dataclass(frozen=True)
class Change:
    """One edit; `command` in the words of the `uci` ubus object's `changes`."""

    command: str
    section: str
    option: str | None = None
    value: str | None = None

    def line(self, package: str) -> str:
        option = "" if self.option is None else f".{self.option}"
        value = "" if self.value is None else f"={ucifile.quote(self.value)}"
        return f"{_PREFIX.get(self.command, '')}{package}.{self.section}{option}{value}\n"

    @staticmethod
    def parse(text: str) -> Change:
        command = _COMMAND.get(text[:1], "set")
        path, _, value = text.removeprefix(_PREFIX.get(command, "")).partition("=")
        words = path.split(".")
        if not 2 <= len(words) <= 3 or ("=" not in text and command != "remove"):
            raise Invalid
        option = words[2] if len(words) == 3 else None
        return Change(command, words[1], option, value if "=" in text else None)

    def apply(self, package: Package) -> bool:
        """Do it; False when it makes no difference, so that libuci does not save it.

        An empty value takes the option (or section) away.  Raises NotFound or Invalid, with the
        package as it was.
        """
        if self.command in ("add", "set") and self.option is None and self.value:
            return _set_section(package, self.section, self.value, self.command == "add")
        section = package.sections.get(self.section)
        if section is None:
            raise NotFound
        match self.command:
            case "set" if not self.value:
                _remove(package, section, self.option)
            case "set" | "list-add" | "list-del" if self.option is not None:
                return _edit_option(section, self.command, self.option, self.value or "")
            case "remove":
                _remove(package, section, self.option)
            case "rename":
                _rename(package, section, self.option, self.value or "")
            case "order":
                return _reorder(package, section, int(self.value or "0"))
            case _:
                raise Invalid
        return True


def record(package: Package, changes: list[Change]) -> list[Change]:
    """Apply the changes; those that are to be saved, in libuci's words."""
    saved = []
    for change in changes:
        if change.command == "set" and not change.value:
            change = Change("remove", change.section, change.option)
        if change.apply(package):
            saved.append(change)
    return saved


def _set_section(package: Package, name: str, kind: str, anonymous: bool) -> bool:
    if not ucifile.is_type(kind) or not ucifile.is_name(name):
        raise Invalid
    section = package.sections.get(name)
    if section is not None and section.type == kind:
        return False
    if section is None:
        section = package.add(kind, name)
    section.type, section.anonymous = kind, anonymous
    return True


def _edit_option(section: Section, command: str, option: str, value: str) -> bool:
    if not ucifile.is_name(option):
        raise Invalid
    old = section.options.get(option)
    if command == "list-add":
        section.append(option, value)
    elif command == "list-del":
        if not isinstance(old, list):
            return False
        section.options[option] = [item for item in old if item != value]
    elif old == value:
        return False
    else:
        section.options[option] = value
    return True


def _remove(package: Package, section: Section, option: str | None) -> None:
    if option is None:
        del package.sections[section.name]
    elif option in section.options:
        del section.options[option]
    else:
        raise NotFound


def _rename(package: Package, section: Section, option: str | None, name: str) -> None:
    if not ucifile.is_name(name):
        raise Invalid
    if option is None:
        old = section.name
        section.name, section.anonymous = name, False
        package.sections = {
            name if key == old else key: value for key, value in package.sections.items()
        }
    elif option in section.options:
        section.options = {
            name if key == option else key: value for key, value in section.options.items()
        }
    else:
        raise NotFound


def _reorder(package: Package, section: Section, position: int) -> bool:
    before = list(package.sections)
    others = [each for each in package.sections.values() if each is not section]
    others.insert(position, section)
    package.sections = {each.name: each for each in others}
    return list(package.sections) != before


def resolve(package: Package, name: str) -> str:
    """A section name; `@TYPE[INDEX]` counts sections of a type, from the end when negative."""
    if not name.startswith("@"):
        return name
    match = re.fullmatch(r"@([^\[]*)\[(-?\d+)\]", name)
    if match is None:
        raise Invalid
    kind, index = match.group(1), int(match.group(2))
    named = [each.name for each in package.sections.values() if kind in ("", each.type)]
    return named[index] if -len(named) <= index < len(named) else ""


class Store:
    """Reads and writes packages.  NotFound, Invalid and UciError as libuci would refuse."""

    def __init__(self, confdir: Path = CONFDIR, savedir: Path = SAVEDIR) -> None:
        self.confdir = confdir
        self.savedir = savedir

    def configs(self) -> list[str]:
        if not self.confdir.is_dir():
            raise NotFound
        names = sorted(each.name for each in self.confdir.iterdir() if each.is_file())
        return [name for name in names if ucifile.is_package(name)]

    def load(self, name: str) -> Package:
        """The file with the saved changes on top."""
        package = self._read(name)
        for change in self.changes(name):
            with contextlib.suppress(NotFound, Invalid, ValueError):  # as libuci: keep the others
                change.apply(package)
        return package

    def _read(self, name: str) -> Package:
        path = self.confdir / name
        if not ucifile.is_package(name) or not path.is_file():
            raise NotFound
        return ucifile.parse(name, path.read_text("utf-8", "surrogateescape"))

    def changes(self, name: str) -> list[Change]:
        """What was saved and not committed."""
        with contextlib.suppress(FileNotFoundError):
            text = (self.savedir / name).read_text("utf-8", "surrogateescape")
            return list(_parse_changes(text))
        return []

    def save(self, name: str, changes: list[Change]) -> None:
        if not changes:
            return
        self.savedir.mkdir(parents=True, exist_ok=True)
        with (self.savedir / name).open("a", encoding="utf-8", errors="surrogateescape") as file:
            file.writelines(change.line(name) for change in changes)

    def commit(self, name: str) -> None:
        """Write the file anew, keeping its mode, and forget the saved changes."""
        package = self.load(name)
        path = (self.confdir / name).resolve()
        text = ucifile.dump(package)
        handle, temporary = tempfile.mkstemp(prefix=f".{name}.uci-", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        os.chmod(temporary, path.stat().st_mode & 0o7777)  # noqa: PTH101
        Path(temporary).replace(path)
        (self.savedir / name).unlink(missing_ok=True)

    def revert(self, name: str, section: str | None = None, option: str | None = None) -> None:
        """Forget saved changes: all, or those of a section, or of one option of it."""
        kept = [
            change
            for change in self.changes(name)
            if section not in (None, change.section) or option not in (None, change.option)
        ]
        (self.savedir / name).unlink(missing_ok=True)
        self.save(name, kept)


def _parse_changes(text: str) -> Iterator[Change]:
    """One word per line, as the configuration files quote words; broken lines are left out."""
    with contextlib.suppress(UciError):
        for word in ucifile.words(text):
            with contextlib.suppress(Invalid):
                yield Change.parse(word)
