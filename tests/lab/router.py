# SPDX-License-Identifier: GPL-2.0-or-later
"""A router of the lab: a machine with its own /etc, /var and /run, on which the agent may live.

The mounts belong to a mount namespace kept by one idle process; they go when it does. What a
router looks like to its programs:

    /etc, /var, /usr  overlays: the real machine's, with changes that nobody else sees
    /etc/config       UCI files written by write_config()
    /run (= /var/run) and /var/etc   one small tmpfs, as /tmp is on OpenWrt
    /sys              the router's own devices
    /bin/ubus, /sbin/ujail, /etc/rc.common ...          stand-ins, in the real ones' places
    /usr/bin/mptcp-agent, /etc/init.d/mptcp-proxy ...   the package, as it installs its files
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from openwrt.process import ENVIRONMENT, OPEN_FILES
from toolkit.command import LabError
from toolkit.stopping import end
from toolkit.waiting import NotInTime, wait_until

from lab.compiled import compiled
from lab.host import Host
from lab.lab import Lab
from lab.paths import OPENWRT, SING_BOX, TOP, VENV_PYTHON

_MOUNTS = """
set -e
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 flash "$1"
for top in etc var usr; do
    mkdir "$1/$top" "$1/$top-work"
    mount -t overlay -o "lowerdir=/$top,upperdir=$1/$top,workdir=$1/$top-work" overlay "/$top"
done
mkdir -p /etc/config /var/etc
rm -rf /etc/config/*
mount -t tmpfs -o "mode=755,size=$2" run /run
mkdir /run/lock /run/etc
mount --bind /run/etc /var/etc
echo ready
exec cat
"""

Process = subprocess.Popen[str]

OPENWRT_COMMANDS = {
    "bin/ubus": "/usr/bin/ubus",
    "bin/jsonfilter": "/usr/bin/jsonfilter",
    "bin/uci": "/usr/sbin/uci",
    "bin/ujail": "/usr/sbin/ujail",
    "rc.common": "/etc/rc.common",
}
"""Stand-in -> its place. Debian's /bin and /sbin are links into /usr."""

CODE = "/usr/lib/mptcp-agent"
CAPABILITIES = "/etc/capabilities/mptcp-proxy.json"
AGENT = ("/usr/bin/mptcp-agent", "run")
JAIL = ("/sbin/ujail", "-t", "20", "-n", "mptcp-agent", "-C", CAPABILITIES, "-c", "--")
"""What procd executes for files/mptcp-proxy.init; a test compares the two."""


class Router(Host):
    """A network namespace and a mount namespace. `run_size` bounds its /run (as of tmpfs)."""

    def __init__(self, lab: Lab, role: str, run_size: str = "16m") -> None:
        super().__init__(lab, role)
        self.python = VENV_PYTHON
        self.openwrt: Process | None = None
        self.agent: Process | None = None
        self._jailed = False
        top = lab.directory / role
        top.mkdir()
        self._keeper = subprocess.Popen(
            [*super().enter(), "unshare", "--mount", "sh", "-c", _MOUNTS, "sh", str(top), run_size],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._keeper.stdout and self._keeper.stderr
        if self._keeper.stdout.readline() != "ready\n":
            raise LabError(f"{role} got no file system: {self._keeper.stderr.read().strip()}")
        self.root = Path(f"/proc/{self._keeper.pid}/root")
        self.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
        self._install_openwrt()
        self._install_agent()
        self.kernel_can_destroy(False)
        self.door = lab.directory / f"enter-{role}"
        self._write_door()

    def enter(self) -> list[str]:
        net = super().enter()
        return [*net[:-1], f"--mount=/proc/{self._keeper.pid}/ns/mnt", "--"]

    def _write_door(self) -> None:
        """Write a script for a person: a shell on this router, or one command there."""
        variables = " ".join(f"{k}='{v}'" for k, v in self.environment().items())
        command = " ".join(self.enter())
        self.door.write_text(f'#!/bin/sh\nexec {command} env {variables} "${{@:-sh}}"\n')
        self.door.chmod(0o755)

    # --- its files and programs ---------------------------------------------------------------

    def path(self, path: str) -> Path:
        """Return how this process reaches the router's `path`."""
        # An absolute link would lead out of the router's root, and /var/run is one on Debian.
        return self.root / path.replace("/var/run/", "/run/").lstrip("/")

    def write_config(self, name: str, text: object) -> None:
        """Write /etc/config/NAME, as an editor would (no reload follows)."""
        self.path(f"/etc/config/{name}").write_text(str(text))

    def _install_openwrt(self) -> None:
        """Put OpenWrt's commands where it has them, and make Debian's programs more like its."""
        for name, place in OPENWRT_COMMANDS.items():
            self.path(place).symlink_to(OPENWRT / name)
        for program in ("ss-redir", "ss-server", "ss-local", "ss-tunnel"):
            # Debian gives them capabilities, so that a process without these cannot start them.
            with contextlib.suppress(OSError):
                os.removexattr(self.path(f"/usr/bin/{program}"), "security.capability")

    def kernel_can_destroy(self, able: bool) -> None:
        """Let the kernel end sockets for programs started from now on, as it does here, or refuse
        to, as OpenWrt's does, which lacks CONFIG_INET_DIAG_DESTROY; routers begin so."""
        shim = compiled("nodestroy", "-shared", "-fPIC")
        self._write("/etc/ld.so.preload", 0o644, "" if able else f"{shim}\n")

    def _install_agent(self) -> None:
        """Install the package's files, as they are in the tree; of the starter see below."""
        for source, target, mode in (
            ("mptcp-proxy.init", "/etc/init.d/mptcp-proxy", 0o755),
            ("mptcp-proxy.capabilities", CAPABILITIES, 0o644),
        ):
            self._write(target, mode, (TOP / "files" / source).read_text())
        self._bind(TOP / "src", CODE)
        self._bind(TOP / "schema", "/usr/share/mptcp-agent/schema")
        self._write_starter()

    def _write_starter(self, absent: Sequence[str] = ()) -> None:
        """Write /usr/bin/mptcp-agent: the tree's own, for the lab's Python.

        It adds the stand-in of the `ubus` module, which is among site-packages on OpenWrt, so that
        the agent needs no variable here either.
        """
        text = (TOP / "files/mptcp-agent").read_text()
        place = f'sys.path.insert(0, "{CODE}")\n'
        assert text.startswith("#!/usr/bin/python3\n") and place in text
        more = f'sys.path.append("{OPENWRT / "module"}")\n'
        more += f"sys.modules.update(dict.fromkeys({list(absent)}))\n" if absent else ""
        text = text.replace("/usr/bin/python3", str(self.python), 1)
        self._write("/usr/bin/mptcp-agent", 0o755, text.replace(place, place + more))

    def _write(self, target: str, mode: int, text: str) -> None:
        path = self.path(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def _bind(self, source: Path, place: str) -> None:
        """Show a file or directory of the real machine at `place` as well."""
        if source.is_dir():
            self.path(place).mkdir(parents=True, exist_ok=True)
        else:
            self.path(place).touch()
        self.run("mount", "--bind", str(source), place)

    def install_ujail(self, name: str) -> None:
        """Install another of the stand-ins for ujail, `ujail` or `ujail-25.12`."""
        place = self.path(OPENWRT_COMMANDS["bin/ujail"])
        place.unlink()
        place.symlink_to(OPENWRT / "bin" / name)

    def install_compiled(self, directory: Path) -> None:
        """Lay the agent's modules, compiled into `directory` and without their sources, over the
        tree's, as OpenWrt's packages have them."""
        shutil.copytree(TOP / "src", directory, ignore=shutil.ignore_patterns("__pycache__"))
        compile_all = ("-m", "compileall", "-q", "-b", str(directory))
        subprocess.run([str(self.python), *compile_all], check=True)
        for source in directory.rglob("*.py"):
            source.unlink()
        self._bind(directory, CODE)

    def uninstall_compiled(self) -> None:
        """Let the tree's own modules be seen again."""
        self.run("umount", CODE)

    def install_sing_box(self, program: Path = SING_BOX) -> None:
        """Install sing-box; without it, only Debian's programs are there."""
        self._bind(program.resolve(), "/usr/bin/sing-box")

    def uninstall(self, *programs: str) -> None:
        """Make programs such as `nft` look absent on this router, by laying /dev/null over them."""
        for program in programs:
            where = self.run("sh", "-c", f"command -v {program}").stdout.strip()
            self.run("mount", "--bind", "/dev/null", where)

    def uninstall_modules(self, *names: str) -> None:
        """Make Python modules look absent to the agent, such as `iptc`, which no feed has."""
        self._write_starter(names)

    # --- OpenWrt's daemons and the agent ------------------------------------------------------

    def start_openwrt(self, *arguments: str, timeout: float = 20) -> Process:
        """Start ubusd, uci, netifd and procd (their stand-ins) and wait until they serve."""
        log = self.log("openwrt")
        argv = ["-m", "openwrt.router", "--log-dir", str(self.openwrt_directory), *arguments]
        self.openwrt = self.popen(str(self.python), *argv, log=log)
        self.wait(
            lambda: "ready" in log.read_text().split(), timeout, "OpenWrt's daemons", self.openwrt
        )
        return self.openwrt

    @property
    def openwrt_directory(self) -> Path:
        """Where the stand-ins keep NAME.log and NAME.pid (broker, uci, network, service)."""
        return self.lab.logs / f"{self.role}-openwrt"

    def daemon_pid(self, name: Literal["broker", "uci", "network", "service"]) -> int:
        """Return the process of one stand-in, to be killed by a test."""
        return int((self.openwrt_directory / f"{name}.pid").read_text())

    def start_agent(self, *arguments: str, jail: bool = True, timeout: float = 15) -> Process:
        """Start `mptcp-agent run` as launch_agent() does and wait until it answers on ubus."""
        agent = self.launch_agent(*arguments, jail=jail)
        self.wait(lambda: "error" not in self.try_status(), timeout, "the agent", agent)
        return agent

    def launch_agent(self, *arguments: str, jail: bool = True) -> Process:
        """Start `mptcp-agent run` the way procd does for files/mptcp-proxy.init.

        That is: in ujail, or without on a router that has none (small flash), with procd's own
        environment. Nothing of the lab's is in it. Unlike procd this starts it once: what ends
        stays ended, and the log is a file. The process returned is ujail's, which passes signals
        and the exit code on; see `agent_pid`.
        """
        variables = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
        around = ["env", "-i", *variables, "prlimit", "--nofile={}:{}".format(*OPEN_FILES)]
        argv = [*around, *(JAIL if jail else ()), *AGENT, *arguments]
        self.agent, self._jailed = self.popen(*argv, log=self.log("agent")), jail
        return self.agent

    @property
    def agent_pid(self) -> int:
        """The agent's own process; `agent` is the jail's, where it is in one."""
        if self.agent is None:
            raise LabError(f"{self.role}: was not started")
        if not self._jailed:
            return self.agent.pid
        children = Path(f"/proc/{self.agent.pid}/task/{self.agent.pid}/children")
        return int(children.read_text().split()[0])

    def stop_agent(self, timeout: float = 15) -> int:
        """End the agent as procd does (SIGTERM) and return its exit code."""
        return self._end(self.agent, signal.SIGTERM, timeout)

    def kill_agent(self) -> int:
        """End the agent as a crash does (SIGKILL)."""
        with contextlib.suppress(OSError, IndexError):  # the jail has begun, or ended already
            os.kill(self.agent_pid, signal.SIGKILL)
            assert self.agent
            return self.agent.wait(5)
        return self._end(self.agent, signal.SIGKILL, 5)

    def stop_openwrt(self, timeout: float = 15) -> int:
        """End the stand-ins, which end the services that they started."""
        return self._end(self.openwrt, signal.SIGTERM, timeout)

    def ubus(self, object_: str, method: str, **arguments: object) -> dict[str, Any]:
        """Call a method as `ubus call` does. Raises CalledProcessError when ubus reports one."""
        reply = self.run("ubus", "call", object_, method, json.dumps(arguments)).stdout
        answer: dict[str, Any] = json.loads(reply or "{}")
        return answer

    def status(self) -> dict[str, Any]:
        """Return the agent's status document."""
        return self.ubus("mptcp_proxy", "status")

    def try_status(self) -> dict[str, Any]:
        """Return the status, or `{"error": why}` while nobody answers."""
        try:
            return self.status()
        except (subprocess.SubprocessError, json.JSONDecodeError) as problem:
            return {"error": str(problem)}

    def wait_state(self, *states: str, timeout: float = 20) -> dict[str, Any]:
        """Wait until the agent's state is one of `states`; return that status."""
        last: dict[str, Any] = {}

        def reached() -> bool:
            last.clear()
            last.update(self.try_status())
            return last.get("state") in states

        try:
            self.wait(reached, timeout, f"state {' or '.join(states)}")
        except LabError as problem:
            raise LabError(f"{problem}; last: {last.get('state')} {last.get('reason')}") from None
        return last

    def wait(
        self,
        condition: Callable[[], bool],
        timeout: float,
        what: str,
        process: Process | None = None,
    ) -> None:
        """Wait for `condition`; fails after `timeout` seconds or when `process` ends before."""

        def reached() -> bool:
            so = condition()
            if not so and process is not None and process.poll() is not None:
                raise LabError(f"{self.role}: {what} ended with {process.returncode}{self._tail()}")
            return so

        try:
            wait_until(reached, timeout, what, interval=0.05)
        except NotInTime as late:
            raise LabError(f"{self.role}: {late}{self._tail()}") from None

    def _end(self, process: Process | None, how: signal.Signals, timeout: float) -> int:
        if process is None:
            raise LabError(f"{self.role}: was not started")
        return end(process, how, timeout)

    def _tail(self) -> str:
        """Return the last words of the router's programs, for an error message."""
        lines = []
        for log in sorted(self.lab.logs.glob(f"{self.role}-*.log")):
            lines += [f"\n  {log.name}: {line}" for line in log.read_text().splitlines()[-8:]]
        return "".join(lines)
