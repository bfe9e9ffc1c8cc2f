"""The `uci` ubus object as rpcd serves it: `python -m openwrt.uci`.

Source: `rpcd/uci.c`.  Left out: sessions (who passes `ubus_rpc_session` gets the changes of that
session, and is let in), and with them the rollback of `apply`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from . import daemon, ucifile
from .peer import Method, Peer, Refused, Reply, background
from .ucifile import Package, Section, UciError, Value
from .ucistore import CONFDIR, SAVEDIR, Change, Invalid, NotFound, Store, record, resolve
from .wire import Json, Status, Type

Arguments = dict[str, Json]
Handler = Callable[[Arguments], Reply]

_S, _T, _A = Type.STRING, Type.TABLE, Type.ARRAY
_GET = {"config": _S, "section": _S, "option": _S, "type": _S, "match": _T, "ubus_rpc_session": _S}
_ADD = {"config": _S, "type": _S, "name": _S, "values": _T, "ubus_rpc_session": _S}
_SET = {
    "config": _S, "section": _S, "type": _S, "match": _T, "values": _T, "ubus_rpc_session": _S,
}  # fmt: skip
_DELETE = {
    "config": _S, "section": _S, "type": _S, "match": _T, "option": _S, "options": _A,
    "ubus_rpc_session": _S,
}  # fmt: skip
_RENAME = {"config": _S, "section": _S, "option": _S, "name": _S, "ubus_rpc_session": _S}
_ORDER = {"config": _S, "sections": _A, "ubus_rpc_session": _S}
_CONFIG = {"config": _S, "ubus_rpc_session": _S}
_APPLY = {"rollback": Type.BOOL, "timeout": Type.INT32, "ubus_rpc_session": _S}
_SESSION = {"ubus_rpc_session": _S}


class UciObject:
    """The methods.  `on_commit` is told the package of each commit."""

    def __init__(self, confdir: Path, savedir: Path, on_commit: Callable[[str], None]) -> None:
        self._confdir = confdir
        self._savedir = savedir
        self._on_commit = on_commit

    def methods(self) -> dict[str, Method]:
        table: dict[str, tuple[Handler, Mapping[str, Type]]] = {
            "configs": (self._configs, {}),
            "get": (self._get, _GET),
            "state": (self._get, _GET),
            "add": (self._add, _ADD),
            "set": (self._set, _SET),
            "delete": (self._delete, _DELETE),
            "rename": (self._rename, _RENAME),
            "order": (self._order, _ORDER),
            "changes": (self._changes, _CONFIG),
            "revert": (self._revert, _CONFIG),
            "commit": (self._commit, _CONFIG),
            "apply": (self._apply, _APPLY),
            "confirm": (self._confirm, _SESSION),
            "rollback": (self._rollback, _SESSION),
            "reload_config": (lambda _: None, {}),
        }
        return {name: Method(_guarded(do), policy) for name, (do, policy) in table.items()}

    def _store(self, arguments: Arguments) -> Store:
        session = arguments.get("ubus_rpc_session")
        if session is None:
            return Store(self._confdir, self._savedir)
        return Store(self._confdir, self._savedir.with_name(f"rpcd-uci-{session}"))

    # -- reading ---------------------------------------------------------------------------

    def _configs(self, arguments: Arguments) -> Reply:
        return {"configs": self._store(arguments).configs()}

    def _get(self, arguments: Arguments) -> Reply:
        package = self._store(arguments).load(_need(arguments, "config"))
        name, option = arguments.get("section"), arguments.get("option")
        if not isinstance(name, str):
            found = enumerate(package.sections.values())
            return {
                "values": {
                    section.name: _section(section, index)
                    for index, section in found
                    if _matches(section, arguments)
                }
            }
        section = _section_of(package, name)
        if section is None:
            return None  # and status 0: rpcd forgets that nothing was found
        if not isinstance(option, str):
            return {"values": _section(section)}
        if option not in section.options:
            return None
        return {"value": section.options[option]}

    def _changes(self, arguments: Arguments) -> Reply:
        store = self._store(arguments)
        if "config" in arguments:
            name = _need(arguments, "config")
            store.load(name)
            return {"changes": [_change(each) for each in store.changes(name)]}
        listed = {name: [_change(each) for each in store.changes(name)] for name in store.configs()}
        return {"changes": {name: changes for name, changes in listed.items() if changes}}

    # -- writing ---------------------------------------------------------------------------

    def _add(self, arguments: Arguments) -> Reply:
        config, kind = _need(arguments, "config"), _need(arguments, "type")
        name = arguments.get("name")
        if not re.fullmatch(r"[A-Za-z0-9_-]+", kind):
            raise Invalid
        if name is not None and not ucifile.is_name(str(name)):
            raise Invalid
        store = self._store(arguments)
        package = store.load(config)
        if name is None:
            section = package.add(kind).name
            changes = [Change("add", section, None, kind)]
        else:
            section = str(name)
            changes = record(package, [Change("set", section, None, kind)])
        values = arguments.get("values")
        if isinstance(values, Mapping):
            for option, value in values.items():
                changes += _assign(package, section, option, value)
        store.save(config, changes)
        return {"section": section}

    def _set(self, arguments: Arguments) -> Reply:
        config, values = _need(arguments, "config"), arguments.get("values")
        if not isinstance(values, Mapping):
            raise Invalid
        store = self._store(arguments)
        package = store.load(config)
        changes: list[Change] = []
        chosen = _choose(package, arguments)
        for section in chosen:
            for option, value in values.items():
                changes += _assign(package, section.name, option, value)
        if not chosen:
            raise NotFound
        store.save(config, changes)
        return None

    def _delete(self, arguments: Arguments) -> Reply:
        config = _need(arguments, "config")
        store = self._store(arguments)
        package = store.load(config)
        options = arguments.get("options", arguments.get("option"))
        names = [options] if isinstance(options, str) else options
        changes: list[Change] = []
        done = False
        for section in _choose(package, arguments):
            if names is None:
                wanted = [Change("remove", section.name)]
            else:
                there = [str(name) for name in _list(names) if name in section.options]
                wanted = [Change("remove", section.name, name) for name in there]
            changes += record(package, wanted)
            done = bool(wanted)  # of several sections the last one decides, as in rpcd
        if not done:
            raise NotFound
        store.save(config, changes)
        return None

    def _rename(self, arguments: Arguments) -> Reply:
        config, section = _need(arguments, "config"), _need(arguments, "section")
        option, name = arguments.get("option"), _need(arguments, "name")
        if not ucifile.is_name(name):
            raise Invalid
        store = self._store(arguments)
        package = store.load(config)
        change = Change("rename", section, None if option is None else str(option), name)
        with contextlib.suppress(NotFound):  # status 0 all the same
            store.save(config, record(package, [change]))
        return None

    def _order(self, arguments: Arguments) -> Reply:
        config, sections = _need(arguments, "config"), arguments.get("sections")
        if not isinstance(sections, list) or not all(isinstance(each, str) for each in sections):
            raise Invalid
        store = self._store(arguments)
        package = store.load(config)
        changes = [Change("order", str(name), None, str(at)) for at, name in enumerate(sections)]
        store.save(config, record(package, changes))
        return None

    def _revert(self, arguments: Arguments) -> Reply:
        store, config = self._store(arguments), _need(arguments, "config")
        store.load(config)
        store.revert(config)
        return None

    def _commit(self, arguments: Arguments) -> Reply:
        config = _need(arguments, "config")
        self._store(arguments).commit(config)
        self._on_commit(config)
        return None

    def _apply(self, arguments: Arguments) -> Reply:
        _need(arguments, "ubus_rpc_session")
        store = self._store(arguments)
        changed = [name for name in store.configs() if store.changes(name)]
        if not changed:
            raise Refused(Status.NO_DATA)
        for name in changed:
            store.commit(name)
            self._on_commit(name)
        shutil.rmtree(store.savedir, ignore_errors=True)
        return None

    def _confirm(self, arguments: Arguments) -> Reply:
        _need(arguments, "ubus_rpc_session")
        raise Refused(Status.NO_DATA)  # nothing is ever waiting for it

    def _rollback(self, arguments: Arguments) -> Reply:
        raise Refused(Status.NO_DATA)


def _guarded(handler: Handler) -> Handler:
    """libuci's errors as rpc_uci_status() answers them."""

    def call(arguments: Arguments) -> Reply:
        try:
            return handler(arguments)
        except NotFound:
            raise Refused(Status.NOT_FOUND) from None
        except Invalid:
            raise Refused(Status.INVALID_ARGUMENT) from None
        except UciError:
            raise Refused(Status.UNKNOWN_ERROR) from None

    return call


def _need(arguments: Arguments, name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str):
        raise Invalid
    return value


def _section_of(package: Package, name: str) -> Section | None:
    with contextlib.suppress(Invalid):
        return package.sections.get(resolve(package, name))
    return None


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _choose(package: Package, arguments: Arguments) -> list[Section]:
    """The sections a `set` or `delete` is for."""
    name = arguments.get("section")
    if isinstance(name, str):
        section = package.sections.get(resolve(package, name))
        return [] if section is None else [section]
    if "type" not in arguments and "match" not in arguments:
        raise Invalid
    return [each for each in package.sections.values() if _matches(each, arguments)]


def _matches(section: Section, arguments: Arguments) -> bool:
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


def _assign(package: Package, section: str, option: str, value: Json) -> list[Change]:
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


def _section(section: Section, index: int | None = None) -> dict[str, Json]:
    shown: dict[str, Json] = {
        ".anonymous": section.anonymous,
        ".type": section.type,
        ".name": section.name,
    }
    if index is not None:
        shown[".index"] = index
    return shown | section.options


def _change(change: Change) -> list[Json]:
    shown: list[Json] = [change.command, change.section]
    if change.option is not None:
        shown.append(change.option)
    if change.value is not None:
        shown.append(int(change.value) if change.command == "order" else change.value)
    return shown


async def _run(options: argparse.Namespace) -> None:
    peer = Peer(options.socket)

    def on_commit(package: str) -> None:
        event: dict[str, Json] = {"type": "config.change", "data": {"package": package}}
        background(peer.call("service", "event", event))

    peer.publish("uci", UciObject(options.config, options.save, on_commit).methods())
    await daemon.run(peer, options)


def main() -> None:
    parser = daemon.parser("openwrt.uci", "the uci object of rpcd, for the lab")
    parser.add_argument("-c", dest="config", type=Path, default=CONFDIR)
    parser.add_argument("--save", type=Path, default=SAVEDIR)
    asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
