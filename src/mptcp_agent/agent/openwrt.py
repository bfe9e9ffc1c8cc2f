# SPDX-License-Identifier: GPL-2.0-or-later
"""What OpenWrt's daemons say over ubus: configuration (rpcd), interfaces (netifd), processes
(procd). Who does not answer is believed to be as last heard of, and that is a problem."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from ..core.config import PACKAGE, Config, uci_files
from ..core.config.options import Schema
from ..core.network import Interface, netifd
from ..core.problem import Problem
from ..core.state import UBUS_PARTS, Part, Process
from ..errors import AgentError, BusError, ConfigError
from ..system.ubus import uci
from ..system.ubus.bus import Bus
from ..system.ubus.services import Running, Services
from .capabilities import read_config

log = logging.getLogger(__name__)

_OBJECTS = ("uci", "network.interface", "service")
#: Of uci's files those whose change is looked for: the firewall's, and what waits uncommitted.
_FILES = (
    f"{uci.CONFIG}/firewall",
    *(f"{uci.WAITING}/{package}" for package in (PACKAGE, "firewall")),
)


class Daemons:
    """The connection to ubus and what was heard over it. Used in the loop's thread only.

    ``request`` is called with the parts to look at again; ``connected`` after each (re)connect.
    """

    def __init__(
        self, bus: Bus, schema: Schema, request: Callable[..., None], connected: Callable[[], None]
    ) -> None:
        self.bus = bus
        self.services = Services(bus.call)
        self._schema = schema
        self._request = request
        self._connected = connected
        self._silent: dict[Part | None, Problem] = {}
        """By part; None is ubusd itself."""
        self._config_problems: tuple[Problem, ...] = ()
        self._files: object = None
        self.config: Config | None = None
        """None until uci has answered once, as are the next two."""
        self.interfaces: tuple[Interface, ...] | None = None
        self.running: tuple[Running, ...] | None = None
        self.instances: tuple[Process, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        return (*self._config_problems, *self._silent.values())

    # --- Connection ------------------------------------------------------------------------

    def connect(self) -> None:
        """Connect and register where that is not so already; quietly fails without ubusd."""
        if self.bus.connected:
            return
        try:
            self.bus.connect()
            self.bus.listen(("network.interface", "ubus.object.add"), self._on_event)
            self._connected()
        except BusError as error:
            self._silent[None] = Problem("ubus", str(error))
            self.bus.disconnect(orderly=False)
            return
        self._silent.pop(None, None)
        asyncio.get_running_loop().add_reader(self.bus.fileno(), self._readable)
        self._request(*UBUS_PARTS)
        log.info("registered on ubus")

    def disconnect(self, *, orderly: bool) -> None:
        if self.bus.connected:
            asyncio.get_running_loop().remove_reader(self.bus.fileno())
            self.bus.disconnect(orderly=orderly)

    def _readable(self) -> None:
        if self.bus.alive():
            self.bus.dispatch()
            return
        log.warning("ubusd is gone; the agent goes on, and registers again when it is back")
        self.disconnect(orderly=False)
        self._request(Part.SERVICES)

    def _on_event(self, event: str, data: Mapping[str, object]) -> None:
        if event == "network.interface":
            self._request(Part.INTERFACES)
        elif event == "ubus.object.add" and data.get("path") in _OBJECTS:
            self._request(*UBUS_PARTS)

    # --- Questions -------------------------------------------------------------------------

    def ask(self, parts: Iterable[Part]) -> None:
        """Ask for these parts."""
        for part, where, question, hint in (
            # Alone of the three it does not come back to the bus by itself after ubusd was killed.
            (Part.CONFIG, "uci", self._ask_uci, "service rpcd restart"),
            (Part.INTERFACES, "netifd", self._ask_netifd, "service network restart"),
            (Part.SERVICES, "procd", self._ask_procd, ""),
        ):
            if part in parts and self.bus.connected:
                try:
                    question()
                    self._silent.pop(part, None)
                except ConfigError as error:
                    self._silent[part] = uci_files.unreadable(error.package, error.complaint)
                except AgentError as error:
                    self._silent[part] = Problem(where, str(error), hint)

    def _ask_uci(self) -> None:
        self._files = uci.stamp(_FILES)
        self.config, self._config_problems = read_config(self.bus.call, self._schema)

    def files_changed(self) -> bool:
        """Whether uci's files are others than when they were read last. (A ``uci set``, ``uci
        revert`` or ``service firewall reload`` makes no event on the bus.)"""
        return self._files is not None and uci.stamp(_FILES) != self._files

    def _ask_netifd(self) -> None:
        self.interfaces = netifd.interfaces(self.bus.call("network.interface", "dump", {}))

    def _ask_procd(self) -> None:
        self.instances, self.running = self.services.observe()
