# SPDX-License-Identifier: GPL-2.0-or-later
"""procd's triggers: which script to run when something happened.  No I/O, no clock.

Source: `procd/service/trigger.c` and `libubox/json_script.c`, of which the part that procd.sh
writes is here: `if`, `case`, `return`, `run_script`, and the tests `eq`, `has`, `and`, `or`, `not`.

    [event, [["if", ["eq", "package", "network"], ["run_script", "/etc/init.d/x", "reload"]]], ms]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .wire import Json


@dataclass(frozen=True)
class Trigger:
    """`event` may end in `.*`; the scripts wait `delay` ms for more of the same."""

    event: str
    rule: Sequence[Json]
    delay: int

    def matches(self, event: str) -> bool:
        prefix, wildcard, _ = self.event.partition(".*")
        return event.startswith(prefix) if wildcard else event == self.event


def parse(rules: Json) -> list[Trigger]:
    """Of a service's or instance's `triggers`; what has another form is left out."""
    found = []
    for rule in _list(rules):
        words = _list(rule)
        if len(words) < 2 or not isinstance(words[0], str) or not isinstance(words[1], list):
            continue
        delay = words[2] if len(words) > 2 else 0
        found.append(Trigger(words[0], words[1], delay if isinstance(delay, int) else 0))
    return found


def commands(trigger: Trigger, data: Mapping[str, Json]) -> list[tuple[str, ...]]:
    """The command lines this event makes the trigger run."""
    try:
        return list(_run(trigger.rule, data))
    except _Return:
        return []


class _Return(Exception):
    pass


def _run(block: Json, data: Mapping[str, Json]) -> Iterator[tuple[str, ...]]:
    words = _list(block)
    if words and isinstance(words[0], list):
        for each in words:
            yield from _run(each, data)
        return
    match words:
        case ["run_script", *command]:
            yield tuple(str(word) for word in command)
        case ["if", test, then, *otherwise]:
            if _test(test, data):
                yield from _run(then, data)
            elif otherwise:
                yield from _run(otherwise[0], data)
        case ["case", str(name), Mapping() as branches]:
            if str(data.get(name)) in branches:
                yield from _run(branches[str(data.get(name))], data)
        case ["return", *_]:
            raise _Return


def _test(test: Json, data: Mapping[str, Json]) -> bool:
    match _list(test):
        case ["eq", str(name), *values]:
            wanted = [value for each in values for value in (each if isinstance(each, list)
                      else [each])]  # fmt: skip
            return name in data and data[name] in wanted
        case ["has", *names]:
            return all(name in data for name in names)
        case ["and", *tests]:
            return all(_test(each, data) for each in tests)
        case ["or", *tests]:
            return any(_test(each, data) for each in tests)
        case ["not", each]:
            return not _test(each, data)
    return False


def _list(value: Json) -> list[Json]:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
