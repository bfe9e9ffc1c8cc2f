# SPDX-License-Identifier: GPL-2.0-or-later
"""procd for the lab: `python -m openwrt.procd` serves the `service` object.

Source: `procd/service/service.c`, `trigger.c`.  Processes run as children of this one, in its
namespaces; one with a jail is the child of ujail, where there is one (`ujail.py`).  Left out:
seccomp, cgroups, watchdogs, validators, containers.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from . import daemon, instance, triggers
from .broker import DEFAULT_SOCKET
from .jail import UJAIL
from .peer import Method, Peer, Refused, Reply, background
from .process import ENVIRONMENT, Instance, Surroundings
from .triggers import Trigger
from .wire import Json, Status, Type

log = logging.getLogger(__name__)

Arguments = dict[str, Json]

_OBJECT = "service"
_S, _T, _A, _I, _B = Type.STRING, Type.TABLE, Type.ARRAY, Type.INT32, Type.BOOL
_SET = {
    "name": _S, "script": _S, "instances": _T, "triggers": _A, "validate": _A, "autostart": _B,
    "data": _T,
}  # fmt: skip


@dataclass
class Service:
    name: str
    autostart: bool = True
    deleted: bool = False
    instances: dict[str, Instance] = field(default_factory=dict)
    data: Mapping[str, Json] = field(default_factory=dict)
    rules: Json = None
    unseen: set[str] = field(default_factory=set)
    """Instances that `update_complete` ends unless an `add` names them before."""


class Procd:
    def __init__(self, peer: Peer, surroundings: Surroundings) -> None:
        self._peer = peer
        self._surroundings = surroundings
        self._services: dict[str, Service] = {}
        self._pending: dict[tuple[str, ...], asyncio.TimerHandle] = {}
        self._scripts = asyncio.Lock()
        peer.publish(_OBJECT, self._methods())

    def _methods(self) -> dict[str, Method]:
        return {
            "set": Method(lambda given: self._set(given, add=False), _SET),
            "add": Method(lambda given: self._set(given, add=True), _SET),
            "list": Method(self._list, {"name": _S, "verbose": _B}),
            "delete": Method(self._delete, {"name": _S, "instance": _S}),
            "signal": Method(self._signal, {"name": _S, "instance": _S, "signal": _I}),
            "update_start": Method(self._update_start, {"name": _S}),
            "update_complete": Method(self._update_complete, {"name": _S}),
            "event": Method(self._event, {"type": _S, "data": _T}),
            "validate": Method(lambda _: {}, {"package": _S, "type": _S, "service": _S}),
            "get_data": Method(self._get_data, {"name": _S, "instance": _S, "type": _S}),
            "set_data": Method(self._set_data, {"name": _S, "instance": _S, "data": _T}),
            "state": Method(self._state, {"spawn": _B, "name": _S}),
        }

    # -- services --------------------------------------------------------------------------

    def _set(self, given: Arguments, add: bool) -> Reply:
        """`set` replaces the instances of a service, `add` leaves those not named alone."""
        name = given.get("name")
        if not isinstance(name, str):
            raise Refused(Status.INVALID_ARGUMENT)
        service = self._services.get(name)
        new = service is None
        if service is None:
            service = self._services[name] = Service(name)
        service.autostart = given.get("autostart", service.autostart) is True
        if "triggers" in given:
            service.rules = given["triggers"]
        instances = given.get("instances")
        if isinstance(instances, dict):
            for key, config in instances.items():
                if isinstance(config, dict):
                    self._set_instance(service, key, config)
            for key in [] if add else [key for key in service.instances if key not in instances]:
                service.instances[key].stop(forget=True)
            self._trigger("instance.update", {})
        data = given.get("data")
        if isinstance(data, dict):
            service.data = dict(sorted(data.items()))
        service.deleted = False
        self._services = dict(sorted(self._services.items()))
        if new:
            self._peer.notify(_OBJECT, "service.start", {"service": name})
        return None

    def _set_instance(self, service: Service, key: str, given: Mapping[str, Json]) -> None:
        config = instance.parse(given, self._surroundings.ujail)
        known = service.instances.get(key)
        service.unseen.discard(key)
        if known is not None:
            known.update(config)
            return

        def tell(event: str, each: Instance) -> None:
            told: dict[str, Json] = {"service": service.name, "instance": each.name}
            if event in ("instance.respawn", "instance.fail"):
                told |= {"pid": each.pid, "exit_code": each.exit_code}
                told |= {"respawn_count": each.respawn_count}
                told["command"] = list(each.config.command)
            self._peer.notify(_OBJECT, event, told)

        def gone(each: Instance) -> None:
            if service.instances.get(each.name) is each:
                del service.instances[each.name]
            self._forget(service)

        def write(line: str) -> None:
            log.info("%s: %s", service.name, line)

        made = Instance(key, config, tell, gone, write, self._surroundings)
        service.instances[key] = made
        service.instances = dict(sorted(service.instances.items()))
        if service.autostart:
            made.start()

    def _update_start(self, given: Arguments) -> Reply:
        if not isinstance(given.get("name"), str):
            raise Refused(Status.INVALID_ARGUMENT)
        service = self._find(given)
        service.unseen = set(service.instances)
        return None

    def _update_complete(self, given: Arguments) -> Reply:
        if not isinstance(given.get("name"), str):
            raise Refused(Status.INVALID_ARGUMENT)
        service = self._find(given)
        for key in service.unseen & set(service.instances):
            service.instances[key].stop(forget=True)
        service.unseen = set()
        return None

    def _delete(self, given: Arguments) -> Reply:
        service = self._find(given)
        key = given.get("instance")
        if isinstance(key, str):
            if key not in service.instances:
                raise Refused(Status.NOT_FOUND)
            service.instances[key].stop(forget=True)
            return None
        service.deleted = True
        service.data = {}
        for each in list(service.instances.values()):
            each.stop(forget=True)
        self._forget(service)
        return None

    def _forget(self, service: Service) -> None:
        """A deleted service is listed until its last process has ended."""
        if service.deleted and not service.instances and service.name in self._services:
            del self._services[service.name]
            self._peer.notify(_OBJECT, "service.stop", {"service": service.name})

    def _find(self, given: Arguments) -> Service:
        service = self._services.get(str(given.get("name", "")))
        if service is None:
            raise Refused(Status.NOT_FOUND)
        return service

    def _list(self, given: Arguments) -> Reply:
        verbose = given.get("verbose") is True
        listed: dict[str, Json] = {}
        for name, service in self._services.items():
            if given.get("name", name) != name:
                continue
            shown: dict[str, Json] = {} if service.autostart else {"autostart": False}
            if service.data:
                shown["data"] = dict(service.data)
            valid = {key: each for key, each in service.instances.items() if each.config.valid}
            if service.instances:
                shown["instances"] = {key: _dump(each, verbose) for key, each in valid.items()}
            if verbose and service.rules:
                shown["triggers"] = service.rules
            listed[name] = shown
        return listed

    def _signal(self, given: Arguments) -> Reply:
        service = self._find(given)
        number, key = given.get("signal", 1), given.get("instance")
        chosen = list(service.instances.values())
        if isinstance(key, str):
            if key not in service.instances:
                raise Refused(Status.NOT_FOUND)
            chosen = [service.instances[key]]
        results = [isinstance(number, int) and each.signal(number) for each in chosen]
        if results and not results[-1]:
            raise Refused(Status.NOT_FOUND)
        return None

    def _state(self, given: Arguments) -> Reply:
        spawn = given.get("spawn")
        if not isinstance(spawn, bool):
            raise Refused(Status.INVALID_ARGUMENT)
        for each in list(self._find(given).instances.values()):
            if spawn and not each.running:
                each.start()
            elif each.running and not spawn:
                each.stop(forget=False)
        return None

    def _get_data(self, given: Arguments) -> Reply:
        listed: dict[str, Json] = {}
        kind = given.get("type")
        for name, service in self._services.items():
            if given.get("name", name) != name:
                continue
            parts = {"*": service.data} | {
                key: each.config.data
                for key, each in service.instances.items()
                if given.get("instance", key) == key
            }
            chosen: dict[str, Json] = {}
            for key, data in parts.items():
                shown = {k: v for k, v in data.items() if kind in (None, k)}
                if shown:
                    chosen[key] = shown
            if chosen:
                listed[name] = chosen
        return listed

    def _set_data(self, given: Arguments) -> Reply:
        data = given.get("data")
        if not isinstance(given.get("name"), str) or not isinstance(data, dict):
            raise Refused(Status.INVALID_ARGUMENT)
        service = self._find(given)
        key = given.get("instance")
        if isinstance(key, str):
            if key not in service.instances:
                raise Refused(Status.NOT_FOUND)
            service.instances[key].set_data(data)
        else:
            service.data = dict(sorted(data.items()))
        return None

    # -- triggers --------------------------------------------------------------------------

    def _event(self, given: Arguments) -> Reply:
        kind, data = given.get("type"), given.get("data")
        if not isinstance(kind, str) or not isinstance(data, dict):
            raise Refused(Status.INVALID_ARGUMENT)
        self._trigger(kind, data)
        self._peer.notify(_OBJECT, "event.trigger", {"type": kind, "data": data})
        if kind == "config.change" and isinstance(data.get("package"), str):
            self._peer.notify(_OBJECT, "config.change", {"config": data["package"]})
        return None

    def _triggers(self) -> Iterator[Trigger]:
        for service in self._services.values():
            yield from triggers.parse(service.rules)
            for each in service.instances.values():
                yield from triggers.parse(each.config.triggers)

    def _trigger(self, event: str, data: Mapping[str, Json]) -> None:
        """The same command line asked for again within its delay runs once."""
        for trigger in self._triggers():
            if not trigger.matches(event):
                continue
            for command in triggers.commands(trigger, data):
                if command in self._pending:
                    self._pending[command].cancel()
                loop = asyncio.get_running_loop()
                delay = max(trigger.delay, 1) / 1000
                self._pending[command] = loop.call_later(delay, self._run, command)

    def _run(self, command: tuple[str, ...]) -> None:
        del self._pending[command]
        background(self._run_script(command))

    async def _run_script(self, command: tuple[str, ...]) -> None:
        null = asyncio.subprocess.DEVNULL
        async with self._scripts:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command, stdin=null, stdout=null, stderr=null, env=ENVIRONMENT
                )
            except OSError as error:
                log.error("trigger: %s", error)
                return
            await process.wait()

    # -- end -------------------------------------------------------------------------------

    async def stop(self) -> None:
        """End every process, as procd does at shutdown."""
        for service in list(self._services.values()):
            service.deleted = True
            for each in list(service.instances.values()):
                each.stop(forget=True)
        while any(service.instances for service in self._services.values()):
            await asyncio.sleep(0.05)


def _dump(each: Instance, verbose: bool) -> dict[str, Json]:
    shown = each.dump()
    if verbose and each.config.triggers:
        shown["triggers"] = each.config.triggers
    return shown


async def _run(options: argparse.Namespace) -> None:
    peer = Peer(options.socket)
    socket = "" if options.socket == DEFAULT_SOCKET else str(options.socket)
    procd = Procd(peer, Surroundings(not options.keep_children, options.ujail, socket))
    await daemon.run(peer, options)
    if not options.keep_children:
        await procd.stop()


def main() -> None:
    parser = daemon.parser("openwrt.procd", "procd for the lab; log on stderr")
    parser.add_argument(
        "--keep-children", action="store_true", help="services outlive this process"
    )
    parser.add_argument("--ujail", default=UJAIL, help="the program; need not exist")
    asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
