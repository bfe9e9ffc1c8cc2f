# SPDX-License-Identifier: GPL-2.0-or-later
"""The prober with real connections: who listens, who refuses, who stopped, who is silent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable

from toolkit.namespace import Namespace
from toolkit.waiting import wait_until_async

from mptcp_agent.core.health.path_health import Settings
from mptcp_agent.monitor.prober import A_WHILE, Prober
from mptcp_agent.monitor.targets import Target

PORT = 8388
NEAR, FAR = "10.1.1.2", "10.2.2.2"
SETTINGS = Settings(interval=2.0, timeout=0.6)
KEY = ("wan1", NEAR)


def target(number: int = 1, **changes: object) -> Target:
    values = {"device": f"wan{number}", "source": f"10.{number}.{number}.1", "port": PORT}
    return Target(**{**values, "settings": SETTINGS, **changes})  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def probing(prober: Prober, *targets: tuple[tuple[str, str], Target]) -> AsyncIterator[None]:
    task = asyncio.create_task(prober.run())
    prober.follow(dict(targets))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def seconds_until(condition: Callable[[], object], timeout: float = 8) -> float:
    """Seconds until it was so."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    await wait_until_async(condition, timeout, "the verdict", interval=0.005)
    return loop.time() - began


def state(prober: Prober, key: tuple[str, str] = KEY) -> str:
    (found,) = (p.state for p in prober.health() if (p.wan, p.address) == key)
    return found


def listener(server: Namespace, address: str = NEAR) -> socket.socket:
    with server:
        return socket.create_server((address, PORT))


def test_who_listens_is_believed_after_a_while(pair: tuple[Namespace, Namespace]) -> None:
    async def work() -> None:
        calls: list[None] = []
        prober = Prober(lambda: calls.append(None))
        async with probing(prober, (KEY, target())):
            await seconds_until(lambda: state(prober) == "up")
            assert not prober.accepting_for_a_while()
            assert await seconds_until(prober.accepting_for_a_while) > A_WHILE / 2
            assert prober.accepting_for_a_while() == {NEAR}
            assert len(calls) >= 2, "told of both"
            prober.suspect("wan1")
            assert not prober.accepting_for_a_while(), "not while in doubt"

    with listener(pair[1]), pair[0]:
        asyncio.run(work())


def test_a_refusal_is_an_answer_of_the_path(pair: tuple[Namespace, Namespace]) -> None:
    """Nobody listens: no fault of the WAN. Found out by two, and noticed when it ends."""

    async def work() -> None:
        calls: list[None] = []
        prober = Prober(lambda: calls.append(None))
        async with probing(prober, (KEY, target())):
            await seconds_until(prober.refused, 2)
            assert state(prober) == "up"
            before = len(calls)
            with listener(pair[1]):
                prober.confirm_alive(*KEY)  # data moves already: no reason to ask later
                assert await seconds_until(lambda: not prober.refused()) < 2
                assert len(calls) > before, "told at once"

    with pair[0]:
        asyncio.run(work())


def test_the_end_of_a_server_is_noticed_at_once(pair: tuple[Namespace, Namespace]) -> None:
    async def work() -> None:
        prober = Prober(lambda: None)
        listening = listener(pair[1])
        async with probing(prober, (KEY, target())):
            accepted, _ = await asyncio.to_thread(listening.accept)
            await seconds_until(lambda: state(prober) == "up")
            await asyncio.sleep(1.1)  # longer than HABIT: it does not end connections by itself
            listening.close()
            accepted.close()
            assert await seconds_until(prober.refused) < 0.6 < SETTINGS.interval

    with pair[0]:
        asyncio.run(work())


def test_one_wan_silent(pair: tuple[Namespace, Namespace]) -> None:
    """The other is not in doubt, the address is not refused; and it comes back."""
    client, server = pair
    other = ("wan2", FAR)

    async def work() -> None:
        prober = Prober(lambda: None)
        async with probing(prober, (KEY, target()), (other, target(2))):
            await seconds_until(lambda: prober.accepting_for_a_while() == {NEAR, FAR})
            server.sh(
                "nft add table t; nft add chain t c '{type filter hook prerouting priority 0;}';"
                "nft add rule t c iifname wan1 drop"
            )
            prober.suspect("wan1")
            assert prober.accepting_for_a_while() == {FAR}
            assert await seconds_until(lambda: state(prober) == "down") < 1.5
            assert state(prober, other) == "up"
            assert not prober.usable(*KEY) and prober.usable(*other)
            assert not prober.refused()
            server.sh("nft delete table t")
            assert await seconds_until(lambda: state(prober) == "up") < 3

    with listener(server), listener(server, FAR), client:
        asyncio.run(work())


def test_a_link_that_is_down_is_not_probed(pair: tuple[Namespace, Namespace]) -> None:
    """Used again with the first answer when it returns; refusals of before are forgotten."""

    async def work() -> None:
        prober = Prober(lambda: None)
        async with probing(prober, (KEY, target())):
            await seconds_until(prober.refused)
            prober.follow({KEY: target(down="no carrier")})
            assert (state(prober), prober.refused()) == ("down", frozenset())
            prober.follow({KEY: target()})
            (path,) = prober.health()
            assert path.cause == "its link is back, no probe is answered yet; before: no carrier"
            assert prober.refused() == frozenset()
            await seconds_until(lambda: state(prober) == "up", 1)
            prober.follow({})
            assert prober.health() == ()

    with pair[0]:
        asyncio.run(work())


def test_what_cannot_be_sent_says_nothing(pair: tuple[Namespace, Namespace]) -> None:
    """No such address, no such device."""

    async def work() -> None:
        prober = Prober(lambda: None)
        gone = ("wan9", NEAR)
        targets = ((KEY, target(source="10.9.9.9")), (gone, target(device="wan9")))
        async with probing(prober, *targets):
            await asyncio.sleep(3 * SETTINGS.timeout)
            assert state(prober) == state(prober, gone) == "unknown"

    with pair[0]:
        asyncio.run(work())


def test_another_address_is_another_path(pair: tuple[Namespace, Namespace]) -> None:
    """Probed at once, not at the next interval; the verdict stays until there is another."""

    async def work() -> None:
        prober = Prober(lambda: None)
        slow = Settings(interval=30.0)
        async with probing(prober, (KEY, target(settings=slow))):
            await seconds_until(prober.accepting_for_a_while)
            prober.follow({KEY: target(settings=slow, source="10.1.1.9")})
            assert (state(prober), prober.accepting_for_a_while()) == ("up", frozenset())
            await seconds_until(prober.accepting_for_a_while, A_WHILE + 1)

    pair[0].sh("ip address add 10.1.1.9/24 dev wan1")
    with listener(pair[1]), pair[0]:
        asyncio.run(work())


def test_a_server_that_ends_idle_connections(pair: tuple[Namespace, Namespace]) -> None:
    """Its probes are answered like others, but no connection is kept to watch it."""
    listening = listener(pair[1])
    accepted: list[float] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()

        def accept() -> None:
            listening.accept()[0].close()
            accepted.append(loop.time())

        listening.setblocking(False)
        loop.add_reader(listening, accept)
        prober = Prober(lambda: None)
        async with probing(prober, (KEY, target())):
            await seconds_until(lambda: state(prober) == "up" and len(accepted) == 2)
            await seconds_until(lambda: len(accepted) == 3)
            assert accepted[2] - accepted[1] > SETTINGS.interval / 2
            assert state(prober) == "up"
            await seconds_until(prober.accepting_for_a_while)
        loop.remove_reader(listening)

    with listening, pair[0]:
        asyncio.run(work())
