# SPDX-License-Identifier: GPL-2.0-or-later
"""What the `uci` command does; `bin/uci` starts it.

Source: `uci/cli.c`.  Left out: batch, import, -C, -d, -p.
"""

from __future__ import annotations

import getopt
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import ucifile
from .ucifile import Package, Section, UciError, Value
from .ucistore import CONFDIR, SAVEDIR, Change, Invalid, NotFound, Store, record, resolve

_USAGE = """\
Usage: {} [<options>] <command> [<arguments>]

Commands:
	export     [<config>]
	changes    [<config>]
	commit     [<config>]
	add        <config> <section-type>
	add_list   <config>.<section>.<option>=<string>
	del_list   <config>.<section>.<option>=<string>
	show       [<config>[.<section>[.<option>]]]
	get        <config>.<section>[.<option>]
	set        <config>.<section>[.<option>]=<value>
	delete     <config>[.<section>[.<option>]]
	rename     <config>.<section>[.<option>]=<name>
	revert     <config>[.<section>[.<option>]]
	reorder    <config>.<section>=<position>

Options:
	-c <path>  set the search path for config files (default: /etc/config)
	-P <path>  add a search path for config change files and use as default
	-t <path>  set save path for config change files
	-n         name unnamed sections on export (default)
	-N         don't name unnamed sections
	-q         quiet mode (don't print error messages)
	-X         do not use extended syntax on 'show'

"""


class _Usage(Exception):
    pass


@dataclass
class _Shell:
    store: Store
    extended: bool = True
    name_all: bool = False


@dataclass(frozen=True)
class _Tuple:
    """`package.section.option=value`"""

    package: str
    section: str | None
    option: str | None
    value: str | None

    @staticmethod
    def parse(text: str) -> _Tuple:
        path, equals, value = text.partition("=")
        words: list[str | None] = list(path.split("."))
        if len(words) > 3 or not ucifile.is_package(str(words[0])):
            raise Invalid
        words += [None] * (3 - len(words))
        return _Tuple(str(words[0]), words[1], words[2], value if equals else None)


def _find(shell: _Shell, argument: str) -> tuple[_Tuple, Package, Section | None, Value | None]:
    """What the argument points at; NotFound where it points at nothing."""
    wanted = _Tuple.parse(argument)
    package = shell.store.load(wanted.package)
    if wanted.section is None:
        return wanted, package, None, None
    section = package.sections.get(resolve(package, wanted.section))
    if section is None:
        raise NotFound
    if wanted.option is None:
        return wanted, package, section, None
    if wanted.option not in section.options:
        raise NotFound
    return wanted, package, section, section.options[wanted.option]


def _get(shell: _Shell, arguments: list[str]) -> None:
    _, _, section, value = _find(shell, _only(arguments))
    if isinstance(value, list):
        print(" ".join(ucifile.quote(item) if item.split() != [item] else item for item in value))
    elif value is not None:
        print(value)
    elif section is not None:
        print(section.type)


def _show(shell: _Shell, arguments: list[str]) -> None:
    if not arguments:
        for name in shell.store.configs():
            _show(shell, [name])
        return
    wanted, package, section, value = _find(shell, _only(arguments))
    if section is None:
        for each, label in _labels(shell, package):
            _show_section(package.name, label, each)
    elif value is None:
        _show_section(package.name, section.name, section)
    else:
        print(f"{package.name}.{section.name}.{wanted.option}={_shown(value)}")


def _labels(shell: _Shell, package: Package) -> list[tuple[Section, str]]:
    """Anonymous sections are shown as @type[index]."""
    count: dict[str, int] = {}
    labelled = []
    for section in package.sections.values():
        index = count.get(section.type, 0)
        count[section.type] = index + 1
        extended = section.anonymous and shell.extended
        labelled.append((section, f"@{section.type}[{index}]" if extended else section.name))
    return labelled


def _show_section(package: str, label: str, section: Section) -> None:
    print(f"{package}.{label}={section.type}")
    for option, value in section.options.items():
        print(f"{package}.{label}.{option}={_shown(value)}")


def _shown(value: Value) -> str:
    items = value if isinstance(value, list) else [value]
    return " ".join(ucifile.quote(item) for item in items)


def _export(shell: _Shell, arguments: list[str]) -> None:
    for name in arguments or shell.store.configs():
        package = shell.store.load(name)
        sys.stdout.write(ucifile.dump(package, header=True, name_all=shell.name_all))


def _changes(shell: _Shell, arguments: list[str]) -> None:
    for name in arguments or shell.store.configs():
        for change in shell.store.changes(name):
            prefix = "-" if change.command == "remove" else ""
            option = "" if change.option is None else f".{change.option}"
            sign = {"list-add": "+=", "list-del": "-="}.get(change.command, "=")
            value = "" if change.value is None else sign + ucifile.quote(change.value)
            print(f"{prefix}{name}.{change.section}{option}{value}")


def _commit(shell: _Shell, arguments: list[str]) -> None:
    for name in arguments or shell.store.configs():
        shell.store.commit(name)


def _add(shell: _Shell, arguments: list[str]) -> None:
    if len(arguments) != 2:
        raise _Usage
    package = shell.store.load(arguments[0])
    if not ucifile.is_type(arguments[1]):
        raise Invalid
    section = package.add(arguments[1])
    shell.store.save(package.name, [Change("add", section.name, None, arguments[1])])
    print(section.name)


def _edit(command: str) -> Callable[[_Shell, list[str]], None]:
    def run(shell: _Shell, arguments: list[str]) -> None:
        wanted = _Tuple.parse(_only(arguments))
        package = shell.store.load(wanted.package)
        if wanted.section is None:
            raise Invalid
        section, option, value = resolve(package, wanted.section), wanted.option, wanted.value
        if command != "remove" and value is None:
            raise Invalid
        if command in ("list-add", "list-del") and option is None:
            raise Invalid
        known = package.sections.get(section)
        if command in ("set", "list-add", "list-del") and option is not None and known is None:
            raise Invalid
        there = known is not None and (option is None or option in known.options)
        if command == "set" and not value and not there:
            return  # nothing to take away
        change = Change(command, section, option, value)
        shell.store.save(package.name, record(package, [change]))

    return run


def _revert(shell: _Shell, arguments: list[str]) -> None:
    wanted = _Tuple.parse(_only(arguments))
    package = shell.store.load(wanted.package)
    section = None if wanted.section is None else resolve(package, wanted.section)
    shell.store.revert(wanted.package, section, wanted.option)


def _only(arguments: list[str]) -> str:
    if len(arguments) != 1:
        raise _Usage
    return arguments[0]


_COMMANDS: dict[str, Callable[[_Shell, list[str]], None]] = {
    "get": _get,
    "show": _show,
    "export": _export,
    "changes": _changes,
    "commit": _commit,
    "add": _add,
    "set": _edit("set"),
    "add_list": _edit("list-add"),
    "del_list": _edit("list-del"),
    "delete": _edit("remove"),
    "del": _edit("remove"),
    "rename": _edit("rename"),
    "ren": _edit("rename"),
    "reorder": _edit("order"),
    "revert": _revert,
}


def main(argv: list[str]) -> int:
    store, quiet = Store(CONFDIR, SAVEDIR), False
    shell = _Shell(store)
    try:
        flags, words = getopt.getopt(argv[1:], "c:nNP:qsSt:X")
    except getopt.GetoptError:
        print(_USAGE.format(argv[0]), file=sys.stderr, end="")
        return 0
    for flag, value in flags:
        if flag == "-c":
            store.confdir = Path(value)
        elif flag in ("-t", "-P"):
            store.savedir = Path(value)
        elif flag in ("-n", "-N"):
            shell.name_all = flag == "-n"
        elif flag == "-q":
            quiet = True
        elif flag == "-X":
            shell.extended = False
    command = _COMMANDS.get(words[0].lower()) if words else None
    try:
        if command is None:
            raise _Usage
        command(shell, words[1:])
    except _Usage:
        print(_USAGE.format(argv[0]), file=sys.stderr, end="")
        return 255 if words else 0
    except (NotFound, Invalid, UciError, OSError) as error:
        if not quiet:
            print(f"{argv[0]}: {error}", file=sys.stderr)
        return 1
    return 0
