# SPDX-License-Identifier: GPL-2.0-or-later
"""procd's processes: end, respawn, environment.  The stand-in and the real one."""

from __future__ import annotations

import time
from typing import Any

from contract.router import Ear
from contract.service import SLEEP, Service, shell, trapping, wait_trapped
from openwrt.process import ENVIRONMENT, OPEN_FILES
from openwrt.wire import Status
from toolkit.waiting import wait_until


def test_a_process_that_will_not_end_is_killed(service: Service) -> None:
    stubborn = trapping(service, "", "TERM")
    service.set(a={**stubborn, "term_timeout": 1})
    pid = service.pid()
    wait_trapped(service)
    started = time.monotonic()
    service.set(a={**SLEEP, "term_timeout": 5})
    time.sleep(0.3)
    assert service.pid() == pid
    wait_until(lambda: service.pid() != pid, 10, "another process")
    assert 0.8 < time.monotonic() - started < 10


def test_delete_lists_a_service_until_it_has_ended(service: Service) -> None:
    slow = trapping(service, "sleep 1; exit 0", "TERM")
    service.set(a=slow)
    wait_trapped(service)
    service.call("service", "delete", name=service.name)
    assert service.instance()["running"] is True
    wait_until(lambda: service.list() == {}, 10, "ended")


def test_signal(service: Service) -> None:
    service.set(a=SLEEP, b=SLEEP)
    for name in ("a", "b"):
        service.pid(name)
    assert service.status("signal", name=service.name, instance="a", signal=15) == Status.OK
    wait_until(lambda: service.instance()["running"] is False, 10, "ended")
    assert service.instance()["exit_code"] == 128 + 15
    assert service.instance("b")["running"] is True
    again = service.status("signal", name=service.name, instance="a", signal=15)
    assert again == Status.NOT_FOUND
    assert service.status("signal", name=service.name) == Status.OK  # HUP to all
    wait_until(lambda: service.instance("b").get("exit_code") == 128 + 1, 10, "ended")


def test_set_starts_again_what_has_ended(service: Service) -> None:
    service.set(a=SLEEP)
    service.pid()
    service.call("service", "signal", name=service.name, instance="a", signal=9)
    wait_until(lambda: service.instance()["running"] is False, 10, "ended")
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
    wait_until(lambda: path.read_text().count("x") == 4, 10, "fourth")
    time.sleep(1.5)
    assert path.read_text().count("x") == 4


def test_respawn_after_a_long_life_does_not_count(service: Service) -> None:
    path, inside = service.file("lives")
    service.set(a=shell(f"echo x >> {inside}; exit 1", respawn=["0", "0", "1"]))
    wait_until(lambda: path.exists() and path.read_text().count("x") > 5, 10, "many")


def test_no_respawn_of_what_was_told_to_stop(service: Service) -> None:
    service.set(a={**SLEEP, "respawn": ["3600", "0", "5"]})
    service.pid()
    service.call("service", "state", name=service.name, spawn=False)
    wait_until(lambda: service.instance()["running"] is False, 10, "ended")
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
    wait_until(lambda: path.exists() and path.read_text().count("\n") == 7, 10, "written")
    assert path.read_text().split("\n")[:-1] == [
        "1 2", "0", "100", "200", "/dev/null",
        "NoNewPrivs:\t0",  # that is ujail's work
        "5",
    ]  # fmt: skip


def test_without_a_jail_a_process_has_procds_own_environment(service: Service) -> None:
    """What init(8) gave procd: nothing of who starts a router for tests."""
    path, inside = service.file("bare")
    script = f"""{{ tr '\\0' '\\n' < /proc/$$/environ; ulimit -n; ulimit -Hn; }} > {inside}.new
    mv {inside}.new {inside}; exec sleep 100"""
    service.set(a=shell(script, env={"ONE": "1 2"}))
    wait_until(path.exists, 10, "written")
    *environment, soft, hard = path.read_text().splitlines()
    assert dict(e.split("=", 1) for e in environment) == {**ENVIRONMENT, "ONE": "1 2"}
    assert (int(soft), int(hard)) == OPEN_FILES


def test_what_a_service_says_goes_to_the_log_line_by_line(service: Service) -> None:
    """At once, and with its name and pid. The real procd lends it a library for that (nothing here
    is bound to have one, and a program that is no C program does without)."""
    if service.router.kind == "real":  # its own starts by an /etc/config/system
        logger = {"logd": {"command": ["/sbin/logd", "-S", "64"]}}
        service.call("service", "set", name="contract-log", instances=logger)
        wait_until(lambda: service.call.context.lookup_id("log")[0] == Status.OK, 15, "logd")
    path, inside = service.file("loud")
    script = f"""tr '\\0' '\\n' < /proc/$$/environ > {inside}; echo one two; echo bad >&2
    exec sleep 100"""
    service.set(a=shell(script, stdout=True, stderr=True))
    label = f"sh[{service.pid()}]: "
    wait_until(lambda: len(logged(service, label)) == 2, 10, "both lines")
    assert sorted(logged(service, label)) == ["bad", "one two"]
    assert service.instance()["running"] is True
    environment = dict(entry.split("=", 1) for entry in path.read_text().splitlines())
    library = environment.pop("LD_PRELOAD", "")
    assert environment == ENVIRONMENT
    assert library == ("/lib/libsetlbf.so" if service.router.kind == "real" else "")
    if service.router.kind == "real":
        service.call("service", "delete", name="contract-log")


def logged(service: Service, label: str) -> list[str]:
    """What the log has of a process, after its label."""
    if service.router.kind == "real":
        entries = service.call("log", "read", lines=100, stream=False)["log"]
        lines = [str(entry["msg"]) for entry in entries]
    else:
        lines = (service.router.config.parent / "log/service.log").read_text().splitlines()
    return [line.split(label, 1)[1] for line in lines if label in line]


def test_user_and_pidfile(service: Service) -> None:
    path, inside = service.file("user")
    pidfile, pidfile_inside = service.file("pidfile")
    path.touch()
    path.chmod(0o666)
    service.router.config.chmod(0o755)
    service.router.config.parent.chmod(0o755)
    script = f"{{ id -un; id -gn; }} > {inside}; sleep 100"
    service.set(a=shell(script, user="nobody", pidfile=pidfile_inside))
    wait_until(lambda: path.read_text().count("\n") == 2, 10, "written")
    assert path.read_text() == "nobody\nnogroup\n"
    assert int(pidfile.read_text()) == service.pid()
    service.call("service", "delete", name=service.name)
    wait_until(lambda: not pidfile.exists(), 10, "pid file gone")


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
