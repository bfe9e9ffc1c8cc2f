# SPDX-License-Identifier: GPL-2.0-or-later
"""Shell scripts: shellcheck, shfmt as OpenWrt's CI runs it, and the init script's behaviour.

The init script runs under busybox ash with rc.common and procd.sh in small, which note what is
asked of procd; with those of the lab's routers; and with the real ones where OPENWRT_ROOTFS is a
root file system that has them (the program jshn on PATH).
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lab.paths import TOP, VENV_PYTHON
from toolkit.waiting import wait_until

INIT = TOP / "files/mptcp-proxy.init"
RC_COMMON = TOP / "tests/openwrt/rc.common"
SCRIPTS = [INIT, TOP / "files/mptcp-proxy.defaults", TOP / "test.sh", RC_COMMON]

#: rc.common and procd.sh as far as the script uses them; each call is a line of $LOG.
_PROCD = r"""
note() { echo "$*" >> "$LOG"; }
extra_command() { :; }
procd_open_instance() { note "instance $*"; }
procd_close_instance() { note close; }
procd_set_param() { note "param $*"; }
procd_add_jail() { note "jail $*"; }
procd_add_reload_trigger() { note "trigger $*"; }
procd_add_reload_interface_trigger() { note "interface trigger $*"; }
procd_send_signal() { note "signal $*"; }
procd_kill() { note "kill $*"; kill "$(cat "$PID")" 2> /dev/null; }
config_load() { note "load $*"; }
config_foreach() { "$1" wan1; "$1" wan2; "$1" unnamed; }
config_get() { case $2 in unnamed) eval "$1=" ;; *) eval "$1=$2" ;; esac; }
ubus() {
	case "$*" in
	"call mptcp_proxy reload") note "ubus reload"; [ -e "$PID.ubus" ] ;;
	*) [ ! -e "$PID" ] || echo "pid $(cat "$PID")" ;;
	esac
}
jsonfilter() { sed -n "s/^pid //p"; }
. "$SCRIPT"
start() { start_service; }
stop() { stop_service; procd_kill "$NAME"; service_stopped; }
"$@"
"""


class Init:
    """The init script with a pretended procd, and a real process as its agent."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "log"
        self.handover = directory / "run/handover"
        script = INIT.read_text()
        for place in ("/var/run/mptcp-proxy", "/usr/bin/mptcp-agent", "/usr/lib/mptcp-agent"):
            script = script.replace(place, f"{directory}{'/run' * ('run' in place)}")
        program = directory / "agent"
        program.write_text('#!/bin/sh\necho "agent $*" >> "$LOG"\n')
        program.chmod(0o755)
        script = script.replace(f"PROG={directory}", f"PROG={program}")
        (directory / "init").write_text(script)
        (directory / "code.py").touch()
        self.agent: subprocess.Popen[bytes] | None = None

    def run_agent(self, answers: bool = True) -> None:
        # Not a child of this process, which would have to reap it.
        line = 'sleep 60 > /dev/null 2>&1 & echo $! > "$0"'
        subprocess.run(["sh", "-c", line, str(self.directory / "pid")], check=True)
        if answers:
            (self.directory / "pid.ubus").touch()

    def __call__(self, command: str, **environment: str) -> list[str]:
        self.log.write_text("")
        subprocess.run(
            ["busybox", "ash", "-eu", "-c", _PROCD, "sh", command],
            env={
                "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
                "LOG": str(self.log),
                "PID": str(self.directory / "pid"),
                "SCRIPT": str(self.directory / "init"),
                "PKG_UPGRADE": "",
                **environment,
            },
            check=True,
            timeout=30,
        )
        return self.log.read_text().splitlines()


@pytest.fixture
def init(tmp_path: Path) -> Init:
    return Init(tmp_path)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_shellcheck_and_shfmt(script: Path) -> None:
    tools = VENV_PYTHON.parent
    for command in ([tools / "shellcheck"], [tools / "shfmt", "-d", "-s", "-sr"]):
        done = subprocess.run([*map(str, command), str(script)], capture_output=True, text=True)
        assert not done.returncode, done.stdout + done.stderr


def test_start(init: Init) -> None:
    lines = init("start")
    assert lines[0] == "instance agent"
    assert f"param command {init.directory}/agent run" in lines
    assert f"param file {init.directory}/code.py" in lines
    assert "param respawn 3600 5 0" in lines  # never gives up
    assert {"param stdout 1", "param stderr 1", "param no_new_privs 1"} <= set(lines)
    assert not init.handover.exists()


def test_triggers(init: Init) -> None:
    assert init("service_triggers") == [
        "trigger mptcp-proxy firewall",
        "load mptcp-proxy",
        "interface trigger wan1",
        "interface trigger wan2",
    ]


def test_reload_restarts_nothing(init: Init) -> None:
    init.run_agent()
    assert init("reload_service") == ["ubus reload"]


def test_reload_of_an_agent_without_ubus(init: Init) -> None:
    init.run_agent(answers=False)
    assert init("reload_service") == ["ubus reload", "signal mptcp-proxy agent HUP"]


def test_a_reload_during_the_start_does_not_end_it(tmp_path: Path) -> None:
    """Sent while the program is being imported, which takes seconds on a small router."""
    package = tmp_path / "mptcp_agent"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "cli.py").write_text(
        "import pathlib, sys\n"
        f"pathlib.Path({str(tmp_path)!r}, 'importing').touch()\n"
        "sys.stdin.read()\n"  # an import that lasts until the test has sent its signal
        "def main(): return 7\n"
    )
    starter = (TOP / "files/mptcp-agent").read_text()
    assert "/usr/lib/mptcp-agent" in starter
    program = tmp_path / "agent"
    program.write_text(starter.replace("/usr/lib/mptcp-agent", str(tmp_path)))
    with subprocess.Popen([sys.executable, str(program), "run"], stdin=subprocess.PIPE) as agent:

        def importing() -> bool:
            assert agent.poll() is None
            return (tmp_path / "importing").exists()

        wait_until(importing, 30, "the import", interval=0.01)
        agent.send_signal(signal.SIGHUP)
        assert agent.stdin
        agent.stdin.close()
        assert agent.wait(30) == 7


def test_reload_starts_what_is_not_there(init: Init) -> None:
    assert "instance agent" in init("reload_service")


def test_stop_cleans_up_whatever_the_agent_did(init: Init) -> None:
    init.run_agent()
    init.handover.parent.mkdir()
    init.handover.touch()  # left by a start that changed nothing
    assert init("stop") == ["kill mptcp-proxy", "agent cleanup"]
    assert not init.handover.exists()


def test_restart_hands_over(init: Init) -> None:
    init.run_agent()
    lines = init("restart")
    assert lines[:2] == ["kill mptcp-proxy", "instance agent"]
    assert init.handover.exists()
    assert not [line for line in lines if "cleanup" in line]


def test_upgrade_by_opkg_hands_over(init: Init) -> None:
    init.run_agent()
    assert init("stop", PKG_UPGRADE="1") == ["kill mptcp-proxy"]
    assert init.handover.exists()


def test_upgrade_by_apk_hands_over(init: Init) -> None:
    """apk does not stop; procd restarts the agent when its code is other than before."""
    init.run_agent()
    init("start", PKG_UPGRADE="1")
    assert init.handover.exists()


def test_a_start_of_what_runs_leaves_nothing_behind(init: Init) -> None:
    """Or the agent's next end, whatever for, would leave all in place."""
    init.run_agent()
    init("start")
    assert not init.handover.exists()


@pytest.mark.parametrize("command", ["plan", "check", "status_service"])
def test_commands(init: Init, command: str) -> None:
    assert init(command) == [f"agent {command.removesuffix('_service')}"]


def asked_of_procd(rc_common: Path, directory: Path, **environment: str) -> dict[str, Any]:
    """The message of the init script's start, on a router that has ujail."""
    log = directory / "log"
    script = directory / "mptcp-proxy"
    text = INIT.read_text().replace("/sbin/ujail", "/bin/true")
    script.write_text(re.sub("(?m)^CAPABILITIES=.*", f"CAPABILITIES={script}", text))
    (directory / "ubus").write_text(f'#!/bin/sh\necho "$*" >> {log}\n')
    (directory / "ubus").chmod(0o755)
    subprocess.run(
        ["busybox", "ash", str(rc_common), str(script), "start"],
        env={"PATH": f"{directory}:{os.environ['PATH']}", **environment},
        check=True,
    )
    (settings,) = log.read_text().splitlines()
    message: dict[str, Any] = json.loads(settings.removeprefix("call service set "))
    return message


def test_what_is_asked_of_procd(tmp_path: Path) -> None:
    service = asked_of_procd(RC_COMMON, tmp_path)
    assert service["name"] == "mptcp-proxy"
    agent = service["instances"]["agent"]
    assert agent["command"] == ["/usr/bin/mptcp-agent", "run"]
    assert agent["respawn"] == ["3600", "5", "0"]
    assert agent["stdout"] and agent["stderr"] and agent["no_new_privs"]
    assert agent["jail"] == {"name": "mptcp-agent", "mount": {}}
    assert agent["capabilities"] == str(tmp_path / "mptcp-proxy")
    assert [t[1][1][2] for t in service["triggers"]] == ["mptcp-proxy", "firewall"]


@pytest.mark.skipif(
    "OPENWRT_ROOTFS" not in os.environ, reason="OPENWRT_ROOTFS: rc.common, procd.sh"
)
def test_the_real_rc_common_asks_the_same(tmp_path: Path) -> None:
    root = Path(os.environ["OPENWRT_ROOTFS"])
    inside = tmp_path / "root"
    (inside / "var/lock").mkdir(parents=True)
    for name in ("usr", "etc"):
        (inside / name).symlink_to(root / name)
    (inside / "lib").symlink_to(root / "lib" if (root / "lib").exists() else root / "usr/lib")
    real = asked_of_procd(root / "etc/rc.common", tmp_path, IPKG_INSTROOT=str(inside))
    (tmp_path / "log").unlink()
    assert real == asked_of_procd(RC_COMMON, tmp_path)
