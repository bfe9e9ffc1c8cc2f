# SPDX-License-Identifier: GPL-2.0-or-later
"""Shell scripts: shellcheck, shfmt as OpenWrt's CI runs it, and the init script's behaviour.

The init script runs under busybox ash with rc.common and procd.sh in small, which note what is
asked of procd; with those of the lab's routers; and with the real ones where OPENWRT_ROOTFS is a
root file system that has them (the program jshn on PATH).
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Installed:
    """The init script under an rc.common, on a router that has ujail and a `ubus` that notes what
    it is told. Of its root file system the real rc.common's own parts are the real ones."""

    rc_common: Path
    directory: Path
    script: Path

    @classmethod
    def by(cls, rc_common: str, directory: Path) -> Installed:
        """`lab`, or `real`: of OPENWRT_ROOTFS."""
        for name in ("var/lock", "etc/rc.d", "etc/init.d"):
            (directory / "root" / name).mkdir(parents=True)
        place = RC_COMMON
        if rc_common == "real":
            root = Path(os.environ["OPENWRT_ROOTFS"])
            place = root / "etc/rc.common"
            libraries = root / "lib" if (root / "lib").exists() else root / "usr/lib"
            (directory / "root/lib").symlink_to(libraries)
            (directory / "root/usr").symlink_to(root / "usr")
        script = directory / "root/etc/init.d/mptcp-proxy"
        text = INIT.read_text().replace("/sbin/ujail", "/bin/true")
        script.write_text(re.sub("(?m)^CAPABILITIES=.*", f"CAPABILITIES={script}", text))
        (directory / "ubus").write_text(f'#!/bin/sh\necho "$*" >> {directory}/log\n')
        (directory / "ubus").chmod(0o755)
        return cls(place, directory, script)

    @property
    def lock(self) -> Path:
        return self.directory / "root/var/lock/procd_mptcp-proxy.lock"

    @property
    def links(self) -> dict[str, str]:
        """Those of the boot."""
        found = (self.directory / "root/etc/rc.d").iterdir()
        return {link.name: str(link.readlink()) for link in found}

    def begin(self, command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["busybox", "ash", str(self.rc_common), str(self.script), command],
            env={
                "PATH": f"{self.directory}:{os.environ['PATH']}",
                "IPKG_INSTROOT": str(self.directory / "root"),
            },
        )

    def __call__(self, command: str) -> int:
        return self.begin(command).wait(30)

    def asked(self) -> list[str]:
        log = self.directory / "log"
        return log.read_text().splitlines() if log.exists() else []

    def asked_of_procd(self) -> dict[str, Any]:
        """The message of the init script's start."""
        assert self("start") == 0
        (settings,) = self.asked()
        message: dict[str, Any] = json.loads(settings.removeprefix("call service set "))
        return message


needs_rootfs = pytest.mark.skipif(
    "OPENWRT_ROOTFS" not in os.environ, reason="OPENWRT_ROOTFS: rc.common, procd.sh"
)


@pytest.fixture(params=["lab", pytest.param("real", marks=needs_rootfs)])
def installed(request: pytest.FixtureRequest, tmp_path: Path) -> Installed:
    return Installed.by(request.param, tmp_path)


def test_what_is_asked_of_procd(installed: Installed) -> None:
    service = installed.asked_of_procd()
    assert service["name"] == "mptcp-proxy"
    agent = service["instances"]["agent"]
    assert agent["command"] == ["/usr/bin/mptcp-agent", "run"]
    assert agent["respawn"] == ["3600", "5", "0"]
    assert agent["stdout"] and agent["stderr"] and agent["no_new_privs"]
    assert agent["jail"] == {"name": "mptcp-agent", "mount": {}}
    assert agent["capabilities"] == str(installed.script)
    assert [t[1][1][2] for t in service["triggers"]] == ["mptcp-proxy", "firewall"]


@needs_rootfs
def test_the_real_rc_common_asks_the_same(tmp_path: Path) -> None:
    asked = {}
    for rc_common in ("lab", "real"):
        made = Installed.by(rc_common, tmp_path / rc_common)
        message = json.dumps(made.asked_of_procd())
        asked[rc_common] = message.replace(str(made.directory), "")
    assert asked["real"] == asked["lab"]


def test_it_starts_last_and_stops_first(installed: Installed) -> None:
    """After network (20), firewall (19), rpcd (12) and dnsmasq (19); links of the boot."""
    link = "../init.d/mptcp-proxy"
    assert installed("enabled") != 0
    assert installed("enable") == 0
    assert installed.links == {"S95mptcp-proxy": link, "K05mptcp-proxy": link}
    assert installed("enabled") == 0
    assert installed("disable") == 0
    assert installed.links == {}
    assert installed.asked() == []


@pytest.mark.parametrize("command", ["start", "reload"])
def test_one_command_waits_for_the_other(installed: Installed, command: str) -> None:
    """As when a trigger of procd's comes while somebody restarts the service: rc.common's lock."""
    installed.lock.touch()
    with installed.lock.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        second = installed.begin(command)
        wait_until(lambda: waits_for(installed.lock), 10, "the lock waited for")
        assert second.poll() is None
        assert installed.asked() == []
    assert second.wait(20) == 0
    assert installed.asked()


def waits_for(file: Path) -> bool:
    """Somebody waits for its lock (`->` in /proc/locks, proc(5))."""
    inode = f":{file.stat().st_ino} "
    return any("->" in line and inode in line for line in Path("/proc/locks").open())
