# SPDX-License-Identifier: GPL-2.0-or-later
"""What is made of a home's load that was measured. Nothing is timed here."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from lab.home import Account, Event, longest_gap


def account(
    since: float = 10,
    until: float = 14,
    short: Sequence[Event] = (),
    dns: Sequence[Event] = (),
    down: Sequence[Event] = (),
    up: Sequence[Event] = (),
) -> Account:
    return Account(since, until, short, dns, {"down": down, "up": up}, [])


@pytest.mark.parametrize(
    ("worked", "gap"),
    [
        ([], 4),
        ([10.5, 11, 13.5], 2.5),
        ([12], 2),
        ([13], 3),  # before the first as well
        ([11], 3),  # after the last as well
        ([9, 10.5, 13.5, 15], 3),  # what is outside counts for nothing
        ([13.5, 10.5], 3),  # in any order
    ],
)
def test_the_longest_gap_is_the_longest_time_between_two_that_worked(
    worked: list[float], gap: float
) -> None:
    assert longest_gap(worked, 10, 14) == pytest.approx(gap)


def test_a_connection_that_a_mended_link_saved_counts_for_nothing() -> None:
    seen = account(
        short=[Event(10.5, 0.1), Event(11, None, "timed out"), Event(13, 1.5), Event(13.2, 0.1)]
    )
    assert (seen.failed, len(seen.judged)) == (1, 3)
    assert seen.failed_share == pytest.approx(100 / 3)
    assert seen.short_gap == pytest.approx(2.7)
    assert seen.errors == {"timed out": 1}


def test_a_query_counts_when_it_was_asked_and_only_if_it_was_answered() -> None:
    seen = account(dns=[Event(10.1, 0.02), Event(10.2, None), Event(12.1, 1.0), Event(13.9, 0.2)])
    assert seen.dns_gap == pytest.approx(2.0)


def test_a_call_is_as_silent_as_its_worse_half() -> None:
    def half(pause: tuple[float, float]) -> list[Event]:
        sent = [10 + number / 50 for number in range(200)]
        return [Event(at, 0.01) for at in sent if not pause[0] <= at < pause[1]]

    seen = account(down=half((11, 11.1)), up=half((12, 12.5)))
    assert seen.call_gap == pytest.approx(0.52)
    assert seen.call_missing == 5 + 25


def test_a_load_that_was_not_there_worked_never() -> None:
    seen = account()
    assert seen.short_gap == seen.dns_gap == seen.call_gap == 4
    assert seen.failed_share == 0
