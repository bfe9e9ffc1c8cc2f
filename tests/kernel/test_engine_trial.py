"""What is found out about installed engines: against the real ones, and against impostors."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from toolkit.namespace import Namespace

from mptcp_agent.engines import ENGINES, Build
from mptcp_agent.system.engines import trial
from mptcp_agent.system.engines.trial import EngineBuilds

#: Where ``make setup`` puts the tests' sing-box.
BIN = Path(__file__).parents[2] / "build" / "bin"

Find = Callable[..., dict[str, Build]]


@pytest.fixture
def find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Find:
    """Look for engines with the tests' sing-box on PATH; nothing may be left behind."""
    monkeypatch.setenv("PATH", str(BIN), prepend=os.pathsep)

    def look(*names: str, methods: Collection[str] = ("aes-128-gcm",)) -> dict[str, Build]:
        builds = EngineBuilds(str(tmp_path / "state")).find(names or [*ENGINES], methods)
        assert list((tmp_path / "state").iterdir()) == []
        return builds

    return look


# --- The real ones -----------------------------------------------------------------------------


def test_both_engines_of_the_set_up_are_here(find: Find) -> None:
    """shadowsocks-rust is in no Debian or PyPI package: tried where somebody has it."""
    builds = find(methods=["none", "aes-128-gcm", "2022-blake3-aes-128-gcm"])
    assert {"sing-box", "shadowsocks-libev"} <= set(builds)
    for build in builds.values():
        assert build.mptcp, build
        assert build.plain_listener, build
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


def test_with_mptcp_off_nothing_is_concluded(tmp_path: Path) -> None:
    engines = EngineBuilds(str(tmp_path))
    with Namespace() as space:
        space.sh("echo 0 > /proc/sys/net/mptcp/enabled")
        before = engines.find(["shadowsocks-libev"], ["aes-128-gcm"])["shadowsocks-libev"]
        space.sh("echo 1 > /proc/sys/net/mptcp/enabled")
        after = engines.find(["shadowsocks-libev"], ["aes-128-gcm"])["shadowsocks-libev"]
    assert before.mptcp is None and not before.methods and not before.refused
    assert after.mptcp


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
        return EngineBuilds(str(tmp_path / "state"), ())

    return install


#: What an unpatched 3.3.5 does on an upstream kernel: "mptcp" changes nothing.
UNPATCHED = """sed -i 's/"mptcp": true/"mptcp": false/' $config; exec $real "$@" """


def probe(engines: EngineBuilds, method: str = "aes-128-gcm") -> Build:
    build = engines.probe(ENGINES["shadowsocks-libev"], [method])
    assert build is not None
    return build


def test_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert EngineBuilds(str(tmp_path), ()).find([*ENGINES], ["none"]) == {}


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
    assert list((tmp_path / "state").iterdir()) == []


def test_the_configuration_is_for_nobody_else(
    programs: Callable[..., EngineBuilds], tmp_path: Path
) -> None:
    probe(programs(f'stat -c %a $config >> {tmp_path}/modes; exec $real "$@"'))
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
    programs: Callable[..., EngineBuilds], tmp_path: Path
) -> None:
    engines = programs('exec $real "$@"')
    state = tmp_path / "state"
    state.write_text("a file where the directory should be")
    (problem,) = probe(engines).problems
    assert "could not be tried" in problem.message
    state.unlink()
    assert probe(engines).problems  # not at every look: it costs seconds
    engines.forget()
    assert not probe(engines).problems
