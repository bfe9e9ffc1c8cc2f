"""The agent under the capabilities of files/mptcp-proxy.capabilities and no_new_privs, as
ujail starts it on a router: it does everything it does as full root.

Every engine is tried by the agent itself (trials run with what it has), so every engine is here.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from typing import get_args

import pytest
from e2e.support import fetch, opened, settle
from lab.paths import TOP
from lab.proxy import Engine, Proxy, Redirect
from lab.router import Router

CAPABILITIES: list[str] = json.loads((TOP / "files/mptcp-proxy.capabilities").read_text())[
    "bounding"
]

#: Debian's ss-redir and ss-server carry it in their files, and cannot be started without.
DEBIAN = ["CAP_NET_BIND_SERVICE"]


def confined(router: Router, capabilities: Sequence[str] = CAPABILITIES) -> None:
    """Start the agent as start_agent() does, with the bounding set cut down."""
    names = [f"+{name.removeprefix('CAP_').lower()}" for name in capabilities]
    setpriv = ["setpriv", "--no-new-privs", "--bounding-set", ",".join(["-all", *names])]
    argv = [*setpriv, str(router.python), "-m", "mptcp_agent", "run"]
    router.agent = router.popen(*argv, log=router.log("agent"))
    router.wait(lambda: "error" not in router.try_status(), 15, "the agent", router.agent)


def works(proxy: Proxy, capabilities: Sequence[str] = CAPABILITIES) -> None:
    with opened(proxy) as net:
        for router in net.routers:
            confined(router, capabilities)
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
    extra = DEBIAN if engine == "shadowsocks-libev" else []
    works(Proxy(engine=engine), [*CAPABILITIES, *extra])


@pytest.mark.parametrize("redirect", [r for r in get_args(Redirect) if r != "auto"])
def test_back_ends(redirect: Redirect) -> None:
    works(Proxy(engine="sing-box", redirect=redirect))
