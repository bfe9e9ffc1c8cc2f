# SPDX-License-Identifier: GPL-2.0-or-later
"""What failed, or did not stick, is tried again, each time later."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mptcp_agent.agent.retry import FIRST, LONGEST, STICK, Retries
from mptcp_agent.core.describe import log_line
from mptcp_agent.core.diff import Change
from mptcp_agent.core.state import File, Process, Sysctl

A = Change("set", Sysctl("net.a", "1"))
B = Change("set", Sysctl("net.b", "1"))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def started() -> tuple[Clock, Retries]:
    clock = Clock()
    return clock, Retries(clock)


def failed(*changes: Change) -> dict[str, str]:
    return {log_line(c): "permission denied" for c in changes}


def test_at_first_everything_is_due() -> None:
    _, retries = started()
    assert retries.due([A, B]) == (A, B)
    assert not retries.pending()
    assert retries.next_in() == float("inf")


def test_a_failure_waits_longer_each_time_and_holds_up_nobody_else() -> None:
    clock, retries = started()
    waits = []
    for _ in range(12):
        assert A in retries.due([A, B])
        retries.note([A], failed(A))
        waits.append(retries.next_in())
        assert retries.due([A, B]) == (B,)
        clock.now += waits[-1]
    assert waits[:4] == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST]
    assert waits[-1] == LONGEST


def test_a_failure_for_days_is_still_only_a_failure() -> None:
    clock, retries = started()
    for _ in range(3000):
        retries.due([A])
        retries.note([A], failed(A))
        clock.now += LONGEST
    assert retries.next_in() <= LONGEST


def test_a_success_that_lasts_is_forgotten() -> None:
    clock, retries = started()
    retries.due([A])
    retries.note([A], failed(A))
    clock.now += FIRST
    assert retries.due([A]) == (A,)
    retries.note([A], {})
    assert retries.due([]) == ()
    assert not retries.pending() and retries.problems() == ()
    assert retries.due([A]) == (A,)  # another day, without a grudge


def test_what_does_not_stick_is_a_problem_and_waits() -> None:
    clock, retries = started()
    retries.note(retries.due([A]), {})
    clock.now += STICK / 2
    assert retries.due([A]) == ()
    assert ["did not stick" in p.message for p in retries.problems()] == [True]
    clock.now += FIRST
    assert retries.due([A]) == (A,)
    retries.note([A], {})
    assert retries.due([A]) == ()
    assert retries.next_in() == 2 * FIRST


def test_called_for_again_much_later_is_no_trouble() -> None:
    clock, retries = started()
    retries.note(retries.due([A]), {})
    clock.now += STICK
    assert retries.due([A]) == (A,)
    assert not retries.pending()


def test_what_is_no_longer_called_for_is_no_problem() -> None:
    _, retries = started()
    retries.due([A, B])
    retries.note([A, B], failed(A, B))
    assert [p.where for p in retries.problems()] == ["sysctl net.a", "sysctl net.b"]
    retries.due([B])
    assert [p.where for p in retries.problems()] == ["sysctl net.b"]


def test_the_log_says_it_once_and_again_for_another_reason_or_another_time() -> None:
    _, retries = started()
    retries.due([A])
    assert retries.is_new(A, "no permission")
    assert not retries.is_new(A, "no permission")
    assert retries.is_new(A, "no space")
    retries.due([])
    retries.due([A])
    assert retries.is_new(A, "no space")


def test_a_problem_shows_no_content() -> None:
    _, retries = started()
    change = Change("set", File("/etc/x.json", "s3cr3t"))
    retries.note(retries.due([change]), failed(change))
    assert "s3cr3t" not in repr(retries.problems())


@given(
    st.lists(
        st.tuples(
            st.sets(st.sampled_from([A, B])), st.booleans(), st.floats(0, 100, allow_nan=False)
        ),
        max_size=30,
    )
)
def test_whatever_happens_only_wanted_changes_are_due_and_none_is_lost(
    turns: list[tuple[set[Change], bool, float]],
) -> None:
    clock, retries = started()
    for wanted, works, passes in turns:
        due = retries.due(wanted)
        assert set(due) <= wanted
        assert set(due) == wanted or retries.next_in() <= LONGEST
        retries.note(due, {} if works else failed(*due))
        clock.now += passes
    clock.now += LONGEST
    assert set(retries.due([A, B])) == {A, B}


def test_a_process_that_is_ending_is_no_trouble() -> None:
    """procd lists an instance that was taken out until its process has ended."""
    clock, retries = started()
    gone = Change("remove", Process("client", ("sing-box",)))
    assert retries.due([gone]) == (gone,)
    retries.note([gone], {})
    clock.now += STICK / 2
    assert retries.due([gone]) == ()
    assert not retries.problems()
    clock.now += STICK
    assert retries.due([gone]) == (gone,)  # it has not ended: procd is asked again
