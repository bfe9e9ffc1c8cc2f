# SPDX-License-Identifier: GPL-2.0-or-later
"""What is measured, and what it is compared with: running networks, each a context manager.

agent       the agent on both routers
alone       the same, with both agents killed once all stands: the kernel with the agent's
            rules, endpoints and settings, and nobody who watches ("kernel alone")
mptcpd      the kernel's defaults and a router set up by hand; mptcpd manages the endpoints
guide       the guide's configuration: set up by hand, both server addresses in the
            redirector's file, an endpoint for each WAN
bare        nothing at all: for raw MPTCP and for one plain path
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from e2e.support import ask, pids, settle, wait_state
from lab.bridge import bridge
from lab.proxy import PORT, Proxy
from lab.router import Router
from lab.topology import Network
from lab.traffic import TalkServer
from lab.wire import Shape
from toolkit.command import LabError

from mptcp_agent.engines.base import OPEN_FILES

METHOD = "aes-256-gcm"
PROXY = Proxy(engine="shadowsocks-libev", method=METHOD)
"""The engine of every line that does not say otherwise: the one the guide has, too."""

MPTCPD = "/usr/libexec/mptcpd"

Links = Sequence[Shape | float]
Builder = Callable[[Links, Proxy], Network]
Setup = Callable[[Links], AbstractContextManager[Network]]

EQUAL = (Shape(50, 10), Shape(50, 15))
"""Two links of 50 Mbit/s, round trips of 20 and 30 ms: those of the facts the agent is built on."""


@contextlib.contextmanager
def agent(links: Links, proxy: Proxy = PROXY, build: Builder = bridge) -> Iterator[Network]:
    with build(links, proxy) as net:
        for router in net.routers:
            router.start_openwrt()
        TalkServer(net.server_host)
        for router in net.routers:
            router.start_agent()
        for router in net.routers:
            wait_state(router, "active")
            settle(router)
        yield net


@contextlib.contextmanager
def alone(links: Links) -> Iterator[Network]:
    with agent(links) as net:
        for router in net.routers:
            router.kill_agent()
        yield net


@contextlib.contextmanager
def mptcpd(links: Links) -> Iterator[Network]:
    with _by_hand(links, both_addresses=False) as net:
        net.client.popen(
            MPTCPD,
            "--path-manager=addr_adv",
            "--addr-flags=subflow",
            "--notify-flags=existing,skip_link_local,skip_loopback",
            log=net.client.log("mptcpd"),
        )
        wan = net.wan(len(net.wires)).of(4)
        net.client.wait(lambda: wan in net.client.ip("mptcp", "endpoint"), 5, "mptcpd's endpoints")
        yield net


@contextlib.contextmanager
def guide(links: Links) -> Iterator[Network]:
    with _by_hand(links, both_addresses=True) as net:
        add_endpoints(net)
        yield net


@contextlib.contextmanager
def bare(links: Links, build: Builder = bridge) -> Iterator[Network]:
    with build(links, PROXY) as net:
        yield net


# --- By hand ----------------------------------------------------------------------------------


def add_endpoints(net: Network) -> None:
    """One endpoint for each WAN of the client, bound to its device."""
    for number in range(1, len(net.wires) + 1):
        wan = net.wan(number)
        net.client.ip("mptcp", "endpoint", "add", wan.of(4), "dev", wan.device, "subflow")


def prepare_mptcp(net: Network) -> None:
    """Limits, a table for each WAN, and no strict filtering: what every how-to says."""
    for router in net.routers:
        router.ip("mptcp", "limits", "set", "subflows", "8", "add_addr_accepted", "8")
        for number in range(1, len(net.wires) + 1):
            device = net.wan(number).device
            if f"{device}@" in router.ip("link"):
                router.sysctl(**{f"net__ipv4__conf__{device}__rp_filter": 2})
    for number in range(1, len(net.wires) + 1):
        wan, table = net.wan(number), str(100 + number)
        net.client.ip("route", "add", "default", "via", wan.gateways[0], "table", table)
        net.client.ip("rule", "add", "from", wan.of(4), "lookup", table)


_REDIRECT = """
table ip by_hand {{
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        iifname "br-lan" ip daddr {target} meta l4proto tcp redirect to :1080
    }}
}}
"""


@contextlib.contextmanager
def _by_hand(links: Links, both_addresses: bool) -> Iterator[Network]:
    with bridge(links, PROXY) as net:
        TalkServer(net.server_host)
        prepare_mptcp(net)
        net.client.run("nft", "-f", "-", stdin=_REDIRECT.format(target=net.target))
        servers = [i.of(4) for i in net.interfaces["server"] if i.name != "lan"]
        common = {"server_port": PORT, "password": "x", "method": METHOD, "mptcp": True}
        common["nofile"] = OPEN_FILES  # a home has more connections open than the usual 1024 allow
        _start(net.server, "ss-server", {**common, "server": "0.0.0.0", "timeout": 300}, PORT)
        client = {"local_address": "0.0.0.0", "local_port": 1080, "timeout": 300}
        server = servers if both_addresses else servers[0]
        _start(net.client, "ss-redir", {**common, **client, "server": server}, 1080)
        yield net


def _start(router: Router, program: str, config: dict[str, Any], port: int) -> None:
    router.path("/etc/ss.json").write_text(json.dumps(config))
    router.popen(program, "-c", "/etc/ss.json", log=router.log(program))
    router.wait(lambda: bool(router.run("ss", "-Hltn", f"sport = {port}").stdout), 5, program)


def pids_of(net: Network) -> list[int]:
    """The proxy processes of both routers."""
    return [pid for router in net.routers for pid in pids(router).values()]


# --- Between two experiments ------------------------------------------------------------------


def healthy(net: Network, timeout: float = 20) -> None:
    """Wait until the client's agent, if one runs, has every link in use again."""
    agent_ = net.client.agent
    if agent_ is None or agent_.poll() is not None:
        return
    try:
        wait_state(net.client, "active")
        net.client.wait(lambda: ask(net.client, "plan").get("changes") == [], timeout, "quiet")
    except (AssertionError, LabError) as error:
        raise LabError(str(error)) from None
