# SPDX-License-Identifier: GPL-2.0-or-later
"""A service in procd's jail: what ujail leaves it.  The stand-in and the real one.

Nobody but root may look at a jailed process from outside the namespaces a real procd has, so the
services tell of themselves, in files.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from contract.service import SLEEP, Service, shell, trapping, wait_trapped
from openwrt import capabilities
from toolkit.waiting import wait_until

#: Of the agent's own file, and one that root's children need to change users.
SOME = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_ADMIN", "CAP_SETUID"]
ALL = ["bounding", "effective", "inheritable", "permitted", "ambient"]

pytestmark = pytest.mark.usefixtures("has_ujail")


@pytest.fixture
def has_ujail(service: Service) -> None:
    """A real router may come without; the list says whether a service is jailed."""
    service.set(a=jailed(service, lasting(service)))
    wait_trapped(service)
    if "jail" not in service.instance():
        pytest.skip("this router has no ujail")
    service.call("service", "delete", name=service.name)
    wait_until(lambda: service.list() == {}, 10, "ended")


def jailed(service: Service, instance: dict[str, Any], **sets: list[str]) -> dict[str, Any]:
    """The instance with `procd_add_jail contract` and `procd_set_param capabilities`."""
    path, inside = service.file("capabilities.json")
    path.write_text(json.dumps(sets or {"bounding": SOME}))
    return {"jail": {"name": "contract", "mount": {}}, "capabilities": inside, **instance}


def lasting(service: Service) -> dict[str, Any]:
    """It goes on until it is ended; `wait_trapped` waits until it runs.

    A TERM that comes while ujail still prepares it is lost, and procd does not send another.
    """
    path, inside = service.file("trapped")
    path.unlink(missing_ok=True)
    return shell(f": > {inside}; exec sleep 1000")


def told(service: Service, script: str, **more: Any) -> list[str]:
    """What a jailed shell says, line by line."""
    path, inside = service.file("told")
    path.unlink(missing_ok=True)
    sets = more.pop("sets", {})
    saying = f"{{ {script}; }} > {inside}.new; mv {inside}.new {inside}; exec sleep 100"
    service.set(a=jailed(service, shell(saying, **more), **sets))
    wait_until(path.exists, 10, "told")
    return path.read_text().splitlines()


_ENVIRONMENT = "tr '\\0' '\\n' < /proc/$$/environ"
_STATUS = "grep -E '^(Cap|NoNewPrivs)' /proc/$$/status"


def open_to_all(service: Service) -> None:
    service.router.config.chmod(0o777)
    service.router.config.parent.chmod(0o755)


def status(lines: list[str]) -> dict[str, set[str]]:
    """Capability sets by name, and NoNewPrivs as {"1"}."""
    found = {}
    for line in lines:
        name, value = line.split(":\t")
        is_set = name.startswith("Cap")
        found[name] = set(capabilities.names(int(value, 16))) if is_set else {value}
    return found


def test_the_environment_is_bare(service: Service) -> None:
    assert told(service, _ENVIRONMENT) == ["container=ujail"]


def test_variables_that_are_named_get_in(service: Service) -> None:
    named = {"ONE": "1 2", "TWO": "2"}
    found = told(service, _ENVIRONMENT, env=named)
    assert found == ["container=ujail", "ONE=1 2", "TWO=2"]


def test_a_python_program_does_not_find_what_is_in_sbin(service: Service) -> None:
    """Python's search goes through /bin and /usr/bin where there is no PATH."""
    path, inside = service.file("searched")
    look = f"import os; print(*os.get_exec_path(), file=open({inside!r}, 'w'))"
    service.set(a=jailed(service, {"command": ["/usr/bin/python3", "-c", look]}))
    wait_until(lambda: service.instance()["running"] is False, 10, "ended")
    if service.instance()["exit_code"]:
        pytest.skip("this router has no Python")
    assert path.read_text().split() == ["/bin", "/usr/bin"]


def test_root_has_what_the_bounding_set_leaves(service: Service) -> None:
    found = status(told(service, _STATUS))
    assert found["CapBnd"] == found["CapPrm"] == found["CapEff"] == set(SOME)
    assert found["CapInh"] == found["CapAmb"] == set()


def test_no_new_privs(service: Service) -> None:
    assert status(told(service, _STATUS))["NoNewPrivs"] == {"0"}
    assert status(told(service, _STATUS, no_new_privs=True))["NoNewPrivs"] == {"1"}


def test_a_user_keeps_what_is_ambient(service: Service) -> None:
    open_to_all(service)
    sets = dict.fromkeys(ALL, SOME)
    found = status(told(service, _STATUS, user="nobody", sets=sets))
    assert found["CapBnd"] == found["CapPrm"] == found["CapEff"] == set(SOME)
    assert found["CapInh"] == found["CapAmb"] == set(SOME)


def test_a_user_has_nothing_without(service: Service) -> None:
    open_to_all(service)
    found = status(told(service, _STATUS, user="nobody"))
    assert found["CapPrm"] == found["CapEff"] == found["CapAmb"] == set()
    assert found["CapBnd"] == set(SOME)


def test_it_sees_the_router_as_it_is(service: Service) -> None:
    """A jail without further words has no namespaces of its own: nothing is mounted."""
    links = "readlink /proc/$$/ns/mnt /proc/$$/ns/net /proc/$$/ns/pid /proc/$$/ns/user"
    path, inside = service.file("free")
    service.set(b=shell(f"{{ {links}; }} > {inside}.new; mv {inside}.new {inside}; exec sleep 100"))
    wait_until(path.exists, 10, "told")
    free = path.read_text().splitlines()
    assert told(service, links) == free
    assert told(service, "umask") == ["0022"]


def test_a_program_is_searched_for_only_with_a_variable(service: Service) -> None:
    service.set(a=jailed(service, {"command": ["sleep", "1000"]}))
    wait_until(lambda: service.instance()["running"] is False, 10, "ended")
    assert service.instance()["exit_code"] == 1
    service.set(a=jailed(service, {"command": ["sleep", "1000"], "env": {"A": "1"}}))
    time.sleep(0.4)
    assert service.instance()["running"] is True


@pytest.mark.parametrize("file", ["absent", "unknown name"])
def test_no_start_without_the_capabilities_file(service: Service, file: str) -> None:
    instance = jailed(service, SLEEP, bounding=["CAP_NONSENSE"])
    if file == "absent":
        instance["capabilities"] += ".absent"
    service.set(a=instance)
    wait_until(lambda: service.instance()["running"] is False, 10, "ended")
    assert service.instance()["exit_code"] == 255


def test_no_start_when_there_is_nothing_to_confine(service: Service) -> None:
    service.set(a={**SLEEP, "jail": {"name": "contract"}})
    wait_until(lambda: service.instance()["running"] is False, 10, "ended")
    assert service.instance()["exit_code"] == 1


def test_the_pid_is_of_ujail_which_passes_signals_on(service: Service) -> None:
    path, inside = service.file("heard")
    service.set(a=jailed(service, trapping(service, f"echo $$ > {inside}", "HUP")))
    wait_trapped(service)
    service.call("service", "signal", name=service.name, instance="a")
    wait_until(lambda: path.exists() and path.read_text(), 10, "heard")
    assert int(path.read_text()) != service.pid()
    assert service.instance()["running"] is True


def test_its_exit_code_is_ujails(service: Service) -> None:
    service.set(a=jailed(service, shell("exit 7")))
    wait_until(lambda: service.instance()["running"] is False, 10, "ended")
    assert service.instance()["exit_code"] == 7


def test_it_is_killed_when_it_does_not_end(service: Service) -> None:
    """By ujail; procd itself waits for that for as long as it takes."""
    stubborn = trapping(service, "", "TERM")
    service.set(a=jailed(service, {**stubborn, "term_timeout": 1}))
    pid = service.pid()
    wait_trapped(service)
    started = time.monotonic()
    service.set(a=jailed(service, {**lasting(service), "term_timeout": 5}))
    time.sleep(0.3)
    assert service.pid() == pid
    wait_trapped(service)
    assert service.pid() != pid
    assert 0.8 < time.monotonic() - started < 5


def test_the_list_shows_the_jail(service: Service) -> None:
    running = lasting(service)
    service.set(a=jailed(service, {**running, "no_new_privs": True}))
    wait_trapped(service)
    shown = service.instance()
    assert shown.pop("pid")
    flags = ("procfs", "sysfs", "ubus", "log", "ronly", "netns", "userns", "cgroupsns", "console")
    assert shown == {
        "running": True,
        "command": running["command"],
        "term_timeout": 5,
        "no_new_privs": True,
        "capabilities": service.file("capabilities.json")[1],
        "jail": {"name": "contract", **dict.fromkeys(flags, False)},
    }


def test_a_jail_or_other_capabilities_make_a_difference(service: Service) -> None:
    free = lasting(service)
    confined = jailed(service, free)
    for change in (free, confined, {**confined, "no_new_privs": True}, free, confined):
        pid = service.instance().get("pid")
        service.set(a=change)
        wait_trapped(service)
        assert service.pid() != pid
    pid = service.pid()
    jailed(service, free, bounding=["CAP_KILL"])  # the same file with other content
    service.set(a=confined)
    assert service.settled_pid() == pid
