# SPDX-License-Identifier: GPL-2.0-or-later
"""The `ubus` module of a program that is called: signatures, replies, exceptions."""

from __future__ import annotations

import pytest
from contract.binding import PROVIDER, Program, run
from contract.tools import Caller, Ubusd
from openwrt import wire
from openwrt.wire import Status
from toolkit.waiting import wait_until


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
    wait_until(lambda: caller.context.lookup_id("demo")[0] == Status.NOT_FOUND, 10, "gone")


def test_after_such_a_reply_the_caller_waits_and_the_loop_ends(
    python: list[str], ubusd: Ubusd, caller: Caller
) -> None:
    """The caller hears nothing, not even of a failure; the program may connect again."""
    program = Program(
        python,
        ubusd,
        PROVIDER
        + """
def large(handler, arguments): show(attempt(handler.reply, {"fill": "x" * (1 << 20)}))
ubus.add("large", {"go": plain(large)})
show("ready")
ubus.loop(-1)
show("the end", attempt(ubus.loop, 0), ubus.get_connected(), attempt(ubus.objects)[0])
started = time.monotonic()
ubus.loop(300)
show(time.monotonic() - started > 0.25)
ubus.disconnect()
show(ubus.connect(PATH), attempt(ubus.add, "large", {"go": plain(large)}))
""",
    )
    assert [program.line(), program.line()] == [["there"], ["ready"]]
    _, ident = caller.context.lookup_id("large")
    assert caller.context.invoke(ident, "go", b"", timeout=700) == Status.TIMEOUT
    status, lines, err = program.end()
    assert (status, err) == (0, "")
    assert lines == [[False], ["the end", None, True, "RuntimeError"], [True], [True, None]]


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
