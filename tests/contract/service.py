# SPDX-License-Identifier: GPL-2.0-or-later
"""A service under procd, as the tests handle it.

Processes are told apart by the pid that `service list` shows (a real procd has a pid namespace of
its own).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from contract.router import ContractRouter
from contract.tools import Caller
from toolkit.waiting import wait_until

SLEEP = {"command": ["/bin/sleep", "1000"]}


class Service:
    """A service of its own for each test."""

    def __init__(self, call: Caller, router: ContractRouter) -> None:
        self.call = call
        self.router = router
        self.name = "contract"

    def set(self, method: str = "set", **instances: dict[str, Any]) -> None:
        self.call("service", method, name=self.name, instances=instances)

    def list(self, **more: Any) -> dict[str, Any]:
        found = self.call("service", "list", name=self.name, **more)
        return dict(found.get(self.name, {}))

    def instance(self, name: str = "a") -> dict[str, Any]:
        return dict(self.list().get("instances", {}).get(name, {}))

    def pid(self, name: str = "a") -> int:
        """Of the running process; waits for one."""
        wait_until(lambda: self.instance(name).get("running"), 10, f"{name} runs")
        return int(self.instance(name)["pid"])

    def settled_pid(self) -> int:
        """The pid once a change has had time to restart the process."""
        time.sleep(0.4)
        return self.pid()

    def file(self, name: str) -> tuple[Path, str]:
        """A file both sides see: its path here, and for the process."""
        return self.router.config / name, f"{self.router.config_inside}/{name}"

    def status(self, method: str, **arguments: Any) -> int:
        return self.call.status("service", method, **arguments)


def shell(script: str, **more: Any) -> dict[str, Any]:
    return {"command": ["/bin/sh", "-c", script], **more}


def trapping(service: Service, action: str, name: str) -> dict[str, Any]:
    """A shell that does `action` on a signal; `wait_trapped` waits until it would."""
    _, inside = service.file("trapped")
    return shell(f"trap '{action}' {name}; : > {inside}; while :; do sleep 0.05; done")


def wait_trapped(service: Service) -> None:
    path, _ = service.file("trapped")
    wait_until(path.exists, 10, "the trap is set")
    path.unlink()
