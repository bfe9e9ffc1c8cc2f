# SPDX-License-Identifier: GPL-2.0-or-later
"""A port of ours that somebody else holds: found without looking into other processes."""

from __future__ import annotations

from dataclasses import replace

from unit.examples import BRIDGE_BOTH, BRIDGE_CLIENT, BRIDGE_SERVER, READY, Sections, section
from unit.fakes import FakeClock, FakeKernel, simulate
from unit.test_status import view

from mptcp_agent.core.config import Config
from mptcp_agent.core.health.ports import SETTLED, TAKEN_AFTER, Life, Port, Taken, look
from mptcp_agent.core.sockets import Listener
from mptcp_agent.core.verdict import judge
from mptcp_agent.monitor.ports import Ports

STRANGER, OURS = Listener(7, 0), Listener(8, 65534)


Step = tuple[float, Life, list[Listener]]


def after(*steps: Step) -> Port:
    """Looks, each so many seconds after the one before."""
    port, now = Port(), 100.0
    for seconds, life, listeners in steps:
        now += seconds
        port = look(port, listeners, life, now)
    return port


def test_who_is_there_whenever_ours_has_ended_is_a_stranger() -> None:
    port = after(
        (0, "absent", [STRANGER]),
        (0.1, "runs", [STRANGER]),
        (0.1, "ended", [STRANGER]),
        (1.0, "runs", [STRANGER]),
        (TAKEN_AFTER - 1.0, "ended", [STRANGER]),
    )
    assert port.stranger == STRANGER
    assert look(port, [STRANGER], "absent", 1000.0).stranger == STRANGER, "ours is started no more"
    assert look(port, [], "absent", 1000.0) == Port(), "until it has gone"


def test_an_engine_that_runs_has_its_port() -> None:
    """What listens at another address of it, or was looked at a moment too early, is none."""
    began: tuple[Step, ...] = ((0.0, "ended", [STRANGER]), (0.5, "runs", [STRANGER, OURS]))
    assert after(*began).suspects
    assert not after(*began, (SETTLED, "runs", [STRANGER, OURS])).suspects


def test_one_end_is_no_proof() -> None:
    assert after((0, "ended", [STRANGER])).stranger is None
    assert after((0, "ended", [OURS]), (5, "ended", [])).stranger is None
    assert after((0, "absent", [STRANGER]), (60, "absent", [STRANGER])).stranger is None


def test_nothing_is_looked_at_while_all_runs() -> None:
    config = view(BRIDGE_BOTH).snapshot.config
    assert isinstance(config, Config)

    async def work(clock: FakeClock) -> None:
        kernel, asked = FakeKernel(clock), []
        kernel.strangers[1080] = STRANGER

        async def run(call, *arguments):  # type: ignore[no-untyped-def]
            asked.append(arguments)
            return call(*arguments)

        ports = Ports(run, kernel.edge, clock)
        await ports.look(config, {"client": "runs", "server": "runs"})
        assert asked == []
        for _ in range(3):
            await ports.look(config, {"client": "ended", "server": "runs"})
            clock.now += 1
        assert ports.taken() == (Taken("client", "program 7"),)
        assert ports.suspected("client") and not ports.suspected("server")
        del kernel.strangers[1080]
        await ports.look(config, {"server": "runs"})
        assert ports.taken() == () and not ports.suspected("client")

    simulate(work)


def held(sections: Sections, role: str) -> tuple[str, str, list[str], str]:
    """State, reason, planned processes and mode while somebody holds the role's port."""
    seen = replace(READY, redirector=False, taken=(Taken(role, "uhttpd (process 77)"),))
    found = view(sections, seen=seen, processes=())
    state, reason = judge(found)
    return state, reason, [p.name for p in found.plan.state.processes], found.plan.mode


def test_the_cause_and_who_are_the_reason() -> None:
    state, reason, started, _ = held(BRIDGE_SERVER, "server")
    assert (state, started) == ("error", [])
    assert "mptcp-proxy.server.port: port 8388 is held by uhttpd (process 77)" in reason

    state, reason, started, mode = held(BRIDGE_CLIENT, "client")
    assert (state, started, mode) == ("bypassed", [], "bypass")
    assert "mptcp-proxy.client.local_port: port 1080 is held by uhttpd (process 77)" in reason


def test_what_was_configured_for_no_proxy_counts() -> None:
    strict = {**BRIDGE_CLIENT, "client": section("client", peer="r7000", when_down="block")}
    assert held(strict, "client")[3] == "block"


def test_the_other_role_goes_on() -> None:
    assert held(BRIDGE_BOTH, "server")[2] == ["client"]
