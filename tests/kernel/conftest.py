# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures for what is tested against the real kernel, in namespaces of the test's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from kernel.firewall_lab import FirewallLab
from kernel.support import LINKS, cable
from toolkit.namespace import Namespace


@pytest.fixture
def pair() -> Iterator[tuple[Namespace, Namespace]]:
    """Client and server, not entered; two links: 10.n.n.1 and 2001:db8:n::1 to …2."""
    client, server = Namespace(), Namespace()
    for number in LINKS:
        cable(client, server, number, 1, 2)
    for space in (client, server):
        space.sh("echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter")
        space.sh("ip mptcp limits set subflows 8 add_addr_accepted 8")
    yield client, server
    client.close()
    server.close()


@pytest.fixture
def client(pair: tuple[Namespace, Namespace]) -> Iterator[Namespace]:
    """The client of the pair; the test runs inside it."""
    with pair[0] as space:
        yield space


@pytest.fixture(scope="module")
def lab() -> Iterator[FirewallLab]:
    """A LAN host, a router and the world, for the firewall."""
    with contextlib.closing(FirewallLab()) as made:
        yield made
