# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel settings of a plan: sysctls, and how much a connection may buffer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.examples import (
    BRIDGE,
    BRIDGE_CLIENT,
    BRIDGE_SERVER,
    BRIDGE_WAN1,
    BRIDGE_WAN2,
    LAN,
    LOOPBACK,
    MEANS,
    READY,
    Sections,
    config,
    plan,
    router,
    section,
)

from mptcp_agent.core.network import Facts, Measured
from mptcp_agent.core.plan import buffers
from mptcp_agent.core.state import Sysctl


def settings(sections: Sections, facts: Facts) -> dict[str, str]:
    return {s.key: s.value for s in plan(config(sections), facts, READY, MEANS).state.sysctls}


def test_only_settings_this_kernel_has() -> None:
    facts = replace(BRIDGE, sysctls=(("net.mptcp.enabled", "1"),))
    assert settings(BRIDGE_CLIENT, facts) == {"net.mptcp.enabled": "1"}
    assert plan(config(BRIDGE_CLIENT), facts, READY, MEANS).state.sysctls == (
        Sysctl("net.mptcp.enabled", "1"),
    )


@pytest.mark.parametrize(
    ("there", "planned"),
    [
        ({"pm_type": "1", "path_manager": "userspace"}, {"path_manager": "kernel"}),  # 6.15 on
        ({"pm_type": "1"}, {"pm_type": "0"}),  # 5.19 to 6.14
        ({}, {}),
    ],
)
def test_the_kernel_looks_after_the_subflows(
    there: dict[str, str], planned: dict[str, str]
) -> None:
    """Set by name where there are names, which sets the number too; never both."""
    facts = replace(BRIDGE, sysctls=tuple((f"net.mptcp.{k}", v) for k, v in there.items()))
    assert settings(BRIDGE_CLIENT, facts) == {f"net.mptcp.{k}": v for k, v in planned.items()}


@pytest.mark.parametrize(
    ("everywhere", "device", "planned"),
    [
        ("0", "0", None),
        ("0", "1", "2"),
        ("0", "2", "2"),
        ("1", "0", "2"),
        ("2", "0", None),
        ("2", "1", None),
    ],
)
def test_rp_filter_only_where_it_is_strict(
    everywhere: str, device: str, planned: str | None
) -> None:
    name = "net/ipv4/conf/{}/rp_filter"
    present = {name.format("all"): everywhere, name.format("eth1"): device}
    facts = router(LOOPBACK, LAN, BRIDGE_WAN1, BRIDGE_WAN2, sysctls=present)
    found = settings(BRIDGE_CLIENT, facts)
    assert found.get(name.format("eth1")) == planned
    assert name.format("br-lan") not in found and name.format("all") not in found


def test_settings_of_a_wan_that_is_off_or_down_are_left_alone() -> None:
    off: Sections = {**BRIDGE_CLIENT, "wan2": section("wan", interface="wan2", role="off")}
    no_wan1 = router(LOOPBACK, LAN, BRIDGE_WAN1, BRIDGE_WAN2, down=["eth1"])
    assert "net/ipv4/conf/eth2/rp_filter" not in settings(off, BRIDGE)
    assert "net/ipv4/conf/eth1/rp_filter" not in settings(BRIDGE_CLIENT, no_wan1)


@given(
    st.floats(0, 1e10),
    st.floats(0, 1e10),
    st.floats(0, 3),
    st.integers(0, 8),
    st.integers(0, 1 << 34),
    st.tuples(*[st.integers(4096, 1 << 30)] * 3).map(lambda three: tuple(sorted(three))),
    st.sampled_from([BRIDGE_CLIENT, BRIDGE_SERVER]),
)
def test_buffer_limits_once_set_stay(
    sent: float,
    received: float,
    trip: float,
    paths: int,
    memory: int,
    present: buffers.Values,
    role: Sections,
) -> None:
    facts = replace(
        BRIDGE,
        measured=Measured(sent, received, False, trip, paths),
        memory=memory,
    )
    for wanted in (buffers.receiving, buffers.sending):
        settled, reason = wanted(config(role), facts, present)
        assert reason
        assert settled[0] <= settled[1] <= settled[2]
        assert wanted(config(role), facts, settled)[0] == settled
        if settled[2] > present[2]:
            share = (memory or buffers.SOME_MEMORY) // buffers.RECEIVE_SHARE
            assert settled[2] <= max(share, buffers.LEAST_SEND)


SEEN = {"round_trip": 0.06, "subflows_per_connection": 2, "steady": True}


@pytest.mark.parametrize(
    ("role", "seen", "kib", "why"),
    [
        (BRIDGE_CLIENT, {}, 512, "nothing measured"),
        (BRIDGE_CLIENT, {**SEEN, "send_rate": 1e6}, 4096, "stays as it was"),
        (BRIDGE_CLIENT, {**SEEN, "send_rate": 70e6}, 576, "70 Mbit/s lately sent over 2 subflows"),
        (
            BRIDGE_CLIENT,
            {**SEEN, "send_rate": 70e6, "subflows_per_connection": 1},
            1152,
            "over 1 subflow at a",
        ),
        (BRIDGE_CLIENT, {**SEEN, "send_rate": 10e6}, 256, "10 Mbit/s"),
        (BRIDGE_CLIENT, {**SEEN, "send_rate": 5e9}, 4096, "5000 Mbit/s"),
        (BRIDGE_CLIENT, {**SEEN, "send_rate": 10e6, "steady": False}, 4096, "measuring"),
        # What is received is sent on at home only.
        (BRIDGE_CLIENT, {**SEEN, "send_rate": 10e6, "receive_rate": 40e6}, 256, "10 Mbit/s"),
        # Acknowledgements are nothing to follow.
        (BRIDGE_CLIENT, {**SEEN, "send_rate": 2.4e6, "receive_rate": 66e6}, 4096, "little is sent"),
        (BRIDGE_SERVER, {**SEEN, "send_rate": 10e6, "receive_rate": 40e6}, 512, "40 Mbit/s lately"),
        (BRIDGE_SERVER, {**SEEN, "send_rate": 10e6, "receive_rate": 15e6}, 320, "15 Mbit/s lately"),
    ],
)
def test_what_may_be_sent_ahead(role: Sections, seen: dict[str, float], kib: int, why: str) -> None:
    facts = replace(BRIDGE, measured=Measured(**seen))  # type: ignore[arg-type]
    (low, start, most), reason = buffers.sending(config(role), facts, (4096, 16384, 4 << 20))
    assert (low, start, most) == (4096, 16384, kib << 10)
    assert why in reason


@pytest.mark.parametrize(
    ("memory", "present", "start", "most"),
    [
        (256 << 20, (4096, 131072, 6 << 20), 4 << 20, 6 << 20),
        (128 << 20, (4096, 131072, 1 << 20), 4 << 20, 4 << 20),
        (64 << 20, (4096, 131072, 512 << 10), 2 << 20, 2 << 20),
        (0, (4096, 131072, 1 << 20), 4 << 20, 4 << 20),
        (1 << 30, (4096, 8 << 20, 32 << 20), 8 << 20, 32 << 20),
    ],
)
def test_what_arrives_behind_a_hole_has_room(
    memory: int, present: buffers.Values, start: int, most: int
) -> None:
    facts = replace(BRIDGE, memory=memory)
    assert buffers.receiving(config(BRIDGE_CLIENT), facts, present)[0] == (4096, start, most)


def test_fast_links_leave_more_behind_a_hole() -> None:
    facts = replace(BRIDGE, memory=4 << 30, measured=Measured(receive_rate=300e6, round_trip=0.04))
    _, start, _ = buffers.receiving(config(BRIDGE_CLIENT), facts, (4096, 131072, 6 << 20))[0]
    assert 4 * 2 * 300e6 / 8 * 0.05 <= start == 15 << 20


@pytest.mark.parametrize("setting", ["4000000", "off"])
def test_a_buffer_limit_in_the_configuration(setting: str) -> None:
    wanted: Sections = {**BRIDGE_CLIENT, "globals": section("globals", buffers=setting)}
    found = settings(wanted, BRIDGE)
    expected = None if setting == "off" else "4096 4000000 4000000"
    assert found.get("net.ipv4.tcp_rmem") == expected
    small: Sections = {**BRIDGE_CLIENT, "globals": section("globals", buffers="10000")}
    assert settings(small, BRIDGE)["net.ipv4.tcp_rmem"] == "4096 10000 10000"


@pytest.mark.parametrize("foreign", ["4096 16384 4194304", "4096 16384 65536", "1 2 3"])
@pytest.mark.parametrize("seen", [{}, {"send_rate": 2.4e6, "receive_rate": 66e6}])
def test_a_buffer_limit_of_another_program_does_not_stay(
    foreign: str, seen: dict[str, float]
) -> None:
    """Also while the limit "stays as it was": as the agent has set it, that is."""
    measured = Measured(**{**SEEN, **seen}) if seen else Measured()  # type: ignore[arg-type]
    ours = {"net.ipv4.tcp_wmem": "4096 16384 524288", "net.ipv4.tcp_rmem": "4096 5242880 6291456"}
    present = {**dict(BRIDGE.sysctls), **dict.fromkeys(ours, foreign)}
    facts = replace(
        BRIDGE, measured=measured, sysctls=(*present.items(),), written=(*ours.items(),)
    )
    found = settings(BRIDGE_CLIENT, facts)
    assert {key: found[key] for key in ours} == ours
