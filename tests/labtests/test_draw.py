# SPDX-License-Identifier: GPL-2.0-or-later
"""What the demo draws is what it was given."""

from __future__ import annotations

import io
import json

from hypothesis import given
from hypothesis import strategies as st
from lab.draw import Screen, columns, compact, over_time, split_bar

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=30,
)


@given(value=JSON, width=st.integers(20, 100))
def test_compact_is_the_same_document(value: object, width: int) -> None:
    assert json.loads("\n".join(compact(value, width))) == value


def test_compact_fills_lines() -> None:
    value = {"a": 1, "b": [1, 2], "wans": [{"name": "wan1", "up": True}, {"name": "wan2"}], "z": 0}
    assert compact(value, 40) == [
        "{",
        '  "a": 1, "b": [1, 2],',
        '  "wans": [',
        '    {"name": "wan1", "up": true},',
        '    {"name": "wan2"}',
        "  ],",
        '  "z": 0',
        "}",
    ]


def test_columns_are_as_high_as_their_values() -> None:
    assert columns([0, 25, 50, 75, 100, 120], 100, 2) == ["   ▄██", " ▄████"]


def test_nothing_but_text_without_a_terminal() -> None:
    out = io.StringIO()
    screen = Screen(out)
    picture = over_time(
        screen, {"wan1": [10.0] * 8}, [10], {4: "pulled"}, length=16, seconds_per_column=0.25
    )
    screen.draw(picture)
    assert out.getvalue() == ""
    screen.settle([split_bar(screen, [1, 2], 4, 8), *picture])
    assert "\033" not in out.getvalue()
    assert "██████··" in out.getvalue()
    assert "↑ pulled" in out.getvalue()
