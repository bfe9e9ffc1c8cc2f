# SPDX-License-Identifier: GPL-2.0-or-later
"""Every source file names its licence in a line that programs understand (https://spdx.dev/ids)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

TOP = Path(__file__).parents[2]
LICENCE = "SPDX-License-Identifier: GPL-2.0-or-later"

#: What is made, fetched or kept beside the source.
LEFT_OUT = {".git", ".venv", ".hypothesis", "build", "dist", "node_modules", "__pycache__"}

#: How a comment begins and ends, by what a file's name ends with. JSON has none; data has no need.
COMMENTS = {
    **dict.fromkeys((".py", ".sh", ".mk", ".init", ".defaults", "Makefile"), ("# ", "")),
    **dict.fromkeys((".js", ".mjs", ".c"), ("// ", "")),
    ".css": ("/* ", " */"),
}


def comment(path: Path) -> tuple[str, str] | None:
    """What stands around a comment in this file; None for a file that is no program."""
    for ending, around in COMMENTS.items():
        if path.name.endswith(ending):
            return around
    if path.parent.name == "workflows":
        return COMMENTS[".sh"]
    if "." not in path.name:
        with path.open("rb") as file:
            if file.read(2) == b"#!":
                return COMMENTS[".sh"]
    return None


def sources(top: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(set(folders) - LEFT_OUT)
        for path in (Path(folder, name) for name in sorted(names)):
            if path.is_file() and not path.is_symlink() and comment(path):
                yield path


def test_every_source_file_names_its_licence() -> None:
    found = list(sources(TOP))
    assert len(found) > 200
    # The first line, or the second one after a ``#!``.
    silent = [p for p in found if LICENCE not in "".join(p.read_text("utf-8").splitlines()[:2])]
    assert not silent, "\n".join(str(path.relative_to(TOP)) for path in silent)


def test_the_text_is_there() -> None:
    text = (TOP / "LICENSE").read_text("utf-8")
    assert "GNU GENERAL PUBLIC LICENSE\n                       Version 2, June 1991" in text
