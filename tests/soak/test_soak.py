# SPDX-License-Identifier: GPL-2.0-or-later
"""A short marathon, always the same one; `make soak` runs longer ones in any order."""

from __future__ import annotations

import os

from lab.home import Load
from soak.faults import FAULTS
from soak.marathon import Marathon, schedule

SEED = "2"
SECONDS = 40
LOAD = Load(open=60, new=10)
"""Less than a home's, since other tests run beside this one."""


def test_a_seed_decides_everything() -> None:
    assert schedule(SEED, 600, FAULTS) == schedule(SEED, 600, FAULTS)
    assert schedule(SEED, 600, FAULTS) != schedule("other", 600, FAULTS)


def test_all_faults_have_their_turn() -> None:
    blows = schedule(SEED, 240, FAULTS)
    assert {f.name for blow in blows for f in blow.faults} == {f.name for f in FAULTS}


def test_nothing_is_lost_that_could_be_kept() -> None:
    assert os.geteuid() == 0, "needs root: network namespaces"
    said: list[str] = []
    account = Marathon(SEED, SECONDS, said.append, load=LOAD).run()
    assert not account.broken, "\n".join([*said, *account.broken])
    assert len(account.happened) > 4
    assert sum(1 for t in account.told if not t.error) > 100
    assert account.home.keys() == {one.blow.number for one in account.happened}
