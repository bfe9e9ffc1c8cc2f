# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent's own reader and jsonschema read the same schema in the same way.

The reader implements the few keywords the schema uses (jsonschema is too large to keep loaded
on a router); here typed values go through both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from unit.examples import SCHEMA, SCHEMAS, schema

from mptcp_agent.core.config.options import FORMATS, OptionError, allowed, read_option

CHECKER = FormatChecker(())


def _checker(good: Callable[[str], bool]) -> Callable[[object], bool]:
    return lambda value: not isinstance(value, str) or good(value)


for _name, (_good, _) in FORMATS.items():
    CHECKER.checks(_name)(_checker(_good))

OPTIONS = {
    f"{kind}.{name}": rule
    for kind in SCHEMA["properties"]
    for name, rule in SCHEMA["$defs"][kind]["properties"].items()
}
UNDERSTOOD = {
    "type", "enum", "pattern", "format", "minimum", "maximum", "items", "minItems",
    "uniqueItems", "default", "description", "x-secret", "x-allowed",
}  # fmt: skip

#: Near the border between right and wrong, for every kind of option at once.
words = st.one_of(
    st.sampled_from(
        [
            *("auto", "off", "on", "none", "subflow", "sing-box", "aes-128-gcm", "-a", "A", "_"),
            *("wan1", "r7000", "vps.example", "a..b", "1.2.3", "1", "0", "9999", "10000", "9" * 11),
            *("10.1.1.1", "10.1.1.0/24", "2001:db8::1", "fe80::1%eth0"),
        ]
    ),
    st.sampled_from(["", "x" * 32, "x" * 33]),
    st.text("abc019.:/-_% ", max_size=12),
    # Python's $ matches before a last line end, and jsonschema uses Python's; JSON Schema's
    # (ECMA 262) does not, nor does the reader.
    st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=6).filter(
        lambda t: not t.endswith("\n")
    ),
)
numbers = st.integers(-2, 12) | st.integers(9, 101) | st.integers(0, 100000)


def as_uci(value: object) -> object:
    """The typed value as UCI would write it."""
    if isinstance(value, bool):
        return "1" if value else "0"
    return value if isinstance(value, list) else str(value)


def typed_values(rule: dict[str, Any]) -> st.SearchStrategy[Any]:
    if rule["type"] == "array":
        # Spaces separate items in UCI, so no item has any; a repeated item counts once.
        item = words.filter(lambda w: w != "" and w.split() == [w])
        return st.lists(item, max_size=3, unique=True)
    return {"boolean": st.booleans(), "integer": numbers, "string": words}[rule["type"]]


@pytest.mark.parametrize("name", OPTIONS)
def test_reader_and_jsonschema_agree(name: str) -> None:
    rule = OPTIONS[name]
    validator = Draft202012Validator(rule, format_checker=CHECKER)

    @given(typed_values(rule))
    def agree(value: Any) -> None:
        try:
            read = read_option(as_uci(value), rule)
        except OptionError:
            assert not validator.is_valid(value)
        else:
            assert validator.is_valid(value)
            # What was read is a value of the schema, too.
            assert validator.is_valid(list(read) if isinstance(read, tuple) else read)

    agree()


@pytest.mark.parametrize("name", OPTIONS)
def test_the_reader_understands_every_keyword(name: str) -> None:
    rule = OPTIONS[name]
    assert rule.keys() <= UNDERSTOOD
    assert rule.get("items", {}).keys() <= UNDERSTOOD
    assert len(rule["description"]) > 10
    assert allowed(rule)


@pytest.mark.parametrize("name", OPTIONS)
def test_defaults_are_valid(name: str) -> None:
    rule = OPTIONS[name]
    if "default" in rule:
        Draft202012Validator(rule, format_checker=CHECKER).validate(rule["default"])


@pytest.mark.parametrize("path", sorted(SCHEMAS.rglob("*.schema.json")), ids=lambda p: p.name)
def test_schemas_are_schemas(path: Any) -> None:
    name = str(path.relative_to(SCHEMAS)).removesuffix(".schema.json")
    Draft202012Validator.check_schema(schema(name))
