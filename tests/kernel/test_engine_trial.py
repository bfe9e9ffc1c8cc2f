# SPDX-License-Identifier: GPL-2.0-or-later
"""What is found out about installed engines: against the real ones, and against impostors."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import IO

import pytest
from lab.paths import SING_BOX, SING_BOXES
from toolkit.namespace import Namespace
from toolkit.waiting import wait_until

from mptcp_agent.engines import ENGINES, Build, Rendered
from mptcp_agent.system.engines import on_trial, trial
from mptcp_agent.system.engines.trial import AGAIN, EngineBuilds

#: Seconds, as the impostors' looks see them.
CLOCK = [0.0]

Find = Callable[..., dict[str, Build]]


@pytest.fixture
def find(monkeypatch: pytest.MonkeyPatch) -> Find:
    """Look for engines with the tests' sing-box on PATH."""
    monkeypatch.setenv("PATH", str(SING_BOX.parent), prepend=os.pathsep)

    def look(*names: str, methods: Collection[str] = ("aes-128-gcm",)) -> dict[str, Build]:
        return EngineBuilds().find(names or [*ENGINES], methods)

    return look


# --- The real ones -----------------------------------------------------------------------------


def test_both_engines_of_the_set_up_are_here(find: Find) -> None:
    """shadowsocks-rust is in no Debian or PyPI package: tried where somebody has it."""
    builds = find(methods=["none", "aes-128-gcm", "2022-blake3-aes-128-gcm"])
    assert {"sing-box", "shadowsocks-libev"} <= set(builds)
    for build in builds.values():
        assert build.mptcp, build
        assert build.plain_listener, build
        assert build.plain_families == frozenset(), build
        assert build.version
        assert not build.problems
        assert "aes-128-gcm" in build.methods
    # Debian's shadowsocks-libev, like most builds of it.
    assert builds["shadowsocks-libev"].refused == {"none"}
    assert builds["sing-box"].methods >= {"none", "2022-blake3-aes-128-gcm"}
    # sing-box 1.14 with method none waits for the LAN client, unless opened fast.
    assert builds["sing-box"].hangs == {("none", False)}


def test_when_every_method_is_refused_mptcp_is_found_out_all_the_same(find: Find) -> None:
    build = find("shadowsocks-libev", methods=["none"])["shadowsocks-libev"]
    assert build.refused == {"none"}
    assert build.methods == {"aes-128-gcm"}
    assert build.mptcp


def test_with_mptcp_off_nothing_is_concluded() -> None:
    engines = EngineBuilds()
    with Namespace() as space:
        space.sh("echo 0 > /proc/sys/net/mptcp/enabled")
        before = engines.find(["shadowsocks-libev"], ["aes-128-gcm"])["shadowsocks-libev"]
        space.sh("echo 1 > /proc/sys/net/mptcp/enabled")
        after = engines.find(["shadowsocks-libev"], ["aes-128-gcm"])["shadowsocks-libev"]
    assert before.mptcp is None and not before.methods and not before.refused
    assert after.mptcp


@pytest.mark.parametrize("program", [p for p in SING_BOXES.values() if p.exists()], ids=str)
def test_a_redirector_that_calls_ipv6_peers_by_plain_tcp_is_found_out(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenWrt 24.10's sing-box, built by Go 1.23, does not know the value of GODEBUG that makes
    its IPv6 connections MPTCP. The tests' are built by later Go, so this stands in for it: with
    the value 0 the switch does what it did before Go 1.24."""
    stand_in = tmp_path / "bin" / "sing-box"
    stand_in.parent.mkdir()
    stand_in.write_text(f'#!/bin/sh\nGODEBUG=multipathtcp=0 exec {program} "$@"\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", str(stand_in.parent), prepend=os.pathsep)
    build = EngineBuilds().probe(ENGINES["sing-box"], ["aes-128-gcm"])
    assert build and build.client == str(stand_in)
    assert build.mptcp, "over IPv4 it does"
    assert build.plain_families == {("client", 6)}


def test_without_ipv6_nothing_is_said_of_it(find: Find) -> None:
    with Namespace() as space:
        space.sh("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
        build = find("shadowsocks-libev")["shadowsocks-libev"]
    assert build.mptcp and not build.problems
    assert build.plain_families == frozenset()


# --- Impostors ---------------------------------------------------------------------------------


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], EngineBuilds]:
    """ss-redir and ss-server as shell scripts, and nothing else installed. In the script
    ``$config`` is the generated file, ``$real`` the real program."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))

    def install(script: str, *links: str) -> EngineBuilds:
        for name in ("ss-redir", "ss-server"):
            path = directory / name
            path.write_text(
                "#!/bin/sh\nPATH=/usr/bin:/bin\nif [ $1 = -h ]; then echo 9.9.9; exit; fi\n"
                f"config=$2 real=/usr/bin/{name}\necho started >> {tmp_path}/log\n{script}\n"
            )
            path.chmod(0o755)
        for link in links:
            (directory / Path(link).name).symlink_to(link)
        return EngineBuilds((), clock=lambda: CLOCK[0])

    return install


#: What an unpatched 3.3.5 does on an upstream kernel: "mptcp" changes nothing.
UNPATCHED = """sed 's/"mptcp": true/"mptcp": false/' $config > $0.json; exec $real -c $0.json """


def probe(engines: EngineBuilds, method: str = "aes-128-gcm") -> Build:
    build = engines.probe(ENGINES["shadowsocks-libev"], [method])
    assert build is not None
    return build


def test_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert EngineBuilds(()).find([*ENGINES], ["none"]) == {}


def test_an_unpatched_build_runs_under_the_wrapper(
    programs: Callable[..., EngineBuilds],
) -> None:
    build = probe(programs(UNPATCHED, "/usr/bin/mptcpize"))
    assert build.version == "9.9.9"
    assert build.mptcp is False
    assert build.mptcpize is not None and build.mptcpize.endswith("/mptcpize")
    assert not build.problems


def test_without_the_wrapper_it_uses_one_link_only(
    programs: Callable[..., EngineBuilds],
) -> None:
    build = probe(programs(UNPATCHED))
    assert build.mptcp is False
    assert build.mptcpize is None


def test_a_wrapper_that_changes_nothing_is_not_used(
    programs: Callable[..., EngineBuilds], tmp_path: Path
) -> None:
    """As with a statically linked program, which loads no library."""
    wrapper = tmp_path / "mptcpize"
    wrapper.write_text('#!/bin/sh\nshift\nexec "$@"\n')
    wrapper.chmod(0o755)
    assert probe(programs(UNPATCHED, str(wrapper))).mptcpize is None


def test_a_program_that_ends_says_why(programs: Callable[..., EngineBuilds]) -> None:
    build = probe(programs("echo first; echo 'libmbedcrypto.so.7: not found' >&2; exit 127"))
    (problem,) = build.problems
    assert problem.where == "engine shadowsocks-libev"
    assert "ended with exit code 127: libmbedcrypto.so.7: not found" in problem.message
    assert problem.severity == "warning"
    assert build.mptcp is None and not build.refused


def test_a_refused_method_is_no_failure(programs: Callable[..., EngineBuilds]) -> None:
    build = probe(programs("echo ' ERROR: invalid cipher name: aes-128-gcm'; exit 255"))
    assert build.refused == {"aes-128-gcm"}
    assert not build.problems


def test_a_program_that_never_listens_is_ended(
    programs: Callable[..., EngineBuilds], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "PATIENCE", 1.0)
    engines = programs(f"echo $$ >> {tmp_path}/pids; trap '' TERM; while :; do sleep 0.1; done")
    start = time.monotonic()
    (problem,) = probe(engines).problems
    assert time.monotonic() - start < 3  # the patience for one program, and its end
    assert "did not listen in time" in problem.message
    pids = (tmp_path / "pids").read_text().split()
    assert pids and not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_the_configuration_is_for_nobody_else(
    programs: Callable[..., EngineBuilds], tmp_path: Path
) -> None:
    probe(programs(f'stat -L -c %a $config >> {tmp_path}/modes; exec $real "$@"'))
    assert set((tmp_path / "modes").read_text().split()) == {"600"}


def test_it_is_found_out_once_until_the_program_changes(
    programs: Callable[..., EngineBuilds], tmp_path: Path
) -> None:
    def starts() -> int:
        return (tmp_path / "log").read_text().count("started")

    engines = programs('exec $real "$@"')
    first = probe(engines)
    before = starts()
    engines.forget()  # what was seen stays seen
    assert probe(engines) is first
    assert starts() == before
    os.utime(tmp_path / "bin" / "ss-redir", (1, 1))
    assert probe(engines) == first
    assert starts() > before


def test_what_could_not_be_tried_is_tried_again(
    programs: Callable[..., EngineBuilds], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself, but not at every look: it costs seconds. At once when somebody asks."""
    engines = programs('exec $real "$@"')
    program = tmp_path / "bin" / "ss-server"
    for again in ("by itself", "asked"):
        with monkeypatch.context() as patch:
            patch.setattr(on_trial, "_memory", no_room)
            engines.forget()
            (problem,) = probe(engines).problems
        assert "could not be tried: No space left" in problem.message
        assert probe(engines).problems
        if again == "asked":
            engines.forget()
        else:
            CLOCK[0] += AGAIN
        assert not probe(engines).problems
        os.utime(program, (2, 2))


def no_room() -> IO[str]:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("engine", ["sing-box", "shadowsocks-libev"])
@pytest.mark.parametrize("delay", [0.0, 0.02, 0.1])
def test_a_killed_agent_leaves_no_program_on_trial(
    engine: str, delay: float, tmp_path: Path
) -> None:
    """Whenever it is killed; what the kernel does not end the next agent does. No file is left."""
    script = (
        "from mptcp_agent.system.engines.trial import EngineBuilds\n"
        f"while True: EngineBuilds().find(['{engine}'], ['aes-128-gcm'])"
    )
    environment = {
        **os.environ,
        "PATH": f"{SING_BOX.parent}:{os.environ['PATH']}",
        "TMPDIR": str(tmp_path),
    }
    agent = subprocess.Popen([sys.executable, "-c", script], env=environment)
    wait_until(lambda: of_agent(agent.pid), 10, "a program on trial", 0.001)
    time.sleep(delay)
    agent.kill()
    agent.wait()
    on_trial.end_leftovers()
    wait_until(lambda: not of_agent(agent.pid), 2, "its end")
    assert list(tmp_path.iterdir()) == []


def test_a_trial_under_way_is_no_leftover() -> None:
    command = Rendered("x", "{}", ("/bin/sh", "-c", "exec sleep 60 # $0"))
    with on_trial.started(command) as (process, _):
        on_trial.end_leftovers()
        assert process.poll() is None


def of_agent(pid: int) -> list[int]:
    """Processes on trial by this agent, which may be gone."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"/proc/{pid}/./fd/".encode() in (directory / "cmdline").read_bytes():
                found.append(int(directory.name))
    return found
