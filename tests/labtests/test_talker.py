# SPDX-License-Identifier: GPL-2.0-or-later
"""The checked stream: every kind of damage is seen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.talker import END, Checker, pattern


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


@given(offset=st.integers(0, 5000), length=st.integers(0, 5000))
def test_pattern_is_one_stream(offset: int, length: int) -> None:
    assert pattern(offset, length) == pattern(0, 10000)[offset : offset + length]


@given(count=st.integers(0, 400), sizes=st.lists(st.integers(1, 700), max_size=20))
def test_whole_stream_is_accepted_however_it_is_cut(count: int, sizes: list[int]) -> None:
    checker = Checker()
    for piece in cut(pattern(0, count * 8) + END, sizes):
        if piece:
            checker.feed(piece)
    assert checker.ended
    assert checker.report.bytes == count * 8


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(pattern(0, 800) + pattern(808, 800) + END, id="eight bytes lost"),
        pytest.param(pattern(0, 800) + pattern(801, 800) + END, id="one byte lost"),
        pytest.param(pattern(0, 800) + pattern(792, 808) + END, id="eight bytes doubled"),
        pytest.param(pattern(0, 800) + b"x" + pattern(801, 799) + END, id="one byte wrong"),
        pytest.param(pattern(0, 803) + END, id="ends inside a number"),
        pytest.param(pattern(0, 800) + END + pattern(800, 8), id="goes on after its end"),
    ],
)
def test_damage_is_seen(stream: bytes) -> None:
    with pytest.raises(ValueError, match="is wrong"):
        Checker().feed(stream)
