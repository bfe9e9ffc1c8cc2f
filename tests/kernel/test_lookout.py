# SPDX-License-Identifier: GPL-2.0-or-later
"""What other programs change without an event: seen by a cheap look, of the real kernel."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from kernel.support import cost
from toolkit.namespace import Namespace

from mptcp_agent.agent.lookout import Lookout
from mptcp_agent.core.state import Endpoint, Part
from mptcp_agent.system.firewall import legacy_sizes
from mptcp_agent.system.netlink.endpoints import PathManager
from mptcp_agent.system.netlink.path_manager import Glance


@pytest.fixture
def look(client: Namespace) -> Iterator[Lookout]:
    manager = PathManager()
    for number in (1, 2):
        address, device = f"10.{number}.{number}.1", f"wan{number}"
        manager.add(Endpoint(address, device, frozenset({"subflow"}), 100 + number))
    manager.close()
    client.sh(
        "iptables-legacy -w -t nat -N SSREDIR; iptables-legacy -w -t nat -A PREROUTING -j SSREDIR;"
        "ip6tables-legacy -w -t filter -N SSREDIR"
    )
    with contextlib.closing(Lookout()) as lookout:
        assert lookout.changed(legacy=True) == frozenset(), "the first look"
        assert lookout.changed(legacy=True) == frozenset(), "all is as it was"
        yield lookout


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ("ip mptcp endpoint flush", Part.ROUTING),
        ("ip mptcp endpoint delete id 102", Part.ROUTING),
        ("ip mptcp endpoint change id 102 backup", Part.ROUTING),
        ("ip mptcp limits set subflows 0", Part.ROUTING),
        ("ip mptcp limits set add_addr_accepted 0", Part.ROUTING),
        ("iptables-legacy -w -t nat -F", Part.FIREWALL),
        ("ip6tables-legacy -w -X SSREDIR", Part.FIREWALL),
        ("iptables-legacy -w -A FORWARD -j DROP", Part.FIREWALL),
    ],
)
def test_what_another_program_changes_is_seen_once(
    client: Namespace, look: Lookout, change: str, part: Part
) -> None:
    client.sh(change)
    assert look.changed(legacy=True) == {part}
    assert look.changed(legacy=True) == frozenset()


def test_iptables_is_looked_at_only_where_it_is_the_back_end(
    client: Namespace, look: Lookout
) -> None:
    look.changed(legacy=False)
    client.sh("iptables-legacy -w -t nat -F")
    assert look.changed(legacy=False) == frozenset()


def test_a_look_makes_no_table() -> None:
    with Namespace() as space:
        assert legacy_sizes.sizes(("filter", "nat")) == ()
        assert space.sh("cat /proc/thread-self/net/ip_tables_names 2>/dev/null || :") == ""


def test_a_look_costs_next_to_nothing(look: Lookout) -> None:
    with contextlib.closing(Glance()) as glance:
        print(cost("endpoints and limits", glance.look))
    print(cost("sizes of three tables", lambda: legacy_sizes.sizes(("filter", "mangle", "nat"))))
