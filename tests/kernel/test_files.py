# SPDX-License-Identifier: GPL-2.0-or-later
"""Generated files on real file systems: full, read-only, watched by a reader."""

from __future__ import annotations

import stat
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mptcp_agent.errors import FileError
from mptcp_agent.system import files


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB, as small as /var on a bad day."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)])
    if mounted.returncode:
        pytest.fail("this test needs root: it mounts a tmpfs")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_modes_and_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "run" / "mptcp-proxy" / "client.json"
    files.write_private(str(path), "secret\n")
    assert files.read(str(path)) == "secret\n"
    assert mode(path) == 0o600
    assert mode(path.parent) == mode(path.parent.parent) == 0o711
    path.chmod(0o644)
    files.write_private(str(path), "other\n")
    assert (files.read(str(path)), mode(path)) == ("other\n", 0o600)
    assert files.listing(str(path.parent)) == (str(path),)
    for _ in range(2):
        files.remove(str(path))
        assert files.read(str(path)) is None
        assert files.listing(str(path.parent)) == ()


def test_a_file_for_a_process_without_root(tmp_path: Path) -> None:
    path = tmp_path / "run" / "client.json"
    files.write_private(str(path), "secret\n", "nobody")
    assert (files.owner(str(path)), mode(path)) == ("nobody", 0o600)
    with pytest.raises(FileError, match="no user no-such-user"):
        files.write_private(str(path), "other\n", "no-such-user")
    assert files.read(str(path)) == "secret\n"
    assert files.listing(str(path.parent)) == (str(path),)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text())
def test_any_text_is_kept_or_refused(tmp_path: Path, content: str) -> None:
    path = str(tmp_path / "file")
    try:
        files.write_private(path, content)
    except FileError:
        assert any("\ud800" <= character <= "\udfff" for character in content)
    else:
        assert files.read(path) == content


def test_a_reader_sees_all_or_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    contents = {letter * 100_000 for letter in "abc"}
    stop = threading.Event()
    files.write_private(path, "a" * 100_000)

    def watch() -> int:
        seen = 0
        while not stop.is_set():
            assert files.read(path) in contents
            seen += 1
        return seen

    with ThreadPoolExecutor(1) as worker:
        watching = worker.submit(watch)
        for _ in range(100):
            for content in contents:
                files.write_private(path, content)
        stop.set()
        assert watching.result() > 10
    assert files.listing(str(tmp_path)) == (path,)


def test_a_full_file_system_keeps_the_old_file(tmpfs: Path) -> None:
    path = str(tmpfs / "client.json")
    files.write_private(path, "old")
    with pytest.raises(FileError, match=r"client\.json: the file system is full; make room"):
        files.write_private(path, "x" * 200_000)
    assert files.read(path) == "old"
    assert files.listing(str(tmpfs)) == (path,)


def test_a_read_only_file_system(tmpfs: Path) -> None:
    path = str(tmpfs / "client.json")
    files.write_private(path, "old")
    subprocess.run(["mount", "-o", "remount,ro", str(tmpfs)], check=True)
    with pytest.raises(FileError, match="read-only"):
        files.write_private(path, "new")
    with pytest.raises(FileError, match="read-only"):
        files.remove(path)
    assert files.read(path) == "old"


def test_things_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "directory").mkdir()
    inside = str(tmp_path / "file" / "inside")
    with pytest.raises(FileError, match="in the place of a directory"):
        files.write_private(inside, "")
    assert files.read(inside) is None
    assert files.listing(inside) == ()
    files.remove(inside)
    directory = str(tmp_path / "directory")
    said = "a directory is in the place of the file"
    with pytest.raises(FileError, match=said):
        files.write_private(directory, "")
    with pytest.raises(FileError, match=said):
        files.read(directory)
    with pytest.raises(FileError, match=said):
        files.remove(directory)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["directory", "file"]


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\xff\xfe")
    with pytest.raises(FileError, match="not UTF-8"):
        files.read(str(tmp_path / "file"))
