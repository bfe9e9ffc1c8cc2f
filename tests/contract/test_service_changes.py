# SPDX-License-Identifier: GPL-2.0-or-later
"""procd's `service set`: which changes restart a process.  The stand-in and the real one."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from contract.service import SLEEP, Service, trapping, wait_trapped
from toolkit.waiting import wait_until


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {}),
        ({"data": {"a": 1}}, {"data": {"a": 2}}),
        ({}, {"data": {"a": 2}}),
        ({}, {"stdout": True, "stderr": True}),
        ({"env": {"A": "1", "B": "2"}}, {"env": {"B": "2", "A": "1"}}),
        ({}, {"user": "no-such-user"}),
        ({"env": {"KEY": "abcdef"}}, {"env": {"KEY": "abcXYZ"}}),  # a flaw of procd's
        ({"limits": {"nofile": "100"}}, {"limits": {"nofile": "200"}}),  # the same
    ],
    ids=str,
)
def test_not_a_difference(service: Service, before: dict[str, Any], after: dict[str, Any]) -> None:
    service.set(a={**SLEEP, **before})
    pid = service.pid()
    service.set(a={**SLEEP, **after})
    assert service.settled_pid() == pid


def test_data_is_taken_over_without_a_restart(service: Service) -> None:
    service.set(a={**SLEEP, "data": {"a": 1}})
    service.set(a={**SLEEP, "data": {"b": [2]}})
    assert service.instance()["data"] == {"b": [2]}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"command": ["/bin/sleep", "1001"]}),
        ({}, {"env": {"A": "1"}}),
        ({"env": {"KEY": "abcdef"}}, {"env": {"KEY": "abXdef"}}),
        ({"env": {"KEY": "abcdef"}}, {"env": {"KEY": "abcdefg"}}),
        ({}, {"limits": {"nofile": "100"}}),
        ({}, {"respawn": []}),
        ({"respawn": []}, {"respawn": ["3600", "5", "6"]}),
        ({}, {"user": "nobody"}),
        ({}, {"no_new_privs": True}),
        ({}, {"term_timeout": 2}),
        ({}, {"nice": 3}),
        ({}, {"netdev": ["lo"]}),
        ({}, {"pidfile": "/var/run/contract.pid"}),
    ],
    ids=str,
)
def test_a_difference_restarts(
    service: Service, before: dict[str, Any], after: dict[str, Any]
) -> None:
    service.set(a={**SLEEP, **before}, other=SLEEP)
    pid, other = service.pid(), service.pid("other")
    service.set(a={**SLEEP, **after}, other=SLEEP)
    wait_until(lambda: service.pid() != pid, 10, "another process")
    assert service.pid("other") == other


def test_a_file_counts_by_its_content(service: Service) -> None:
    path, inside = service.file("watched")
    path.write_text("one")
    service.set(a={**SLEEP, "file": [inside]})
    pid = service.pid()
    os.utime(path)
    service.set(a={**SLEEP, "file": [inside]})
    assert service.settled_pid() == pid
    path.write_text("two")
    assert service.settled_pid() == pid  # nobody looks by itself
    service.set(a={**SLEEP, "file": [inside]})
    wait_until(lambda: service.pid() != pid, 10, "another process")
    pid = service.settled_pid()
    path.unlink()
    service.set(a={**SLEEP, "file": [inside]})
    wait_until(lambda: service.pid() != pid, 10, "another process")


def test_a_device_counts_by_its_index(service: Service) -> None:
    router = service.router
    router.ip("link", "add", "dev0", "type", "veth", "peer", "name", "dev1")
    service.set(a={**SLEEP, "netdev": ["dev0"]})
    pid = service.pid()
    service.set(a={**SLEEP, "netdev": ["dev0"]})
    assert service.settled_pid() == pid
    router.ip("link", "delete", "dev0")
    router.ip("link", "add", "dev0", "type", "veth", "peer", "name", "dev1")
    service.set(a={**SLEEP, "netdev": ["dev0"]})
    wait_until(lambda: service.pid() != pid, 10, "another process")
    router.ip("link", "delete", "dev0")


def test_set_ends_what_it_does_not_name_and_add_does_not(service: Service) -> None:
    service.set(a=SLEEP, b=SLEEP)
    pid = service.pid()
    service.set("add", c=SLEEP)
    assert set(service.list()["instances"]) == {"a", "b", "c"}
    assert service.pid() == pid
    service.set(a=SLEEP)
    wait_until(lambda: set(service.list()["instances"]) == {"a"}, 10, "gone")
    assert service.pid() == pid
    service.call("service", "delete", name=service.name, instance="a")
    wait_until(lambda: service.list() == {}, 10, "gone")


def test_update_start_and_complete(service: Service) -> None:
    service.set(a=SLEEP, b=SLEEP)
    service.call("service", "update_start", name=service.name)
    service.set("add", b=SLEEP)
    service.call("service", "update_complete", name=service.name)
    wait_until(lambda: set(service.list()["instances"]) == {"b"}, 10, "gone")


def test_reload_signal_instead_of_a_restart(service: Service) -> None:
    path, inside = service.file("signalled")
    waiting = trapping(service, f"echo hup >> {inside}", "HUP")
    service.set(a={**waiting, "reload_signal": int(signal.SIGHUP)})
    pid = service.pid()
    wait_trapped(service)
    service.set(a={**waiting, "reload_signal": int(signal.SIGHUP), "env": {"A": "1"}})
    wait_until(path.exists, 10, "signal")
    assert service.settled_pid() == pid
    assert service.instance()["env"] == {"A": "1"}
