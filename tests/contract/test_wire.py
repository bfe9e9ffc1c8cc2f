# SPDX-License-Identifier: GPL-2.0-or-later
"""The codec and the bus against messages captured from a real ubusd, byte for byte."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from contract.tools import OPENWRT, TESTS, Captured, capture
from hypothesis import given
from hypothesis import strategies as st
from openwrt import jsontext, wire
from openwrt.bus import Bus
from openwrt.busobjects import Send
from openwrt.wire import Attr, Json, Message, Msg, Type

NAMES = ["provider", "call", "call-raises", "call-no-object", "send", "list-nothing"]


@pytest.mark.parametrize("name", NAMES)
def test_messages_decode_and_encode_to_the_same_bytes(name: str) -> None:
    for each in capture(name):
        assert each.message.encode() == each.data
        assert Msg(each.message.type).name == each.name


def test_values_encode_as_the_binding_did() -> None:
    """The reply of the captured provider held one value of each type."""
    reply: dict[str, Json] = {
        "text": "héllo", "i": -5, "big": 5_000_000_000, "f": 1.5, "b": True, "z": None,
        "l": [1, "x"], "t": {"k": "v"},
    }  # fmt: skip
    captured = next(e for e in capture("provider") if e.from_client and e.name == "DATA")
    data = captured.message.attrs()[Attr.DATA]
    assert wire.encode_table(reply) == data
    assert wire.table(data) == reply
    assert jsontext.dumps(data) == (
        '{"text":"héllo","i":-5,"big":5000000000,"f":1.500000,"b":true,"z":null,'
        '"l":[1,"x"],"t":{"k":"v"}}'
    )


def _u32(each: Captured, attr: Attr) -> int:
    value = wire.get_u32(each.message.attrs(), attr)
    assert value is not None
    return value


def keep(encoded: list[bytes], messages: list[Message] | None = None) -> Send:
    def send(message: Message, paced: bool = False) -> None:
        encoded.append(message.encode())
        if messages is not None:
            messages.append(message)

    return send


def test_bus_answers_the_provider_as_ubusd_did() -> None:
    """Play the client's part of the capture (and the callers'); compare what the bus sends."""
    messages = capture("provider")
    invokes = [each for each in messages if each.name == "INVOKE" and not each.from_client]
    calls, event = invokes[:3], invokes[3]
    added = [each for each in messages if each.name == "DATA" and not each.from_client][:2]
    ids = [
        messages[0].message.peer,
        _u32(added[0], Attr.OBJTYPE),
        _u32(added[0], Attr.OBJID),
        _u32(added[1], Attr.OBJID),
        *(each.message.peer for each in calls),
        0x70000000,
    ]
    bus = Bus(iter(ids).__next__)
    sent: list[bytes] = []
    answered: list[Message] = []
    provider = bus.connect(keep(sent))
    callers = {}
    for each in messages:
        if each.from_client:
            bus.receive(provider, each.message)
        elif each in calls:
            client = bus.connect(keep([], answered))
            callers[client.ident] = client
            body = wire.u32(Attr.OBJID, _u32(each, Attr.OBJID))
            attrs = each.message.attrs()
            body += wire.blob(Attr.METHOD, attrs[Attr.METHOD])
            body += wire.blob(Attr.DATA, attrs[Attr.DATA])
            object_id = _u32(each, Attr.OBJID)
            bus.receive(client, Message(Msg.INVOKE, each.message.seq, object_id, body))
        elif each is event:
            client = bus.connect(keep([], answered))
            attrs = each.message.attrs()
            data = wire.field("id", Type.STRING, attrs[Attr.METHOD])
            data += wire.field("data", Type.TABLE, attrs[Attr.DATA])
            body = wire.u32(Attr.OBJID, 1) + wire.text(Attr.METHOD, "send")
            bus.receive(client, Message(Msg.INVOKE, 1, 1, body + wire.blob(Attr.DATA, data)))
    assert sent == [each.data for each in messages if not each.from_client]
    statuses = [wire.get_u32(m.attrs(), Attr.STATUS) for m in answered if m.type == Msg.STATUS]
    assert statuses == [0, 3, 2, 0]  # hi, no such method, bad arguments, the event


@pytest.mark.parametrize("name", ["call", "call-raises"])
def test_bus_answers_a_caller_as_ubusd_did(name: str) -> None:
    """The object's owner answers from the capture; the bus has to swap the peers."""
    opening = capture("call")[:4]
    messages = capture(name) if name == "call" else opening + capture(name)
    found = messages[2].message.attrs()
    kind, owned = _u32(messages[2], Attr.OBJTYPE), _u32(messages[2], Attr.OBJID)
    bus = Bus(iter([1 << 30, kind, owned, messages[0].message.peer]).__next__)
    owner = bus.connect(keep([]))
    body = wire.blob(Attr.OBJPATH, found[Attr.OBJPATH])
    body += wire.blob(Attr.SIGNATURE, found[Attr.SIGNATURE])
    bus.receive(owner, Message(Msg.ADD_OBJECT, 1, 0, body))
    sent: list[bytes] = []
    client = bus.connect(keep(sent))
    for each in messages[1:]:
        if each.from_client:
            bus.receive(client, each.message)
        elif each.message.peer:  # an answer of the owner: as he sends it, peer is the caller
            bus.receive(owner, each.message._replace(peer=client.ident))
    assert sent == [each.data for each in messages if not each.from_client]


class _Player(threading.Thread):
    """A ubusd that says what the captured one said, and keeps what it is told."""

    def __init__(self, path: Path, messages: list[Captured]) -> None:
        super().__init__(daemon=True)
        self._messages = messages
        self.heard: list[bytes] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self.start()

    def run(self) -> None:
        connection, _ = self._server.accept()
        framer = wire.Framer()
        for each in self._messages:
            if not each.from_client:
                connection.sendall(each.data)
                continue
            while (message := framer.next()) is None:
                data = connection.recv(65536)
                if not data:
                    return
                framer.feed(data)
            self.heard.append(message.encode())
        connection.close()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("call", ["call", "slow", "echo", '{"v":{"a":[1,true]}}']),
        ("call-raises", ["call", "slow", "exc"]),
        ("call-no-object", ["call", "nope", "x"]),
        ("send", ["send", "demo.y", "{}"]),
        ("list-nothing", ["list", "nothing"]),
    ],
)
def test_command_speaks_as_the_real_one_did(name: str, words: list[str], tmp_path: Path) -> None:
    opening = capture("call")[:4] if name == "call-raises" else []
    messages = opening + capture(name)
    player = _Player(tmp_path / "s", messages)
    command = [str(OPENWRT / "bin" / "ubus"), "-s", str(tmp_path / "s"), *words]
    subprocess.run(command, timeout=10, capture_output=True)
    player.join(5)
    assert player.heard == [each.data for each in messages if each.from_client]


PROVIDER = """
import sys, ubus
ubus.connect(sys.argv[1])
def hi(handler, arguments):
    handler.reply({"text": "héllo", "i": -5, "big": 5000000000, "f": 1.5, "b": True, "z": None,
                   "l": [1, "x"], "t": {"k": "v"}})
methods = {"hi": {"signature": {"name": ubus.BLOBMSG_TYPE_STRING, "n": ubus.BLOBMSG_TYPE_INT32},
                  "method": hi}}
ubus.add("demo", methods)
got = []
ubus.listen(("demo.*", lambda name, data: got.append(name)))
while not got:
    ubus.loop(20)
ubus.send("other.event", {"a": 1})
ubus.disconnect()
"""


def test_module_speaks_as_the_real_one_did(tmp_path: Path) -> None:
    messages = capture("provider")
    player = _Player(tmp_path / "s", messages)
    subprocess.run(
        [sys.executable, "-c", PROVIDER, str(tmp_path / "s")],
        env={"PYTHONPATH": str(OPENWRT / "module")},
        timeout=10,
        check=True,
    )
    player.join(5)
    assert player.heard == [each.data for each in messages if each.from_client]


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False)
    | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


@given(st.dictionaries(TEXT, JSON))
def test_any_value_survives(values: dict[str, Json]) -> None:
    assert wire.table(wire.encode_table(values)) == values


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_exception(data: bytes) -> None:
    jsontext.dumps(data)
    wire.table(data)
    framer = wire.Framer()
    framer.feed(struct.pack(">BBHII", 0, 5, 1, 0, len(data) + 4) + data)
    message = framer.next()
    assert message is not None and message.body == data


def test_captures_are_all_used() -> None:
    files = (TESTS / "contract" / "captures").glob("*.txt")
    assert sorted(each.stem for each in files) == sorted(NAMES)
