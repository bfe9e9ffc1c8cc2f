# SPDX-License-Identifier: GPL-2.0-or-later
"""Counters of the kernel."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from toolkit.namespace import Namespace
from toolkit.waiting import wait_until

from mptcp_agent.errors import KernelError
from mptcp_agent.system import counters

MPTCP = 262


def test_mptcp_counters_count(pair: tuple[Namespace, Namespace]) -> None:
    with pair[1]:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, MPTCP)
        plain = socket.create_server(("10.1.1.2", 0))
    listener.bind(("10.1.1.2", 0))
    listener.listen()
    with pair[0]:
        before = counters.mptcp_counters()
        assert before["MPCapableSYNTX"] == 0
        for target in (listener, plain):
            socket.socket(socket.AF_INET, socket.SOCK_STREAM, MPTCP).connect(target.getsockname())
        after = counters.mptcp_counters()
        assert after["MPCapableSYNTX"] == 2
        assert after["MPCapableSYNACKRX"] == 1
        assert after["MPCapableFallbackSYNACK"] == 1
        with ThreadPoolExecutor(1) as worker:  # a thread is in the namespace that started it
            assert worker.submit(counters.mptcp_counters).result() == after


def test_link_bytes_count(pair: tuple[Namespace, Namespace]) -> None:
    with pair[0] as client:
        client.sh("ip link set wan2 down; ip link set wan2 name eth0.2-with-15c")
        before = counters.link_bytes()
        assert set(before) == {"lo", "wan1", "eth0.2-with-15c"}
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for _ in range(10):
            sender.sendto(bytes(1000), ("10.1.1.2", 9))
        wait_until(
            lambda: counters.link_bytes()["wan1"][1] - before["wan1"][1] >= 10_000,
            5,
            "what was sent is counted",
        )
        assert counters.link_bytes()["wan1"][1] - before["wan1"][1] < 20_000


def test_connections_are_counted_at_both_ends(pair: tuple[Namespace, Namespace]) -> None:
    for address in ("10.1.1.2", "2001:db8:1::2"):
        with pair[1]:
            before = counters.tcp_opened()
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            listener = socket.create_server((address, 0), family=family)
        with pair[0]:
            mine = counters.tcp_opened()
            socket.create_connection(listener.getsockname()[:2]).close()
            assert counters.tcp_opened() == mine + 1
        listener.accept()
        with pair[1]:
            assert counters.tcp_opened() == before + 1
        with pair[0]:  # nobody answers
            calling = socket.socket()
            calling.setblocking(False)
            calling.connect_ex(("10.1.1.9", 9))
            assert counters.tcp_opened() == mine + 2


def test_memory() -> None:
    assert counters.memory_total() > 32 << 20


def test_a_missing_proc_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(counters, "_NETSTAT", tmp_path / "netstat")
    with pytest.raises(KernelError, match="is /proc mounted"):
        counters.mptcp_counters()
    (tmp_path / "netstat").write_text("TcpExt: A B\nTcpExt: 1 2\n")
    assert counters.mptcp_counters() == {}
