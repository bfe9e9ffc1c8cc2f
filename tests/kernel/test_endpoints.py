# SPDX-License-Identifier: GPL-2.0-or-later
"""MPTCP endpoints and limits against the real kernel."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

import pytest
from kernel.support import cost, open_files, second_way, subflows
from toolkit.namespace import Namespace
from toolkit.waiting import wait_until

from mptcp_agent.core.state import Endpoint, EndpointFlag, Limits
from mptcp_agent.errors import KernelError
from mptcp_agent.system.netlink import path_manager
from mptcp_agent.system.netlink.conversation import Refused
from mptcp_agent.system.netlink.endpoints import PathManager

MPTCP = 262


def endpoint(address: str, device: str, number: int, *flags: EndpointFlag) -> Endpoint:
    return Endpoint(address, device, frozenset(flags or ("subflow",)), number)


ENDPOINTS = [
    endpoint("10.1.1.1", "wan1", 101),
    endpoint("10.1.1.1", "wan1", 101, "signal"),
    endpoint("10.1.1.1", "wan1", 164, "subflow", "backup"),
    endpoint("10.1.1.1", "wan2", 101, "signal", "subflow", "backup"),
    endpoint("2001:db8:1::1", "wan1", 102),
    endpoint("192.0.2.1", "wan1", 103),  # an address that is nowhere
]


@pytest.mark.parametrize("wanted", ENDPOINTS, ids=str)
def test_endpoint_is_seen_as_it_was_added(client: Namespace, wanted: Endpoint) -> None:
    manager = PathManager()
    for _ in range(2):  # the second time, it is there already
        manager.add(wanted)
        assert manager.observe() == (wanted,)
    for _ in range(2):
        manager.remove(wanted)
        assert manager.observe() == ()


def test_other_peoples_endpoints_are_not_shown_and_left(client: Namespace) -> None:
    client.sh("ip mptcp endpoint add 192.0.2.7 signal; ip mptcp endpoint add 192.0.2.8 id 9")
    foreign = client.sh("ip mptcp endpoint")
    manager = PathManager()
    own = endpoint("10.1.1.1", "wan1", 101)
    manager.add(own)
    assert manager.observe() == (own,)
    manager.remove(own)
    assert manager.observe() == ()
    assert client.sh("ip mptcp endpoint") == foreign


def test_an_address_or_id_that_somebody_took_is_replaced(client: Namespace) -> None:
    client.sh("ip mptcp endpoint add 10.1.1.1 id 7 signal; ip mptcp endpoint add 192.0.2.8 id 102")
    manager = PathManager()
    own = (endpoint("10.1.1.1", "wan1", 101), endpoint("10.2.2.1", "wan2", 102))
    for wanted in own:
        manager.add(wanted)
    assert manager.observe() == own


def test_an_id_that_is_somebody_elses_by_now_is_not_removed(client: Namespace) -> None:
    manager = PathManager()
    manager.add(endpoint("10.1.1.1", "wan1", 101))
    manager.remove(endpoint("10.2.2.1", "wan2", 101))
    assert manager.observe() == (endpoint("10.1.1.1", "wan1", 101),)


def test_an_endpoint_outlives_its_device(client: Namespace) -> None:
    manager = PathManager()
    lost = endpoint("10.2.2.1", "wan2", 102)
    manager.add(lost)
    index = socket.if_nametoindex("wan2")
    client.sh("ip link del wan2")
    assert manager.observe() == (endpoint("10.2.2.1", f"if{index}", 102),)
    with pytest.raises(KernelError, match="no device wan2"):
        manager.add(endpoint("10.3.3.1", "wan2", 103))
    manager.remove(manager.observe()[0])
    assert manager.observe() == ()


def test_limits(client: Namespace) -> None:
    manager = PathManager()
    for limits in (Limits(0, 0), Limits(8, 8), Limits(3, 1)):
        manager.set_limits(limits)
        assert manager.limits() == limits
    with pytest.raises(KernelError, match=r"subflows 9 .*greater than maximum"):
        manager.set_limits(Limits(9, 8))
    assert manager.limits() == Limits(3, 1)


def test_how_many_endpoints_there_may_be_is_asked_for_and_nothing_is_changed(
    client: Namespace,
) -> None:
    manager = PathManager()
    manager.set_limits(Limits(3, 1))
    most = manager.most()
    assert manager.limits() == Limits(3, 1)
    for number in range(most):
        manager.add(endpoint(f"10.9.0.{number + 1}", "wan1", 101 + number))
    with pytest.raises(KernelError, match="too many"):
        manager.add(endpoint("10.9.1.1", "wan1", 164))
    assert len(manager.observe()) == most


@pytest.mark.parametrize(
    ("said", "most"),
    [
        ("limit greater than maximum", 8),  # before Linux 6.15
        ("limit greater than maximum (8)", 8),  # through 7.1
        ("limit greater than maximum (64)", 64),  # from 7.2 on
    ],
)
def test_every_kernel_says_how_many_endpoints_it_holds(
    monkeypatch: pytest.MonkeyPatch, said: str, most: int
) -> None:
    def refuse(*_: object) -> None:
        raise Refused(errno.EINVAL, said)

    manager = PathManager()
    monkeypatch.setattr(manager._netlink, "request", refuse)
    assert manager.most() == most


@pytest.mark.parametrize(
    ("number", "said"), [(errno.ENOENT, "CONFIG_MPTCP"), (errno.EPERM, "root")]
)
def test_a_kernel_that_cannot_is_explained(
    monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    def refuse(*_: object) -> None:
        raise Refused(number, "no")

    manager = PathManager()
    monkeypatch.setattr(manager._netlink, "dump", refuse)
    monkeypatch.setattr(manager._netlink, "request", refuse)
    for call in (manager.observe, manager.limits):
        with pytest.raises(KernelError, match=said):
            call()


def test_a_kernel_without_mptcp_costs_nothing(
    client: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(path_manager, "_FAMILY", b"no_such\0")
    manager = PathManager()
    with pytest.raises(KernelError, match="no Multipath TCP"):
        manager.observe()
    before = open_files()
    for _ in range(10):
        with pytest.raises(KernelError, match="no Multipath TCP"):
            manager.observe()
    assert open_files() == before


# --- On running connections -----------------------------------------------------------------


class Connection:
    """An MPTCP connection of the client to the server's first address, with both ends."""

    def __init__(self, pair: tuple[Namespace, Namespace], version: int) -> None:
        family = socket.AF_INET6 if version == 6 else socket.AF_INET
        address = "2001:db8:1::2" if version == 6 else "10.1.1.2"
        with pair[1]:
            # Kept open, and for all addresses: a subflow joins at a listening socket, too.
            self.listener = socket.socket(family, socket.SOCK_STREAM, MPTCP)
        self.listener.bind(("", 0))
        self.listener.listen()
        self.port = self.listener.getsockname()[1]
        with pair[0]:
            self.client = socket.socket(family, socket.SOCK_STREAM, MPTCP)
        self.client.connect((address, self.port))
        self.server, _ = self.listener.accept()

    def alive(self) -> bool:
        self.client.sendall(b"x" * 1000)
        received = 0
        while received < 1000:
            received += len(self.server.recv(1000))
        return received == 1000

    def carried(self, address: str) -> Callable[[], bool]:
        """Whether a subflow from this local address is established (asked in the client)."""
        return lambda: (
            [s.local for s in subflows(remote_port=self.port) if s.state == "established"].count(
                address
            )
            == 1
        )

    def bare(self, address: str) -> Callable[[], bool]:
        return lambda: address not in [s.local for s in subflows(remote_port=self.port)]


@pytest.mark.parametrize(
    ("version", "addresses"),
    [(4, ("10.1.1.1", "10.2.2.1")), (6, ("2001:db8:1::1", "2001:db8:2::1"))],
)
def test_removing_and_adding_the_same_endpoint_makes_the_subflow_anew(
    pair: tuple[Namespace, Namespace], version: int, addresses: tuple[str, str]
) -> None:
    """Under the same id, twenty times, for the first subflow as for the second."""
    with pair[0] as client:
        second_way(client)
        manager = PathManager()
        wanted_ones = [endpoint(a, f"wan{n}", 100 + n) for n, a in enumerate(addresses, start=1)]
        for wanted in wanted_ones:
            manager.add(wanted)
        connection = Connection(pair, version)
        assert connection.alive()  # data must go both ways before a join is tried
        connection.server.sendall(b"y")
        connection.client.recv(1)
        for wanted in wanted_ones:
            wait_until(connection.carried(wanted.address), 5, f"{wanted} carries a subflow")
        for number in range(40):
            wanted = wanted_ones[number % 2]
            manager.remove(wanted)
            wait_until(connection.bare(wanted.address), 5, f"{wanted} is left, round {number}")
            assert connection.alive()
            manager.add(wanted)
            wait_until(
                connection.carried(wanted.address), 5, f"{wanted} carries again, round {number}"
            )
            assert connection.alive()


def test_a_connection_without_any_subflow_comes_back(pair: tuple[Namespace, Namespace]) -> None:
    with pair[0]:
        manager = PathManager()
        wanted_ones = [endpoint("10.1.1.1", "wan1", 101), endpoint("10.2.2.1", "wan2", 102)]
        for wanted in wanted_ones:
            manager.add(wanted)
        connection = Connection(pair, 4)
        assert connection.alive()
        wait_until(connection.carried("10.2.2.1"), 5, "both links carry")
        for wanted in wanted_ones:
            manager.remove(wanted)
        wait_until(lambda: not subflows(remote_port=connection.port), 5, "no subflow is left")
        manager.add(wanted_ones[1])
        wait_until(connection.carried("10.2.2.1"), 5, "the second link carries again")
        assert connection.alive()


def test_an_implicit_endpoint_is_the_kernels_own(pair: tuple[Namespace, Namespace]) -> None:
    """The kernel notes an address that it joins from without an endpoint; ours replaces it."""
    client, server = pair
    with server:
        PathManager().add(endpoint("10.2.2.2", "wan2", 102, "signal"))
    with client:
        manager = PathManager()
        connection = Connection(pair, 4)
        assert connection.alive()
        wait_until(connection.carried("10.2.2.1"), 5, "the signalled address is joined")
        assert "10.2.2.1 id 1 " in client.sh("ip mptcp endpoint")
        assert manager.observe() == ()
        own = endpoint("10.2.2.1", "wan2", 101)
        manager.add(own)
        assert manager.observe() == (own,)
    assert connection.alive()


def test_implicit_endpoints_make_way(pair: tuple[Namespace, Namespace]) -> None:
    """Those of addresses that are gone would fill the kernel's eight places in the end."""
    client, server = pair
    with server:
        for number, address in enumerate(("10.1.1.2", "10.2.2.2"), 101):
            PathManager().add(endpoint(address, f"wan{number - 100}", number, "signal"))
    with client:
        manager = PathManager()
        connection = Connection(pair, 4)
        assert connection.alive()
        wait_until(connection.carried("10.2.2.1"), 5, "the signalled address is joined")
        assert "10.2.2.1 id 1 " in client.sh("ip mptcp endpoint")
        client.batch([f"mptcp endpoint add 10.9.9.{n} id {n} signal" for n in range(2, 9)])
        own = endpoint("10.1.1.1", "wan1", 101)
        manager.add(own)
        assert own in manager.observe()
        assert "10.2.2.1 " not in client.sh("ip mptcp endpoint")


def test_observing_is_cheap(client: Namespace, capsys: pytest.CaptureFixture[str]) -> None:
    manager = PathManager()
    for wanted in (endpoint("10.1.1.1", "wan1", 101), endpoint("10.2.2.1", "wan2", 102)):
        manager.add(wanted)
    with capsys.disabled():
        print()
        for call in (manager.observe, manager.limits):
            print(cost(f"PathManager.{call.__name__}", call))
