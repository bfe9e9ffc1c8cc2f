# SPDX-License-Identifier: GPL-2.0-or-later
"""Generated files: written whole or not at all, and readable by root alone.

They live on tmpfs (/var on a router), which needs no fsync but fills up.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import tempfile
from pathlib import Path

from ..errors import FileError

#: What has to be known again after a crash of the agent, and what the proxies read.
STATE_DIRECTORY = "/var/run/mptcp-proxy"
CONFIG_DIRECTORY = "/var/etc/mptcp-proxy"
#: In the former: answers of DNS (``monitor.hostnames``).
NAMES = "names.json"

#: Temporary files of a writer that was killed look like this; nobody reads them.
_TEMPORARY = ".new-"


def write_private(path: str, content: str, owner: str = "") -> None:
    """Replace the file atomically: a reader sees the old content or the new, never a part.

    Mode 0600 from the first byte on, directories on the way 0711 (an unprivileged ``owner``
    has to reach its file). When it fails, the old file is still there.
    """
    target = Path(path)
    temporary: str | None = None
    try:
        data = content.encode()
    except UnicodeEncodeError as error:
        raise FileError(f"writing {path}: it has characters that no file can hold") from error
    try:
        _make_directory(target.parent)
        # mkstemp gives 0600 and a name of its own, so that two writers do not meet.
        descriptor, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=target.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if owner:
                os.fchown(file.fileno(), *_account(owner))
        Path(temporary).replace(target)
    except (OSError, FileError) as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        if isinstance(error, FileError):
            raise
        raise _failed("writing", path, error) from error


def read(path: str) -> str | None:
    """The content; None where there is no such file."""
    try:
        return Path(path).read_bytes().decode()  # not read_text, which alters line ends
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError as error:
        raise FileError(f"reading {path}: it is not UTF-8 text; remove it") from error
    except OSError as error:
        raise _failed("reading", path, error) from error


def remove(path: str) -> None:
    """Remove the file; fine where it is gone already."""
    try:
        Path(path).unlink(missing_ok=True)
    except NotADirectoryError:
        return
    except OSError as error:
        raise _failed("removing", path, error) from error


def owner(path: str) -> str:
    """The account that owns the file, as ``write_private`` takes it: "" for root."""
    try:
        uid = Path(path).stat().st_uid
        return pwd.getpwuid(uid).pw_name if uid else ""
    except KeyError:
        return str(uid)
    except OSError as error:
        raise _failed("reading", path, error) from error


def remove_empty(directory: str) -> None:
    """Remove a directory with nothing in it; one with something in it stays."""
    with contextlib.suppress(OSError):
        Path(directory).rmdir()


def listing(directory: str) -> tuple[str, ...]:
    """Full paths of the files in the directory, sorted; empty where it does not exist."""
    try:
        with os.scandir(directory) as entries:
            return tuple(sorted(entry.path for entry in entries if entry.is_file()))
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        raise _failed("reading", directory, error) from error


def _account(owner: str) -> tuple[int, int]:
    try:
        entry = pwd.getpwnam(owner)
    except KeyError as error:
        raise FileError(f"there is no user {owner} to own a file; add it to /etc/passwd") from error
    return entry.pw_uid, entry.pw_gid


def _make_directory(directory: Path) -> None:
    """Like mkdir -p, with 0711 for each new one (``Path.mkdir`` gives it only to the last)."""
    if directory.is_dir():
        return
    _make_directory(directory.parent)
    directory.mkdir(mode=0o711, exist_ok=True)


_WAY_OUT = {
    errno.ENOSPC: "the file system is full; make room on it (df, and du -x, show where)",
    errno.EDQUOT: "the quota is used up; make room",
    errno.EROFS: "the file system is mounted read-only; is /var the usual tmpfs?",
    errno.EACCES: "not permitted; the agent needs root",
    errno.EPERM: "not permitted; the agent needs root",
    errno.ENOTDIR: "a file is in the place of a directory on the way; remove it",
    errno.EISDIR: "a directory is in the place of the file; remove it",
    errno.EEXIST: "a file is in the place of a directory on the way; remove it",
}


def _failed(doing: str, path: str, error: OSError) -> FileError:
    reason = _WAY_OUT.get(error.errno or 0, error.strerror or str(error))
    return FileError(f"{doing} {path}: {reason}")
