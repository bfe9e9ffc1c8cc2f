# SPDX-License-Identifier: GPL-2.0-or-later
"""The `uci` ubus object as rpcd serves it: `python -m openwrt.uci`.

Source: `rpcd/uci.c`.  Left out: the rollback of `apply`, and whether a session may apply.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from . import daemon, ucifile, ucivalues
from .peer import Method, Peer, Refused, Reply, background
from .session import Sessions
from .ucifile import UciError
from .ucistore import CONFDIR, SAVEDIR, Change, Invalid, NotFound, Store, record
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
        self.sessions = Sessions(
            lambda session: shutil.rmtree(self._savedir_of(session), ignore_errors=True)
        )

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
        return Store(self._confdir, self._savedir_of(str(session)))

    def _savedir_of(self, session: str) -> Path:
        return self._savedir.with_name(f"rpcd-uci-{session}")

    def _may(self, function: str, arguments: Arguments) -> None:
        """Who calls without a session may do everything."""
        session = arguments.get("ubus_rpc_session")
        package = arguments.get("config")
        if not isinstance(session, str) or not isinstance(package, str):
            return
        if not self.sessions.allows(session, "uci", package, function):
            raise Refused(Status.PERMISSION_DENIED)

    # -- reading ---------------------------------------------------------------------------

    def _configs(self, arguments: Arguments) -> Reply:
        return {"configs": self._store(arguments).configs()}

    def _get(self, arguments: Arguments) -> Reply:
        self._may("read", arguments)
        package = self._store(arguments).load(_need(arguments, "config"))
        name, option = arguments.get("section"), arguments.get("option")
        if not isinstance(name, str):
            found = enumerate(package.sections.values())
            return {
                "values": {
                    section.name: ucivalues.show(section, index)
                    for index, section in found
                    if ucivalues.matches(section, arguments)
                }
            }
        section = ucivalues.find(package, name)
        if section is None:
            return None  # and status 0: rpcd forgets that nothing was found
        if not isinstance(option, str):
            return {"values": ucivalues.show(section)}
        if option not in section.options:
            return None
        return {"value": section.options[option]}

    def _changes(self, arguments: Arguments) -> Reply:
        self._may("read", arguments)
        store = self._store(arguments)
        if "config" in arguments:
            name = _need(arguments, "config")
            store.load(name)
            return {"changes": [ucivalues.show_change(each) for each in store.changes(name)]}
        changed = {name: store.changes(name) for name in store.configs()}
        listed = {name: [*map(ucivalues.show_change, each)] for name, each in changed.items()}
        return {"changes": {name: changes for name, changes in listed.items() if changes}}

    # -- writing ---------------------------------------------------------------------------

    def _add(self, arguments: Arguments) -> Reply:
        self._may("write", arguments)
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
                changes += ucivalues.assign(package, section, option, value)
        store.save(config, changes)
        return {"section": section}

    def _set(self, arguments: Arguments) -> Reply:
        self._may("write", arguments)
        config, values = _need(arguments, "config"), arguments.get("values")
        if not isinstance(values, Mapping):
            raise Invalid
        store = self._store(arguments)
        package = store.load(config)
        changes: list[Change] = []
        chosen = ucivalues.choose(package, arguments)
        for section in chosen:
            for option, value in values.items():
                changes += ucivalues.assign(package, section.name, option, value)
        if not chosen:
            raise NotFound
        store.save(config, changes)
        return None

    def _delete(self, arguments: Arguments) -> Reply:
        self._may("write", arguments)
        config = _need(arguments, "config")
        store = self._store(arguments)
        package = store.load(config)
        options = arguments.get("options", arguments.get("option"))
        names = [options] if isinstance(options, str) else options
        changes: list[Change] = []
        done = False
        for section in ucivalues.choose(package, arguments):
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
        self._may("write", arguments)
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
        self._may("write", arguments)
        config, sections = _need(arguments, "config"), arguments.get("sections")
        if not isinstance(sections, list) or not all(isinstance(each, str) for each in sections):
            raise Invalid
        store = self._store(arguments)
        package = store.load(config)
        changes = [Change("order", str(name), None, str(at)) for at, name in enumerate(sections)]
        store.save(config, record(package, changes))
        return None

    def _revert(self, arguments: Arguments) -> Reply:
        self._may("write", arguments)
        store, config = self._store(arguments), _need(arguments, "config")
        store.load(config)
        store.revert(config)
        return None

    def _commit(self, arguments: Arguments) -> Reply:
        self._may("write", arguments)
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


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


async def _run(options: argparse.Namespace) -> None:
    peer = Peer(options.socket)

    def on_commit(package: str) -> None:
        event: dict[str, Json] = {"type": "config.change", "data": {"package": package}}
        background(peer.call("service", "event", event))

    uci = UciObject(options.config, options.save, on_commit)
    peer.publish("session", uci.sessions.methods())
    peer.publish("uci", uci.methods())
    await daemon.run(peer, options)


def main() -> None:
    parser = daemon.parser("openwrt.uci", "the uci object of rpcd, for the lab")
    parser.add_argument("-c", dest="config", type=Path, default=CONFDIR)
    parser.add_argument("--save", type=Path, default=SAVEDIR)
    asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
