# SPDX-License-Identifier: GPL-2.0-or-later
"""LAN clients that break transfers off: links and memory are free again at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest
from e2e.support import LIBEV, RATE, SING_BOX, ask, fetch, running
from lab.isp import isp
from lab.topology import Network
from lab.traffic import Running, Way, start
from toolkit.stopping import end
from toolkit.waiting import wait_until

CLIENTS = 5
FILLING = 6_000_000
"""Bytes on each link, until the transfers are broken off: a second and a half."""
SIZE = 20_000_000
"""Of the download afterwards: some seconds on both links, so that its beginning weighs little."""


@pytest.fixture(scope="module", params=[SING_BOX, LIBEV], ids=lambda proxy: str(proxy.engine))
def net(request: pytest.FixtureRequest) -> Iterator[Network]:
    """A home with two providers, both agents active."""
    with running(request.param, lambda rates, proxy: isp(rates, proxy)) as network:
        yield network


def transfers(net: Network, way: Way) -> list[Running]:
    """So many at once, that have filled what buffers there are."""

    def carried() -> list[int]:
        return [wire.bytes()[way == "down"] for wire in net.wires]

    what: Literal["get", "put"] = "get" if way == "down" else "put"
    before = carried()
    started = [start(net.client_host, what, net.target, abort=True) for _ in range(CLIENTS)]
    wait_until(
        lambda: all(c > b + FILLING for c, b in zip(carried(), before, strict=True)),
        20,
        "the transfers fill both links",
    )
    return started


def break_off(started: list[Running]) -> None:
    """As a browser that is closed: the LAN sees resets."""
    for one in started:
        end(one.process)


def left(net: Network) -> str:
    """MPTCP connections of both routers that are not over."""
    return "".join(r.run("ss", "-HnM", "state", "connected").stdout for r in net.routers)


def test_downloads_that_are_broken_off_leave_nothing_behind(net: Network) -> None:
    """Not a minute later, when the kernel would end them itself: the sockets are gone at both
    ends, and with them their memory; a new download has both links for itself."""
    fetch(net)
    wait_until(lambda: not left(net), 20, "no connection is left from before")
    break_off(transfers(net, "down"))
    wait_until(lambda: not left(net), 10, "no connection is left")
    transfer = start(net.client_host, "get", net.target, size=SIZE).result()
    assert transfer.ok, transfer.report.error
    assert transfer.mbit > 0.8 * 2 * RATE


def test_uploads_that_are_broken_off_are_soon_over(net: Network) -> None:
    """What the router had taken in ahead of its WANs is sent to the end, and that is not much:
    less than half a second's worth of both links for each."""
    fetch(net)
    wait_until(lambda: not left(net), 20, "no connection is left from before")
    started = transfers(net, "up")
    before = sum(wire.bytes()[0] for wire in net.wires)
    break_off(started)
    wait_until(lambda: not left(net), 30, "no connection is left")
    sent = sum(wire.bytes()[0] for wire in net.wires) - before
    assert sent < CLIENTS * 0.5 * 2 * RATE * 1e6 / 8


def test_a_download_beside_them_goes_on(net: Network) -> None:
    stays = start(net.client_host, "get", net.target, size=2 * SIZE)
    break_off(transfers(net, "down"))
    transfer = stays.result()
    assert transfer.ok, transfer.report.error


def test_an_answer_that_comes_after_the_upload_was_half_closed_arrives_whole(
    net: Network,
) -> None:
    """The same state of the socket, but somebody reads."""
    if ask(net.client, "status")["engine"]["name"] == "shadowsocks-libev":
        pytest.skip("shadowsocks-libev cuts half-closed connections short")
    transfer = start(net.client_host, "echo", net.target, size=SIZE).result()
    assert transfer.ok, transfer.report.error
