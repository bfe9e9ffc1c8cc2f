# SPDX-License-Identifier: GPL-2.0-or-later
"""The proxy processes, run by procd under a service name of their own.

Not children of the agent: they outlive its restart, and procd restarts only what changed.
``set`` names all instances at once and flushes missing ones, so one service holds them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ...core.health.ports import Life
from ...core.state import Process
from ...core.ubus import Call
from ...engines.base import OPEN_FILES
from ...errors import BusError, ServiceError

SERVICE = "mptcp-proxy-engine"

#: procd's respawn: a process that lived this long (s) starts counting anew, pause between
#: starts (s), starts before giving up; 0 = never give up: the agent keeps the LAN online
#: meanwhile, and a server that is back at night should find its proxy waiting.
RESPAWN = ["60", "1", "0"]


@dataclass(frozen=True)
class Running:
    """What procd says of one instance."""

    name: str
    running: bool
    pid: int | None


def lives(instances: Iterable[Running]) -> dict[str, Life]:
    """By name; procd starts again what does not run."""
    return {one.name: "runs" if one.running else "ended" for one in instances}


class Services:
    """``call`` is ``Bus.call``."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def observe(self) -> tuple[tuple[Process, ...], tuple[Running, ...]]:
        """Our instances as procd has them. Raises ServiceError where procd does not answer."""
        try:
            reply = self._call("service", "list", {"name": SERVICE})
        except BusError as error:
            raise ServiceError(f"procd does not answer: {error}") from error
        instances = reply.get(SERVICE, {}).get("instances", {})
        processes, running = [], []
        for name, instance in sorted(instances.items()):
            data = instance.get("data") or {}
            processes.append(
                Process(
                    name=name,
                    command=tuple(map(str, instance.get("command", ()))),
                    environment=_pairs(instance.get("env", {})),
                    config_path=str(data.get("config_path", "")),
                    digest=str(data.get("digest", "")),
                    user=str(data.get("user", "")),
                )
            )
            up = bool(instance.get("running"))
            running.append(Running(name, up, instance.get("pid") if up else None))
        return tuple(processes), tuple(running)

    def set(self, processes: Iterable[Process]) -> None:
        """Make procd run exactly these; none at all removes the service."""
        wanted = {p.name: _instance(p) for p in processes}
        try:
            if wanted:
                self._call("service", "set", {"name": SERVICE, "instances": wanted})
            else:
                self._call("service", "delete", {"name": SERVICE})
        except BusError as error:
            if not wanted and "not found" in str(error).lower():
                return  # nothing there to delete
            raise ServiceError(f"procd did not take the proxy processes: {error}") from error

    def restart(self, name: str, signal: int) -> None:
        """Send a signal to one instance (procd starts it again when it ends)."""
        try:
            self._call("service", "signal", {"name": SERVICE, "instance": name, "signal": signal})
        except BusError as error:
            raise ServiceError(f"procd did not signal {name}: {error}") from error


def _pairs(table: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, str(value)) for key, value in table.items()))


def _instance(process: Process) -> dict[str, object]:
    instance: dict[str, object] = {
        "command": list(process.command),
        "env": dict(process.environment),
        "file": [process.config_path],
        "data": {
            "config_path": process.config_path,
            "digest": process.digest,
            "user": process.user,
        },
        "respawn": RESPAWN,
        "stdout": True,
        "stderr": True,
        "no_new_privs": True,
        "limits": {"nofile": f"{OPEN_FILES} {OPEN_FILES}"},
    }
    if process.user:
        instance["user"] = process.user
    return instance
