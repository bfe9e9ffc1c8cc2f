# SPDX-License-Identifier: GPL-2.0-or-later
"""procd's triggers.  The stand-in and the real one."""

from __future__ import annotations

import time

from contract.router import Ear
from contract.service import SLEEP, Service
from toolkit.waiting import wait_until


def test_config_change_runs_the_script_once_after_its_delay(service: Service) -> None:
    path, inside = service.file("triggered")
    script = ["run_script", "/bin/sh", "-c", f"echo config >> {inside}"]
    other = ["run_script", "/bin/sh", "-c", f"echo interface >> {inside}"]
    service.call(
        "service",
        "set",
        name=service.name,
        instances={"a": SLEEP},
        triggers=[
            ["config.change", ["if", ["eq", "package", "mine"], script], 1000],
            ["interface.*", [["if", ["eq", "interface", "wan1"], other]], 50],
        ],
    )

    def event(kind: str, **data: str) -> None:
        service.call("service", "event", type=kind, data=data)

    event("config.change", package="other")
    event("interface.update", interface="wan2")
    event("unheard.of")
    started = time.monotonic()
    event("config.change", package="mine")
    event("config.change", package="mine")
    wait_until(path.exists, 10, "run")
    assert time.monotonic() - started > 0.9
    time.sleep(1.2)  # a second run would come by then
    assert path.read_text() == "config\n"
    event("interface.update", interface="wan1")
    wait_until(lambda: path.read_text() == "config\ninterface\n", 10, "run")
    pid = service.pid()
    service.set(a=SLEEP)
    assert service.settled_pid() == pid


def test_events_are_passed_on_to_subscribers(service: Service) -> None:
    ear = Ear(service.router, "none", "service")
    service.call("service", "event", type="config.change", data={"package": "mine"})
    assert ear.wait("told", "event.trigger") == [
        {"type": "config.change", "data": {"package": "mine"}}
    ]
    assert ear.wait("told", "config.change") == [{"config": "mine"}]
