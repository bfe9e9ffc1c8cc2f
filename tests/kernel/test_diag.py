# SPDX-License-Identifier: GPL-2.0-or-later
"""Sockets and subflows as the kernel reports them."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel.support import cost, second_way, subflows
from toolkit.namespace import Namespace
from toolkit.waiting import wait_until

from mptcp_agent.core.state import Endpoint
from mptcp_agent.system import processes
from mptcp_agent.system.netlink import diag
from mptcp_agent.system.netlink.diag_messages import MESSAGE_SIZE, tcp_socket
from mptcp_agent.system.netlink.endpoints import PathManager

TCP, MPTCP = socket.IPPROTO_TCP, 262
UP, DOWN = 1_234_567, 7_654_321


class Ends:
    """Both ends of a connection of the client to the server, whatever the protocols."""

    def __init__(
        self,
        pair: tuple[Namespace, Namespace],
        address: str = "10.1.1.2",
        *,
        client: int = MPTCP,
        server: int = MPTCP,
        dual_stack: bool = False,
    ) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with pair[1]:
            self.listener = socket.socket(
                socket.AF_INET6 if dual_stack else family, socket.SOCK_STREAM, server
            )
        self.listener.bind(("", 0))
        self.listener.listen()
        self.port = self.listener.getsockname()[1]
        with pair[0]:
            self.client = socket.socket(family, socket.SOCK_STREAM, client)
        self.client.connect((address, self.port))
        self.server, _ = self.listener.accept()

    def exchange(self, up: int, down: int) -> None:
        for sender, receiver, total in (
            (self.client, self.server, up),
            (self.server, self.client, down),
        ):
            sent = received = 0
            while received < total:
                if sent < total:
                    sent += sender.send(b"x" * min(65536, total - sent))
                received += len(receiver.recv(1 << 20))


@pytest.fixture(params=["10.1.1.2", "2001:db8:1::2"])
def address(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def two_paths(pair: tuple[Namespace, Namespace], address: str) -> Iterator[Ends]:
    """A connection with a subflow on each link; the test runs inside the client."""
    with pair[0] as client:
        second_way(client)
        own = "2001:db8:{0}::1" if ":" in address else "10.{0}.{0}.1"
        manager = PathManager()
        manager.add(Endpoint(own.format(1), "wan1", frozenset({"subflow"}), 101))
        manager.add(Endpoint(own.format(2), "wan2", frozenset({"subflow", "backup"}), 102))
        ends = Ends(pair, address)
        ends.exchange(1, 1)
        wait_until(
            lambda: [s.state for s in subflows(remote_port=ends.port)] == ["established"] * 2,
            5,
            "both links carry a subflow",
        )
        yield ends


def test_the_bytes_of_a_connection_are_those_of_its_subflows(
    two_paths: Ends, pair: tuple[Namespace, Namespace]
) -> None:
    two_paths.exchange(UP - 1, DOWN - 1)

    def acked() -> int:
        """TCP counts its SYN as a byte acknowledged."""
        return sum(s.info.bytes_acked - 1 for s in subflows(remote_port=two_paths.port))

    # More where a second copy has gone the other way.
    wait_until(lambda: acked() >= UP, 5, "everything is acknowledged")
    assert sum(s.info.bytes_received for s in subflows(remote_port=two_paths.port)) >= DOWN
    with pair[1]:
        assert sum(s.info.bytes_received for s in subflows(local_port=two_paths.port)) >= UP


def test_subflows_and_their_connection(
    two_paths: Ends, pair: tuple[Namespace, Namespace], address: str
) -> None:
    two_paths.exchange(100_000, 100_000)
    first, second = sorted(
        subflows(remote_port=two_paths.port),
        key=lambda s: bool(s.subflow and s.subflow.join),
    )
    assert first.subflow is not None
    assert second.subflow is not None
    assert first.subflow.token_local == second.subflow.token_local != 0
    assert (first.device, second.device) == ("", "wan2")
    assert second.local == ("2001:db8:2::1" if ":" in address else "10.2.2.1")
    assert (first.remote, second.remote) == (address, address)
    assert (first.subflow.id_local, second.subflow.id_local) == (0, 102)
    assert (first.subflow.backup, second.subflow.backup) == (False, True)
    assert not first.subflow.fallback
    assert not second.subflow.fallback
    assert {"capable-local", "capable-remote", "fully-established"} <= first.subflow.flags
    assert 0 < first.info.min_rtt <= first.info.rtt < 1_000_000
    assert first.info.cwnd >= 10
    assert first.info.retransmits == 0
    with pair[1]:
        theirs = subflows(local_port=two_paths.port)
    assert len({s.subflow.token_local for s in theirs if s.subflow}) == 1


def test_a_path_that_went_silent_shows_it(pair: tuple[Namespace, Namespace]) -> None:
    with pair[0]:
        ends = Ends(pair, client=TCP, server=TCP)
        ends.exchange(1000, 1000)
        pair[1].sh("ip link set wan1 down")
        ends.client.sendall(b"into the void")

        def info() -> tuple[int, int]:
            (only,) = diag.tcp_sockets(remote_port=ends.port)
            return (only.info.retransmits, only.info.unacked)

        wait_until(lambda: all(info()), 5, "time-outs in a row are counted")


def test_a_connection_its_process_has_closed_is_told_from_one_that_lives(two_paths: Ends) -> None:
    """The peer still sends, nobody reads: the subflows stand as if nothing had happened."""
    assert len(diag.mptcp_connections(two_paths.port)) == 1
    two_paths.client.close()
    two_paths.server.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            two_paths.server.send(b"x" * 65536)
    assert {s.state for s in subflows(remote_port=two_paths.port)} == {"established"}
    assert diag.mptcp_connections(two_paths.port) == frozenset()


def test_calls_are_subflows_and_what_is_not_answered(
    two_paths: Ends, pair: tuple[Namespace, Namespace]
) -> None:
    with pair[0]:
        probe = socket.create_connection(("10.1.1.2", two_paths.port))
        assert {s.local_port for s in diag.calls(two_paths.port)} == {
            s.local_port for s in subflows(remote_port=two_paths.port)
        }
        pair[1].sh("ip link set wan1 down")
        calling = socket.socket()
        calling.setblocking(False)
        calling.connect_ex(("10.1.1.2", two_paths.port))
        own = calling.getsockname()[1]
        assert own in {s.local_port for s in diag.calls(two_paths.port)}
    probe.close()
    calling.close()


def test_the_backlog_is_what_nobody_has_accepted(client: Namespace) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert diag.backlog(port) == 0
        waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        assert diag.backlog(port) == 3
        listener.accept()[0].close()
        assert diag.backlog(port) == 2
        for each in waiting:
            each.close()


@pytest.mark.parametrize("protocol", [socket.IPPROTO_TCP, socket.IPPROTO_MPTCP])
def test_who_listens_at_a_port(client: Namespace, protocol: int) -> None:
    """By the socket's number, also of MPTCP's, and with the words for a person."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        (found,) = diag.listeners(port)
        assert (found.inode, found.account) == (os.fstat(listening.fileno()).st_ino, os.getuid())
        assert processes.owner(found).endswith(f"(process {os.getpid()})")
        assert processes.owner(replace(found, inode=1, cgroup=0)) == "a program of root"
    assert diag.listeners(port) == []


def test_a_join_that_gets_no_answer_is_seen(pair: tuple[Namespace, Namespace]) -> None:
    pair[1].sh(
        "nft add table t; nft 'add chain t c { type filter hook prerouting priority 0; }';"
        "nft add rule t c iif wan2 drop"
    )
    with pair[0]:
        ends = Ends(pair)
        ends.exchange(1, 1)
        PathManager().add(Endpoint("10.2.2.1", "wan2", frozenset({"subflow"}), 102))

        def joins() -> list[tuple[str, str, str]]:
            found = subflows(remote_port=ends.port)
            return [(s.local, s.state, s.device) for s in found if s.subflow and s.subflow.join]

        wait_until(lambda: joins() == [("10.2.2.1", "syn-sent", "wan2")], 5, "the unanswered join")


@pytest.mark.parametrize(("client", "server"), [(MPTCP, TCP), (TCP, MPTCP), (TCP, TCP)])
def test_plain_tcp_is_told_apart(
    pair: tuple[Namespace, Namespace], address: str, client: int, server: int
) -> None:
    with pair[0]:
        ends = Ends(pair, address, client=client, server=server)
        ends.exchange(1000, 2000)
        (only,) = diag.tcp_sockets(remote_port=ends.port)
        assert (only.info.bytes_acked, only.info.bytes_received) == (1001, 2000)
        assert diag.tcp_sockets(remote_port=ends.port % 65535 + 1) == []
        if client == MPTCP:
            assert only.subflow is not None
            assert only.subflow.fallback
        else:
            assert only.subflow is None


def test_ipv4_on_a_dual_stack_listener_is_ipv4(pair: tuple[Namespace, Namespace]) -> None:
    with pair[1]:
        ends = Ends(pair, dual_stack=True)
        ends.exchange(1, 1)
        (only,) = subflows(local_port=ends.port)
        assert (only.local, only.remote) == ("10.1.1.2", "10.1.1.1")
        assert diag.destroy(only)
        assert not diag.destroy(only)


def test_a_destroyed_subflow_leaves_the_connection(two_paths: Ends) -> None:
    (second,) = [s for s in subflows(remote_port=two_paths.port) if s.device == "wan2"]
    assert diag.destroy(second)
    wait_until(lambda: len(subflows(remote_port=two_paths.port)) == 1, 5, "one is left")
    assert not diag.destroy(second)
    two_paths.exchange(UP, DOWN)


def test_only_this_namespace_is_seen(two_paths: Ends) -> None:
    other = Namespace()
    with other:
        assert diag.tcp_sockets() == []
    other.close()


# --- Structures of other kernels, and garbage -----------------------------------------------


def message(*attributes: tuple[int, bytes]) -> bytes:
    ends = struct.pack("!HH4s12x4s12x", 40000, 8388, bytes([10, 1, 1, 1]), bytes([10, 1, 1, 2]))
    data = struct.pack("=BBBB", socket.AF_INET, 1, 0, 0) + ends + struct.pack("=IQ", 0, 7)
    data += struct.pack("=IIIII", 0, 0, 0, 0, 99)
    assert len(data) == MESSAGE_SIZE
    for kind, value in attributes:
        data += struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)
    return data


def test_an_older_kernels_structures_are_shorter() -> None:
    info = bytearray(104)  # Linux 3.x: ends before the byte counters
    info[68:72] = struct.pack("=I", 20_000)
    seen = tcp_socket(message((2, bytes(info))))
    assert (seen.info.rtt, seen.info.bytes_acked) == (20_000, 0)


def test_no_round_trip_yet_is_none() -> None:
    """The kernel says ~0, which is 4295 s: multiplied by a rate it was a buffer of 192 MB."""
    info = bytearray(232)
    info[148:152] = struct.pack("=I", 0xFFFFFFFF)
    assert tcp_socket(message((2, bytes(info)))).info.min_rtt == 0


def test_a_newer_kernels_structures_are_longer() -> None:
    info = bytearray(400)
    info[120:128] = struct.pack("=Q", 1 << 40)
    assert tcp_socket(message((2, bytes(info)), (99, b"new"))).info.bytes_acked == 1 << 40


@given(st.binary(min_size=MESSAGE_SIZE, max_size=MESSAGE_SIZE), st.binary(max_size=100))
def test_garbage_never_raises(head: bytes, tail: bytes) -> None:
    for kind in (2, 19):
        nested = struct.pack("=HH", 4 + len(tail), kind) + tail
        for data in (head + tail, head + nested):
            tcp_socket(data)


def test_looking_is_cheap(client: Namespace, capsys: pytest.CaptureFixture[str]) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    kept = []
    for _ in range(250):
        kept += [socket.create_connection(("127.0.0.1", port)), listener.accept()[0]]
    with capsys.disabled():
        print()
        print(cost("diag.tcp_sockets() of 500", diag.tcp_sockets, 20))
        print(cost("diag.tcp_sockets(port) of none", lambda: diag.tcp_sockets(remote_port=1), 20))
    for each in kept:
        each.close()
    listener.close()
