# SPDX-License-Identifier: GPL-2.0-or-later
"""What comes in on a WAN is answered over it: what is planned for that.

Real connections: tests/e2e/test_port_forwards.py.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.examples import (
    ISP,
    ISP_CLIENT,
    ISP_WAN1,
    ISP_WAN2,
    LAN,
    LOOPBACK,
    MEANS,
    Sections,
    config,
    plan,
    router,
    section,
)

from mptcp_agent.core.firewall import checked
from mptcp_agent.core.network import Facts, Interface
from mptcp_agent.core.plan import Plan
from mptcp_agent.core.state import MARK_MASK, TABLE_MAIN, Firewall, Inbound
from mptcp_agent.errors import FirewallError

FIRST, SECOND = Inbound("eth1", 1 << 25), Inbound("wwan0", 2 << 25)


def inbound(found: Plan) -> tuple[Inbound, ...]:
    return found.state.firewalls[0].inbound


def marked(found: Plan) -> list[tuple[int | None, int, int, int | None]]:
    """Mark, family, table and what is suppressed of the rules that go by a mark, in their order."""
    rules = [r for r in found.state.rules if r.mark is not None]
    return [(r.mark, r.family, r.table, r.suppress) for r in rules]


def test_each_wan_has_a_mark_and_the_rules_for_it() -> None:
    found = plan(config(ISP_CLIENT), ISP)
    assert inbound(found) == (FIRST, SECOND)
    for one, table in ((FIRST, 10901), (SECOND, 10902)):
        assert [r[2:] for r in marked(found) if r[0] == one.mark] == [
            (table, 0),
            (TABLE_MAIN, 1),
            (table, None),
        ]


def test_a_wan_that_is_down_keeps_its_mark_and_has_no_rule() -> None:
    """The firewall is not written anew when a link dies."""
    facts = router(LOOPBACK, LAN, ISP_WAN1, ISP_WAN2, down=["wwan0"])
    found = plan(config(ISP_CLIENT), facts)
    assert inbound(found) == (FIRST, SECOND)
    assert {r[0] for r in marked(found)} == {FIRST.mark}


def test_two_sections_of_one_device_have_one_mark() -> None:
    wan6 = Interface("wan6", "eth1", True, ("2001:db8:1::24/64",), ("fe80::1",), "dhcpv6")
    sections: Sections = {
        **ISP_CLIENT,
        "vps": section(
            "peer", address=["198.51.100.70", "2001:db8::70"], method="aes-128-gcm", password="x"
        ),
        "wan6": section("wan", interface="wan6"),
    }
    facts = router(LOOPBACK, LAN, ISP_WAN1, ISP_WAN2, wan6)
    found = plan(config(sections), facts)
    assert inbound(found) == (FIRST, SECOND)
    assert {(r[0], r[1]) for r in marked(found)} >= {(FIRST.mark, 4), (FIRST.mark, 6)}


@pytest.mark.parametrize(
    ("sections", "facts", "backend"),
    [
        ({**ISP_CLIENT, "wan2": section("wan", interface="wan2", role="off")}, ISP, "nftables"),
        (ISP_CLIENT, ISP, "iptables"),
    ],
    ids=["one way only", "iptables"],
)
def test_nothing_is_marked(sections: Sections, facts: Facts, backend: str) -> None:
    means = replace(MEANS, backends=(backend,))  # type: ignore[arg-type]
    found = plan(config(sections), facts, capabilities=means)
    assert inbound(found) == ()
    assert marked(found) == []


@pytest.mark.parametrize("mark", [0, 1, MARK_MASK + 1, MARK_MASK << 1])
def test_a_mark_of_others_is_refused(mark: int) -> None:
    with pytest.raises(FirewallError, match="is not a mark"):
        checked(Firewall("nftables", None, None, (Inbound("eth1", mark),)), "nftables")
