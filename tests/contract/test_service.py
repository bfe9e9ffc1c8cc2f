"""procd's `service`: the stand-in and the real one.

Processes are told apart by the pid that `service list` shows (a real procd has a pid namespace of
its own).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from contract.router import Ear, Router, running
from contract.tools import Caller, wait_for
from openwrt.wire import Status

SLEEP = {"command": ["/bin/sleep", "1000"]}


class Service:
    """A service of its own for each test."""

    def __init__(self, call: Caller, router: Router) -> None:
        self.call = call
        self.router = router
        self.name = "contract"

    def set(self, method: str = "set", **instances: dict[str, Any]) -> None:
        self.call("service", method, name=self.name, instances=instances)

    def list(self, **more: Any) -> dict[str, Any]:
        found = self.call("service", "list", name=self.name, **more)
        return dict(found.get(self.name, {}))

    def instance(self, name: str = "a") -> dict[str, Any]:
        return dict(self.list().get("instances", {}).get(name, {}))

    def pid(self, name: str = "a") -> int:
        """Of the running process; waits for one."""
        wait_for(f"{name} runs", lambda: self.instance(name).get("running"))
        return int(self.instance(name)["pid"])

    def settled_pid(self) -> int:
        """The pid once a change has had time to restart the process."""
        time.sleep(0.4)
        return self.pid()

    def file(self, name: str) -> tuple[Path, str]:
        """A file both sides see: its path here, and for the process."""
        return self.router.config / name, f"{self.router.config_inside}/{name}"

    def status(self, method: str, **arguments: Any) -> int:
        return self.call.status("service", method, **arguments)


@pytest.fixture
def service(call: Caller, router: Router) -> Iterator[Service]:
    made = Service(call, router)
    yield made
    made.status("delete", name=made.name)
    wait_for("all ended", lambda: made.list() == {}, seconds=8)  # or until SIGKILL


def shell(script: str, **more: Any) -> dict[str, Any]:
    return {"command": ["/bin/sh", "-c", script], **more}


# -- what is shown -------------------------------------------------------------------------


def test_list_looks_exactly_as_on_a_router(service: Service) -> None:
    """Order and types of service.list.verbose of a router, with more of what can be set."""
    rule = ["if", ["eq", "package", "network"], ["run_script", "/bin/true", "reload"]]
    service.call(
        "service",
        "set",
        name=service.name,
        triggers=[["config.change", rule, 1000]],
        instances={
            "second": SLEEP,
            "main": {
                **SLEEP,
                "stdout": True,
                "respawn": [],
                "env": {"LANIP": "192.168.1.1", "FOO": "bar"},
                "limits": {"nofile": "100 200", "core": "0"},
                "data": {"note": "hello", "deep": {"list": [1, True]}},
                "netdev": ["lo"],
                "file": ["/etc/passwd"],
                "term_timeout": 3,
                "user": "nobody",
                "group": "nogroup",
                "no_new_privs": True,
                "pidfile": "/var/run/contract.pid",
                "facility": "daemon",
            },
        },
    )
    service.pid("main")
    shown = service.list(verbose=True)
    shown["instances"]["main"]["pid"] = shown["instances"]["second"]["pid"] = 90
    expected = {
        "instances": {
            "main": {
                "running": True,
                "pid": 90,
                "command": ["/bin/sleep", "1000"],
                "term_timeout": 3,
                "env": {"FOO": "bar", "LANIP": "192.168.1.1"},
                "data": {"deep": {"list": [1, True]}, "note": "hello"},
                "limits": {"core": "0", "nofile": "100 200"},
                "netdev": ["lo"],
                "respawn": {"threshold": 3600, "timeout": 5, "retry": 5},
                "no_new_privs": True,
                "pidfile": "/var/run/contract.pid",
                "user": "nobody",
                "group": "nogroup",
            },
            "second": {
                "running": True,
                "pid": 90,
                "command": ["/bin/sleep", "1000"],
                "term_timeout": 5,
            },
        },
        "triggers": [["config.change", rule, 1000]],
    }
    assert json.dumps(shown) == json.dumps(expected)
    assert "triggers" not in service.list()


def test_what_ended_and_what_never_ran(service: Service) -> None:
    service.set(
        three=shell("exit 3"),
        killed=shell("kill -9 $$"),
        missing={"command": ["/nonexistent/program"]},
        indicated={**SLEEP, "error": ["on purpose"]},
        none={},
        text={"command": "str"},
        numbers={"command": [1]},
        empty={"command": []},
        bad_env={**SLEEP, "env": {"A": 1}},
    )
    wait_for("ended", lambda: service.instance("missing").get("exit_code") == 127)
    wait_for("ended", lambda: service.instance("killed").get("exit_code") == 128 + 9)
    wait_for("ended", lambda: service.instance("three").get("exit_code") == 3)
    shown = service.list()["instances"]
    assert set(shown) == {"three", "killed", "missing", "indicated", "none", "text"}
    assert not any(each["running"] for each in shown.values())
    assert shown["indicated"]["errors"] == ["on purpose"]
    assert shown["none"] == {"running": False, "term_timeout": 5, "exit_code": 0}


def test_status_codes(service: Service) -> None:
    assert service.status("set") == Status.INVALID_ARGUMENT
    assert service.status("set", name=5) == Status.INVALID_ARGUMENT
    assert service.status("delete") == Status.NOT_FOUND
    assert service.status("delete", name="none") == Status.NOT_FOUND
    assert service.status("signal", name="none") == Status.NOT_FOUND
    assert service.status("event", type="x") == Status.INVALID_ARGUMENT
    assert service.status("event", data={}) == Status.INVALID_ARGUMENT
    assert service.status("set_data", name="none", data={}) == Status.NOT_FOUND
    assert service.status("state", spawn=True) == Status.NOT_FOUND
    assert service.status("state", name="none") == Status.INVALID_ARGUMENT
    assert service.status("nothing") == Status.METHOD_NOT_FOUND
    assert service.list() == {}
    service.set(a=SLEEP)
    assert service.status("delete", name=service.name, instance="none") == Status.NOT_FOUND
    assert service.status("signal", name=service.name, instance="none") == Status.NOT_FOUND


# -- differences ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {}),
        ({"data": {"a": 1}}, {"data": {"a": 2}}),
        ({}, {"data": {"a": 2}}),
        ({}, {"stdout": True, "stderr": True}),
        ({"env": {"A": "1", "B": "2"}}, {"env": {"B": "2", "A": "1"}}),
        ({}, {"user": "no-such-user"}),
        ({"env": {"KEY": "abcdef"}}, {"env": {"KEY": "abcXYZ"}}),  # a flaw of procd's
        ({"limits": {"nofile": "100"}}, {"limits": {"nofile": "200"}}),  # the same
    ],
    ids=str,
)
def test_not_a_difference(service: Service, before: dict[str, Any], after: dict[str, Any]) -> None:
    service.set(a={**SLEEP, **before})
    pid = service.pid()
    service.set(a={**SLEEP, **after})
    assert service.settled_pid() == pid


def test_data_is_taken_over_without_a_restart(service: Service) -> None:
    service.set(a={**SLEEP, "data": {"a": 1}})
    service.set(a={**SLEEP, "data": {"b": [2]}})
    assert service.instance()["data"] == {"b": [2]}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"command": ["/bin/sleep", "1001"]}),
        ({}, {"env": {"A": "1"}}),
        ({"env": {"KEY": "abcdef"}}, {"env": {"KEY": "abXdef"}}),
        ({"env": {"KEY": "abcdef"}}, {"env": {"KEY": "abcdefg"}}),
        ({}, {"limits": {"nofile": "100"}}),
        ({}, {"respawn": []}),
        ({"respawn": []}, {"respawn": ["3600", "5", "6"]}),
        ({}, {"user": "nobody"}),
        ({}, {"no_new_privs": True}),
        ({}, {"term_timeout": 2}),
        ({}, {"nice": 3}),
        ({}, {"netdev": ["lo"]}),
        ({}, {"pidfile": "/var/run/contract.pid"}),
    ],
    ids=str,
)
def test_a_difference_restarts(
    service: Service, before: dict[str, Any], after: dict[str, Any]
) -> None:
    service.set(a={**SLEEP, **before}, other=SLEEP)
    pid, other = service.pid(), service.pid("other")
    service.set(a={**SLEEP, **after}, other=SLEEP)
    wait_for("another process", lambda: service.pid() != pid)
    assert service.pid("other") == other


def test_a_file_counts_by_its_content(service: Service) -> None:
    path, inside = service.file("watched")
    path.write_text("one")
    service.set(a={**SLEEP, "file": [inside]})
    pid = service.pid()
    os.utime(path)
    service.set(a={**SLEEP, "file": [inside]})
    assert service.settled_pid() == pid
    path.write_text("two")
    assert service.settled_pid() == pid  # nobody looks by itself
    service.set(a={**SLEEP, "file": [inside]})
    wait_for("another process", lambda: service.pid() != pid)
    pid = service.settled_pid()
    path.unlink()
    service.set(a={**SLEEP, "file": [inside]})
    wait_for("another process", lambda: service.pid() != pid)


def test_a_device_counts_by_its_index(service: Service) -> None:
    router = service.router
    router.ip("link", "add", "dev0", "type", "veth", "peer", "name", "dev1")
    service.set(a={**SLEEP, "netdev": ["dev0"]})
    pid = service.pid()
    service.set(a={**SLEEP, "netdev": ["dev0"]})
    assert service.settled_pid() == pid
    router.ip("link", "delete", "dev0")
    router.ip("link", "add", "dev0", "type", "veth", "peer", "name", "dev1")
    service.set(a={**SLEEP, "netdev": ["dev0"]})
    wait_for("another process", lambda: service.pid() != pid)
    router.ip("link", "delete", "dev0")


def test_set_ends_what_it_does_not_name_and_add_does_not(service: Service) -> None:
    service.set(a=SLEEP, b=SLEEP)
    pid = service.pid()
    service.set("add", c=SLEEP)
    assert set(service.list()["instances"]) == {"a", "b", "c"}
    assert service.pid() == pid
    service.set(a=SLEEP)
    wait_for("gone", lambda: set(service.list()["instances"]) == {"a"})
    assert service.pid() == pid
    service.call("service", "delete", name=service.name, instance="a")
    wait_for("gone", lambda: service.list() == {})


def test_update_start_and_complete(service: Service) -> None:
    service.set(a=SLEEP, b=SLEEP)
    service.call("service", "update_start", name=service.name)
    service.set("add", b=SLEEP)
    service.call("service", "update_complete", name=service.name)
    wait_for("gone", lambda: set(service.list()["instances"]) == {"b"})


def test_reload_signal_instead_of_a_restart(service: Service) -> None:
    path, inside = service.file("signalled")
    waiting = shell(f"trap 'echo hup >> {inside}' HUP; while :; do sleep 0.05; done")
    service.set(a={**waiting, "reload_signal": int(signal.SIGHUP)})
    pid = service.pid()
    time.sleep(0.3)
    service.set(a={**waiting, "reload_signal": int(signal.SIGHUP), "env": {"A": "1"}})
    wait_for("signal", path.exists)
    assert service.settled_pid() == pid
    assert service.instance()["env"] == {"A": "1"}


# -- life ----------------------------------------------------------------------------------


def test_a_process_that_will_not_end_is_killed(service: Service) -> None:
    stubborn = shell("trap '' TERM; while :; do sleep 0.05; done")
    service.set(a={**stubborn, "term_timeout": 1})
    pid = service.pid()
    time.sleep(0.3)
    started = time.monotonic()
    service.set(a={**SLEEP, "term_timeout": 5})
    time.sleep(0.3)
    assert service.pid() == pid
    wait_for("another process", lambda: service.pid() != pid)
    assert 0.8 < time.monotonic() - started < 3


def test_delete_lists_a_service_until_it_has_ended(service: Service) -> None:
    slow = shell("trap 'sleep 0.5; exit 0' TERM; while :; do sleep 0.05; done")
    service.set(a=slow)
    service.pid()
    time.sleep(0.3)
    service.call("service", "delete", name=service.name)
    assert service.instance()["running"] is True
    wait_for("ended", lambda: service.list() == {})


def test_signal(service: Service) -> None:
    service.set(a=SLEEP, b=SLEEP)
    for name in ("a", "b"):
        service.pid(name)
    assert service.status("signal", name=service.name, instance="a", signal=15) == Status.OK
    wait_for("ended", lambda: service.instance()["running"] is False)
    assert service.instance()["exit_code"] == 128 + 15
    assert service.instance("b")["running"] is True
    again = service.status("signal", name=service.name, instance="a", signal=15)
    assert again == Status.NOT_FOUND
    assert service.status("signal", name=service.name) == Status.OK  # HUP to all
    wait_for("ended", lambda: service.instance("b").get("exit_code") == 128 + 1)


def test_set_starts_again_what_has_ended(service: Service) -> None:
    service.set(a=SLEEP)
    service.pid()
    service.call("service", "signal", name=service.name, instance="a", signal=9)
    wait_for("ended", lambda: service.instance()["running"] is False)
    service.set(a=SLEEP)
    service.pid()


def test_respawn_until_it_is_a_crash_loop(service: Service) -> None:
    """Retries 2: three quick ends in all; then `respawn` is gone from the list."""
    ear = Ear(service.router, "none", "service")
    path, inside = service.file("crashes")
    crashing = shell(f"echo x >> {inside}; exit 7", respawn=["3600", "1", "2"])
    service.set(a=crashing)
    failed = ear.wait("given up", "instance.fail", seconds=10)[0]
    assert path.read_text().count("x") == 3
    assert (failed["exit_code"], failed["respawn_count"]) == (7, 3)
    assert failed["command"] == crashing["command"]
    assert service.instance() == {
        "running": False,
        "command": crashing["command"],
        "term_timeout": 5,
        "exit_code": 7,
    }
    service.set(a=crashing)  # one more try, no more
    wait_for("fourth", lambda: path.read_text().count("x") == 4)
    time.sleep(1.5)
    assert path.read_text().count("x") == 4


def test_respawn_after_a_long_life_does_not_count(service: Service) -> None:
    path, inside = service.file("lives")
    service.set(a=shell(f"echo x >> {inside}; exit 1", respawn=["0", "0", "1"]))
    wait_for("many", lambda: path.exists() and path.read_text().count("x") > 5)


def test_no_respawn_of_what_was_told_to_stop(service: Service) -> None:
    service.set(a={**SLEEP, "respawn": ["3600", "0", "5"]})
    service.pid()
    service.call("service", "state", name=service.name, spawn=False)
    wait_for("ended", lambda: service.instance()["running"] is False)
    time.sleep(0.4)
    assert service.instance()["running"] is False
    service.call("service", "state", name=service.name, spawn=True)
    service.pid()


def test_autostart_false_waits(service: Service) -> None:
    service.call("service", "set", name=service.name, autostart=False, instances={"a": SLEEP})
    assert service.list()["autostart"] is False
    assert service.instance()["running"] is False
    service.call("service", "state", name=service.name, spawn=True)
    service.pid()


def test_environment_of_a_process(service: Service) -> None:
    path, inside = service.file("environment")
    script = f"""{{ echo "$ONE"; id -u; ulimit -n; ulimit -Hn; readlink /proc/self/fd/0
    grep NoNewPrivs /proc/self/status; cut -d' ' -f19 /proc/self/stat; }} > {inside}; sleep 100"""
    limits = {"nofile": "100 200"}
    service.set(
        a=shell(script, env={"ONE": "1 2"}, limits=limits, no_new_privs=True, nice=5, stdout=True)
    )
    wait_for("written", lambda: path.exists() and path.read_text().count("\n") == 7)
    assert path.read_text().split("\n")[:-1] == [
        "1 2", "0", "100", "200", "/dev/null",
        "NoNewPrivs:\t0",  # that is ujail's work
        "5",
    ]  # fmt: skip


def test_user_and_pidfile(service: Service) -> None:
    path, inside = service.file("user")
    pidfile, pidfile_inside = service.file("pidfile")
    path.touch()
    path.chmod(0o666)
    service.router.config.chmod(0o755)
    service.router.config.parent.chmod(0o755)
    script = f"{{ id -un; id -gn; }} > {inside}; sleep 100"
    service.set(a=shell(script, user="nobody", pidfile=pidfile_inside))
    wait_for("written", lambda: path.read_text().count("\n") == 2)
    assert path.read_text() == "nobody\nnogroup\n"
    assert int(pidfile.read_text()) == service.pid()
    service.call("service", "delete", name=service.name)
    wait_for("pid file gone", lambda: not pidfile.exists())


def test_notifications(service: Service) -> None:
    ear = Ear(service.router, "none", "service")
    service.set(a=SLEEP)
    service.pid()
    service.call("service", "delete", name=service.name)
    ear.wait("all", "instance.start", "service.start", "instance.stop", "service.stop")
    mine = [(name, data) for name, data in ear.heard if data.get("service") == service.name]
    assert mine == [
        ("instance.start", {"service": service.name, "instance": "a"}),
        ("service.start", {"service": service.name}),
        ("instance.stop", {"service": service.name, "instance": "a"}),
        ("service.stop", {"service": service.name}),
    ]


def test_service_data(service: Service) -> None:
    service.call(
        "service",
        "set",
        name=service.name,
        data={"z": {"q": 1}, "a": 1},
        instances={"i": {**SLEEP, "data": {"firewall": [{"t": 1}]}}},
    )

    def get(**what: str) -> dict[str, Any]:
        return service.call("service", "get_data", name=service.name, **what)

    everything = {"*": {"a": 1, "z": {"q": 1}}, "i": {"firewall": [{"t": 1}]}}
    assert get() == {service.name: everything}
    assert get(type="firewall") == {service.name: {"i": {"firewall": [{"t": 1}]}}}
    service.call("service", "set_data", name=service.name, data={"n": 1})
    service.call("service", "set_data", name=service.name, instance="i", data={"m": 1})
    assert service.list()["data"] == {"n": 1}
    assert service.instance("i")["data"] == {"m": 1}


# -- triggers ------------------------------------------------------------------------------


def test_config_change_runs_the_script_once_after_its_delay(service: Service) -> None:
    path, inside = service.file("triggered")
    script = ["run_script", "/bin/sh", "-c", f"echo config >> {inside}"]
    other = ["run_script", "/bin/sh", "-c", f"echo interface >> {inside}"]
    service.call(
        "service",
        "set",
        name=service.name,
        instances={"a": SLEEP},
        triggers=[
            ["config.change", ["if", ["eq", "package", "mine"], script], 400],
            ["interface.*", [["if", ["eq", "interface", "wan1"], other]], 50],
        ],
    )

    def event(kind: str, **data: str) -> None:
        service.call("service", "event", type=kind, data=data)

    event("config.change", package="other")
    event("interface.update", interface="wan2")
    event("unheard.of")
    event("config.change", package="mine")
    event("config.change", package="mine")
    time.sleep(0.15)
    assert not path.exists()
    wait_for("run", path.exists)
    time.sleep(0.5)
    assert path.read_text() == "config\n"
    event("interface.update", interface="wan1")
    wait_for("run", lambda: path.read_text() == "config\ninterface\n")
    pid = service.pid()
    service.set(a=SLEEP)
    assert service.settled_pid() == pid


def test_events_are_passed_on_to_subscribers(service: Service) -> None:
    ear = Ear(service.router, "none", "service")
    service.call("service", "event", type="config.change", data={"package": "mine"})
    assert ear.wait("told", "event.trigger") == [
        {"type": "config.change", "data": {"package": "mine"}}
    ]
    assert ear.wait("told", "config.change") == [{"config": "mine"}]


# -- what only the stand-in has ------------------------------------------------------------


def test_output_goes_to_the_log() -> None:
    with running("stand-in") as router, router.caller() as call:
        service = Service(call, router)
        service.set(
            a=shell("echo out; echo err >&2", stdout=True, stderr=True),
            quiet=shell("echo nowhere", stdout=False),
        )
        log = router.config.parent / "log" / "service.log"
        wait_for("lines", lambda: log.read_text().count("]: ") == 2)
        lines = log.read_text()
        assert "contract: sh[" in lines
        assert "]: out\n" in lines and "]: err\n" in lines and "nowhere" not in lines


def test_services_die_with_procd() -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with running("stand-in") as router, router.caller() as call:
            service = Service(call, router)
            service.set(a=SLEEP)
            pid = service.pid()
            procd = int((router.config.parent / "log" / "service.pid").read_text())
            os.kill(procd, number)
            wait_for("ended", partial(_ended, pid))


def test_all_parts_come_back_after_the_broker() -> None:
    """Within a second of its return, with services and interfaces untouched."""
    with running("stand-in") as router:
        with router.caller() as call:
            service = Service(call, router)
            service.set(a=SLEEP)
            pid = service.pid()
        log = router.config.parent / "log"
        os.kill(int((log / "broker.pid").read_text()), signal.SIGKILL)
        time.sleep(0.5)
        command = _command_line(int((log / "uci.pid").read_text()))
        broker = subprocess.Popen([command[0], "-m", "openwrt.broker", "-s", router.socket],
                                  env={**os.environ, "PYTHONPATH": _tests()})  # fmt: skip
        try:
            wait_for("broker", lambda: Path(router.socket).exists() and _answers(router.socket))
            started = time.monotonic()
            with router.caller() as call:
                for path in ("uci", "service", "network.interface", "network.interface.loopback"):
                    wait_for(path, partial(_is_there, call, path))
                assert time.monotonic() - started < 1
                assert Service(call, router).pid() == pid
        finally:
            broker.terminate()
            broker.wait(5)


def _ended(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def _is_there(call: Caller, path: str) -> bool:
    return call.context.lookup_id(path)[0] == Status.OK


def _command_line(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def _tests() -> str:
    return str(Path(__file__).resolve().parents[1])


def _answers(path: str) -> bool:
    try:
        with Caller.connect(path):
            return True
    except OSError:
        return False
