# SPDX-License-Identifier: GPL-2.0-or-later
"""Plan, apply, observe: what was planned is what is then seen, on the real kernel.

A router of short cables is brought into all kinds of shapes. Whatever its shape, one pass of
changes makes it as planned, from nothing, from another plan, and from the middle of another
pass (a crash); sweeping it leaves what was there before, and nothing of anybody else's is
touched at any time.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lab.router import Router
from lab.snapshot import DIRECTORIES, Snapshot, leftovers, snapshot
from toolkit.namespace import Namespace
from unit.examples import (
    BRIDGE_BOTH,
    ISP_CLIENT,
    MEANS,
    PEER,
    READY,
    SERVER,
    Sections,
    config,
    health,
    plan,
    section,
)

from mptcp_agent.agent.machine import Machine, Observation
from mptcp_agent.core.diff import Change, diff
from mptcp_agent.core.health import Health
from mptcp_agent.core.network import Interface
from mptcp_agent.core.state import KERNEL_PARTS, RouterState, Sysctl

#: The last has a dot, as VLANs have: its sysctls are spelled with slashes.
DEVICES = {"wan1": "eth1", "wan2": "wwan0", "wan3": "eth0.2"}
PEERS = ["10.1.1.70", "10.2.2.70", "198.51.100.70", "2001:db8:70::1", "2001:db8:1::70"]

FOREIGN = """
ip route add 198.51.100.0/24 via 192.168.78.2 dev br-lan
ip route add 198.51.100.0/24 dev br-lan table 200
ip route add 10.7.7.0/24 dev br-lan table 10901 proto static
ip -6 route add 2001:db8:70::/48 dev br-lan proto static
ip rule add from 10.1.1.78 lookup 200 priority 1001
ip rule add oif eth1 lookup 200 priority 715
ip -6 rule add iif lo lookup 200 priority 730
ip mptcp endpoint add 192.168.78.1 id 7 subflow
ip mptcp limits set subflows 3 add_addr_accepted 1
nft add table inet fw4
nft add chain inet fw4 input '{ type filter hook input priority 0; policy accept; }'
"""


@dataclass(frozen=True)
class Link:
    """A WAN as netifd would have set it up."""

    addresses: tuple[str, ...]
    gateways: tuple[str, ...] = ()
    state: str = "up"


@dataclass(frozen=True)
class Shape:
    """One moment of a router."""

    links: dict[str, Link]
    sections: Sections
    health: Health = READY


class Stage:
    """The router in its namespace, its directories, and what the lab's snapshot needs of it."""

    def __init__(self, space: Namespace, top: Path) -> None:
        self.space = space
        self.top = top
        for device in (*DEVICES.values(), "br-lan"):
            # No link-local addresses: they come and go by a clock of their own.
            space.sh(
                f"ip link add {device} type veth peer name far-{device};"
                f"ip link set {device} addrgenmode none; ip link set {device} up;"
                f"ip link set far-{device} addrgenmode none; ip link set far-{device} up"
            )
        space.sh("ip addr add 192.168.78.1/24 dev br-lan; echo 0 > /proc/sys/net/mptcp/enabled")
        for device in DEVICES.values():
            space.sh(f"echo 1 > /proc/sys/net/ipv4/conf/{device}/rp_filter")
        space.sh(FOREIGN)

    def run(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        with self.space:
            return subprocess.run(argv, capture_output=True, text=True, check=check)

    def pids(self) -> list[int]:
        return []

    def path(self, name: str) -> Path:
        return self.top / name.lstrip("/")

    def snapshot(self) -> Snapshot:
        """Without what the kernel does in its own time: a route's word for a cut cable, and IPv6's
        table local. Its work on links and addresses (net/core/link_watch.c, addrconf_dad_work)
        waits for a lock of the whole machine, which whoever makes or ends namespaces beside this
        test holds for long."""
        found = snapshot(cast(Router, self))
        found["route6"] = [x for x in found["route6"] if " table local " not in x]
        return {k: [re.sub(" (dead|linkdown)", "", x) for x in v] for k, v in found.items()}

    def machine(self) -> Machine:
        """A freshly started agent's hands."""
        return Machine(*(str(self.path(name)) for name in DIRECTORIES))

    def interfaces(self, shape: Shape) -> tuple[Interface, ...]:
        """Make the links so, and tell what netifd would say of them."""
        lines, found = [], [Interface("lan", "br-lan", True, ("192.168.78.1/24",))]
        for name, device in DEVICES.items():
            link = shape.links.get(name, Link((), (), "down"))
            lines.append(f"address flush dev {device} scope global")
            lines.append(f"link set far-{device} {'down' if link.state == 'cut' else 'up'}")
            lines.append(f"link set {device} {'down' if link.state == 'down' else 'up'}")
            lines += [f"address add {a} dev {device} nodad" for a in link.addresses]
            up = link.state == "up"
            found.append(Interface(name, device, up, link.addresses, link.gateways))
        self.space.batch(lines)
        return tuple(found)


class Agent:
    """One start of the agent, without its loop."""

    def __init__(self, stage: Stage) -> None:
        self.machine = stage.machine()
        backends, _ = self.machine.backends("nftables")
        directory = str(stage.path(DIRECTORIES[1]))
        self.means = replace(MEANS, backends=backends, directory=directory)
        self.seen = Observation()

    def changes(self, shape: Shape, interfaces: tuple[Interface, ...]) -> tuple[Change, ...]:
        self.seen = self.machine.observe(self.seen, KERNEL_PARTS)
        assert self.seen.problems == ()
        facts = replace(self.seen.facts, interfaces=interfaces)
        planned = plan(config(shape.sections), facts, shape.health, self.means).state
        # Processes are procd's, not the machine's.
        self.planned = replace(planned, processes=())
        return diff(self.seen.state, self.planned)

    def apply(self, changes: tuple[Change, ...]) -> None:
        assert self.machine.apply(changes) == ()

    def reach(self, shape: Shape, interfaces: tuple[Interface, ...]) -> None:
        """One pass of changes, after which nothing is left to do."""
        self.apply(self.changes(shape, interfaces))
        self.machine.restore(self.planned)
        assert self.changes(shape, interfaces) == ()

    def close(self) -> None:
        self.machine.close()


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    space = Namespace()
    with tempfile.TemporaryDirectory() as top, space:
        yield Stage(space, Path(top))
    space.close()


# --- Shapes ------------------------------------------------------------------------------------

STATES = st.sampled_from(["up", "up", "up", "down", "cut"])
ADDRESSES = {
    "wan1": ["10.1.1.78/24", "10.64.0.1/32", "192.0.2.11/24"],
    "wan2": ["10.2.2.78/24", "10.64.0.2/32", "192.0.2.12/24"],
    "wan3": ["100.64.3.9/30", "10.64.0.3/32", "192.0.2.13/24"],
}
GATEWAYS = {
    "10.1.1.78/24": "10.1.1.1",
    "10.2.2.78/24": "10.2.2.1",
    "100.64.3.9/30": "100.64.3.10",
    "192.0.2.11/24": "192.0.2.1",
    "192.0.2.12/24": "192.0.2.1",
    "192.0.2.13/24": "192.0.2.1",
}


@st.composite
def links(draw: st.DrawFn, name: str) -> Link:
    four = draw(st.sampled_from([None, *ADDRESSES[name]]))
    six = draw(st.sampled_from([None, f"2001:db8:{name[-1]}::78/64"]))
    gateways = []
    if four in GATEWAYS and draw(st.booleans()):
        gateways.append(GATEWAYS[four])
    if six and draw(st.booleans()):
        gateways.append("fe80::1")
    return Link(tuple(a for a in (four, six) if a), tuple(gateways), draw(STATES))


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    names = draw(st.permutations(sorted(DEVICES)))[: draw(st.integers(1, 3))]
    roles = {n: draw(st.sampled_from(["subflow", "subflow", "backup", "off"])) for n in names}
    sections: dict[str, object] = {n: section("wan", interface=n, role=r) for n, r in roles.items()}
    does = draw(st.sampled_from(["client", "server", "both", "nothing"]))
    if does in ("client", "both"):
        for peer in ("one", "two")[: draw(st.integers(1, 2))]:
            wanted = draw(st.lists(st.sampled_from(PEERS), min_size=1, max_size=3, unique=True))
            sections[peer] = {**PEER, "address": wanted}
        sections["client"] = section(
            "client",
            peer=[p for p in ("one", "two") if p in sections],
            when_down=draw(st.sampled_from(["bypass", "block"])),
            bypass=draw(st.sampled_from([[], ["203.0.113.0/24", "2001:db8:99::/48"]])),
        )
    if does in ("server", "both"):
        sections["server"] = SERVER
    buffers = draw(st.sampled_from(["auto", "off", "4000000"]))
    sections["globals"] = section("globals", buffers=buffers)
    down = draw(st.lists(st.tuples(st.sampled_from(names), st.sampled_from(PEERS)), max_size=4))
    listening = replace(health(*down), redirector=draw(st.booleans()))
    found = {n: draw(links(n)) for n in DEVICES}
    return Shape(found, cast(Sections, sections), listening)


few = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@few
@given(shapes(), shapes(), st.floats(0, 1))
def test_any_plan_is_reached_from_any_other_and_leaves_nothing(
    stage: Stage, first: Shape, second: Shape, crash: float
) -> None:
    before_first = stage.snapshot()
    agent = Agent(stage)
    agent.reach(first, stage.interfaces(first))
    _untouched(before_first, stage.snapshot())

    # Links and configuration change, and the agent dies in the middle of following.
    interfaces = stage.interfaces(second)
    changes = agent.changes(second, interfaces)
    agent.apply(changes[: round(crash * len(changes))])
    agent.close()
    restarted = Agent(stage)
    restarted.reach(second, interfaces)
    restarted.close()

    assert stage.machine().sweep() == ()
    stage.interfaces(first)
    before = stage.snapshot()
    agent = Agent(stage)
    agent.reach(first, stage.interfaces(first))
    agent.close()
    assert stage.machine().sweep() == ()
    assert leftovers(before, stage.snapshot()) == []


def _untouched(before: Snapshot, after: Snapshot) -> None:
    """The agent adds; of what was there it changes sysctls and limits alone."""
    changed = ("sysctl", "limit", "route", "route6")
    gone = [x for x in leftovers(before, after) if ": - " in x and not x.startswith(changed)]
    assert gone == []


EMPTY = Shape({}, {})
BRIDGE = Shape({"wan1": Link(("10.1.1.78/24",)), "wan2": Link(("10.2.2.78/24",))}, BRIDGE_BOTH)
ISP = Shape(
    {
        "wan1": Link(("203.0.113.24/24", "2001:db8:1::78/64"), ("203.0.113.1", "fe80::1")),
        "wan2": Link(("100.64.3.9/30",), ("100.64.3.10",)),
    },
    ISP_CLIENT,
)
UNPLUGGED = replace(BRIDGE, links={**BRIDGE.links, "wan1": Link(("10.1.1.78/24",), (), "cut")})


@pytest.mark.parametrize(
    ("old", "new"),
    [(EMPTY, BRIDGE), (BRIDGE, UNPLUGGED), (BRIDGE, ISP), (ISP, EMPTY)],
    ids=["first start", "unplugged", "moved house", "switched off"],
)
def test_a_crash_after_any_change_heals(stage: Stage, old: Shape, new: Shape) -> None:
    step, total = 0, 1
    while step <= total:
        agent = Agent(stage)
        agent.reach(old, stage.interfaces(old))
        interfaces = stage.interfaces(new)
        changes = agent.changes(new, interfaces)
        total = len(changes)
        agent.apply(changes[:step])
        agent.close()
        restarted = Agent(stage)
        restarted.reach(new, interfaces)
        restarted.close()
        step += 1
    assert total > 3
    assert stage.machine().sweep() == ()


def test_what_was_set_is_put_back_also_after_a_crash(stage: Stage) -> None:
    """Old values survive the agent that noted them, and later changes of its mind."""
    stage.interfaces(BRIDGE)
    before = stage.snapshot()
    settings_before = (before["sysctl"], before["limit"])
    first = Agent(stage)
    first.reach(BRIDGE, stage.interfaces(BRIDGE))
    during = stage.snapshot()
    assert "net.mptcp.enabled = 1" in during["sysctl"]
    assert "net.ipv4.conf.eth1.rp_filter = 2" in during["sysctl"]
    assert during["limit"] != before["limit"]
    first.close()

    second = Agent(stage)  # knows nothing but what the first has written down
    second.reach(UNPLUGGED, stage.interfaces(UNPLUGGED))
    assert "net.ipv4.conf.eth1.rp_filter = 1" in stage.snapshot()["sysctl"]
    second.close()

    stage.interfaces(BRIDGE)
    assert stage.machine().sweep() == ()
    after = stage.snapshot()
    assert (after["sysctl"], after["limit"]) == settings_before
    assert leftovers(before, after) == []


def test_one_value_that_cannot_be_put_back_keeps_no_other(stage: Stage) -> None:
    before = stage.snapshot()
    agent = Agent(stage)
    agent.reach(BRIDGE, stage.interfaces(BRIDGE))
    noted = stage.path(DIRECTORIES[0]) / "originals.json"
    values = json.loads(noted.read_text())
    damaged = {"mptcp limits": "many", "net.mptcp.enabled": "perhaps"}
    noted.write_text(json.dumps({**damaged, **{k: values[k] for k in values if k not in damaged}}))
    (failure,) = agent.machine.sweep()
    assert "'many'" in failure and "sysctl net.mptcp.enabled" in failure
    assert json.loads(noted.read_text()) == damaged  # to be tried again

    noted.write_text(json.dumps({k: values[k] for k in damaged}))
    assert agent.machine.sweep() == ()
    agent.close()
    stage.interfaces(EMPTY)
    assert (
        leftovers(
            {k: before[k] for k in ("sysctl", "limit")},
            {k: v for k, v in stage.snapshot().items() if k in ("sysctl", "limit")},
        )
        == []
    )


def test_buffers_set_by_another_program_are_set_back(stage: Stage) -> None:
    agent = Agent(stage)
    interfaces = stage.interfaces(BRIDGE)
    agent.reach(BRIDGE, interfaces)
    stage.space.sh("echo '4096 16384 4194304' > /proc/sys/net/ipv4/tcp_wmem")
    (change,) = agent.changes(BRIDGE, interfaces)
    assert isinstance(change.item, Sysctl) and change.item.value == "4096 16384 524288"
    agent.machine.sweep()
    agent.close()


def test_a_quiet_router_is_not_touched(stage: Stage) -> None:
    """Sweeping twice, and planning nothing, are no changes at all."""
    stage.interfaces(EMPTY)
    before = stage.snapshot()
    agent = Agent(stage)
    assert agent.changes(EMPTY, ()) == ()
    assert agent.planned == RouterState()
    assert agent.machine.sweep() == () == agent.machine.sweep()
    agent.close()
    assert leftovers(before, stage.snapshot()) == []
