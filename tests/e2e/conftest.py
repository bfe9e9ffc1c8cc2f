# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures for the end-to-end tests: two routers with real kernels' worth of everything.

A set-up is shared by the tests of a module, which put back what they change. A test that
breaks more than that opens a set-up of its own.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import pytest
from e2e.support import OPEN, running
from lab.paths import SING_BOX
from lab.topology import Network


@pytest.fixture(scope="session", autouse=True)
def preconditions() -> None:
    assert os.geteuid() == 0, "needs root: network namespaces"
    assert SING_BOX.exists(), "sing-box is missing: run `make setup`"


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    """The bridge topology with sing-box, both agents active."""
    with running() as network:
        yield network


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the last words of the routers' programs with a failed test."""
    report = yield
    if report.failed:
        for network in OPEN:
            for log in sorted(network.lab.logs.glob("*.log")):
                lines = log.read_text(errors="replace").splitlines()[-40:]
                report.sections.append((log.name, "\n".join(lines)))
    return report
