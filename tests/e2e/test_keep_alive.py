# SPDX-License-Identifier: GPL-2.0-or-later
"""Providers whose address translation forgets a silent connection after a while."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from e2e.support import cli, pids, reconfigure, running, settle, wait_state
from lab.isp import isp
from lab.topology import Network
from toolkit.waiting import wait_until

#: Seconds. Real ones forget after 20 s to hours; the proportions count.
FORGETS, KEEP_ALIVE = 4, 2
SILENCE = 2.5 * FORGETS
PORT = 7300

#: What was forgotten is not let in again, and nobody is told.
NAT = """
table inet nat {{
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname "core" meta nfproto ipv4 snat ip to 100.64.{number}.1
    }}
    chain input {{
        type filter hook input priority filter; policy accept;
        iifname "core" meta nfproto ipv4 meta l4proto tcp drop
    }}
}}
"""

#: Says a word after the silence.
SERVER = f"""
import socket, time
server = socket.create_server(("", {PORT}))
print("ready", flush=True)
while True:
    caller, _ = server.accept()
    caller.recv(1)
    time.sleep({SILENCE})
    caller.sendall(b"late")
"""
CALLER = f"""
import socket, sys
caller = socket.create_connection((sys.argv[1], {PORT}))
caller.sendall(b"?")
caller.settimeout({SILENCE + 4})
try:
    print(caller.recv(10).decode() or "closed")
except OSError as error:
    print(type(error).__name__)
"""


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with running(build=isp) as built:
        for number, provider in enumerate(built.providers, 1):
            provider.run("nft", "-f", "-", stdin=NAT.format(number=number))
            provider.sysctl(net__netfilter__nf_conntrack_tcp_timeout_established=FORGETS)
        log = built.lab.logs / "late.log"
        built.server_host.popen(sys.executable, "-c", SERVER, log=log)
        wait_until(lambda: log.exists() and "ready" in log.read_text(), 5, "the server")
        yield built


def heard(net: Network, keep_alive: int) -> str:
    """What a LAN host hears after a silence in which each NAT could forget its connection."""
    before = pids(net.client)
    package = net.client.path("/etc/config/mptcp-proxy").read_text()
    head, found, tail = package.partition("config peer 'server'\n")
    assert found
    reconfigure(net.client, f"{head}{found}\toption keep_alive '{keep_alive}'\n{tail}")
    try:
        wait_until(lambda: pids(net.client).get("client") not in (None, before["client"]), 10, "it")
        wait_state(net.client, "active")
        settle(net.client)
        told = cli(net.client, "check")[1]
        assert f"every {keep_alive} s" in told if keep_alive else "left to sing-box" in told
        done = net.client_host.run(sys.executable, "-c", CALLER, net.target, timeout=60)
        return done.stdout.strip()
    finally:
        reconfigure(net.client, package)


def test_a_silent_connection_outlives_what_nats_remember(net: Network) -> None:
    assert heard(net, KEEP_ALIVE) == "late"


def test_without_keep_alive_it_does_not(net: Network) -> None:
    """Or the other test would show nothing."""
    assert heard(net, 0) == "TimeoutError"
