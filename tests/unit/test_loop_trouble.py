# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent's loop in trouble, and its end."""

from __future__ import annotations

import asyncio
import logging
import signal
from dataclasses import replace

import pytest
from unit.examples import BRIDGE_CLIENT, section
from unit.fakes import until
from unit.fakes.router import Router, living

from mptcp_agent.core.state import Part

# --- What fails --------------------------------------------------------------------------------


def test_a_change_that_fails_is_told_once_and_tried_later_and_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work(router: Router) -> None:
        router.machine.fails["endpoint 10.2.2.78"] = "the kernel refused"
        router.start()
        await router.becomes("degraded")
        assert router.endpoints == {"eth1"}, "the rest is worth having"
        assert router.problems["endpoint 10.2.2.78"] == "the kernel refused"
        looks = len(router.looks)
        await asyncio.sleep(40)
        assert 8 < len(router.looks) - looks < 15, "six tries, each read back"
        del router.machine.fails["endpoint 10.2.2.78"]
        await router.becomes("active", 60)
        assert router.endpoints == {"eth1", "eth2"}

    with caplog.at_level(logging.ERROR):
        living(work, start=False)
    assert caplog.messages == ["endpoint 10.2.2.78: the kernel refused"]


def test_another_try_begins_with_a_look() -> None:
    async def work(router: Router) -> None:
        router.machine.fails["endpoint 10.2.2.78"] = "the kernel refused"
        router.start()
        await router.becomes("degraded")
        endpoint = next(e for e in router.agent.view().plan.state.endpoints if e.device == "eth2")
        await asyncio.sleep(2)
        now = router.machine.state
        router.machine.state = replace(now, endpoints=(*now.endpoints, endpoint))
        await router.becomes("active", 5)

    living(work, start=False)


def test_a_change_that_does_not_stick_is_a_problem_until_it_does() -> None:
    async def work(router: Router) -> None:
        router.machine.loses.add("endpoint 10.2.2.78")
        router.start()
        await router.becomes("degraded")
        assert "did not stick" in router.problems["endpoint 10.2.2.78"]
        await asyncio.sleep(40)
        assert sum("endpoint 10.2.2.78" in line for line in router.done) < 10
        router.machine.loses.clear()
        await router.becomes("active", 60)

    living(work, start=False)


def test_a_redirect_that_cannot_be_written_leaves_the_lan_alone() -> None:
    async def work(router: Router) -> None:
        router.machine.fails["nftables"] = "no such table"
        router.start()
        await router.becomes("bypassed")
        await asyncio.sleep(10)
        assert router.problems["nftables"] == "no such table"
        assert "goes out directly" in router.status()["reason"]
        router.machine.fails.clear()
        await router.becomes("active", 60)

    living(work, start=False)


def test_a_redirect_that_cannot_be_taken_out_is_not_called_the_open_door() -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        router.machine.fails["nftables"] = "no memory"
        for wan in ("eth1", "eth2"):
            router.cut(wan)
        await router.becomes("error")
        status = router.status()
        assert status["reason"] == "no WAN is up; the LAN is still redirected"
        assert status["client"]["mode"] == "proxy"
        router.machine.fails.clear()
        await router.becomes("bypassed", 60)

    living(work)


def test_a_part_that_cannot_be_read_is_a_problem_and_the_others_go_on() -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        router.machine.unreadable[Part.SYSCTLS] = "permission denied"
        router.cut("eth1")
        await router.becomes("degraded")
        await until(lambda: router.problems.get("sysctls") == "permission denied", 1)
        assert router.endpoints == {"eth2"}
        router.machine.unreadable.clear()
        await until(lambda: "sysctls" not in router.problems, 70)

    living(work)


def test_procd_that_takes_no_processes_is_asked_again() -> None:
    async def work(router: Router) -> None:
        router.procd.refuses = "ubus error occured: Permission denied"
        router.start()
        await until(lambda: "process client" in router.problems, 5)
        assert not router.procd.pids
        router.procd.refuses = ""
        await router.becomes("active", 30)

    living(work, start=False)


def test_a_bug_in_a_look_is_a_problem_and_another_look_follows() -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        router.machine.bugs = 1
        router.cut("eth1")  # what it was to look at is not forgotten
        await until(lambda: "agent" in router.problems, 1)
        assert router.problems["agent"] == "ZeroDivisionError: a rate of nothing"
        await until(lambda: router.endpoints == {"eth2"}, 2)
        await asyncio.sleep(0.2)
        assert "agent" not in router.problems

    living(work)


def test_a_bug_that_is_over_is_not_told_any_longer() -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        router.machine.bugs = 1
        router.events.put(Part.LINKS)
        await router.becomes("degraded", 2)
        await router.becomes("active", 2)

    living(work)


def test_a_bug_that_stays_is_said_once_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        router.machine.bugs = 10
        router.journal.clear()
        router.events.put(Part.LINKS)
        await asyncio.sleep(5)
        assert len(router.looks) in (5, 6) and router.done == []
        await router.becomes("active", 6)
        router.cut("eth1")
        await until(lambda: router.endpoints == {"eth2"}, 0.1)

    with caplog.at_level(logging.ERROR):
        living(work)
    assert len(caplog.messages) == 1


def test_a_bug_beside_the_loop_is_said_and_started_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work(router: Router) -> None:
        router.engines.bug = ZeroDivisionError()
        router.start()
        await router.becomes("active")

    living(work, start=False)
    assert "failed; it starts again" in caplog.text


# --- The end -----------------------------------------------------------------------------------


def test_told_to_stop_the_lan_is_let_out_first_and_nothing_stays() -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        router.journal.clear()
        await router.stop()
        ends = [x for x in router.done if x in ("release", "sweep") or x.startswith("procd")]
        assert ends == ["release", "procd delete", "sweep"]
        state = router.machine.state
        assert not (state.endpoints or state.routes or state.rules or state.files or state.lan)
        assert not router.procd.services and router.machine.originals() == {}
        assert router.machine.closed and not router.bus.connected

    living(work)


def test_the_kernel_is_cleaned_also_where_procd_does_not_answer() -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        router.bus.away.add("service")
        await router.stop()
        assert "sweep" in router.done and router.machine.closed

    living(work)


def test_told_of_another_agent_that_takes_over_everything_stays() -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        before, pids = router.machine.state, dict(router.procd.pids)
        router.journal.clear()
        router.handover.touch()
        await router.stop()
        assert router.done == []
        assert (router.machine.state, router.procd.pids) == (before, pids)
        assert router.machine.closed and not router.bus.connected
        router.start()
        await until(lambda: not router.handover.exists(), 1)

    living(work)


def test_a_hang_up_reads_the_configuration_again() -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        router.bus.packages["mptcp-proxy"] = {
            **BRIDGE_CLIENT,
            "globals": section("globals", enabled="0"),
        }
        assert signal.getsignal(signal.SIGHUP) != signal.SIG_DFL, "it would end the tests"
        signal.raise_signal(signal.SIGHUP)
        await router.becomes("disabled")

    living(work)


def test_told_to_stop_while_engines_are_tried_nothing_is_waited_for() -> None:
    async def work(router: Router) -> None:
        router.engines.seconds = 20.0
        router.start()
        await until(lambda: router.engines.trials)
        began = router.clock()
        await router.stop()
        assert router.clock() - began < 1 and "sweep" in router.done

    living(work, start=False)
