"""A router for the contract tests: the stand-ins in a network namespace, or a real one."""

from __future__ import annotations

import itertools
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from contract.tools import TESTS, Caller, real, wait_for
from openwrt import wire
from openwrt.libubus import Context, Published, Request

_numbers = itertools.count(1)

NETWORK = """
config interface 'loopback'
	option device 'lo'
	option proto 'static'
	list ipaddr '127.0.0.1/8'
"""


@dataclass
class Router:
    """`netns` holds its devices, `config` its UCI files, which it sees as `config_inside`."""

    kind: str
    netns: str
    config: Path
    config_inside: str
    socket: str = ""
    heard: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    @contextmanager
    def caller(self) -> Iterator[Caller]:
        with Caller.connect(self.socket) as connected:
            yield connected

    def ip(self, *words: str) -> str:
        command = ["ip", "-netns", self.netns, *words]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

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


class Ear:
    """Hears events, and notifications of the objects it is subscribed to."""

    def __init__(self, router: Router, pattern: str, *objects: str) -> None:
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

        wait_for(what, arrived, seconds)
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
def running(kind: str, network: str = NETWORK, devices: tuple[str, ...] = ()) -> Iterator[Router]:
    """A router with these files and these veths (the peer of X is X-far), all of them up."""
    assert os.geteuid() == 0, "these tests need root: network namespaces are made for real"
    netns = f"owrt-contract-{os.getpid()}-{next(_numbers)}"
    with tempfile.TemporaryDirectory(prefix="owrt-") as directory:
        config = Path(directory) / "config"
        config.mkdir()
        inside = "/etc/config" if kind == "real" else str(config)
        router = Router(kind, netns, config, inside)
        router.write("network", network)
        subprocess.run(["ip", "netns", "add", netns], check=True)
        try:
            router.ip("link", "set", "lo", "up")
            for device in devices:
                add_device(router, device)
            start = _real if kind == "real" else _stand_in
            with start(router, Path(directory)):
                yield router
        finally:
            subprocess.run(["ip", "netns", "delete", netns], check=True)


def add_device(router: Router, name: str) -> None:
    router.ip("link", "add", name, "type", "veth", "peer", "name", f"{name}-far")
    router.ip("link", "set", f"{name}-far", "up")


@contextmanager
def _stand_in(router: Router, directory: Path) -> Iterator[None]:
    router.socket = str(directory / "ubus.sock")
    command = ["ip", "netns", "exec", router.netns, sys.executable, "-m", "openwrt.router"]
    command += ["--log-dir", str(directory / "log"), "-s", router.socket]
    command += ["-c", str(router.config), "--save", str(directory / "save")]
    process = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(TESTS)}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def _real(router: Router, directory: Path) -> Iterator[None]:
    program = str(real("ROUTER"))
    command = [program, "start", router.netns, router.netns, str(router.config)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    router.socket = done.stdout.splitlines()[-1]
    try:
        with router.caller() as call:
            wait_for("netifd", lambda: call.context.lookup_id("network.interface")[0] == 0)
        yield
    finally:
        subprocess.run([program, "stop", router.netns], check=True, stdout=subprocess.DEVNULL)
