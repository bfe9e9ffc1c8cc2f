# SPDX-License-Identifier: GPL-2.0-or-later
"""ubusd's rules, on the broker and on the real one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from contract.tools import TESTS, Caller, Ubusd
from openwrt import wire
from openwrt.libubus import Context, Found, Published, Request
from openwrt.wire import Attr, Message, Msg, Status
from toolkit.stopping import end
from toolkit.waiting import wait_until


def silent(_: Request) -> int:
    return Status.OK


def publish(context: Context, path: str, handler: object = silent, method: str = "go") -> Published:
    obj = Published(frozenset([method]), handler, path)  # type: ignore[arg-type]
    status = context.add_object(obj, wire.field(method, wire.Type.TABLE, b""))
    assert status == Status.OK, wire.status_text(status)
    return obj


def paths(context: Context, pattern: str | None) -> list[str]:
    found: list[Found] = []
    context.lookup(pattern, found.append)
    return [each.path for each in found]


def listen(context: Context, pattern: str) -> list[tuple[str, dict[str, object]]]:
    heard: list[tuple[str, dict[str, object]]] = []

    def on_event(request: Request) -> int:
        heard.append((request.method, dict(wire.table(request.data))))
        return Status.OK

    assert context.register_event(Published(None, on_event), pattern) == Status.OK
    return heard


def pump(context: Context, rounds: int = 10) -> None:
    """Let the bus deliver: a request and its answer keep the order of what came before."""
    for _ in range(rounds):
        context.lookup("pump.none", lambda found: None)
        context.handle_events()


@pytest.fixture
def other(ubusd: Ubusd) -> Context:
    return Context(ubusd.path)


def test_lookup_patterns(caller: Caller, other: Context) -> None:
    for path in ("b.two", "a", "b.one", "c"):
        publish(other, path)
    context = caller.context
    assert paths(context, None) == ["a", "b.one", "b.two", "c"]
    assert paths(context, "*") == ["a", "b.one", "b.two", "c"]
    assert paths(context, "b.*") == ["b.one", "b.two"]
    assert paths(context, "b") == []
    assert paths(context, "b.one") == ["b.one"]
    assert context.lookup("d*", lambda found: None) == Status.NOT_FOUND
    assert context.lookup("", lambda found: None) == Status.INVALID_ARGUMENT


def test_two_objects_cannot_have_one_path(caller: Caller, other: Context) -> None:
    publish(other, "one")
    twin = Published(frozenset(["go"]), silent, "one")
    assert caller.context.add_object(twin) == Status.INVALID_ARGUMENT


def test_objects_vanish_with_their_connection_and_events_tell(ubusd: Ubusd, caller: Caller) -> None:
    heard = listen(caller.context, "ubus.object.*")
    other = Context(ubusd.path)
    obj = publish(other, "fleeting")
    other.close()
    wait_until(lambda: paths(caller.context, "fleeting") == [], 10, "gone")
    pump(caller.context)
    signed = obj.ident - (1 << 32 if obj.ident >> 31 else 0)
    told = {"id": signed, "path": "fleeting"}
    assert heard == [("ubus.object.add", told), ("ubus.object.remove", told)]


def test_only_the_owner_removes_an_object(caller: Caller, other: Context) -> None:
    obj = publish(other, "mine")
    assert caller.context.remove_object(obj) == Status.PERMISSION_DENIED
    assert other.remove_object(obj) == Status.OK
    assert other.remove_object(obj) == Status.NOT_FOUND


def test_events_reach_matching_listeners_once_and_never_the_sender(
    caller: Caller, other: Context
) -> None:
    exact, prefix = listen(caller.context, "lab.x"), listen(caller.context, "lab.*")
    own, none = listen(other, "lab.*"), listen(caller.context, "lab")
    both = Published(None, silent)
    heard: list[str] = []
    both.handler = lambda request: heard.append(request.method) or Status.OK  # type: ignore[func-returns-value]
    for pattern in ("lab.x", "lab.*", "*"):
        assert caller.context.register_event(both, pattern) == Status.OK
    assert other.send_event("lab.x", wire.encode_table({"n": 1})) == Status.OK
    assert other.send_event("lab.y", b"") == Status.OK
    pump(caller.context)
    pump(other)
    assert exact == [("lab.x", {"n": 1})]
    assert prefix == [("lab.x", {"n": 1}), ("lab.y", {})]
    assert own == none == []
    assert [name for name in heard if name.startswith("lab")] == ["lab.x", "lab.y"]


def test_events_of_the_bus_itself_cannot_be_forged(caller: Caller) -> None:
    assert caller.context.send_event("ubus.object.add", b"") == Status.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("method", "arguments", "status"),
    [
        ("register", {"object": 1, "pattern": "x"}, Status.PERMISSION_DENIED),
        ("register", {"object": 123456, "pattern": "x"}, Status.NOT_FOUND),
        ("register", {"object": 123456}, Status.INVALID_ARGUMENT),
        ("send", {"id": "x"}, Status.INVALID_ARGUMENT),
        ("nothing", {}, Status.INVALID_COMMAND),
    ],
)
def test_event_object_refuses(
    caller: Caller, method: str, arguments: dict[str, str | int], status: Status
) -> None:
    data = wire.encode_table(arguments)
    assert caller.context.invoke(wire.EVENT_OBJECT, method, data) == status


def test_bad_requests(caller: Caller) -> None:
    context = caller.context
    assert context.request(Msg.INVOKE, 0, wire.u32(Attr.OBJID, 99999)) == Status.INVALID_ARGUMENT
    assert context.invoke(99999, "x", b"") == Status.NOT_FOUND
    assert context.request(Msg.REMOVE_OBJECT, 0, b"") == Status.INVALID_ARGUMENT
    assert context.request(Msg.SUBSCRIBE, 0, b"") == Status.INVALID_ARGUMENT
    assert context.request(Msg.HELLO, 0, b"") == Status.INVALID_COMMAND
    assert context.send(Message(77, 900, 0)) is True  # an unknown type is answered, too
    pump(context)
    assert not context.eof


def test_caller_of_a_dead_owner_hears_nothing(ubusd: Ubusd, caller: Caller) -> None:
    owner = Context(ubusd.path)
    obj = publish(owner, "doomed")
    body = wire.u32(Attr.OBJID, obj.ident) + wire.text(Attr.METHOD, "go")
    body += wire.blob(Attr.DATA, b"")
    caller.context.send(Message(Msg.INVOKE, 500, obj.ident, body))
    owner.close()
    assert caller.context.request(Msg.PING, 0, b"", timeout=300) == Status.OK
    status = caller.context.request(Msg.INVOKE, obj.ident, body, timeout=300)
    assert status in (Status.NOT_FOUND, Status.TIMEOUT)


def test_subscriptions(ubusd: Ubusd, caller: Caller) -> None:
    publisher = Context(ubusd.path)
    obj = publish(publisher, "news")
    heard: list[tuple[str, dict[str, object]]] = []

    def on_notify(request: Request) -> int:
        heard.append((request.method, dict(wire.table(request.data))))
        return Status.OK

    receiver = Published(None, on_notify)
    context = caller.context
    assert context.add_object(receiver) == Status.OK
    assert context.subscribe(receiver, 99999) == Status.NOT_FOUND
    assert publisher.subscribe(obj, obj.ident) == Status.INVALID_ARGUMENT
    assert context.subscribe(receiver, obj.ident) == Status.OK
    body = wire.u32(Attr.OBJID, obj.ident) + wire.text(Attr.METHOD, "extra")
    body += wire.blob(Attr.DATA, wire.encode_table({"n": 1}))
    publisher.send(Message(Msg.NOTIFY, 1, obj.ident, body + wire.u8(Attr.NO_REPLY, 1)))
    pump(publisher)
    pump(context)
    assert heard == [("extra", {"n": 1})]
    assert context.request(Msg.NOTIFY, obj.ident, body) == Status.PERMISSION_DENIED
    target = wire.u32(Attr.OBJID, receiver.ident) + wire.u32(Attr.TARGET, obj.ident)
    assert context.request(Msg.UNSUBSCRIBE, 0, target) == Status.OK
    assert context.request(Msg.UNSUBSCRIBE, 0, target) == Status.NOT_FOUND


def test_publisher_and_subscriber_are_told(ubusd: Ubusd) -> None:
    """NOTIFY with ACTIVE to the publisher, UNSUBSCRIBE to the subscriber: raw messages."""
    publisher, subscriber = _Raw(ubusd.path), _Raw(ubusd.path)
    news = publisher.add(wire.text(Attr.OBJPATH, "news") + wire.blob(Attr.SIGNATURE, b""))
    receiver = subscriber.add(b"")
    subscriber.ask(Msg.SUBSCRIBE, wire.u32(Attr.OBJID, receiver) + wire.u32(Attr.TARGET, news))
    told = publisher.read()
    assert (told.type, told.attrs()[Attr.ACTIVE]) == (Msg.NOTIFY, b"\1")
    publisher.socket.close()
    ended = subscriber.read()
    assert ended.type == Msg.UNSUBSCRIBE
    assert wire.get_u32(ended.attrs(), Attr.TARGET) == news
    assert wire.get_u32(ended.attrs(), Attr.OBJID) == receiver


class _Raw:
    """A client that shows each message."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(5)
        self.socket.connect(path)
        self._framer = wire.Framer()
        assert self.read().type == Msg.HELLO

    def read(self) -> Message:
        while (message := self._framer.next()) is None:
            data = self.socket.recv(65536)
            assert data, "closed"
            self._framer.feed(data)
        return message

    def ask(self, kind: Msg, body: bytes) -> list[Message]:
        self.socket.sendall(Message(kind, 7, 0, body).encode())
        answers = [self.read()]
        while answers[-1].type != Msg.STATUS:
            answers.append(self.read())
        return answers

    def add(self, body: bytes) -> int:
        ident = wire.get_u32(self.ask(Msg.ADD_OBJECT, body)[0].attrs(), Attr.OBJID)
        assert ident is not None
        return ident


def test_a_message_over_one_mebibyte_ends_the_connection(ubusd: Ubusd) -> None:
    raw = _Raw(ubusd.path)
    raw.socket.sendall(Message(Msg.LOOKUP, 1, 0, bytes((1 << 20) - 4)).encode())
    assert raw.read().type == Msg.STATUS  # just fits
    too_large = Message(Msg.LOOKUP, 1, 0, bytes(1 << 20)).encode()
    with pytest.raises((AssertionError, ConnectionError)):
        raw.socket.sendall(too_large)
        raw.read()


def test_a_client_that_does_not_read_loses_events_and_nothing_else(
    ubusd: Ubusd, caller: Caller
) -> None:
    lazy = _Raw(ubusd.path)
    receiver = lazy.add(b"")
    signed = receiver - (1 << 32 if receiver >> 31 else 0)
    register = wire.encode_table({"object": signed, "pattern": "bulk"})
    body = wire.u32(Attr.OBJID, 1) + wire.text(Attr.METHOD, "register")
    lazy.ask(Msg.INVOKE, body + wire.blob(Attr.DATA, register))
    event = wire.encode_table({"fill": "x" * 100_000})
    for _ in range(40):
        assert caller.context.send_event("bulk", event) == Status.OK
    got = 0
    lazy.socket.settimeout(0.5)
    try:
        while lazy.read().type == Msg.INVOKE:
            got += 1
    except TimeoutError:
        pass
    assert 10 <= got < 40, got  # 1 MiB of queue and what the socket holds
    lazy.socket.settimeout(5)
    assert lazy.ask(Msg.PING, b"")[-1].type == Msg.STATUS


def test_a_lookup_is_never_cut_short(ubusd: Ubusd) -> None:
    owner = Context(ubusd.path)
    signature = b"".join(
        wire.field(f"method{n:04}", wire.Type.TABLE, wire.encode_table({"argument": 3}))
        for n in range(600)
    )
    for n in range(100):
        obj = Published(frozenset(), silent, f"big.{n:03}")
        assert owner.add_object(obj, signature) == Status.OK
    raw = _Raw(ubusd.path)
    raw.socket.sendall(Message(Msg.LOOKUP, 7, 0).encode())
    count = 0
    while raw.read().type == Msg.DATA:
        count += 1
    assert count == 100


def test_restart_removes_everything(ubusd: Ubusd) -> None:
    before = Context(ubusd.path)
    publish(before, "old")
    ubusd.kill()
    assert Path(ubusd.path).exists()  # a left-over socket does not hinder the next one
    ubusd.start()
    assert paths(Context(ubusd.path), None) == []
    assert before.lookup("old", lambda found: None) != Status.OK
    assert before.eof


def test_a_second_one_takes_the_socket(ubusd: Ubusd, caller: Caller) -> None:
    """Without a word. Who is connected stays with the first, and the first's end takes the socket
    away from the second."""
    publish(caller.context, "early")
    second = Ubusd(ubusd.command, ubusd.path)
    inode = Path(ubusd.path).stat().st_ino
    second.start(lambda: Path(ubusd.path).stat().st_ino != inode)
    try:
        with Caller.connect(ubusd.path) as late:
            publish(late.context, "late")
            assert paths(late.context, None) == ["late"]
        assert paths(caller.context, None) == ["early"]
        assert ubusd.process is not None
        end(ubusd.process, signal.SIGTERM, 5)
        assert not Path(ubusd.path).exists()
        assert second.process is not None and second.process.poll() is None
    finally:
        second.kill()


def test_others_than_root_may_do_nothing(ubusd: Ubusd, caller: Caller) -> None:
    """Without files in /usr/share/acl.d (the machine has none)."""
    assert os.geteuid() == 0, "this test needs root, to become somebody else"
    publish(caller.context, "guarded")
    script = """
import os, sys
from openwrt.libubus import Context, Published
os.setgid(65534); os.setuid(65534)
c = Context(sys.argv[1])
seen = []
status = c.lookup(None, lambda found: seen.append(found.path))
ident = int(sys.argv[2])
o = Published(None, lambda r: 0, "theirs")
print(status, seen, c.invoke(ident, "go", b""), c.send_event("x", b""), c.add_object(o),
      c.register_event(Published(None, lambda r: 0), "x"))
"""
    status, ident = caller.context.lookup_id("guarded")
    assert status == Status.OK
    done = subprocess.run(
        [sys.executable, "-c", script, ubusd.path, str(ident)],
        env={"PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=10,
    )
    assert done.stdout == "0 [] 6 6 2 6\n", done.stderr
