# SPDX-License-Identifier: GPL-2.0-or-later
"""Another process's listening socket gets a bound on what its connections take in."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from toolkit.namespace import Namespace
from toolkit.stopping import end

from mptcp_agent.system.engines.listener_buffer import bound

SIZE = 256 << 10
#: As an engine's, that is started without privileges: two listeners, and what is accepted stays
#: with them. It says its port, and the buffer of each connection.
PROGRAM = """
import socket
listeners = [socket.create_server(("127.0.0.1", port)) for port in (0, 0)]
print(listeners[0].getsockname()[1], flush=True)
while True:
    accepted, _ = listeners[0].accept()
    print(accepted.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF), flush=True)
    print(listeners[1].getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF), flush=True)
"""


class Server:
    def __init__(self, user: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            user=user,
            group=user,
            extra_groups=[],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = self._says()

    def _says(self) -> int:
        assert self.process.stdout
        return int(self.process.stdout.readline())

    def buffers(self) -> tuple[int, int]:
        """Of a new connection, and of the other listener."""
        with socket.create_connection(("127.0.0.1", self.port)):
            return self._says(), self._says()


@pytest.fixture(params=[65534, 0], ids=["nobody", "root"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with Namespace():
        started = Server(request.param)
        yield started
        end(started.process)


def test_connections_inherit_it_and_nothing_else_changes(server: Server) -> None:
    before, other = server.buffers()
    assert bound(server.process.pid, server.port, SIZE)
    assert server.buffers() == (2 * SIZE, other)
    assert before != 2 * SIZE


def test_it_says_when_there_is_no_such_listener(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert not bound(server.process.pid, other.getsockname()[1], SIZE)


def test_it_says_when_there_is_no_such_process() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert not bound(ended.pid, 1080, SIZE)
