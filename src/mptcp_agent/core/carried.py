# SPDX-License-Identifier: GPL-2.0-or-later
"""Proxies that an agent before this one has started: they go on while somebody uses them.

Another version may want the same proxy in another form (a log level, a time-out it did not know, a
launcher), and procd would start it anew for that: an upgrade would end every connection. So a proxy
that runs when the agent starts, and does the same job, stays in the form in which it was started
until no connection is proxied or the wanted form changes, since then somebody has asked for that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .state import File, Process

#: What makes another proxy of it, in the words of all engines: where it listens, whom it calls, how
#: it encrypts.
_JOB = frozenset(
    {
        *("listen", "listen_port", "local_address", "local_port"),
        *("server", "server_port", "method", "password"),
    }
)


@dataclass(frozen=True)
class Carried:
    """A process that runs with that file, and the one that would take its place."""

    running: Process
    file: File
    wanted: Process


def carried(
    wanted: Iterable[Process],
    files: Iterable[File],
    running: Iterable[Process],
    found: Iterable[File],
) -> tuple[Carried, ...]:
    """Of ``wanted`` with ``files`` those that run in another form, with the files as ``found``."""
    before = {p.name: p for p in running}
    new, old = ({f.path: f for f in each} for each in (files, found))
    return tuple(
        Carried(now, old[now.config_path], process)
        for process in wanted
        if (now := before.get(process.name))
        and now != process
        and now.config_path == process.config_path
        and now.config_path in old
        and same_job(old[now.config_path].content, new[process.config_path].content)
    )


def still(
    before: Iterable[Carried], wanted: tuple[Process, ...], running: tuple[Process, ...]
) -> tuple[Carried, ...]:
    """Those of the plan ``before`` for which nothing has changed."""
    return tuple(c for c in before if c.wanted in wanted and c.running in running)


def in_place(
    carry: Iterable[Carried], processes: Iterable[Process], files: Iterable[File]
) -> tuple[tuple[Process, ...], tuple[File, ...]]:
    """The processes and files with the carried ones in their places."""
    instead = {c.wanted: c.running for c in carry}
    contents = {c.file.path: c.file for c in carry}
    return (
        tuple(instead.get(p, p) for p in processes),
        tuple(contents.get(f.path, f) for f in files),
    )


def same_job(one: str, other: str) -> bool:
    """Whether two configuration files of an engine, as text, make the same proxy of it."""
    try:
        return sorted(_job(json.loads(one))) == sorted(_job(json.loads(other)))
    except ValueError:
        return False


def _job(node: object) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in _JOB and not isinstance(value, dict):
                yield key, json.dumps(value)
            else:
                yield from _job(value)
    elif isinstance(node, list):
        for value in node:
            yield from _job(value)
