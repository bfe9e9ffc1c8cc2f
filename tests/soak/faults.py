# SPDX-License-Identifier: GPL-2.0-or-later
"""What may happen to a router. Each fault breaks something when it is entered, and mends it (where
the agent is not the one to mend it) when it is left."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from e2e.support import ask, pids, reconfigure
from lab.router import Router
from lab.topology import FIREWALL_NFT, Network
from lab.wire import Wire
from toolkit.stopping import paused
from toolkit.waiting import wait_until


@dataclass
class Scene:
    """The routers, and the chance of one fault: which link, which router, how."""

    net: Network
    random: random.Random

    def router(self) -> Router:
        return self.random.choice(self.net.routers)

    def link(self) -> tuple[str, Wire]:
        number = self.random.randrange(len(self.net.wires))
        return f"wan{number + 1}", self.net.wires[number]


Work = Callable[[Scene], AbstractContextManager[None]]


@dataclass(frozen=True)
class Fault:
    """``bound`` is the longest that the LAN may be without Internet, in seconds, on a machine
    that others use as well; ``ends`` why running connections cannot be kept, "" where they can.

    ``bound`` counts from the end of the fault where it leaves nothing to go out by (``dark``).
    ``parts`` are what it touches: two faults at once touch different ones. ``hold`` is how long
    it lasts.
    """

    name: str
    work: Work
    bound: float
    parts: frozenset[str]
    ends: str = ""
    dark: bool = False
    hold: tuple[float, float] = (0.5, 4.0)


FAULTS: list[Fault] = []


def fault(
    name: str,
    bound: float,
    *parts: str,
    ends: str = "",
    dark: bool = False,
    hold: tuple[float, float] = (0.5, 4.0),
) -> Callable[[Callable[[Scene], Iterator[None]]], None]:
    def add(work: Callable[[Scene], Iterator[None]]) -> None:
        made = contextlib.contextmanager(work)
        FAULTS.append(Fault(name, made, bound, frozenset(parts), ends, dark, hold))

    return add


# --- Links -------------------------------------------------------------------------------------


@fault("link silent", 3, "links")
def silent(scene: Scene) -> Iterator[None]:
    _, wire = scene.link()
    wire.blackhole(True)
    yield
    wire.blackhole(False)


@fault("link silent one way", 3, "links")
def one_way(scene: Scene) -> Iterator[None]:
    _, wire = scene.link()
    way = scene.random.choice(("up", "down"))
    wire.blackhole(True, "up" if way == "up" else "down")
    yield
    wire.blackhole(False)


@fault("link unplugged", 3, "links")
def unplugged(scene: Scene) -> Iterator[None]:
    """At either router, or in the middle of the cable."""
    _, wire = scene.link()
    end = scene.random.choice("abx")
    wire.carrier(False, "a" if end == "a" else "b" if end == "b" else "both")
    yield
    wire.carrier(True, "both")


@fault("link switched off", 3, "links")
def switched_off(scene: Scene) -> Iterator[None]:
    name, _ = scene.link()
    scene.net.client.ip("link", "set", name, "down")
    yield
    _ifup(scene, name)


@fault("addresses lost", 3, "links")
def addresses_lost(scene: Scene) -> Iterator[None]:
    name, _ = scene.link()
    scene.net.client.ip("address", "flush", "dev", name, "scope", "global")
    yield
    _ifup(scene, name)


@fault("interface down", 3, "links")
def interface_down(scene: Scene) -> Iterator[None]:
    name, _ = scene.link()
    _tell_netifd(scene, "down", name)
    yield
    _tell_netifd(scene, "up", name)


@fault("link flaps at 10 Hz", 4, "links", hold=(0, 0.5))
def flaps(scene: Scene) -> Iterator[None]:
    _, wire = scene.link()
    for _ in range(scene.random.randrange(10, 30)):
        wire.carrier(False)
        time.sleep(0.05)
        wire.carrier(True)
        time.sleep(0.05)
    yield


@fault("address changes", 3, "links", hold=(1, 3))
def address_changes(scene: Scene) -> Iterator[None]:
    name, _ = scene.link()
    net = scene.net
    before = net.client.path("/etc/config/network").read_text()
    own = net.wan(int(name.removeprefix("wan"))).of(4)
    other = own.replace(".78", ".79")
    reconfigure(net.client, before.replace(f"'{own}'", f"'{other}'"), "network")
    yield
    reconfigure(net.client, before, "network")


@fault("all links silent", 4, "links", dark=True, hold=(0.5, 3))
def all_silent(scene: Scene) -> Iterator[None]:
    for wire in scene.net.wires:
        wire.blackhole(True)
    yield
    for wire in scene.net.wires:
        wire.blackhole(False)


@fault("all links unplugged", 4, "links", dark=True, hold=(0.5, 3))
def all_unplugged(scene: Scene) -> Iterator[None]:
    for wire in scene.net.wires:
        wire.carrier(False)
    yield
    for wire in scene.net.wires:
        wire.carrier(True)


def _ifup(scene: Scene, name: str) -> None:
    for method in ("down", "up"):
        _tell_netifd(scene, method, name)


def _tell_netifd(scene: Scene, method: str, name: str) -> None:
    """Where ubusd was just killed as well, netifd needs a moment until it can be asked again."""

    def told() -> bool:
        return "error" not in ask(scene.net.client, method, "network.interface", interface=name)

    wait_until(told, 10, f"netifd takes {name} {method}")


# --- The agent and what it lives on ------------------------------------------------------------


@fault("agent killed", 1.5, "agent", "ubus", hold=(0.1, 3))
def agent_killed(scene: Scene) -> Iterator[None]:
    router = scene.router()
    router.kill_agent()
    yield
    router.start_agent(timeout=30)


@fault("agent paused", 1.5, "agent", hold=(1, 4))
def agent_paused(scene: Scene) -> Iterator[None]:
    with paused(scene.router().agent_pid):
        yield


@fault("ubusd killed", 1.5, "ubus", hold=(0.1, 3))
def ubusd_killed(scene: Scene) -> Iterator[None]:
    router = scene.router()
    pid = broker_pid(router)
    os.kill(pid, signal.SIGKILL)
    yield
    wait_until(lambda: broker_pid(router) in (0, pid), 5, "its end")
    router.popen(str(router.python), "-m", "openwrt.broker", log=router.log("broker"))


def broker_pid(router: Router) -> int:
    """The ubusd now running on a router; 0 = none."""
    for pid in router.pids():
        with contextlib.suppress(OSError):
            if b"openwrt.broker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
    return 0


@fault("/var full", 1.5, "var")
def var_full(scene: Scene) -> Iterator[None]:
    router = scene.router()
    router.run("dd", "if=/dev/zero", "of=/var/run/filler", "bs=4k", check=False)
    yield
    router.path("/var/run/filler").unlink()


@fault("ruleset replaced", 1.5, "firewall", hold=(0, 1))
def replaced(scene: Scene) -> Iterator[None]:
    """`flush ruleset` and somebody's own rules in one transaction: NAT goes on meanwhile."""
    router = scene.router()
    rules = FIREWALL_NFT.format(masquerade="")
    router.run("nft", "-f", "-", stdin=f"flush ruleset\n{rules}")
    yield


@fault(
    "ruleset flushed",
    1.5,
    "firewall",
    ends="the kernel forgets where redirected connections go, before anybody can act",
    hold=(0, 1),
)
def flushed(scene: Scene) -> Iterator[None]:
    router = scene.router()
    router.run("nft", "flush", "ruleset")
    yield
    router.run("nft", "-f", "-", stdin=FIREWALL_NFT.format(masquerade=""))


# --- The proxies -------------------------------------------------------------------------------

_GONE = "their proxy is gone"


@fault("redirector killed", 3, "proxy", ends=_GONE, hold=(0, 0.5))
def redirector_killed(scene: Scene) -> Iterator[None]:
    os.kill(pids(scene.net.client)["client"], signal.SIGKILL)
    yield


@fault("redirector hangs", 6, "proxy", ends=_GONE, hold=(6, 9))
def redirector_hangs(scene: Scene) -> Iterator[None]:
    with paused(pids(scene.net.client)["client"]):
        yield


@fault("server killed", 5, "proxy", ends=_GONE, hold=(0, 0.5))
def server_killed(scene: Scene) -> Iterator[None]:
    os.kill(pids(scene.net.server)["server"], signal.SIGKILL)
    yield


@fault("server hangs", 7, "proxy", hold=(2, 8))
def server_hangs(scene: Scene) -> Iterator[None]:
    """Its connections go on when it does."""
    with paused(pids(scene.net.server)["server"]):
        yield
