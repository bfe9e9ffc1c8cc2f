# SPDX-License-Identifier: GPL-2.0-or-later
"""netifd for the lab: `python -m openwrt.netifd` makes the namespace what UCI says, and tells.

Source: `netifd/ubus.c`, `interface.c`, `interface-event.c`.  It configures the interfaces of
/etc/config/network (see interface.py for what it knows), follows the kernel, sends
`network.interface {action, interface}` and notifies subscribers.  Left out: other protocols,
prefix delegation, rules (of `ip4table`, too), device settings but bridges.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from . import addressing, daemon, interface, rtnl
from .interface import Interface
from .peer import Method, Peer, Refused, Reply, background
from .ucifile import Package, UciError
from .ucistore import CONFDIR, NotFound, Store
from .wire import Json, Status, Type

Arguments = dict[str, Json]

_DEVICE = {"name": Type.STRING, "link-ext": Type.BOOL, "vlan": Type.ARRAY}
_OBJECT = "network.interface"


class Netifd:
    def __init__(self, peer: Peer, confdir: Path) -> None:
        self._peer = peer
        self._store = Store(confdir)
        self._interfaces: dict[str, Interface] = {}

        peer.publish("network", self._network_methods())
        peer.publish(_OBJECT, self._methods(None))

    def start(self) -> None:
        self.reload()
        rtnl.watch(self.look)

    # -- configuration ---------------------------------------------------------------------

    def reload(self) -> None:
        """Read the configuration again; an interface whose section changed goes down and up."""
        package = self._load()
        self._make_bridges(package)
        configs = interface.parse(package)
        for name, known in list(self._interfaces.items()):
            if name not in configs:
                self._set_down(known)
                self._peer.withdraw(f"{_OBJECT}.{name}")
                del self._interfaces[name]
            elif configs[name] != known.config:
                self._set_down(known)
                self._interfaces[name] = Interface(configs[name], autostart=configs[name].auto)
        for name, config in configs.items():
            if name not in self._interfaces:
                self._interfaces[name] = Interface(config, autostart=config.auto)
                self._peer.publish(f"{_OBJECT}.{name}", self._methods(name))
        self._interfaces = dict(sorted(self._interfaces.items()))
        self.look()

    def _load(self) -> Package:
        try:
            return self._store.load("network")
        except NotFound:
            return Package("network")
        except UciError as error:
            rtnl.log.error("network: %s", error)
            return Package("network")

    @staticmethod
    def _make_bridges(package: Package) -> None:
        there = rtnl.links()
        for section in package.sections.values():
            if section.type != "device" or section.options.get("type") != "bridge":
                continue
            name, ports = str(section.options.get("name", "")), section.options.get("ports", [])
            if not name:
                continue
            if name not in there:
                rtnl.ip("link", "add", name, "type", "bridge")
            for port in ports.split() if isinstance(ports, str) else ports:
                if port in there:
                    rtnl.ip("link", "set", port, "master", name, "up")

    # -- state -----------------------------------------------------------------------------

    def look(self) -> None:
        """Compare every interface with the kernel and do what follows."""
        links = rtnl.links()
        for each in self._interfaces.values():
            was_available, addresses = each.available, each.external
            each.observe(links.get(each.config.device))
            if each.available and not was_available and each.autostart:
                rtnl.ip("link", "set", each.config.device, "up")  # carrier comes as an event
            if each.should_be_up and not each.up:
                self._set_up(each)
            elif each.up and not each.should_be_up:
                self._set_down(each, twice=not each.available)
            elif each.up and each.external != addresses:
                self._tell(each, "interface.update")

    def _set_up(self, each: Interface) -> None:
        rtnl.ip_all(addressing.up(each.config))
        each.up, each.since = True, time.monotonic()
        self._peer.event(_OBJECT, {"action": "ifup", "interface": each.config.name})
        self._tell(each, "interface.update")

    def _set_down(self, each: Interface, twice: bool = True) -> None:
        """netifd tells it twice unless it was the carrier."""
        if not each.up:
            return
        each.up = False
        if each.config.device in rtnl.links():
            rtnl.ip_all(addressing.down(each.config))
        for _ in range(1 + twice):
            self._peer.event(_OBJECT, {"action": "ifdown", "interface": each.config.name})
            self._tell(each, "interface.down")

    def _tell(self, each: Interface, what: str) -> None:
        told: dict[str, Json] = {"interface": each.config.name, **each.status(time.monotonic())}
        self._peer.notify(_OBJECT, what, told)
        self._peer.notify(f"{_OBJECT}.{each.config.name}", what, told)
        event: dict[str, Json] = {"type": what, "data": {"interface": each.config.name}}
        background(self._peer.call("service", "event", event))

    def stop(self) -> None:
        for each in self._interfaces.values():
            each.autostart = False  # a look that is still due shall not set it up again
            self._set_down(each)

    # -- methods ---------------------------------------------------------------------------

    def _network_methods(self) -> dict[str, Method]:
        def reload(_: Arguments) -> Reply:
            self.reload()
            return None

        return {"restart": Method(reload), "reload": Method(reload)}

    def _methods(self, name: str | None) -> dict[str, Method]:
        """Of one interface, or (None) of `network.interface`, where `interface` names it."""

        def on(do: Callable[[Interface], Reply]) -> Method:
            def call(arguments: Arguments) -> Reply:
                wanted = arguments.get("interface") if name is None else name
                if not isinstance(wanted, str):
                    raise Refused(Status.INVALID_ARGUMENT)
                if wanted not in self._interfaces:
                    raise Refused(Status.NOT_FOUND)
                return do(self._interfaces[wanted])

            return Method(call, accepts={"interface": Type.STRING} if name is None else {})

        def refuse(_: Interface) -> Reply:
            raise Refused(Status.NOT_SUPPORTED)

        return {
            "up": on(self._up),
            "down": on(self._down),
            "renew": on(self._renew),
            "restart": on(self._restart),
            "status": on(lambda each: each.status(time.monotonic())),
            "prepare": on(lambda each: {}),
            "dump": Method(self._dump),
            "add_device": Method(on(refuse).handler, _DEVICE),
            "remove_device": Method(on(refuse).handler, _DEVICE),
            "notify_proto": on(refuse),
            "remove": on(refuse),
            "set_data": on(refuse),
        }

    def _dump(self, _: Arguments) -> Reply:
        now = time.monotonic()
        return {
            "interface": [
                {"interface": name, **each.status(now)} for name, each in self._interfaces.items()
            ]
        }

    def _up(self, each: Interface) -> Reply:
        each.autostart, each.available = True, False  # look again as if the device were new
        self.look()
        return None

    def _down(self, each: Interface) -> Reply:
        each.autostart = False
        self._set_down(each)
        return None

    def _renew(self, each: Interface) -> Reply:
        return None

    def _restart(self, each: Interface) -> Reply:
        self._down(each)
        return self._up(each)


async def _run(options: argparse.Namespace) -> None:
    peer = Peer(options.socket)
    netifd = Netifd(peer, options.config)
    await daemon.run(peer, options, netifd.start)
    netifd.stop()


def main() -> None:
    parser = daemon.parser("openwrt.netifd", "netifd for the lab")
    parser.add_argument("-c", dest="config", type=Path, default=CONFDIR)
    asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
