# SPDX-License-Identifier: GPL-2.0-or-later
"""How rpcd turns JSON into UCI changes and UCI sections into JSON.  Pure.

Source: `rpcd/uci.c`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from . import ucifile
from .ucifile import Package, Section, Value
from .ucistore import Change, Invalid, NotFound, record, resolve
from .wire import Json

Arguments = dict[str, Json]


def find(package: Package, name: str) -> Section | None:
    with contextlib.suppress(Invalid):
        return package.sections.get(resolve(package, name))
    return None


def choose(package: Package, arguments: Arguments) -> list[Section]:
    """The sections a `set` or `delete` is for."""
    name = arguments.get("section")
    if isinstance(name, str):
        section = package.sections.get(resolve(package, name))
        return [] if section is None else [section]
    if "type" not in arguments and "match" not in arguments:
        raise Invalid
    return [each for each in package.sections.values() if matches(each, arguments)]


def matches(section: Section, arguments: Arguments) -> bool:
    kind, match = arguments.get("type"), arguments.get("match")
    if kind is not None and kind != section.type:
        return False
    if not isinstance(match, Mapping):
        return True
    wanted = {name: _string(value) for name, value in match.items()}
    compared = [name for name, value in wanted.items() if value is not None]
    there = [name for name in compared if name in section.options]
    for name in there:
        value = section.options[name]
        if wanted[name] not in (value if isinstance(value, list) else value.split()):
            return False
    return bool(there) or not compared


def _string(value: Json) -> str | None:
    """Numbers and booleans as UCI text; None for what has none."""
    match value:
        case bool():
            return str(int(value))
        case int():
            return str(value % (1 << 32) if -(1 << 31) <= value < 1 << 31 else value % (1 << 64))
        case str():
            return value
        case _:
            return None


def assign(package: Package, section: str, option: str, value: Json) -> list[Change]:
    """The changes that give an option its value, done to `package` already."""
    if not ucifile.is_name(option):
        raise Invalid
    if section not in package.sections:
        raise NotFound
    old: Value | None = package.sections[section].options.get(option)
    changes: list[Change] = []
    if isinstance(value, list):
        if old is not None:
            changes.append(Change("remove", section, option))
        items = [text for item in value if (text := _string(item)) is not None]
        if not items:
            raise Invalid
        changes += [Change("list-add", section, option, item) for item in items]
    else:
        text = _string(value)
        if text is None:
            raise Invalid
        if isinstance(old, list):
            changes.append(Change("remove", section, option))
        if text or isinstance(old, str):
            changes.append(Change("set", section, option, text))
    return record(package, changes)


def show(section: Section, index: int | None = None) -> dict[str, Json]:
    shown: dict[str, Json] = {
        ".anonymous": section.anonymous,
        ".type": section.type,
        ".name": section.name,
    }
    if index is not None:
        shown[".index"] = index
    return shown | section.options


def show_change(change: Change) -> list[Json]:
    shown: list[Json] = [change.command, change.section]
    if change.option is not None:
        shown.append(change.option)
    if change.value is not None:
        shown.append(int(change.value) if change.command == "order" else change.value)
    return shown
