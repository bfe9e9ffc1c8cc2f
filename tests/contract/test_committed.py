# SPDX-License-Identifier: GPL-2.0-or-later
"""How the agent reads a package: only what is committed counts."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from contract.router import ContractRouter
from contract.service import Service, shell
from contract.tools import OPENWRT, Caller
from openwrt import wire
from openwrt.wire import Status
from toolkit.waiting import wait_until

from mptcp_agent.core.ubus import Reply
from mptcp_agent.errors import BusError, ConfigError
from mptcp_agent.system.ubus import uci

PACKAGE = "mptcp-proxy"
TEXT = """
config globals 'globals'
	option enabled '1'

config peer 'r7000'
	list address '192.0.2.1'
"""


class Bus:
    """`call`, as the agent's own bus raises and returns."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self.called: list[str] = []

    def __call__(self, object_: str, method: str, arguments: Mapping[str, object]) -> Reply:
        self.called.append(f"{object_} {method}")
        status, replies = self._caller.raw(object_, method, **arguments)
        if status != Status.OK:
            raise BusError(f"ubus error occured: {wire.status_text(status)}")
        return replies[0] if replies else {}


@pytest.fixture
def bus(router: ContractRouter, call: Caller) -> Bus:
    router.write(PACKAGE, TEXT)
    call.status("uci", "revert", config=PACKAGE)
    return Bus(call)


def read(bus: Bus) -> tuple[dict[str, object], tuple[uci.Change, ...]]:
    package = uci.read(bus, PACKAGE)
    shown = {f"{s}.{o}": v for s, options in package.sections.items() for o, v in options.items()}
    return {name: v for name, v in shown.items() if "." not in name.split(".", 1)[1]}, (
        package.waiting
    )


def test_what_waits_lies_where_the_agent_looks(bus: Bus, service: Service) -> None:
    """In a file of the package's name, which another look at costs nothing (`uci.stamp`)."""
    call = service.call
    assert waiting(service) == ""
    call("uci", "set", config=PACKAGE, section="globals", values={"enabled": "0"})
    assert waiting(service) == f"{PACKAGE}.globals.enabled='0'\n"
    call("uci", "revert", config=PACKAGE)
    assert waiting(service) == ""
    call("uci", "set", config=PACKAGE, section="globals", values={"enabled": "0"})
    call("uci", "commit", config=PACKAGE)
    assert waiting(service) == ""


def waiting(service: Service) -> str:
    """What is in that file; empty as well where there is none. The lab's routers share /tmp, so
    that theirs is elsewhere."""
    router = service.router
    directory = uci.WAITING if router.kind == "real" else router.config.parent / "save"
    path, inside = service.file("waiting")
    path.unlink(missing_ok=True)
    service.set(a=shell(f"cat {directory}/{PACKAGE} > {inside}.new; mv {inside}.new {inside}"))
    wait_until(path.exists, 10, "the file read")
    return path.read_text()


def test_what_waits_is_told_and_does_not_count(bus: Bus, call: Caller) -> None:
    committed = {"globals.enabled": "1", "r7000.address": ["192.0.2.1"]}
    assert read(bus) == (committed, ())
    assert bus.called == ["uci get", "uci changes"]

    call("uci", "set", config=PACKAGE, section="globals", values={"enabled": "0"})
    call("uci", "add", config=PACKAGE, type="wan", name="wan1")
    call("uci", "delete", config=PACKAGE, section="r7000", option="address")
    assert read(bus) == (
        committed,
        (
            ("set", "globals", "enabled", "0"),
            ("set", "wan1", "wan"),
            ("remove", "r7000", "address"),
        ),
    )
    call("uci", "revert", config=PACKAGE)
    assert read(bus) == (committed, ())

    call("uci", "set", config=PACKAGE, section="globals", values={"enabled": "0"})
    call("uci", "commit", config=PACKAGE)
    assert read(bus) == ({**committed, "globals.enabled": "0"}, ())


def test_no_session_is_left_behind(bus: Bus, call: Caller) -> None:
    call("uci", "set", config=PACKAGE, section="globals", values={"enabled": "0"})
    read(bus)
    assert bus.called[-1] == "session destroy"


def test_a_package_that_is_not_there_has_nothing(bus: Bus) -> None:
    assert uci.read(bus, "none") == uci.Package({})


def test_of_a_file_that_cannot_be_read_ucis_own_words(
    router: ContractRouter, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    if router.kind == "stand-in":
        # The command reads /etc/config, and the stand-in's router has a directory of its own.
        command = router.config.parent / "uci"
        command.write_text(f'#!/bin/sh\nexec {OPENWRT / "bin" / "uci"} -c {router.config} "$@"\n')
        command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{command.parent}:/usr/bin:/bin")
        for text, words in (
            ("config peer 'r-7000'\n", "invalid character in name field) at line 1, byte 21"),
            ("config peer 'r7\n\toption port 1\n", "EOF with unterminated ') at line 2, byte "),
        ):
            router.write(PACKAGE, text)
            with pytest.raises(ConfigError) as refused:
                uci.read(bus, PACKAGE)
            assert f"Parse error ({words}" in refused.value.complaint
    router.write(PACKAGE, "config peer 'r-7000'\n")
    with pytest.raises((ConfigError, BusError)):
        uci.read(bus, PACKAGE)
