# SPDX-License-Identifier: GPL-2.0-or-later
"""The `ubus` module in an event loop: what loop(0) and loop(n) do, events, handlers."""

from __future__ import annotations

from contract.binding import Program, run
from contract.tools import Caller, Ubusd
from openwrt import wire
from openwrt.libubus import Context, Published, Request
from openwrt.wire import Status


def test_what_arrives_during_a_call_waits_for_loop_0(
    python: list[str], ubusd: Ubusd, caller: Caller, provider: Program
) -> None:
    """It is inside the context then: the descriptor is not readable, and one loop(0) gives it."""
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
        sys.stdin.readline()
        ubus.loop(0)
        show(got, bool(select.select([bus_fd()], [], [], 0)[0]))
        """,
    )
    program.line()
    for n in range(3):
        caller.context.send_event("lab.x", wire.encode_table({"n": n}))
    program.go()
    assert program.end()[1] == [[[0], True]]


def test_loop_with_a_time_ends_and_reaps_children(python: list[str], ubusd: Ubusd) -> None:
    (line,) = run(
        python,
        ubusd,
        """
        ubus.connect(PATH)
        child = subprocess.Popen(["sh", "-c", "exit 3"])
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        started = time.monotonic()
        ubus.loop(300)
        show(0.2 < time.monotonic() - started < 10, child.wait())
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
