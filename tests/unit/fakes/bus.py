# SPDX-License-Identifier: GPL-2.0-or-later
"""ubusd with rpcd, netifd and procd behind it, as far as the agent asks them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterable, Mapping
from typing import Any

from unit.examples import Sections, values

from mptcp_agent.core.network import Interface
from mptcp_agent.core.ubus import Reply
from mptcp_agent.errors import BusError
from mptcp_agent.system.ubus.bus import Bus, Handler, Listener

from .kernel import FakeKernel


class FakeBus(Bus):
    """``away`` holds objects whose daemon is not there; ``up`` False is no ubusd at all (``die``
    and ``rise``). ``procd`` says what runs. ``called`` and ``sent`` remember; what procd is told
    and the events are lines of ``journal``, too.
    """

    def __init__(
        self,
        sections: Sections | None = None,
        interfaces: Iterable[Interface] = (),
        procd: FakeProcd | None = None,
        journal: list[str] | None = None,
    ) -> None:
        super().__init__()
        self.journal: list[str] = [] if journal is None else journal
        self.packages: dict[str, Sections] = {} if sections is None else {"mptcp-proxy": sections}
        self.uncommitted: dict[str, Sections] = {}
        """Packages as they would be with what waits."""
        self.interfaces = tuple(interfaces)
        self.procd = procd or FakeProcd()
        self.away: set[str] = set()
        self.up = True
        self.called: list[tuple[str, str, Mapping[str, object]]] = []
        self.sent: list[tuple[str, Mapping[str, object]]] = []
        self.handlers: dict[str, Mapping[str, Handler]] = {}
        self._listeners: list[tuple[tuple[str, ...], Listener]] = []
        self._inbox: list[tuple[str, Reply]] = []
        self._descriptor: int | None = None

    # What happens on the bus

    def emit(self, event: str, **data: Any) -> None:
        """Somebody sends an event."""
        if self._descriptor is not None:
            self._inbox.append((event, data))
            os.eventfd_write(self._descriptor, 1)

    def die(self) -> None:
        """ubusd ends: nothing is raised, the descriptor stays readable."""
        self.up = False
        if self._descriptor is not None:
            os.eventfd_write(self._descriptor, 1)

    def rise(self) -> None:
        self.up = True

    # As Bus

    @property
    def connected(self) -> bool:
        return self._descriptor is not None

    def fileno(self) -> int:
        if self._descriptor is None:
            raise BusError("not connected to ubusd")
        return self._descriptor

    def connect(self) -> None:
        if not self.up:
            raise BusError("ubusd does not answer (Failed to connect): is it running?")
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK)

    def disconnect(self, *, orderly: bool = True) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None
        self.handlers, self._listeners, self._inbox = {}, [], []

    def alive(self) -> bool:
        return self.connected and self.up

    def dispatch(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fileno())
        while self._inbox:
            event, data = self._inbox.pop(0)
            for patterns, listener in self._listeners:
                if event in patterns:
                    listener(event, data)

    def call(self, object_: str, method: str, arguments: Mapping[str, object]) -> Reply:
        if not self.connected:
            raise BusError(f"{object_} {method}: not connected to ubusd")
        self.called.append((object_, method, arguments))
        try:
            if object_ in self.away or not self.up:
                raise BusError(f"Object '{object_}' was not found.")
            return self._answer(object_, method, arguments)
        except BusError as error:
            raise BusError(f"ubus call {object_} {method}: {error}") from error
        finally:
            self.dispatch()

    def publish(self, name: str, handlers: Mapping[str, Handler]) -> None:
        self.handlers = {**self.handlers, name: handlers, f"luci.{name}": handlers}

    def listen(self, events: Iterable[str], listener: Listener) -> None:
        self._listeners.append((tuple(events), listener))

    def send(self, event: str, data: Mapping[str, object]) -> None:
        if self.connected:
            self.sent.append((event, dict(data)))
            what = f"{data.get('name', '')} {data.get('state', '')}".strip()
            self.journal.append(f"event {event.rpartition('.')[2]} {what}")

    # The daemons

    def _answer(self, object_: str, method: str, arguments: Mapping[str, object]) -> Reply:
        match object_, method:
            case "uci", "configs":
                return {"configs": sorted(self.packages)}
            case "uci", "get":
                package = str(arguments["config"])
                if package not in self.packages:
                    raise BusError("ubus error occured: Not found")
                # As rpcd: whoever has no session of their own sees what waits.
                committed = "ubus_rpc_session" in arguments
                there = self.packages if committed else {**self.packages, **self.uncommitted}
                return {"values": values(there[package])}
            case "uci", "changes":
                waits = str(arguments["config"]) in self.uncommitted
                return {"changes": [["set", "client", "enabled", "0"]] if waits else []}
            case "session", _:
                return {"ubus_rpc_session": "f00d"} if method == "create" else {}
            case "network.interface", "dump":
                return {"interface": [_netifd(i) for i in self.interfaces]}
            case "service", _:
                answer = self.procd.answer(method, arguments)
                if method != "list":
                    told: Any = arguments.get("instances") or [arguments.get("instance", "")]
                    self.journal.append(f"procd {method} {' '.join(sorted(told))}".strip())
                return answer
        raise BusError(f"Object '{object_}' was not found.")


def _netifd(interface: Interface) -> dict[str, object]:
    found: dict[str, object] = {
        "interface": interface.name,
        "up": interface.up,
        "proto": interface.proto,
        "route": [{"target": _zero(g), "mask": 0, "nexthop": g} for g in interface.gateways],
    }
    if interface.device:
        found["l3_device"] = found["device"] = interface.device
    for kind, six in (("ipv4-address", False), ("ipv6-address", True)):
        pairs = [a.split("/") for a in interface.addresses if (":" in a) == six]
        found[kind] = [{"address": address, "mask": int(mask)} for address, mask in pairs]
    return found


def _zero(address: str) -> str:
    return "::" if ":" in address else "0.0.0.0"


class FakeProcd:
    """Runs instances: a changed one gets another pid, one that ends is started again after
    ``RESPAWN`` seconds. ``kernel`` is told of starts and ends; ``ports`` says on which port an
    instance listens while it runs, ``delay`` after how many seconds; ``refuses`` why it takes no
    others."""

    RESPAWN = 1.0

    def __init__(
        self,
        kernel: FakeKernel | None = None,
        ports: Mapping[str, int] | None = None,
        delay: float = 0.0,
    ) -> None:
        self.services: dict[str, dict[str, dict[str, Any]]] = {}
        self.pids: dict[tuple[str, str], int] = {}
        self.signals: list[tuple[str, int]] = []
        self._kernel = kernel
        self._ports = ports or {}
        self.delay = delay
        self.refuses = ""
        self._last_pid = 4000

    def answer(self, method: str, arguments: Mapping[str, object]) -> Reply:
        name = str(arguments.get("name", ""))
        if method == "list":
            chosen = {name} if name else set(self.services)
            return {s: self._listed(s) for s in sorted(chosen & self.services.keys())}
        if method == "set":
            if self.refuses:
                raise BusError(self.refuses)
            instances: Any = arguments.get("instances", {})
            before = self.services.get(name, {})
            for gone in [i for i, data in before.items() if instances.get(i) != data]:
                self._stop(name, gone)
            self.services[name] = dict(instances)
            for instance in instances:
                if (name, instance) not in self.pids:
                    self._start(name, instance)
            return {}
        if name not in self.services:
            raise BusError("ubus error occured: Not found")
        if method == "delete":
            for instance in list(self.services[name]):
                self._stop(name, instance)
            del self.services[name]
        elif method == "signal":
            instance, number = str(arguments["instance"]), arguments["signal"]
            if (name, instance) not in self.pids:
                raise BusError("ubus error occured: Not found")
            assert isinstance(number, int)
            self.signals.append((instance, number))
            self.end(name, instance)
        return {}

    def end(self, service: str, instance: str) -> None:
        """A process ends by itself; it comes back."""
        self._stop(service, instance)
        again = asyncio.get_running_loop().call_later
        again(self.RESPAWN, self._start, service, instance)

    def _listed(self, service: str) -> Reply:
        def of(name: str, data: dict[str, Any]) -> dict[str, Any]:
            pid = self.pids.get((service, name))
            shown: dict[str, Any] = {"running": pid is not None}
            shown |= {k: data[k] for k in ("command", "env", "data") if k in data}
            return shown | ({"pid": pid} if pid else {})

        return {"instances": {n: of(n, data) for n, data in self.services[service].items()}}

    def _start(self, service: str, instance: str) -> None:
        if instance not in self.services.get(service, {}) or (service, instance) in self.pids:
            return
        self._last_pid += 1
        pid = self.pids[service, instance] = self._last_pid
        if self._kernel:
            self._kernel.processes.add(pid)
            if port := self._ports.get(instance):
                listen = asyncio.get_running_loop().call_later
                listen(self.delay, self._listen, pid, port)

    def _listen(self, pid: int, port: int) -> None:
        if self._kernel and pid in self._kernel.processes:
            self._kernel.listening.add(port)

    def _stop(self, service: str, instance: str) -> None:
        pid = self.pids.pop((service, instance), None)
        if self._kernel and pid:
            self._kernel.listening.discard(self._ports.get(instance, 0))
            self._kernel.end(pid)
