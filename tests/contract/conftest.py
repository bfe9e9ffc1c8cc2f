# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures that run each test on the stand-in and, where told, on the real thing."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract.binding import PROVIDER, Program
from contract.router import NO_LINKS, ContractRouter, RouterLinks, running
from contract.service import Service
from contract.tools import OPENWRT, Caller, Ubusd, broker_command, real, variants
from toolkit.waiting import wait_until

#: Asks the real firewall4 only; what it said is what tests/unit/test_router_firewall.py holds to.
collect_ignore = [] if real("FW4") else ["test_firewall4.py"]


@pytest.fixture(params=variants("UBUSD"))
def ubusd(request: pytest.FixtureRequest) -> Iterator[Ubusd]:
    command = broker_command() if request.param == "stand-in" else [str(real("UBUSD"))]
    with tempfile.TemporaryDirectory(prefix="ubus-") as directory:
        Path(directory).chmod(0o755)  # for callers that are not root
        daemon = Ubusd(command, f"{directory}/ubus.sock")
        daemon.start()
        yield daemon
        if daemon.process is not None:
            daemon.kill()


@pytest.fixture
def caller(ubusd: Ubusd) -> Iterator[Caller]:
    with Caller.connect(ubusd.path) as connected:
        yield connected


@pytest.fixture(params=variants("UBUS_PYTHON"))
def python(request: pytest.FixtureRequest) -> list[str]:
    """Command line of a Python that has the `ubus` module."""
    if request.param == "real":
        return [str(real("UBUS_PYTHON"))]
    module = OPENWRT / "module"
    return ["/usr/bin/env", f"PYTHONPATH={module}", sys.executable]


@pytest.fixture
def provider(python: list[str], ubusd: Ubusd) -> Iterator[Program]:
    program = Program(python, ubusd, PROVIDER + "serve()")
    assert program.line() == ["there"]
    yield program
    program.kill()


@pytest.fixture(params=variants("UBUS_CLI"))
def ubus(request: pytest.FixtureRequest) -> str:
    """The `ubus` command."""
    return str(real("UBUS_CLI")) if request.param == "real" else str(OPENWRT / "bin" / "ubus")


@pytest.fixture(params=variants("UCI_CLI"))
def uci(request: pytest.FixtureRequest) -> str:
    """The `uci` command."""
    return str(real("UCI_CLI")) if request.param == "real" else str(OPENWRT / "bin" / "uci")


@pytest.fixture(scope="module", params=variants("ROUTER"))
def kind(request: pytest.FixtureRequest) -> str:
    """Whose daemons: `stand-in` or `real`."""
    return str(request.param)


@pytest.fixture(scope="module")
def links() -> RouterLinks:
    """Of the module's router. A module that wants some has a fixture of this name."""
    return NO_LINKS


@pytest.fixture(scope="module")
def router(kind: str, links: RouterLinks) -> Iterator[ContractRouter]:
    """A router with the module's links, for tests that leave nothing behind."""
    with running(kind, links) as started:
        yield started


@pytest.fixture
def call(router: ContractRouter) -> Iterator[Caller]:
    with router.caller() as connected:
        yield connected


@pytest.fixture
def service(call: Caller, router: ContractRouter) -> Iterator[Service]:
    made = Service(call, router)
    yield made
    made.status("delete", name=made.name)
    wait_until(lambda: made.list() == {}, 8, "all ended")  # or until SIGKILL
