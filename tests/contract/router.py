# SPDX-License-Identifier: GPL-2.0-or-later
"""A router for the contract tests: the stand-ins in a network namespace, or a real one."""

from __future__ import annotations

import itertools
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from contract.tools import OPENWRT, TESTS, Caller, real
from openwrt import wire
from openwrt.libubus import Context, Published, Request
from toolkit.namespace import Namespace
from toolkit.stopping import end
from toolkit.waiting import wait_until

_numbers = itertools.count(1)

NETWORK = """
config interface 'loopback'
	option device 'lo'
	option proto 'static'
	list ipaddr '127.0.0.1/8'
"""


@dataclass
class ContractRouter:
    """Its devices, and `config` with its UCI files, which it sees as `config_inside`."""

    kind: str
    namespace: Namespace
    config: Path
    config_inside: str
    socket: str = ""
    heard: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    @contextmanager
    def caller(self) -> Iterator[Caller]:
        with Caller.connect(self.socket) as connected:
            yield connected

    def ip(self, *words: str) -> str:
        return self.namespace.ip(*words)

    def addresses(self, device: str) -> list[str]:
        """Addresses of a device, link-local ones left out."""
        found = json.loads(self.ip("-json", "address", "show", "dev", device))
        return [
            f"{each['local']}/{each['prefixlen']}"
            for each in found[0]["addr_info"]
            if each["scope"] != "link"
        ]

    def routes(self, *words: str) -> list[str]:
        lines = self.ip(*words, "route").splitlines()
        return sorted(" ".join(line.split()) for line in lines if "fe80" not in line)

    def write(self, name: str, text: str) -> None:
        (self.config / name).write_text(text)


@dataclass(frozen=True)
class RouterLinks:
    """What a router has besides loopback: its /etc/config/network and veths, all of them up.

    The peer of X is X-far. `ready` waits until what is configured stands.
    """

    network: str = NETWORK
    devices: tuple[str, ...] = ()
    ready: Callable[[ContractRouter], object] | None = None


NO_LINKS = RouterLinks()


class Ear:
    """Hears events, and notifications of the objects it is subscribed to."""

    def __init__(self, router: ContractRouter, pattern: str, *objects: str) -> None:
        self.context = Context(router.socket)
        self.heard: list[tuple[str, dict[str, object]]] = []
        receiver = Published(None, self._hear)
        assert self.context.register_event(receiver, pattern) == 0
        for path in objects:
            status, ident = self.context.lookup_id(path)
            assert status == 0 and self.context.subscribe(receiver, ident) == 0, path

    def _hear(self, request: Request) -> int:
        self.heard.append((request.method, dict(wire.table(request.data))))
        return 0

    def _drain(self) -> None:
        while self.context.has_pending or select.select([self.context.socket], [], [], 0)[0]:
            self.context.handle_events()

    def wait(self, what: str, *names: str, seconds: float = 5) -> list[dict[str, object]]:
        """The data of the messages heard so far, once there is one of each name."""

        def arrived() -> bool:
            self._drain()
            return {name for name, _ in self.heard} >= set(names)

        wait_until(arrived, seconds, what)
        return [data for name, data in self.heard if name in names]

    def actions(self) -> list[tuple[object, object]]:
        """(action, interface) of netifd's events so far, repetitions left out."""
        self._drain()
        found: list[tuple[object, object]] = []
        for name, data in self.heard:
            entry = (data.get("action"), data.get("interface"))
            if name == "network.interface" and (not found or found[-1] != entry):
                found.append(entry)
        return found


@contextmanager
def running(kind: str, links: RouterLinks = NO_LINKS) -> Iterator[ContractRouter]:
    """A router whose links are ready."""
    with (
        tempfile.TemporaryDirectory(prefix="owrt-") as directory,
        closing(Namespace(f"owrt-contract-{os.getpid()}-{next(_numbers)}")) as namespace,
    ):
        config = Path(directory) / "config"
        config.mkdir()
        inside = "/etc/config" if kind == "real" else str(config)
        router = ContractRouter(kind, namespace, config, inside)
        router.write("network", links.network)
        for device in links.devices:
            add_device(router, device)
        start = _real if kind == "real" else _stand_in
        with start(router, Path(directory)):
            if links.ready:
                links.ready(router)
            yield router


def add_device(router: ContractRouter, name: str) -> None:
    router.ip("link", "add", name, "type", "veth", "peer", "name", f"{name}-far")
    router.ip("link", "set", f"{name}-far", "up")


@contextmanager
def _stand_in(router: ContractRouter, directory: Path) -> Iterator[None]:
    router.socket = str(directory / "ubus.sock")
    command = ["ip", "netns", "exec", router.namespace.name]
    command += [sys.executable, "-m", "openwrt.router"]
    command += ["--log-dir", str(directory / "log"), "-s", router.socket]
    command += ["-c", str(router.config), "--save", str(directory / "save")]
    command += ["--ujail", str(OPENWRT / "bin" / "ujail")]
    process = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(TESTS)}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
    finally:
        end(process, signal.SIGTERM, 20)


@contextmanager
def _real(router: ContractRouter, directory: Path) -> Iterator[None]:
    program = str(real("ROUTER"))
    name = router.namespace.name
    command = [program, "start", name, name, str(router.config)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    router.socket = done.stdout.splitlines()[-1]
    try:
        with router.caller() as call:
            wait_until(lambda: call.context.lookup_id("network.interface")[0] == 0, 10, "netifd")
        yield
    finally:
        subprocess.run([program, "stop", name], check=True, stdout=subprocess.DEVNULL)
