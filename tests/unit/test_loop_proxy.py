# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent's loop and the proxy: whom the LAN is led to, and when."""

from __future__ import annotations

import asyncio

import pytest
from unit.examples import BRIDGE_BOTH, BRIDGE_CLIENT, CLIENT, SERVER
from unit.fakes import Way, until
from unit.fakes.router import Router, kind_of, living

FAST_OPEN = {**BRIDGE_CLIENT, "client": {**CLIENT, "fast_open": "1"}}
FIRST, SECOND = "10.1.1.70", "10.2.2.70"
PATHS = [(device, address) for device in ("eth1", "eth2") for address in (FIRST, SECOND)]


def in_use(router: Router) -> str | None:
    address: str | None = router.status()["client"]["address"]
    return address


async def second_in_use(router: Router) -> None:
    """The first address refuses for a while; a connection lives over the other one since."""
    await router.becomes("active")
    router.kernel.stop_listening(FIRST, "eth1", "eth2")
    await until(lambda: in_use(router) == SECOND and router.jumps, 10)
    router.kernel.opens("10.2.2.78", SECOND)
    router.kernel.ways.clear()


def test_the_lan_is_led_to_a_redirector_that_listens_and_to_no_other() -> None:
    async def work(router: Router) -> None:
        router.procd.delay = 5.0
        router.start()
        await until(lambda: router.procd.pids)
        waited = await until(lambda: router.jumps, 10)
        assert 5.0 <= waited < 5.3 and router.kernel.listening == {1080}

    living(work, start=False)


@pytest.mark.parametrize("told", [True, False], ids=["its end is heard of", "it is not"])
def test_a_changed_option_restarts_one_process_behind_an_open_door(told: bool) -> None:
    async def work(router: Router) -> None:
        router.kernel.tells_ends = told
        router.start()
        await router.becomes("active")
        await asyncio.sleep(5)
        before = dict(router.procd.pids)
        router.journal.clear()
        router.configure({**FAST_OPEN, "server": SERVER})
        await until(lambda: router.procd.pids != before)
        assert not router.jumps, "the LAN goes out directly before the redirector ends"
        await until(lambda: router.jumps)
        assert router.kernel.listening == {1080, 8388}
        changed = {n for n, pid in router.procd.pids.items() if before[n] != pid}
        assert changed == {("mptcp-proxy-engine", "client")}
        assert [*map(kind_of, router.done)] == ["off", "file", "procd", "on"]

    living(work, BRIDGE_BOTH, start=False)


def test_a_redirector_that_ends_lets_the_lan_out_and_is_used_as_soon_as_it_is_back() -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        await asyncio.sleep(5)
        router.procd.end("mptcp-proxy-engine", "client")
        await until(lambda: not router.jumps, 0.05)
        await router.becomes("bypassed")
        assert await router.becomes("active") < router.procd.RESPAWN + router.procd.delay + 0.3

    living(work)


# --- Peers -------------------------------------------------------------------------------------


def test_the_lan_is_not_led_into_a_tunnel_before_somebody_has_answered_there() -> None:
    async def work(router: Router) -> None:
        router.kernel.ways.update(dict.fromkeys(PATHS, Way("lost")))
        router.start()
        await router.becomes("bypassed")
        assert router.status()["reason"].startswith("the peers have not answered yet")
        await asyncio.sleep(60)
        assert not any(kind_of(line) == "on" for line in router.done)
        router.kernel.ways.clear()
        await router.becomes("active")

    living(work, start=False)


def test_a_peer_that_dies_gives_way_to_another_address() -> None:
    async def work(router: Router) -> None:
        await second_in_use(router)
        assert router.state == "active" and router.kernel.listening == {1080}

    living(work)


@pytest.mark.parametrize("restart", [False, True], ids=["one agent", "another agent"])
def test_what_is_in_use_stays_so_while_connections_live(restart: bool) -> None:
    async def work(router: Router) -> None:
        await second_in_use(router)
        pids = dict(router.procd.pids)
        if restart:
            await router.restart()
        await asyncio.sleep(60)
        assert in_use(router) == SECOND and router.procd.pids == pids

    living(work)


def test_what_is_in_use_stays_so_though_another_option_changes() -> None:
    async def work(router: Router) -> None:
        await second_in_use(router)
        await asyncio.sleep(5)
        pids = dict(router.procd.pids)
        router.configure(FAST_OPEN)
        await until(lambda: router.procd.pids != pids)
        assert in_use(router) == SECOND

    living(work)


# --- Engines -----------------------------------------------------------------------------------


def test_a_reload_finds_what_was_installed_meanwhile() -> None:
    async def work(router: Router) -> None:
        builds, router.engines.builds = router.engines.builds, {}
        router.start()
        await router.becomes("bypassed")
        assert "no proxy program is installed" in router.status()["reason"]
        router.engines.builds = builds
        router.agent.reload()
        assert await router.becomes("active") < 3

    living(work, start=False)


def test_what_the_trials_did_to_the_counters_is_not_counted() -> None:
    async def work(router: Router) -> None:
        router.kernel.counters = {"MPCapableFallbackACK": 3}
        router.start()
        await router.becomes("active")
        router.kernel.counters = {"MPCapableFallbackACK": 4}
        await asyncio.sleep(4)
        assert router.status()["mptcp"]["counters"] == {"MPCapableFallbackACK": 1}

    living(work, start=False)


# --- Another version ---------------------------------------------------------------------------


def test_an_upgrade_leaves_a_proxy_in_its_old_form_until_nobody_uses_it() -> None:
    async def work(router: Router) -> None:
        await router.becomes("active")
        router.kernel.links = {"eth1": (0, 0), "eth2": (0, 0)}
        used = router.kernel.opens("10.1.1.78", FIRST)
        pids = dict(router.procd.pids)
        await router.restart(form={"log": "another version's"})
        await asyncio.sleep(60)
        assert router.procd.pids == pids and router.jumps
        assert "runs on as the version" in router.problems["mptcp-proxy.client"]
        router.kernel.closes(used)
        await until(lambda: router.procd.pids != pids)
        await until(lambda: not router.problems)

    living(work)
