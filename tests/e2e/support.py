# SPDX-License-Identifier: GPL-2.0-or-later
"""What the end-to-end tests have in common: a running set-up, and questions to ask of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from jsonschema import Draft202012Validator
from lab.bridge import bridge
from lab.paths import TOP
from lab.proxy import Proxy
from lab.router import Router
from lab.topology import Network
from lab.traffic import WAYS, TalkServer, Transfer, Way, start
from openwrt import wire
from openwrt.libubus import Context
from toolkit.command import LabError

RATE = 30
"""Of each link in Mbit/s: two of them leave most of a two-core machine to the programs."""

SIZE = 6_000_000
"""Bytes of a checked transfer: somewhat over a second on both links together."""

FAIR = 0.25
"""Least share of a transfer's frames that each of two equal links must have carried."""

SING_BOX = Proxy(engine="sing-box")
LIBEV = Proxy(engine="shadowsocks-libev", method="aes-128-gcm")

OPEN: list[Network] = []
"""Set-ups now running, for the report of a failed test."""

Builder = Callable[[Sequence[float], Proxy], Network]


@contextlib.contextmanager
def opened(proxy: Proxy = SING_BOX, build: Builder = bridge) -> Iterator[Network]:
    """Two routers with OpenWrt's daemons, and the far host serving; no agent runs yet."""
    with build((RATE, RATE), proxy) as net:
        OPEN.append(net)
        try:
            for router in net.routers:
                router.start_openwrt()
            TalkServer(net.server_host)
            yield net
        finally:
            OPEN.remove(net)


@contextlib.contextmanager
def running(proxy: Proxy = SING_BOX, build: Builder = bridge) -> Iterator[Network]:
    """The same with both agents active."""
    with opened(proxy, build) as net:
        start_agents(net)
        yield net


def start_agents(net: Network) -> None:
    for router in net.routers:
        router.start_agent()
    for router in net.routers:
        wait_state(router, "active")


# --- traffic ----------------------------------------------------------------------------------


def fetch(net: Network, size: int = 100_000, target: str = "") -> Transfer:
    """One download of the LAN host, every byte checked, over whatever way there is."""
    transfer = start(net.client_host, "get", target or net.target, size=size).result()
    assert transfer.ok, transfer.report.error
    return transfer


def shares(net: Network, what: Literal["get", "put"], target: str, mptcp: bool) -> list[float]:
    """Make one checked transfer; return the share of its frames' bytes that each link carried."""
    index = 1 if what == "get" else 0
    before = [wire.bytes()[index] for wire in net.wires]
    transfer = start(net.client_host, what, target, size=SIZE, mptcp=mptcp).result()
    assert transfer.ok, transfer.report.error
    assert transfer.report.bytes == SIZE
    carried = [w.bytes()[index] - b for w, b in zip(net.wires, before, strict=True)]
    assert sum(carried) > SIZE
    return [c / sum(carried) for c in carried]


def assert_bonded(
    net: Network, ways: Sequence[Way] = WAYS, target: str = "", mptcp: bool = False
) -> None:
    """One stream's bytes arrive unharmed, and both links carried them."""
    for way in ways:
        found = shares(net, "get" if way == "down" else "put", target or net.target, mptcp)
        assert min(found) > FAIR, f"{way}: the links carried {found}\n{mptcp_seen(net)}"


def mptcp_seen(net: Network) -> str:
    """What the kernels know of MPTCP, for the report of a failed test."""
    told = []
    for router in net.routers:
        counters = router.run("nstat", "-as").stdout.splitlines()
        told += [router.role, *(line for line in counters if line.startswith("MPTcpExt"))]
        told += [router.run("ss", "-tMnie", "state", "connected").stdout]
        told += [router.ip("mptcp", "endpoint"), router.ip("mptcp", "limits")]
    return "\n".join(told)


# --- the agent --------------------------------------------------------------------------------


def cli(router: Router, *arguments: str) -> tuple[int, str, str]:
    """Run `mptcp-agent ARGUMENTS`: exit code, stdout, stderr."""
    done = router.run("mptcp-agent", *arguments, check=False)
    return done.returncode, done.stdout, done.stderr


def ask(router: Router, method: str, object_: str = "mptcp_proxy", **given: Any) -> dict[str, Any]:
    """Call ubus as `Router.ubus` does, without a process for each question.

    {"error": why} where nobody answers or ubus itself reports an error.
    """
    answers: list[dict[str, Any]] = []
    try:
        context = Context(str(router.path("/var/run/ubus/ubus.sock")))
    except OSError as error:
        return {"error": str(error)}
    try:
        status, ident = context.lookup_id(object_)
        status = status or context.invoke(
            ident,
            method,
            wire.encode_table(given),
            lambda data: answers.append(wire.table(data)),
            10_000,
        )
    finally:
        context.close()
    return {"error": wire.status_text(status)} if status else (answers or [{}])[0]


def pids(router: Router) -> dict[str, int]:
    """The proxy processes by role, as the agent tells."""
    engine = ask(router, "status")["engine"] or {"processes": []}
    return {p["name"]: p["pid"] for p in engine["processes"] if p["running"]}


def problem(status: dict[str, Any], where: str) -> dict[str, str]:
    """The first problem of a part of the router; {} where there is none."""
    found: list[dict[str, str]] = status["problems"]
    return next((p for p in found if p["where"].startswith(where)), {})


def wan(status: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(w for w in status["wans"] if w["name"] == name)
    return found


def wait_status(
    router: Router, condition: Callable[[dict[str, Any]], object], what: str, timeout: float = 10
) -> dict[str, Any]:
    """Wait until the status is as wanted; return it."""
    last: dict[str, Any] = {}

    def reached() -> bool:
        last.clear()
        last.update(ask(router, "status"))
        return "error" not in last and bool(condition(last))

    try:
        router.wait(reached, timeout, what)
    except LabError as error:
        shown = {key: last.get(key) for key in ("state", "reason", "problems", "error")}
        raise AssertionError(f"{error}\nlast status: {json.dumps(shown, indent=1)}") from None
    return last


def wait_state(router: Router, *states: str) -> dict[str, Any]:
    """Wait until the state is one of these; return that status."""
    return wait_status(router, lambda s: s["state"] in states, f"state {' or '.join(states)}", 20)


def settle(router: Router) -> None:
    """Wait until the agent wants nothing changed any more."""
    router.wait(lambda: ask(router, "plan").get("changes") == [], 10, "an empty plan")


def reconfigure(router: Router, package: object, name: str = "mptcp-proxy") -> None:
    """Change a UCI file and do what its init script would."""
    router.write_config(name, package)
    answer = ask(router, "reload", "network" if name == "network" else "mptcp_proxy")
    assert "error" not in answer, answer


class Log:
    """What the agent says from now on."""

    def __init__(self, router: Router) -> None:
        self._path = router.log("agent")
        self._start = self._path.stat().st_size if self._path.exists() else 0

    def text(self) -> str:
        with self._path.open() as file:
            file.seek(self._start)
            return file.read()

    def changed(self) -> float:
        """When something was said last (Unix time)."""
        return self._path.stat().st_mtime

    def changes(self) -> list[str]:
        """The lines that tell of a change to the router; of routes and endpoints at ``debug``."""
        levels, verbs = ("INFO", "DEBUG"), ("set", "added", "removed")
        starts = ("ERROR ", *(f"{level} {verb} " for level in levels for verb in verbs))
        return [line for line in self.text().splitlines() if line.startswith(starts)]


# --- the router -------------------------------------------------------------------------------


def redirected(router: Router) -> bool:
    """Whether new LAN connections are sent into the proxy, as the kernel has it."""
    for argv in (["nft", "list", "ruleset"], ["iptables-legacy-save", "-t", "nat"]):
        text = router.run(*argv, check=False).stdout
        if any("br-lan" in line and "SSREDIR" in line for line in text.splitlines()):
            return True
    return False


def endpoints(router: Router) -> list[str]:
    return router.ip("mptcp", "endpoint").splitlines()


def memory(pid: int) -> int:
    """Resident memory in bytes."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) * 1024


def cpu(pid: int) -> float:
    """Seconds of processor time used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100  # USER_HZ


def assert_fits(document: object, schema: str) -> None:
    """Hold a document against schema/SCHEMA.schema.json."""
    text = (TOP / "schema" / f"{schema}.schema.json").read_text()
    errors = list(Draft202012Validator(json.loads(text)).iter_errors(document))
    assert not errors, "\n".join(f"{e.json_path}: {e.message}" for e in errors)
