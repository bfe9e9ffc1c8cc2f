# SPDX-License-Identifier: GPL-2.0-or-later
"""What size of packets a path carries, found out over real connections.

The server's end of the link has a smaller MTU: it takes in frames that are longer by a VLAN's tag
at most, and nobody says a word of the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest
from toolkit.namespace import Namespace

from mptcp_agent.system.path_mtu import path_mtu

PORT = 8388
ENDS = {4: ("10.1.1.1", "10.1.1.2"), 6: ("2001:db8:1::1", "2001:db8:1::2")}


@contextlib.contextmanager
def connected(
    pair: tuple[Namespace, Namespace], version: int
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection over link 1; the client's namespace is entered."""
    client, server = pair
    own, remote = ENDS[version]
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    with server:
        listening = socket.create_server((remote, PORT), family=family)
    with client, listening, socket.socket(family, socket.SOCK_STREAM) as ours:
        ours.bind((own, 0))
        ours.connect((remote, PORT))
        theirs, _ = listening.accept()
        with theirs:
            theirs.setblocking(False)
            yield ours, theirs


@pytest.mark.parametrize(
    ("version", "mtu"),
    # Linux takes IPv6 off a device with less than 1280.
    [*((v, mtu) for v in ENDS for mtu in (1500, 1492, 1400, 1284)), (4, 700)],
)
def test_the_size_is_found_and_no_program_sees_a_byte(
    pair: tuple[Namespace, Namespace], version: int, mtu: int
) -> None:
    pair[1].sh(f"ip link set wan1 mtu {mtu}")
    with connected(pair, version) as (ours, theirs):
        assert asyncio.run(path_mtu("wan1", ours)) == (0 if mtu == 1500 else mtu)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)
        ours.sendall(b"still good")
        theirs.setblocking(True)
        assert theirs.recv(100) == b"still good"


def test_a_device_with_a_smaller_mtu_itself_is_no_news(pair: tuple[Namespace, Namespace]) -> None:
    for space in pair:
        space.sh("ip link set wan1 mtu 1400")
    with connected(pair, 4) as (ours, _):
        assert asyncio.run(path_mtu("wan1", ours)) == 0


def test_nothing_is_learnt_where_nobody_acknowledges(pair: tuple[Namespace, Namespace]) -> None:
    with connected(pair, 4) as (ours, _):
        pair[1].sh("ip link set wan1 down")
        assert asyncio.run(path_mtu("wan1", ours)) is None
        assert asyncio.run(path_mtu("wan9", ours)) is None
