"""The `ubus` Python module's habits: the stand-in and the real one, on the broker and on ubusd."""

from __future__ import annotations

import json
import subprocess
import textwrap
from typing import Any

import pytest
from contract.tools import Caller, Ubusd, wait_for
from openwrt import wire
from openwrt.wire import Status

PRELUDE = """
import json, os, signal, socket, subprocess, sys, threading, time
import ubus
PATH = sys.argv[1]
def show(*values): print(json.dumps(values), flush=True)
def attempt(function, *arguments, **named):
    try:
        return function(*arguments, **named)
    except BaseException as error:
        return [type(error).__name__, str(error)]
def serve(until=lambda: False, seconds=8):
    import select
    end = time.monotonic() + seconds
    fd = bus_fd()
    while not until() and time.monotonic() < end:
        select.select([fd], [], [], 0.05)
        ubus.loop(0)
def sockets():
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{fd}").startswith("socket:"):
                found.add(int(fd))
        except OSError:
            pass
    return found
_before = sockets()
def bus_fd():
    (fd,) = sockets() - _before
    return fd
"""

PROVIDER = """
ubus.connect(PATH)
S, I, U = ubus.BLOBMSG_TYPE_STRING, ubus.BLOBMSG_TYPE_INT32, ubus.BLOBMSG_TYPE_UNSPEC
calls = []
def hi(handler, arguments):
    calls.append(arguments)
    show(handler.reply({"got": arguments}))
def twice(handler, arguments):
    handler.reply({"n": 1}); handler.reply({"n": 2})
def quiet(handler, arguments): pass
def broken(handler, arguments): raise ValueError("on purpose")
def half(handler, arguments):
    handler.reply({"n": 1}); raise ValueError("after the reply")
def bad_reply(handler, arguments): show(attempt(handler.reply, [1]), attempt(handler.reply, "x"))
def leave(handler, arguments): sys.exit(7)
def keep(handler, arguments): kept.append(handler)
kept = []
def big(handler, arguments): handler.reply({"fill": "x" * arguments["n"]})
def plain(function, signature={}): return {"signature": signature, "method": function}
ubus.add("demo", {
    "hi": plain(hi, {"name": S, "n": I}), "any": plain(hi, {"v": U}), "twice": plain(twice),
    "quiet": plain(quiet), "broken": plain(broken), "half": plain(half),
    "bad_reply": plain(bad_reply), "leave": plain(leave), "keep": plain(keep),
    "big": plain(big, {"n": I}),
})
show("there")
"""


class Program:
    """A program with the module; its `show()` lines can be waited for."""

    def __init__(self, python: list[str], ubusd: Ubusd, source: str) -> None:
        self._process = subprocess.Popen(
            [*python, "-c", PRELUDE + textwrap.dedent(source), ubusd.path],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> list[Any]:
        assert self._process.stdout is not None
        text = self._process.stdout.readline()
        assert text, self.end()[2]
        return list(json.loads(text))

    def end(self, seconds: float = 10) -> tuple[int, list[list[Any]], str]:
        """Exit status, the lines not yet read, stderr."""
        try:
            out, err = self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        return self._process.returncode, [json.loads(text) for text in out.splitlines()], err

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


def run(python: list[str], ubusd: Ubusd, source: str) -> list[list[Any]]:
    """The lines a program shows; it must end well."""
    status, lines, err = Program(python, ubusd, source).end()
    assert status == 0, err
    return lines


@pytest.fixture
def provider(python: list[str], ubusd: Ubusd) -> Any:
    program = Program(python, ubusd, PROVIDER + "serve()")
    assert program.line() == ["there"]
    yield program
    program.kill()


# -- being called --------------------------------------------------------------------------


def test_a_good_call(provider: Program, caller: Caller) -> None:
    assert caller("demo", "hi", name="bob", n=7) == {"got": {"name": "bob", "n": 7}}
    assert provider.line() == [True]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"name": "bob"},
        {"n": 7},
        {"name": "bob", "n": "7"},
        {"name": "bob", "n": 7, "ubus_rpc_session": "0"},
        {"name": "bob", "n": 1 << 40},
        {"name": None, "n": 7},
    ],
    ids=str,
)
def test_signatures_are_exact(
    provider: Program, caller: Caller, arguments: dict[str, object]
) -> None:
    assert caller.status("demo", "hi", **arguments) == Status.INVALID_ARGUMENT


@pytest.mark.parametrize("value", [1, "x", [1], {"a": None}, True, None, 1.5, 1 << 40], ids=str)
def test_unspec_takes_any_type_but_not_none_at_all(
    provider: Program, caller: Caller, value: object
) -> None:
    assert caller("demo", "any", v=value) == {"got": {"v": value}}
    assert caller.status("demo", "any") == Status.INVALID_ARGUMENT


def test_replies_and_statuses(provider: Program, caller: Caller) -> None:
    assert caller.raw("demo", "twice") == (Status.OK, [{"n": 1}, {"n": 2}])
    assert caller.raw("demo", "quiet") == (Status.OK, [])
    assert caller.status("demo", "nope") == Status.METHOD_NOT_FOUND
    assert caller.raw("demo", "broken") == (Status.UNKNOWN_ERROR, [])
    assert caller.raw("demo", "half") == (Status.UNKNOWN_ERROR, [{"n": 1}])
    assert caller.status("demo", "bad_reply") == Status.OK
    refused = ["TypeError", "Failed to create json for ubus."]
    assert provider.line() == [refused, refused]
    provider._process.terminate()


def test_an_exception_is_told_on_stderr(python: list[str], ubusd: Ubusd, caller: Caller) -> None:
    program = Program(python, ubusd, PROVIDER + "serve(seconds=1)")
    program.line()
    caller.raw("demo", "broken")
    status, _, err = program.end()
    assert status == 0
    assert err.count("Traceback (most recent call last)") == 1
    assert "ValueError: on purpose" in err


def test_sys_exit_in_a_handler_ends_the_process(
    python: list[str], ubusd: Ubusd, caller: Caller
) -> None:
    program = Program(python, ubusd, PROVIDER + "try:\n    serve()\nfinally:\n    show('finally')")
    program.line()
    _, ident = caller.context.lookup_id("demo")
    body = wire.u32(wire.Attr.OBJID, ident) + wire.text(wire.Attr.METHOD, "leave")
    body += wire.blob(wire.Attr.DATA, b"")
    caller.context.send(wire.Message(wire.Msg.INVOKE, 1, ident, body))
    status, lines, _ = program.end()
    assert status == 7
    assert lines == []


def test_a_reply_over_one_mebibyte_costs_the_connection(provider: Program, caller: Caller) -> None:
    assert len(caller("demo", "big", n=1_048_500)["fill"]) == 1_048_500
    _, ident = caller.context.lookup_id("demo")
    body = wire.u32(wire.Attr.OBJID, ident) + wire.text(wire.Attr.METHOD, "big")
    body += wire.blob(wire.Attr.DATA, wire.encode_table({"n": 1 << 20}))
    caller.context.send(wire.Message(wire.Msg.INVOKE, 1, ident, body))
    wait_for("gone", lambda: caller.context.lookup_id("demo")[0] == Status.NOT_FOUND)


def test_a_handler_kept_for_later_is_dead(python: list[str], ubusd: Ubusd, caller: Caller) -> None:
    program = Program(
        python,
        ubusd,
        PROVIDER + "serve(lambda: kept)\nshow(attempt(kept[0].reply, {}))",
    )
    program.line()
    assert caller.raw("demo", "keep") == (Status.OK, [])
    expected = ["RuntimeError", "Handler is not linked to a call response."]
    assert program.end()[1] == [[expected]]


def test_add_refuses(python: list[str], ubusd: Ubusd) -> None:
    lines = run(
        python,
        ubusd,
        """
        ubus.connect(PATH)
        good = {"signature": {}, "method": print}
        for methods in ({"m": {}}, {"m": {**good, "x": 1}}, {"m": {"signature": {"a": 9}, "method":
                        print}}, {"m": {"signature": {"a": -1}, "method": print}},
                        {"m": {"signature": {1: 1}, "method": print}}, {1: good},
                        {"m": {"signature": {}, "method": None}}, {"m": []}):
            error = attempt(ubus.add, "x", methods)
            show(error[0], error[1].splitlines()[0])
        show(attempt(ubus.add, 1, {})[0])
        show(attempt(ubus.add, "twin", {"m": good}))
        show(attempt(ubus.add, "twin", {"m": good}))
        show(attempt(ubus.add, "empty", {}))
        """,
    )
    usage = ["TypeError", "Incorrect method arguments!"]
    assert lines[:-4] == [usage] * 8
    assert lines[-4:] == [
        ["TypeError"],
        [None],
        [["RuntimeError", "ubus error occured: Invalid argument"]],
        [None],
    ]


# -- calling -------------------------------------------------------------------------------


def test_calls_and_their_errors(python: list[str], ubusd: Ubusd, provider: Program) -> None:
    lines = run(
        python,
        ubusd,
        """
        ubus.connect(PATH)
        show(ubus.call("demo", "twice", {}, 1000))
        show(ubus.call("demo", "quiet", {}))
        show(ubus.call(object="demo", method="quiet", arguments={}, timeout=5))
        for words in (("none", "x", {}), ("demo", "nope", {}), ("demo", "broken", {}),
                      ("demo", "hi", {}), ("demo", "quiet", [1]), ("demo", "quiet", {1, 2}),
                      ("demo", "quiet", {}, -1), ("demo", "quiet"), ("demo", 1, {})):
            error = attempt(ubus.call, *words)
            show(error[0], error[1] if error[0] != "TypeError" or "argument" not in error[1] else 0)
        """,
    )
    error = "ubus error occured: "
    assert lines == [
        [[{"n": 1}, {"n": 2}]],
        [[]],
        [[]],
        ["RuntimeError", "Object 'none' was not found."],
        ["RuntimeError", error + "Method not found"],
        ["RuntimeError", error + "Unknown error"],
        ["RuntimeError", error + "Invalid argument"],
        ["TypeError", "Failed to create json for ubus."],
        ["TypeError", "Object of type set is not JSON serializable"],
        ["TypeError", "timeout can't be lower than 0"],
        ["TypeError", 0],
        ["TypeError", 0],
    ]


def test_values_on_their_way(python: list[str], ubusd: Ubusd, provider: Program) -> None:
    """Through a call and back: what changes is what libubox changes."""
    (line,) = run(
        python,
        ubusd,
        """
        ubus.connect(PATH)
        def through(value):
            return attempt(lambda: ubus.call("demo", "any", {"v": value}, 1000)[0]["got"]["v"])
        show(*[through(value) for value in (
            "héllo €😀", "cut\\0here", 2**31, -2**63, 2**63, 2**70, -2**70, 1.5, 1e-7, 1/3, 1e22,
            True, None, [], {}, [[[]]], {"": 1}, {"a": {"": 1}}, float("nan"), "\\ud800",
            "\\x01\\x1f\\x7f\\"\\\\/", {"k\\n": "v\\t"})])
        """,
    )
    unknown = ["RuntimeError", "ubus error occured: Unknown error"]
    assert line == [
        "héllo €😀", "cut", 2**31, -(2**63), 2**63 - 1, 2**63 - 1, -(2**63), 1.5, 0.0, 0.333333,
        1e22, True, None, [], {}, [[[]]], unknown, unknown, unknown, "\ufffd",
        "\x01\x1f\x7f\"\\/", {"k\n": "v\t"},
    ]  # fmt: skip


def test_nesting_is_limited(python: list[str], ubusd: Ubusd, provider: Program) -> None:
    (line,) = run(
        python,
        ubusd,
        """
        ubus.connect(PATH)
        def nested(depth):
            value = 1
            for _ in range(depth):
                value = [value]
            return attempt(lambda: ubus.call("demo", "any", {"v": value}, 1000) and "fine")
        show(*[nested(depth) for depth in (29, 30, 31, 32)])
        """,
    )
    refused = ["TypeError", "Failed to create json for ubus."]
    reply_refused = ["RuntimeError", "ubus error occured: Unknown error"]  # a level deeper
    assert line == ["fine", reply_refused, refused, refused]


def test_invalid_utf8_of_a_peer_is_a_system_error(python: list[str], ubusd: Ubusd) -> None:
    from openwrt.libubus import Context, Published, Request

    context = Context(ubusd.path)

    def reply(request: Request) -> int:
        request.reply(wire.field("text", wire.Type.STRING, b"\xff\xfe\0"))
        return Status.OK

    context.add_object(Published(frozenset(["go"]), reply, "latin"), wire.field("go", 2, b""))
    program = Program(
        python, ubusd, "ubus.connect(PATH)\nshow(attempt(ubus.call, 'latin', 'go', {}, 2000)[0])"
    )
    while program._process.poll() is None:
        context.handle_events()
    assert program.end()[1] == [["SystemError"]]


def test_timeout(python: list[str], ubusd: Ubusd, caller: Caller) -> None:
    """A callee that is stopped; also, a call to an object of one's own cannot be answered."""
    (line,) = run(
        python,
        ubusd,
        PROVIDER
        + """
started = time.monotonic()
error = attempt(ubus.call, "demo", "quiet", {}, 300)
show(error, 0.25 < time.monotonic() - started < 2)
""",
    )[1:]
    assert line == [["RuntimeError", "ubus error occured: Request timed out"], True]


def test_a_request_over_one_mebibyte_is_refused(
    python: list[str], ubusd: Ubusd, provider: Program
) -> None:
    lines = run(
        python,
        ubusd,
        """
        ubus.connect(PATH)
        show(attempt(ubus.call, "demo", "any", {"v": "x" * (1 << 20)}, 1000))
        show(attempt(ubus.send, "x", {"v": "x" * (1 << 20)}))
        show(len(ubus.call("demo", "any", {"v": "x" * 1000000}, 1000)[0]["got"]["v"]))
        """,
    )
    refused = ["RuntimeError", "ubus error occured: Invalid argument"]
    assert lines == [[refused], [False], [1_000_000]]


def test_objects(python: list[str], ubusd: Ubusd, provider: Program) -> None:
    lines = run(
        python,
        ubusd,
        """
        ubus.connect(PATH)
        found = ubus.objects()
        show(list(found), found["demo"]["hi"], found["demo"]["any"], found["demo"]["quiet"])
        show(ubus.objects("nothing*"), list(ubus.objects("de*")), list(ubus.objects(path="demo")))
        show(attempt(ubus.objects, ""))
        """,
    )
    assert lines == [
        [["demo"], {"name": 3, "n": 5}, {"v": 0}, {}],
        [{}, ["demo"], ["demo"]],
        [["RuntimeError", "ubus error occured: Invalid argument"]],
    ]


# -- connection ----------------------------------------------------------------------------


def test_connection_state(python: list[str], ubusd: Ubusd) -> None:
    lines = run(
        python,
        ubusd,
        """
        offline = ["RuntimeError", "You are not connected to ubus."]
        show(ubus.get_connected(), ubus.get_socket_path())
        show(*[attempt(f, *a) == offline for f, a in (
            (ubus.call, ("a", "b", {})), (ubus.send, ("a", {})), (ubus.add, ("a", {})),
            (ubus.listen, (("a", print),)), (ubus.objects, ()), (ubus.loop, (0,)),
            (ubus.disconnect, ()))])
        show(attempt(ubus.connect, "/nonexistent"), ubus.get_connected(), ubus.get_socket_path())
        before = sockets()
        show(ubus.connect(socket_path=PATH), len(sockets() - before))
        show(ubus.get_connected(), ubus.get_socket_path() == PATH)
        show(attempt(ubus.connect, PATH))
        show(attempt(ubus.disconnect, 1)[0])
        show(ubus.disconnect(), ubus.get_connected(), ubus.get_socket_path(), len(sockets()))
        show(ubus.connect(PATH), ubus.disconnect(False), ubus.connect(PATH),
             ubus.disconnect(deregister=True))
        """,
    )
    failed = ["OSError", "Failed to connect to the ubus socket '/nonexistent'\n"]
    assert lines == [
        [False, None],
        [True] * 7,
        [failed, False, None],
        [True, 1],
        [True, True],
        [["RuntimeError", "You are already connected to ubus."]],
        ["TypeError"],
        [None, False, None, 0],
        [True, None, True, None],
    ]


def test_constants(python: list[str], ubusd: Ubusd) -> None:
    (line,) = run(
        python,
        ubusd,
        "show({name: getattr(ubus, name) for name in dir(ubus) if name.startswith('BLOBMSG')})",
    )
    names = ["UNSPEC", "ARRAY", "TABLE", "STRING", "INT64", "INT32", "INT16", "INT8", "DOUBLE"]
    expected = {f"BLOBMSG_TYPE_{name}": value for value, name in enumerate(names)}
    assert line == [expected | {"BLOBMSG_TYPE_BOOL": 7}]


def test_objects_go_with_disconnect(python: list[str], ubusd: Ubusd, caller: Caller) -> None:
    for deregister in (True, False):
        run(python, ubusd, PROVIDER + f"ubus.disconnect({deregister})")
        wait_for("gone", lambda: caller.context.lookup_id("demo")[0] == Status.NOT_FOUND)


def test_sigterm_is_taken_over_unless_there_is_a_handler(python: list[str], ubusd: Ubusd) -> None:
    taken = """
    {}
    ubus.connect(PATH)
    os.kill(os.getpid(), signal.SIGTERM)
    show("alive")
    """
    assert run(python, ubusd, taken.format("")) == [["alive"]]
    handler = "signal.signal(signal.SIGTERM, lambda *_: show('own'))"
    assert run(python, ubusd, taken.format(handler)) == [["own"], ["alive"]]


# -- ubusd's death -------------------------------------------------------------------------


def test_when_ubusd_dies_nothing_is_raised(python: list[str], ubusd: Ubusd) -> None:
    program = Program(
        python,
        ubusd,
        PROVIDER
        + """
ubus.listen(("x", print))
sys.stdin.readline() if False else time.sleep(1)
fd = bus_fd()
import select
show(select.select([fd], [], [], 2)[0] == [fd])
duplicate = os.dup(fd)
peek = socket.socket(fileno=duplicate)
show(peek.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"")
peek.close()
show(ubus.loop(0), ubus.get_connected(), select.select([fd], [], [], 0)[0] == [fd])
show(attempt(ubus.call, "demo", "quiet", {}, 500))
show(attempt(ubus.send, "x", {}), attempt(ubus.listen, ("y", print)))
show(attempt(ubus.objects)[0])
show(attempt(ubus.add, "later", {})[0], ubus.get_connected())
show(ubus.disconnect(False), ubus.get_connected(), len(sockets() - _before))
""",
    )
    assert program.line() == ["there"]
    ubusd.kill()
    status, lines, err = program.end()
    assert status == 0, err
    assert lines == [
        [True],
        [True],
        [None, True, True],
        [["RuntimeError", "Object 'demo' was not found."]],
        [False, None],
        ["RuntimeError"],
        ["RuntimeError", True],
        [None, False, 0],
    ]


def test_a_call_in_progress_fails_at_once(python: list[str], ubusd: Ubusd) -> None:
    sleeper = Program(
        python,
        ubusd,
        """
        ubus.connect(PATH)
        ubus.add("slow", {"wait": {"signature": {}, "method": lambda h, a: (show("called"),
                                                                            time.sleep(20))}})
        show("there")
        serve()
        """,
    )
    assert sleeper.line() == ["there"]
    program = Program(
        python,
        ubusd,
        "ubus.connect(PATH)\nshow(attempt(ubus.call, 'slow', 'wait', {}, 15000))",
    )
    assert sleeper.line() == ["called"]
    ubusd.kill()
    assert program.end(5)[1] == [[["RuntimeError", "ubus error occured: Connection failed"]]]
    sleeper.kill()


def test_coming_back_twenty_times(python: list[str], ubusd: Ubusd) -> None:
    program = Program(
        python,
        ubusd,
        """
        for n in range(20):
            while isinstance(attempt(ubus.connect, PATH), list):
                time.sleep(0.02)
            ubus.add("phoenix", {})
            ubus.listen(("x", print))
            show(len(os.listdir("/proc/self/fd")))
            fd = bus_fd()
            peek = socket.socket(fileno=os.dup(fd))
            while True:
                try:
                    if peek.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"":
                        break
                except BlockingIOError:
                    time.sleep(0.01)
                except ConnectionError:
                    break
            peek.close()
            ubus.disconnect(False)
        """,
    )
    counts = []
    for _ in range(20):
        counts.append(program.line()[0])
        ubusd.kill()
        ubusd.start()
    assert program.end()[0] == 0
    assert len(set(counts)) == 1


# -- the loop ------------------------------------------------------------------------------


def test_what_arrives_during_a_call_waits_for_loop_0(
    python: list[str], ubusd: Ubusd, caller: Caller, provider: Program
) -> None:
    """It is inside the context then: the descriptor is not readable, and one loop(0) gives it."""
    from openwrt.libubus import Context, Published, Request

    helper = Context(ubusd.path)

    def go(request: Request) -> int:
        caller.context.send_event("lab.meanwhile", b"")  # reaches the program before the reply
        request.reply(b"")
        return Status.OK

    helper.add_object(Published(frozenset(["go"]), go, "helper"), wire.field("go", 2, b""))
    program = Program(
        python,
        ubusd,
        """
        import select
        got = []
        ubus.connect(PATH)
        ubus.listen(("lab.*", lambda name, data: got.append(name)))
        ubus.loop(0)
        show(ubus.call("helper", "go", {}, 2000), got)
        show(select.select([bus_fd()], [], [], 0.2)[0], got)
        ubus.loop(0)
        show(got)
        """,
    )
    while program._process.poll() is None:
        helper.handle_events()
    assert program.end()[1] == [[[{}], []], [[], []], [["lab.meanwhile"]]]


def test_level_triggered_watching_sees_every_message(
    python: list[str], ubusd: Ubusd, caller: Caller
) -> None:
    program = Program(
        python,
        ubusd,
        """
        got = []
        ubus.connect(PATH)
        ubus.listen(("lab.*", lambda name, data: got.append(data["n"])))
        show("there")
        serve(lambda: len(got) >= 200)
        show(got == list(range(200)))
        """,
    )
    program.line()
    for n in range(200):
        caller.context.send_event("lab.x", wire.encode_table({"n": n}))
    assert program.end()[1] == [[True]]


def test_loop_0_takes_one_message_after_a_request(
    python: list[str], ubusd: Ubusd, caller: Caller
) -> None:
    program = Program(
        python,
        ubusd,
        """
        import select
        got = []
        ubus.connect(PATH)
        ubus.listen(("lab.*", lambda name, data: got.append(data["n"])))
        show("there")
        time.sleep(1)
        ubus.loop(0)
        show(got, bool(select.select([bus_fd()], [], [], 0)[0]))
        """,
    )
    program.line()
    for n in range(3):
        caller.context.send_event("lab.x", wire.encode_table({"n": n}))
    assert program.end()[1] == [[[0], True]]


def test_loop_with_a_time_ends_and_reaps_children(python: list[str], ubusd: Ubusd) -> None:
    (line,) = run(
        python,
        ubusd,
        """
        ubus.connect(PATH)
        child = subprocess.Popen(["sh", "-c", "exit 3"])
        time.sleep(0.2)
        started = time.monotonic()
        ubus.loop(300)
        show(0.2 < time.monotonic() - started < 2, child.wait())
        """,
    )
    assert line == [True, 0]


def test_events_and_calls_from_inside_a_handler(
    python: list[str], ubusd: Ubusd, provider: Program, caller: Caller
) -> None:
    program = Program(
        python,
        ubusd,
        """
        ubus.connect(PATH)
        done = []
        def relay(handler, arguments):
            handler.reply({"through": ubus.call("demo", "twice", {}, 1000)})
            done.append(ubus.send("lab.done", {"n": 1}))
        ubus.add("relay", {"go": {"signature": {}, "method": relay}})
        ubus.listen(("lab.done", lambda name, data: done.append("own event")))
        show("there")
        serve(lambda: done)
        serve(seconds=0.3)
        show(done)
        """,
    )
    program.line()
    assert caller("relay", "go") == {"through": [{"n": 1}, {"n": 2}]}
    assert program.end()[1] == [[[True]]]


def test_listen_checks_its_arguments(python: list[str], ubusd: Ubusd) -> None:
    lines = run(
        python,
        ubusd,
        """
        ubus.connect(PATH)
        for words in ((), ("x",), (("x",),), ((1, print),), (("x", 1),), (["x", print],)):
            show(*attempt(ubus.listen, *words))
        """,
    )
    usage = ["TypeError", "Expected (event, callback) tuple"]
    assert lines == [["TypeError", "You need to set at least one event."], *[usage] * 5]


def test_a_listener_that_raises_is_told_on_stderr(
    python: list[str], ubusd: Ubusd, caller: Caller
) -> None:
    program = Program(
        python,
        ubusd,
        """
        got = []
        def listener(name, data):
            got.append(name)
            raise ValueError("on purpose")
        ubus.connect(PATH)
        ubus.listen(("lab.*", listener))
        show("there")
        serve(lambda: len(got) == 2)
        show(got)
        """,
    )
    program.line()
    for name in ("lab.a", "lab.b"):
        caller.context.send_event(name, b"")
    status, lines, err = program.end()
    assert (status, lines) == (0, [[["lab.a", "lab.b"]]])
    assert err.count("ValueError: on purpose") == 2
