# SPDX-License-Identifier: GPL-2.0-or-later
"""uci as rpcd has it: what is committed, and what waits in /tmp/.uci.

A ``uci set`` on the command line leaves its change in /tmp/.uci until ``uci commit``. rpcd's
``get`` shows it as if it were committed (rpcd uci.c, rpc_uci_set_savedir), but for the session
of somebody who is logged in: that one has a directory of changes of its own. So where something
waits a session of ours, which changes nothing, is shown what is committed.

rpcd answers "unknown error" where a file cannot be parsed; the ``uci`` command says what and
where.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...core.ubus import Call
from ...errors import BusError, ConfigError
from .. import programs

Sections = Mapping[str, Mapping[str, object]]  # name -> options and .type, .name, .index

#: One change: what is done, section, option, value; fewer where there are fewer.
Change = tuple[str, ...]

#: Where uci keeps packages, and what waits to be committed (libuci uci.h).
CONFIG, WAITING = "/etc/config", "/tmp/.uci"

#: Seconds after which rpcd forgets a session of ours, should the agent be killed meanwhile.
_SESSION_LIFE = 30
#: Seconds for the ``uci`` command, which takes some milliseconds.
_PATIENCE = 2.0


@dataclass(frozen=True)
class Package:
    """What is committed of a package, and what waits."""

    sections: Sections
    waiting: tuple[Change, ...] = ()


def read(call: Call, package: str) -> Package:
    """Nothing at all where there is no such file.

    Raises ConfigError where the file cannot be parsed, BusError where rpcd does not answer.
    """
    try:
        sections = _get(call, {"config": package})
        waiting = _changes(call, package)
        return Package(_committed(call, package) if waiting else sections, waiting)
    except BusError as error:
        message = str(error).lower()
        if "not found" in message and "object" not in message:
            return Package({})  # UBUS_STATUS_NOT_FOUND: no such package
        if "unknown error" in message and (complaint := _complaint(package)):
            raise ConfigError(package, complaint) from error
        raise


def _get(call: Call, arguments: Mapping[str, object]) -> Sections:
    values = call("uci", "get", arguments).get("values")
    return values if isinstance(values, dict) else {}


def _changes(call: Call, package: str) -> tuple[Change, ...]:
    found = call("uci", "changes", {"config": package}).get("changes")
    rows = found if isinstance(found, list) else []
    return tuple(tuple(map(str, row)) for row in rows if isinstance(row, list))


def _committed(call: Call, package: str) -> Sections:
    made = call("session", "create", {"timeout": _SESSION_LIFE})
    session = {"ubus_rpc_session": str(made.get("ubus_rpc_session", ""))}
    try:
        call("session", "grant", {**session, "scope": "uci", "objects": [[package, "read"]]})
        return _get(call, {**session, "config": package})
    finally:
        call("session", "destroy", session)


def _complaint(package: str) -> str:
    """What the ``uci`` command says of the package; empty where it has nothing to say."""
    program = programs.find("uci")
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, "show", package], capture_output=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    words = done.stderr.decode("utf-8", "replace").strip().splitlines() if done.returncode else []
    return re.sub(r"^\S*uci: ", "", words[-1]) if words else ""  # it begins with its own path


def stamp(paths: Iterable[str]) -> tuple[tuple[int, int, int], ...]:
    """Another value after one of the files was written, made or removed. Costs microseconds."""
    return tuple(map(_stamp, paths))


def _stamp(path: str) -> tuple[int, int, int]:
    try:
        found = Path(path).stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_size, found.st_mtime_ns)
