# SPDX-License-Identifier: GPL-2.0-or-later
"""The schemas, and a second opinion by jsonschema for ``mptcp-agent check``.

The agent reads options by these schemas with its own reader (``core.config.options``): jsonschema
takes 10 MB and is missing on some architectures of OpenWrt. So only the command line, a
short-lived process, imports it, and only where it is installed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from ..errors import FileError

#: Beside the sources in a checkout, else where the package installs them.
_PLACES = (Path(__file__).parents[3] / "schema", Path("/usr/share/mptcp-agent/schema"))


def load_schema(name: str) -> Mapping[str, Any]:
    """A schema by name (``mptcp-proxy``, ``status``, ``engines/…``); FileError if missing."""
    for place in _PLACES:
        try:
            schema: Mapping[str, Any] = json.loads(
                (place / f"{name}.schema.json").read_text("utf-8")
            )
        except FileNotFoundError:
            continue
        return schema
    raise FileError(
        f"{name}.schema.json is neither in {' nor in '.join(map(str, _PLACES))}: the "
        "installation is incomplete, install mptcp-agent again"
    )


Row = tuple[str, Literal["ok", "warning", "failed"], str, str]


def check_generated(directory: Path) -> Iterator[Row]:
    """Each generated engine file against its schema: name, result, message, hint."""
    files = sorted(directory.glob("*.json"))
    if not files:
        return
    try:
        import jsonschema
    except ImportError:  # optional; ``checks`` tells which it is
        return
    for file in files:
        try:
            document = json.loads(file.read_text("utf-8"))
            validator = jsonschema.Draft202012Validator(load_schema(f"engines/{file.stem}"))
        except (OSError, ValueError, FileError) as error:
            yield (str(file), "failed", str(error), "reload the agent; it writes the file anew")
            continue
        # Never the library's own message: it repeats the value, which may be a password.
        found = [
            f"{'.'.join(map(str, e.absolute_path)) or 'document'} breaks '{e.validator}'"
            for e in validator.iter_errors(document)
        ]
        yield (
            str(file),
            "failed" if found else "ok",
            "; ".join(found) or "valid",
            "report this as a bug" if found else "",
        )
