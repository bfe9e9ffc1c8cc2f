# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a connection through the tunnel may be silent, in each engine's words; and a backup's
connections, which there are none of until they are needed.

With address translation that forgets: tests/e2e/test_keep_alive.py.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from unit.examples import ISP, ISP_CLIENT, SING_BOX, config, health, plan, section

from mptcp_agent.engines import ENGINES, Build, ClientSettings

SETTINGS = ClientSettings("192.0.2.1", 8388, "aes-128-gcm", "x", 1080, keep_alive=15)
BACKUP = {**ISP_CLIENT, "wan2": section("wan", interface="wan2", role="backup")}
PEER = "198.51.100.70"


def document(engine: str, build: Build, seconds: int) -> dict[str, Any]:
    settings = replace(SETTINGS, keep_alive=seconds)
    found: dict[str, Any] = json.loads(ENGINES[engine].client(settings, build).config)
    return found


@pytest.mark.parametrize(
    ("seconds", "taken", "wanted"),
    [(15, True, ["15s", "15s"]), (0, True, []), (15, False, [])],
    ids=["set", "left alone", "not known to the build"],
)
def test_sing_box(seconds: int, taken: bool, wanted: list[str]) -> None:
    """Both times: the kernel goes by the larger one."""
    build = replace(SING_BOX, keep_alive=taken)
    (outbound,) = document("sing-box", build, seconds)["outbounds"]
    assert [value for key, value in outbound.items() if "keep_alive" in key] == wanted


@pytest.mark.parametrize(
    ("seconds", "taken", "wanted"), [(15, True, 15), (0, True, 60), (15, False, 60)]
)
def test_shadowsocks_rust(seconds: int, taken: bool, wanted: int) -> None:
    build = Build("shadowsocks-rust", keep_alive=taken)
    assert document("shadowsocks-rust", build, seconds)["keep_alive"] == wanted


def test_shadowsocks_libev_has_no_such_setting() -> None:
    build = Build("shadowsocks-libev", keep_alive=True)
    assert document("shadowsocks-libev", build, 15) == document("shadowsocks-libev", build, 0)


def test_a_backup_joins_when_it_is_needed() -> None:
    def devices(*down: tuple[str, str]) -> list[str]:
        found = plan(config(BACKUP), ISP, health(*down)).state.endpoints
        return [e.device for e in found]

    assert devices() == ["eth1"]
    assert devices(("wan1", PEER)) == ["wwan0"]
    assert devices(("wan2", PEER)) == ["eth1"]
    assert devices(("wan1", PEER), ("wan2", PEER)) == ["eth1"]
