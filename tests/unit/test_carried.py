# SPDX-License-Identifier: GPL-2.0-or-later
"""An agent of another version finds proxies in a form it would not have given them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from unit.examples import BRIDGE, BRIDGE_BOTH, READY, SING_BOX, config, snapshot

from mptcp_agent.core import plan as planning
from mptcp_agent.core.carried import same_job
from mptcp_agent.core.health import Health
from mptcp_agent.core.plan import Plan
from mptcp_agent.core.sampled import DeviceTraffic, Sampled
from mptcp_agent.core.snapshot import Capabilities, Choice
from mptcp_agent.core.state import RouterState
from mptcp_agent.engines import Build

RUST = Build("shadowsocks-rust", "/usr/bin/sslocal", "/usr/bin/ssserver", "1.20.3", True, True)
LIBEV = Build("shadowsocks-libev", "/usr/bin/ss-redir", "/usr/bin/ss-server", "3.3.6", True, True)
CIPHER = {"method": "chacha20-ietf-poly1305", "password": "x"}
SECTIONS = {
    **BRIDGE_BOTH,
    **{name: {**BRIDGE_BOTH[name], **CIPHER} for name in ("r7000", "server")},
}
COUNTED = Sampled(devices=(("eth1", DeviceTraffic()),))
IN_USE = replace(COUNTED, connections=1)
BUSY = replace(READY, idle=False)


def planned(
    now: RouterState | None,
    before: Plan | None = None,
    sections: dict[str, Any] = SECTIONS,
    sampled: Sampled = IN_USE,
    seen: Health = BUSY,
    build: Build = SING_BOX,
    in_use: Choice | None = None,
) -> Plan:
    means = Capabilities({build.engine: build}, ("nftables",))
    moment = snapshot(config(sections), BRIDGE, seen, means, in_use, now=now)
    return planning.plan(
        replace(moment, sampled=sampled, carried=before.carried if before else None)
    )


def older(state: RouterState) -> RouterState:
    """As a version would have made it that knew other log levels, options and limits."""

    def rewritten(text: str) -> str:
        document = json.loads(text)
        document["an option of another version"] = {"level": "warn"}
        document.pop("log", None)
        return json.dumps(document)

    files = {f.path: replace(f, content=rewritten(f.content)) for f in state.files}
    processes = (
        replace(p, digest="old", command=("/usr/bin/wrapper", *p.command[-3:]))
        for p in state.processes
    )
    return replace(state, files=tuple(files.values()), processes=tuple(processes))


@pytest.mark.parametrize("build", [SING_BOX, RUST, LIBEV], ids=lambda b: b.engine)
def test_an_upgrade_leaves_proxies_that_are_used_as_they_are(build: Build) -> None:
    found = older(planned(None, build=build).state)
    first = planned(found, build=build)
    assert len(first.state.processes) == 2
    assert (first.state.processes, first.state.files) == (found.processes, found.files)
    assert first.mode == "proxy"  # nothing starts anew: the LAN stays where it is
    assert [p.where for p in first.problems if "version of mptcp-agent before" in p.message] == [
        "mptcp-proxy.client",
        "mptcp-proxy.server",
    ]
    second = planned(found, first, build=build, in_use=first.configured)
    assert second.state.processes == found.processes


def test_the_address_that_the_redirector_was_told_stays() -> None:
    """Whatever would be chosen today: another one would end its connections."""
    second = {**SECTIONS, "r7000": {**SECTIONS["r7000"], "address": ["10.2.2.70"]}}
    found = older(planned(None, sections=second).state)
    both = planned(found)
    assert both.configured
    assert both.configured.address == "10.2.2.70"
    assert both.state.processes == found.processes


@pytest.mark.parametrize(
    ("sampled", "seen", "stays"),
    [
        (IN_USE, BUSY, True),
        (COUNTED, BUSY, True),
        (replace(COUNTED, server_connections=1), READY, True),
        (Sampled(), READY, True),  # nobody has counted yet
        (COUNTED, READY, False),
    ],
    ids=["connections", "client not idle", "server in use", "not known", "none"],
)
def test_it_is_started_anew_when_nobody_uses_it(
    sampled: Sampled, seen: Health, stays: bool
) -> None:
    found = older(planned(None).state)
    first = planned(found, sampled=Sampled(), seen=READY)
    assert first.state.processes == found.processes
    later = planned(found, first, sampled=sampled, seen=seen, in_use=first.configured)
    assert (later.state.processes == found.processes) is stays
    assert bool(later.carried) is stays


@pytest.mark.parametrize(
    ("section", "option", "value"),
    [
        ("client", "local_port", "1081"),
        ("r7000", "password", "another"),
        ("r7000", "method", "aes-128-gcm"),
        ("r7000", "port", "8389"),
    ],
)
def test_another_job_is_another_proxy(section: str, option: str, value: str) -> None:
    found = older(planned(None).state)
    other = {**SECTIONS, section: {**SECTIONS[section], option: value}}
    again = planned(found, sections=other)
    names = {p.name for p in again.state.processes if p in found.processes}
    assert names == {"server"}


def test_what_somebody_changes_comes_into_force() -> None:
    """Also an option that is no part of the job, and that a mere upgrade would leave for later."""
    found = older(planned(None).state)
    first = planned(found)
    other = {**SECTIONS, "client": {**SECTIONS["client"], "fast_open": "1"}}
    again = planned(found, first, sections=other, in_use=first.configured)
    assert {c.wanted.name for c in again.carried or ()} == {"server"}


def test_what_cannot_be_read_is_no_such_job() -> None:
    assert not same_job("{", "{}")
    assert not same_job('{"server": "a"}', '{"server": "b"}')
    assert same_job('{"server": "a", "x": [1]}', '{"y": 2, "server": "a"}')
