# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent in its jail, under the capabilities of files/mptcp-proxy.capabilities: it does
everything it does as full root.

Every engine is tried by the agent itself (trials run with what it has), so every engine is here.
"""

from __future__ import annotations

import subprocess
from typing import get_args

import pytest
from e2e.support import fetch, opened, settle
from lab.proxy import Engine, Proxy, Redirect


def works(proxy: Proxy) -> None:
    with opened(proxy) as net:
        for router in net.routers:
            router.start_agent()
        for router in net.routers:
            status = router.wait_state("active")
            assert status["problems"] == []
            assert status["engine"]["mptcp"] == "native"
        fetch(net)
        for router in net.routers:
            settle(router)
            assert router.stop_agent() == 0
            assert "cleaning up" not in router.log("agent").read_text()
            assert "mptcp_proxy" not in router.run("nft", "list", "tables").stdout
            left = subprocess.run(
                ["ls", str(router.path("/var/etc/mptcp-proxy"))], capture_output=True, check=False
            )
            assert left.returncode


@pytest.mark.parametrize("engine", [e for e in get_args(Engine) if e != "shadowsocks-rust"])
def test_engines(engine: Engine) -> None:
    works(Proxy(engine=engine))


@pytest.mark.parametrize("redirect", [r for r in get_args(Redirect) if r != "auto"])
def test_back_ends(redirect: Redirect) -> None:
    works(Proxy(engine="sing-box", redirect=redirect))
