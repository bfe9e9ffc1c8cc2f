"""Generated files: written whole or not at all, and readable by root alone.

They live on tmpfs (/var on a router), which needs no fsync but fills up.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path

from ..errors import FileError

#: Temporary files of a writer that was killed look like this; nobody reads them.
_TEMPORARY = ".new-"


def write_private(path: str, content: str) -> None:
    """Replace the file atomically: a reader sees the old content or the new, never a part.

    Mode 0600 from the first byte on, directories on the way 0700. When it fails, the old file
    is still there.
    """
    target = Path(path)
    temporary: str | None = None
    try:
        _make_directory(target.parent)
        # mkstemp gives 0600 and a name of its own, so that two writers do not meet.
        descriptor, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=target.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(content)
        Path(temporary).replace(target)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise _failed("writing", path, error) from error


def read(path: str) -> str | None:
    """The content; None where there is no such file."""
    try:
        return Path(path).read_text("utf-8")
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


def listing(directory: str) -> tuple[str, ...]:
    """Full paths of the files in the directory, sorted; empty where it does not exist."""
    try:
        with os.scandir(directory) as entries:
            return tuple(sorted(entry.path for entry in entries if entry.is_file()))
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        raise _failed("reading", directory, error) from error


def _make_directory(directory: Path) -> None:
    """Like mkdir -p, with 0700 for each new one (``Path.mkdir`` gives it only to the last)."""
    if directory.is_dir():
        return
    _make_directory(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)


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
