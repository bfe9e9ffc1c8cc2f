# SPDX-License-Identifier: GPL-2.0-or-later
"""Packs a staged package as .ipk: ``ipk.py STAGED DIRECTORY``.

STAGED holds ``data`` (the files), ``control``, ``conffiles``, ``postinst-pkg`` and
``prerm-pkg`` (each may be empty), as package/sdk writes them. An .ipk is a gzipped tar of three
members (OpenWrt's scripts/ipkg-build). The same content makes the same bytes: entries sorted, owned
by root, dated SOURCE_DATE_EPOCH, gzip without name and date.
"""

from __future__ import annotations

import gzip
import io
import os
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

_SCRIPT = """#!/bin/sh
[ "${IPKG_NO_SCRIPT}" = "1" ] && exit 0
[ -s "${IPKG_INSTROOT}/lib/functions.sh" ] || exit 0
. "${IPKG_INSTROOT}/lib/functions.sh"
default_%s $0 $@
"""
_SCRIPTS = ("postinst", "prerm")


def pack(staged: Path, directory: Path, epoch: int) -> Path:
    """Write the .ipk of a staged package; its path."""
    data = _tar(_tree(staged / "data"), epoch)
    control = (staged / "control").read_text()
    fields = dict(line.partition(": ")[::2] for line in control.splitlines() if ": " in line)
    members = {"control": _control(control, len(data))}
    for name in ("conffiles", "postinst-pkg", "prerm-pkg"):
        text = (staged / name).read_text().strip()
        if text:
            members[name] = f"{text}\n"
    members |= {script: _SCRIPT % script for script in _SCRIPTS}
    parts = {
        "debian-binary": b"2.0\n",
        "data.tar.gz": _gzip(data),
        "control.tar.gz": _gzip(_tar(_control_files(members), epoch)),
    }
    name = f"{fields['Package']}_{fields['Version']}_{fields['Architecture']}.ipk"
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / name
    files = [(_entry(name, 0o644, len(content)), content) for name, content in parts.items()]
    target.write_bytes(_gzip(_tar(iter(files), epoch)))
    return target


Entry = tuple[tarfile.TarInfo, bytes]


def _control(text: str, size: int) -> str:
    """The control file: the size filled in, the description's lines indented."""
    head, _, description = text.partition("Description: ")
    head = head.replace("Installed-Size: 0", f"Installed-Size: {size}")
    lines = [line.strip() for line in description.splitlines() if line.strip()]
    return f"{head}Description: " + "\n ".join(lines) + "\n"


def _control_files(members: dict[str, str]) -> Iterator[Entry]:
    yield _directory(".")
    for name, text in sorted(members.items()):
        mode = 0o755 if name.removesuffix("-pkg") in _SCRIPTS else 0o644
        yield _entry(name, mode, len(text.encode())), text.encode()


def _tree(root: Path) -> Iterator[Entry]:
    yield _directory(".")
    for path in sorted(root.rglob("*"), key=lambda p: p.relative_to(root).parts):
        name = str(path.relative_to(root))
        if path.is_dir():
            yield _directory(name)
        else:
            # Of the mode only what a recipe decides: a checkout's umask is nobody's business.
            mode = path.stat().st_mode
            mode = 0o600 if not mode & 0o044 else 0o755 if mode & 0o100 else 0o644
            content = path.read_bytes()
            yield _entry(name, mode, len(content)), content


def _directory(name: str) -> Entry:
    entry = _entry(name, 0o755, 0)
    entry.type = tarfile.DIRTYPE
    return entry, b""


def _entry(name: str, mode: int, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo("./" if name == "." else f"./{name}")
    entry.mode, entry.size = mode, size
    return entry


def _tar(entries: Iterator[Entry], epoch: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for entry, content in entries:
            entry.mtime = epoch
            entry.uname = entry.gname = "root"
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, 9, mtime=0)


if __name__ == "__main__":
    print(pack(Path(sys.argv[1]), Path(sys.argv[2]), int(os.environ["SOURCE_DATE_EPOCH"])))
