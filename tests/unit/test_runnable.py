# SPDX-License-Identifier: GPL-2.0-or-later
"""What runs while something that was to be written is not, or to be tried could not be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.examples import BRIDGE, BRIDGE_BOTH, READY, SING_BOX, config, plan

from mptcp_agent.core.plan.proxies import runnable
from mptcp_agent.core.snapshot import Capabilities
from mptcp_agent.core.state import File, Firewall, Process, RouterState, Sysctl
from mptcp_agent.engines import Build

CLIENT = Process("client", ("sing-box", "run"), config_path="/c.json", digest="new")
SERVER = Process("server", ("sing-box", "run"), config_path="/s.json", digest="new")
OLD_CLIENT = replace(CLIENT, digest="old")
OLD_SERVER = replace(SERVER, digest="old")


def test_all_is_well() -> None:
    assert runnable((CLIENT, SERVER), (OLD_CLIENT,), [Sysctl("a", "1")]) == (CLIENT, SERVER)


def test_a_process_whose_file_is_not_written_stays_as_it_is() -> None:
    failing = [File("/c.json", "new")]
    assert runnable((CLIENT, SERVER), (OLD_CLIENT,), failing) == (OLD_CLIENT, SERVER)
    assert runnable((CLIENT, SERVER), (), failing) == (SERVER,)


def test_none_starts_while_the_firewall_does_not_stand() -> None:
    """Without its access list a server with method none is anybody's; what runs, runs on."""
    failing = [Firewall("nftables")]
    assert runnable((CLIENT, SERVER), (), failing) == ()
    assert runnable((CLIENT, SERVER), (OLD_SERVER,), failing) == (SERVER,)


LIBEV = Build("shadowsocks-libev", "/usr/bin/ss-redir", "/usr/bin/ss-server", "3.3.5", True, True)
WRAPPED = replace(LIBEV, mptcp=False, mptcpize="/usr/bin/mptcpize")
BOTH = {**BRIDGE_BOTH, "r7000": {**BRIDGE_BOTH["r7000"], "method": "aes-128-gcm", "password": "x"}}


@pytest.mark.parametrize("role", ["client and server", "server"])
@pytest.mark.parametrize(
    "tried",
    [
        SING_BOX,
        replace(SING_BOX, hangs=frozenset({("aes-128-gcm", False)})),
        LIBEV,
        WRAPPED,
    ],
    ids=["sing-box", "that hangs", "shadowsocks-libev", "wrapped"],
)
def test_what_runs_stays_while_the_engine_could_not_be_tried(tried: Build, role: str) -> None:
    """Started by an agent that could."""
    sections = {**BOTH, "server": {**BOTH["server"], "method": "aes-128-gcm", "password": "x"}}
    if role == "server":
        del sections["client"]
    untried = Build(tried.engine, tried.client, tried.server, tried.version)

    def planned(build: Build, now: RouterState | None = None) -> RouterState:
        means = Capabilities({build.engine: build}, ("nftables",))
        return plan(config(sections), BRIDGE, READY, means, now=now).state

    before = planned(tried)
    assert before.processes
    after = planned(untried, before)
    assert (after.processes, after.files) == (before.processes, before.files)
