# SPDX-License-Identifier: GPL-2.0-or-later
"""The `ubus` module and its connection: states, signals, the death of ubusd."""

from __future__ import annotations

from contract.binding import PROVIDER, Program, run
from contract.tools import Caller, Ubusd
from openwrt.wire import Status
from toolkit.waiting import wait_until


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
        wait_until(lambda: caller.context.lookup_id("demo")[0] == Status.NOT_FOUND, 10, "gone")


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


def test_when_ubusd_dies_nothing_is_raised(python: list[str], ubusd: Ubusd) -> None:
    program = Program(
        python,
        ubusd,
        PROVIDER
        + """
ubus.listen(("x", print))
fd = bus_fd()
import select
show(select.select([fd], [], [], 10)[0] == [fd])
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
    assert program.end(12)[1] == [[["RuntimeError", "ubus error occured: Connection failed"]]]
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
