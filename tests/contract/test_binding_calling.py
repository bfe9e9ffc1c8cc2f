# SPDX-License-Identifier: GPL-2.0-or-later
"""The `ubus` module of a program that calls: errors, values, limits, time."""

from __future__ import annotations

from contract.binding import PROVIDER, Program, run
from contract.tools import Caller, Ubusd
from openwrt import wire
from openwrt.libubus import Context, Published, Request
from openwrt.wire import Status


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
show(error, 0.25 < time.monotonic() - started < 10)
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
