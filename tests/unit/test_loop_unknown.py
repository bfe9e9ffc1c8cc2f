# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent's loop while something is not known: nothing that may carry traffic is touched."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from unit.examples import BRIDGE_CLIENT, CLIENT, PEER, Options
from unit.fakes import until
from unit.fakes.router import Router, living

from mptcp_agent.core.state import RouterState

#: Objects on ubus with the daemon behind each.
DAEMONS = {"uci": "uci", "network.interface": "netifd", "service": "procd"}
every_daemon = pytest.mark.parametrize("silent", DAEMONS)


def named(*names: str) -> Mapping[str, Options]:
    """A client whose peer is known by these names."""
    return {**BRIDGE_CLIENT, "r7000": {**PEER, "address": list(names)}}


def lan(router: Router) -> str | None:
    return router.machine.state.lan


async def comes(router: Router, object_: str) -> None:
    """Its daemon registers."""
    router.bus.away.discard(object_)
    router.bus.emit("ubus.object.add", id=1, path=object_)


@every_daemon
def test_nothing_is_touched_before_each_daemon_has_answered(silent: str) -> None:
    async def work(router: Router) -> None:
        router.bus.away.add(silent)
        router.start()
        await asyncio.sleep(20)
        assert router.done == []
        assert DAEMONS[silent] in router.problems
        await comes(router, silent)
        await router.becomes("active")
        assert DAEMONS[silent] not in router.problems

    living(work, start=False)


def test_a_restarted_agent_that_finds_all_in_place_does_nothing() -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        before, pids = router.machine.state, dict(router.procd.pids)
        await router.restart()
        await router.becomes("active")
        await asyncio.sleep(30)
        assert router.done == []
        assert (router.machine.state, router.procd.pids) == (before, pids)

    living(work)


@every_daemon
def test_a_restarted_agent_waits_for_all_daemons_while_the_lan_stays_redirected(
    silent: str,
) -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        before, pids = router.machine.state, dict(router.procd.pids)
        router.bus.away.add(silent)
        await router.restart()
        await asyncio.sleep(20)
        assert router.done == [] and lan(router) == "proxy"
        await comes(router, silent)
        await router.becomes("active")
        assert router.done == []
        assert (router.machine.state, router.procd.pids) == (before, pids)

    living(work)


@every_daemon
def test_a_restarted_agent_that_must_wait_does_not_say_the_lan_goes_out_directly(
    silent: str,
) -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        router.bus.away.add(silent)
        await router.restart()
        await asyncio.sleep(30)
        status = router.status()
        assert status["state"] != "bypassed", status["reason"]
        assert "directly" not in status["reason"]
        assert DAEMONS[silent] in status["reason"]

    living(work)


@every_daemon
def test_a_daemon_that_falls_silent_is_believed_to_be_as_last_heard_of(silent: str) -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        router.bus.away.add(silent)
        router.journal.clear()
        await asyncio.sleep(70)  # it is asked by the slow timer
        assert router.done == []
        assert router.state == "degraded" and DAEMONS[silent] in router.problems
        router.cut("eth1")
        await until(lambda: router.endpoints == {"eth2"}, 0.1)
        await comes(router, silent)
        await until(lambda: DAEMONS[silent] not in router.problems, 1)

    living(work)


def test_the_agent_goes_on_without_ubusd_and_registers_again() -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        pids = dict(router.procd.pids)
        router.bus.die()
        await until(lambda: not router.bus.connected, 1)
        router.cut("eth1")
        await until(lambda: router.endpoints == {"eth2"}, 0.1)
        await asyncio.sleep(30)
        assert lan(router) == "proxy"
        router.bus.rise()
        await until(lambda: router.bus.connected, 1)
        assert router.status()["state"] == "degraded" and "ubus" not in router.problems
        router.heal("eth1")
        await router.becomes("active")
        assert router.procd.pids == pids

    living(work)


def test_without_ubusd_at_the_start_everything_waits_for_it() -> None:
    async def work(router: Router) -> None:
        router.bus.die()
        router.start()
        await asyncio.sleep(60)
        assert router.done == []
        router.bus.rise()
        assert await router.becomes("active") < 3

    living(work, start=False)


# --- Names -------------------------------------------------------------------------------------


def test_a_name_without_an_answer_leaves_what_runs_under_the_former_configuration() -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        before = router.machine.state
        router.configure(named("r7000.example"))
        await until(lambda: "names" in router.problems, 5)
        await asyncio.sleep(8)
        assert router.machine.state == before and router.state != "bypassed"
        router.dns["r7000.example"] = ("10.1.1.70",)
        await until(lambda: "names" not in router.problems, 20)
        await asyncio.sleep(2)
        assert router.status()["client"]["peers"][0]["addresses"] == ["10.1.1.70"]

    living(work)


def test_a_restarted_agent_knows_the_last_answer_though_dns_has_none() -> None:
    async def work(router: Router) -> None:
        router.dns["r7000.example"] = ("10.1.1.70", "10.2.2.70")
        router.start()
        await router.becomes("active")
        before = router.machine.state
        assert before != RouterState()
        router.dns.clear()
        await router.restart()
        await router.becomes("active")
        await asyncio.sleep(60)
        assert router.done == [] and router.machine.state == before

    living(work, named("r7000.example"), start=False)


# --- Reload ------------------------------------------------------------------------------------


def test_a_reload_while_engines_are_tried_tries_them_again() -> None:
    async def work(router: Router) -> None:
        router.engines.seconds = 2.0
        router.start()
        await until(lambda: router.engines.trials)
        router.bus.packages["mptcp-proxy"] = {
            **BRIDGE_CLIENT,
            "client": {**CLIENT, "local_port": "1081"},
        }
        router.agent.reload()
        await asyncio.sleep(1.9)
        assert router.engines.trials == 1 and router.done == []
        await until(lambda: router.procd.pids, 3)
        assert router.engines.trials == 2
        assert "port 1081" in "".join(router.done) and "port 1080" not in "".join(router.done)

    living(work, start=False)
