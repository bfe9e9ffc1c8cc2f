# SPDX-License-Identifier: GPL-2.0-or-later
"""A lab goes away however it ends, and only its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from lab.host import Host
from lab.lab import STATE, Lab, sweep
from lab.paths import TOP
from lab.router import Router
from toolkit.namespace import NETNS, pids_in
from toolkit.stopping import end

SOURCE = """
import sys, time
from lab.lab import Lab
from lab.router import Router
with Lab() as lab:
    Router(lab, "r").popen("sleep", "1000")
    print(lab.name, flush=True)
    if "raise" in sys.argv:
        raise RuntimeError
    time.sleep(1000)
"""


def run_lab(*argv: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SOURCE, *argv],
        env={**os.environ, "PYTHONPATH": str(TOP / "tests")},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout
    return process, process.stdout.readline().strip()


def remains(name: str) -> list[str]:
    return [str(path) for path in (*NETNS.glob(f"{name}-*"), STATE / name) if path.exists()]


def runs(pid: int) -> bool:
    """Tell a process from none and from a dead one that its parent has not noticed yet."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_leaves_nothing(number: signal.Signals) -> None:
    process, name = run_lab()
    assert remains(name)
    end(process, number)
    assert remains(name) == []


def test_exception_leaves_nothing() -> None:
    process, name = run_lab("raise")
    assert process.wait(10) == 1
    assert remains(name) == []


def test_killed_owner_is_swept_and_a_living_one_is_not() -> None:
    dead, dead_name = run_lab()
    alive, alive_name = run_lab()
    try:
        end(dead)
        sleeping = pids_in(NETNS / f"{dead_name}-r")
        assert dead_name in sweep()
        assert remains(dead_name) == []
        assert sleeping
        assert not any(runs(pid) for pid in sleeping)
        assert remains(alive_name)
    finally:
        end(alive, signal.SIGTERM, 10)


def test_router_has_its_own_files() -> None:
    with Lab() as lab:
        router, other = Router(lab, "a"), Router(lab, "b")
        router.write_config("network", "config interface 'x'\n")
        router.run("sh", "-c", "echo 1 > /var/run/x; echo 2 > /var/etc/y; echo 3 > /etc/z")
        assert router.path("/var/run/x").read_text() == "1\n"
        assert router.path("/var/etc/y").read_text() == "2\n"
        assert other.run("ls", "/etc/config").stdout == ""
        assert other.run("ls", "/var/run/x", "/var/etc/y", "/etc/z", check=False).stdout == ""
        assert not any(Path(path).exists() for path in ("/run/x", "/var/etc/y", "/etc/z"))
        assert router.run("ls", "/sys/class/net").stdout.split() == ["lo"]


def test_uninstalled_program_is_not_found() -> None:
    with Lab() as lab:
        router = Router(lab, "a")
        assert router.run("sh", "-c", "command -v nft").stdout
        router.uninstall("nft")
        assert router.run("sh", "-c", "command -v nft", check=False).returncode
        look = "import shutil; print(shutil.which('nft'))"
        assert router.run("python3", "-c", look).stdout == "None\n"


ENDS_A_SOCKET = """
import errno, socket
from mptcp_agent.errors import KernelError
from mptcp_agent.system.netlink import diag
listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
connection = socket.create_connection(("127.0.0.1", port))
(ours,) = [s for s in diag.tcp_sockets(0, port)]
try:
    print("ended", diag.destroy(ours))
except KernelError as error:
    print(error.__cause__.errno == errno.EOPNOTSUPP, error)
print(len(diag.tcp_sockets(0, port)))
"""


def test_the_kernel_of_a_router_refuses_to_end_sockets_unless_told_otherwise() -> None:
    """As one without CONFIG_INET_DIAG_DESTROY: the error is the kernel's own, an answer by
    netlink; all else is answered as ever."""
    with Lab() as lab:
        router = Router(lab, "a")
        router.ip("link", "set", "lo", "up")
        ask = (str(router.python), "-c", ENDS_A_SOCKET)
        said, left = router.run(*ask).stdout.splitlines()
        assert said.startswith("True ")
        assert "CONFIG_INET_DIAG_DESTROY" in said
        assert left == "1"
        router.kernel_can_destroy(True)
        assert router.run(*ask).stdout.splitlines() == ["ended True", "0"]


def test_full_run_is_refused_to_nobody_else() -> None:
    with Lab() as lab:
        router, other = Router(lab, "a", run_size="64k"), Router(lab, "b")
        full = router.run("dd", "if=/dev/zero", "of=/var/etc/x", "bs=1k", "count=200", check=False)
        assert "No space left" in full.stderr
        other.run("dd", "if=/dev/zero", "of=/var/etc/x", "bs=1k", "count=200")


def test_command_has_its_own_pid() -> None:
    with Lab() as lab:
        for machine in (Host(lab, "h"), Router(lab, "r")):
            process = machine.popen("sleep", "100")
            while not Path(f"/proc/{process.pid}/cmdline").read_bytes().startswith(b"sleep"):
                assert process.poll() is None
            assert process.pid in machine.pids()
