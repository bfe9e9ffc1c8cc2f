# SPDX-License-Identifier: GPL-2.0-or-later
"""Speaking to the real kernel: answers, refusals, and what becomes of the socket."""

from __future__ import annotations

import errno
import socket
import struct

import pytest
from kernel.support import open_files
from toolkit.namespace import Namespace

from mptcp_agent.system.netlink.conversation import Conversation, Refused
from mptcp_agent.system.netlink.framing import HEADER

#: RTM_GETLINK, _NEWROUTE, _GETRULE; an ifinfomsg of nothing in particular
GET_LINK, NEW_ROUTE, GET_RULE = 18, 24, 34
LINK = bytes(16)
RULES = 3000


@pytest.fixture
def kernel(client: Namespace) -> Conversation:
    return Conversation(socket.NETLINK_ROUTE)


def test_a_refusal_has_the_kernels_words_and_keeps_the_socket(kernel: Conversation) -> None:
    before = open_files()
    for _ in range(3):
        with pytest.raises(Refused, match="Invalid") as said:
            kernel.request(NEW_ROUTE, struct.pack("=BBBBBBBBI", 2, 33, 0, 0, 0, 0, 0, 0, 0))
        assert said.value.errno == errno.EINVAL
    assert kernel.dump(GET_LINK, LINK)
    assert open_files() == before + 1
    kernel.close()


def test_who_has_enough_of_a_dump_gets_the_next_one_whole(
    kernel: Conversation, client: Namespace
) -> None:
    batch = "\n".join(f"rule add from 10.{n >> 8}.{n & 255}.1 lookup 7" for n in range(RULES))
    client.ip("-batch", "-", stdin=batch)
    body = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 0, 0, 0, 0, 0)
    for _ in kernel.some(GET_RULE, body):
        break
    assert len(kernel.dump(GET_LINK, LINK)) > 1
    assert len(kernel.dump(GET_RULE, body)) >= RULES
    kernel.close()


def test_a_broken_socket_is_opened_anew(kernel: Conversation) -> None:
    kernel.dump(GET_LINK, LINK)
    broken = kernel._socket
    assert broken
    broken.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        kernel.dump(GET_LINK, LINK)
    assert kernel.dump(GET_LINK, LINK)
    kernel.close()


def test_a_dump_that_changes_interrupt_is_asked_for_again(
    kernel: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel marks it (NLM_F_DUMP_INTR); here the first answer is marked on its way."""
    real, asked = kernel._open(), []

    class Marking:
        def send(self, data: bytes) -> int:
            asked.append(data)
            return real.send(data)

        def recv(self, size: int) -> bytes:
            data = bytearray(real.recv(size))
            if len(asked) == 1:
                length, kind, flags, number, port = HEADER.unpack_from(data)
                HEADER.pack_into(data, 0, length, kind, flags | 0x10, number, port)
            return bytes(data)

        def close(self) -> None:
            real.close()

    monkeypatch.setattr(kernel, "_socket", Marking())
    found = kernel.dump(GET_LINK, LINK)
    assert len(asked) == 2
    assert len(found) == len(set(found)) > 1
    kernel.close()
