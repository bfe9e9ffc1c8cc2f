# SPDX-License-Identifier: GPL-2.0-or-later
"""Connections that nobody reads any more, found and ended without the kernel's own way to."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import pytest
from kernel.support import second_way, subflows
from kernel.test_diag import Ends
from toolkit.namespace import Namespace
from toolkit.waiting import wait_until

from mptcp_agent.core.health.abandoned import abandoned
from mptcp_agent.core.state import Endpoint
from mptcp_agent.system import resets
from mptcp_agent.system.netlink import diag
from mptcp_agent.system.netlink.endpoints import PathManager
from mptcp_agent.system.resets import AT_ONCE, reset

TCP, MPTCP = socket.IPPROTO_TCP, 262
Pair = tuple[Namespace, Namespace]


@pytest.fixture(params=["10.1.1.2", "2001:db8:1::2"])
def address(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def two_paths(pair: Pair, address: str) -> Iterator[Ends]:
    """A connection with a subflow on each link, one of them bound to its device; the test runs
    inside the client. IPv4 is spoken by an IPv6 socket at the server, as a proxy's often is."""
    with pair[0] as client:
        second_way(client)
        yield connected(pair, address)


def connected(pair: Pair, address: str) -> Ends:
    own = "2001:db8:{0}::1" if ":" in address else "10.{0}.{0}.1"
    manager = PathManager()
    manager.add(Endpoint(own.format(1), "wan1", frozenset({"subflow"}), 101))
    manager.add(Endpoint(own.format(2), "wan2", frozenset({"subflow"}), 102))
    ends = Ends(pair, address, dual_stack=True)
    ends.exchange(1, 1)
    wait_until(
        lambda: [s.state for s in subflows(remote_port=ends.port)] == ["established"] * 2,
        5,
        "both links carry a subflow",
    )
    ends.server.setblocking(False)
    return ends


def found(local: int, remote: int) -> frozenset[int]:
    return abandoned(diag.closed_connections(local, remote))


def reset_all(local: int, remote: int) -> bool:
    """Reset what is abandoned, as the monitor does; whether there is nothing any more."""
    tokens = found(local, remote)
    reset(diag.subflows(tokens, local, remote))
    return not tokens


def hung_up(sock: socket.socket) -> bool:
    """Whether its process is told that the connection is over (EPOLLHUP wakes who waits to
    write)."""
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    return bool(poll.poll(0) and poll.poll(0)[0][1] & select.POLLHUP)


def fill(sender: socket.socket) -> None:
    """Send until the other end takes no more."""
    try:
        while True:
            sender.send(bytes(65536))
    except BlockingIOError:
        pass


def test_a_download_that_was_broken_off_ends_at_both_ends(two_paths: Ends, pair: Pair) -> None:
    port = two_paths.port
    two_paths.client.close()
    wait_until(lambda: diag.closed_connections(0, port) != [], 5, "the close has arrived")
    assert found(0, port) == set()
    fill(two_paths.server)
    wait_until(lambda: len(found(0, port)) == 1, 5, "what nobody reads is seen")
    assert not hung_up(two_paths.server)
    wait_until(lambda: reset_all(0, port), 5, "the end", interval=0.05)
    wait_until(lambda: subflows(remote_port=port) == [], 5, "the end of its subflows")
    wait_until(lambda: hung_up(two_paths.server), 5, "the server hears of it")
    with pytest.raises(BrokenPipeError):
        two_paths.server.send(b"x")
    with pair[1]:
        assert [s for s in subflows(local_port=port) if s.state == "established"] == []


def test_an_upload_that_the_server_broke_off_ends_at_both_ends(two_paths: Ends, pair: Pair) -> None:
    port = two_paths.port
    two_paths.client.setblocking(False)
    two_paths.server.close()
    with pair[1]:
        wait_until(lambda: diag.closed_connections(port, 0) != [], 5, "the close has arrived")
    fill(two_paths.client)
    with pair[1]:
        wait_until(lambda: len(found(port, 0)) == 1, 5, "what nobody reads is seen")
        wait_until(lambda: reset_all(port, 0), 5, "the end", interval=0.05)
    wait_until(lambda: hung_up(two_paths.client), 5, "the client hears of it")


def test_a_stream_that_goes_on_meanwhile_loses_nothing(two_paths: Ends, pair: Pair) -> None:
    """Another connection of the same router, to the same server."""
    with pair[0]:
        other = socket.socket(two_paths.client.family, socket.SOCK_STREAM, MPTCP)
    other.connect(two_paths.client.getpeername()[:2])
    theirs, _ = two_paths.listener.accept()
    two_paths.client.close()
    wait_until(lambda: diag.closed_connections(0, two_paths.port) != [], 5, "the close")
    fill(two_paths.server)
    wait_until(lambda: reset_all(0, two_paths.port), 5, "the end", interval=0.05)
    theirs.sendall(b"whole")
    assert other.recv(5) == b"whole"
    assert len({s.subflow.token_local for s in subflows(remote_port=two_paths.port) if s.subflow})


def test_who_has_closed_its_own_direction_only_still_reads(two_paths: Ends) -> None:
    port = two_paths.port
    two_paths.client.shutdown(socket.SHUT_WR)
    wait_until(lambda: diag.closed_connections(0, port) != [], 5, "the close has arrived")
    two_paths.server.send(bytes(1000))
    wait_until(lambda: diag.closed_connections(0, port)[0].unread > 0, 5, "the answer is here")
    assert diag.closed_connections(0, port)[0].owned
    assert found(0, port) == set()
    assert len(two_paths.client.recv(2000)) == 1000


def test_more_than_one_filter_holds(pair: Pair) -> None:
    """Plain TCP too; what has ended already is passed over."""
    with pair[0]:
        with pair[1]:
            listener = socket.create_server(("10.1.1.2", 0), backlog=AT_ONCE + 50)
        port = listener.getsockname()[1]
        clients = [socket.create_connection(listener.getsockname()) for _ in range(AT_ONCE + 20)]
        before = diag.tcp_sockets(0, port)
        clients.pop().close()
        reset(before)
        wait_until(
            lambda: [s for s in diag.tcp_sockets(0, port) if s.state == "established"] == [],
            5,
            "the end of all",
        )
        with pytest.raises(ConnectionResetError):
            clients[0].recv(1)


def test_a_segment_is_what_its_receiver_expects() -> None:
    """The checksum over it with its own is 0 (RFC 1071)."""
    for ends in (("10.1.1.1", 1, "10.1.1.2", 2), ("2001:db8::1", 1, "2001:db8::2", 2)):
        packet = resets.segment(ends, 0x04, 0x01020304, data=b"odd")
        header = 40 if ":" in ends[0] else 20
        size = 32 if ":" in ends[0] else 8
        tcp = packet[header:]
        pseudo = packet[header - size : header] + len(tcp).to_bytes(4) + TCP.to_bytes(4)
        data = pseudo + tcp + b"\0"
        total = sum(int.from_bytes(data[i : i + 2]) for i in range(0, len(data), 2))
        assert total % 0xFFFF == 0
