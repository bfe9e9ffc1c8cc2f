# SPDX-License-Identifier: GPL-2.0-or-later
"""procd's `service`: what it shows, and status codes.  The stand-in and the real one."""

from __future__ import annotations

import json

from contract.service import SLEEP, Service, shell
from openwrt.wire import Status
from toolkit.waiting import wait_until


def test_list_looks_exactly_as_on_a_router(service: Service) -> None:
    """Order and types of service.list.verbose of a router, with more of what can be set."""
    rule = ["if", ["eq", "package", "network"], ["run_script", "/bin/true", "reload"]]
    service.call(
        "service",
        "set",
        name=service.name,
        triggers=[["config.change", rule, 1000]],
        instances={
            "second": SLEEP,
            "main": {
                **SLEEP,
                "stdout": True,
                "respawn": [],
                "env": {"LANIP": "192.168.1.1", "FOO": "bar"},
                "limits": {"nofile": "100 200", "core": "0"},
                "data": {"note": "hello", "deep": {"list": [1, True]}},
                "netdev": ["lo"],
                "file": ["/etc/passwd"],
                "term_timeout": 3,
                "user": "nobody",
                "group": "nogroup",
                "no_new_privs": True,
                "pidfile": "/var/run/contract.pid",
                "facility": "daemon",
            },
        },
    )
    service.pid("main")
    shown = service.list(verbose=True)
    shown["instances"]["main"]["pid"] = shown["instances"]["second"]["pid"] = 90
    expected = {
        "instances": {
            "main": {
                "running": True,
                "pid": 90,
                "command": ["/bin/sleep", "1000"],
                "term_timeout": 3,
                "env": {"FOO": "bar", "LANIP": "192.168.1.1"},
                "data": {"deep": {"list": [1, True]}, "note": "hello"},
                "limits": {"core": "0", "nofile": "100 200"},
                "netdev": ["lo"],
                "respawn": {"threshold": 3600, "timeout": 5, "retry": 5},
                "no_new_privs": True,
                "pidfile": "/var/run/contract.pid",
                "user": "nobody",
                "group": "nogroup",
            },
            "second": {
                "running": True,
                "pid": 90,
                "command": ["/bin/sleep", "1000"],
                "term_timeout": 5,
            },
        },
        "triggers": [["config.change", rule, 1000]],
    }
    assert json.dumps(shown) == json.dumps(expected)
    assert "triggers" not in service.list()


def test_what_ended_and_what_never_ran(service: Service) -> None:
    service.set(
        three=shell("exit 3"),
        killed=shell("kill -9 $$"),
        missing={"command": ["/nonexistent/program"]},
        indicated={**SLEEP, "error": ["on purpose"]},
        none={},
        text={"command": "str"},
        numbers={"command": [1]},
        empty={"command": []},
        bad_env={**SLEEP, "env": {"A": 1}},
    )
    wait_until(lambda: service.instance("missing").get("exit_code") == 127, 10, "ended")
    wait_until(lambda: service.instance("killed").get("exit_code") == 128 + 9, 10, "ended")
    wait_until(lambda: service.instance("three").get("exit_code") == 3, 10, "ended")
    shown = service.list()["instances"]
    assert set(shown) == {"three", "killed", "missing", "indicated", "none", "text"}
    assert not any(each["running"] for each in shown.values())
    assert shown["indicated"]["errors"] == ["on purpose"]
    assert shown["none"] == {"running": False, "term_timeout": 5, "exit_code": 0}


def test_status_codes(service: Service) -> None:
    assert service.status("set") == Status.INVALID_ARGUMENT
    assert service.status("set", name=5) == Status.INVALID_ARGUMENT
    assert service.status("delete") == Status.NOT_FOUND
    assert service.status("delete", name="none") == Status.NOT_FOUND
    assert service.status("signal", name="none") == Status.NOT_FOUND
    assert service.status("event", type="x") == Status.INVALID_ARGUMENT
    assert service.status("event", data={}) == Status.INVALID_ARGUMENT
    assert service.status("set_data", name="none", data={}) == Status.NOT_FOUND
    assert service.status("state", spawn=True) == Status.NOT_FOUND
    assert service.status("state", name="none") == Status.INVALID_ARGUMENT
    assert service.status("nothing") == Status.METHOD_NOT_FOUND
    assert service.list() == {}
    service.set(a=SLEEP)
    assert service.status("delete", name=service.name, instance="none") == Status.NOT_FOUND
    assert service.status("signal", name=service.name, instance="none") == Status.NOT_FOUND
