"""docs/on-the-router.md: the `uci` lines and the far end's files, pasted into the lab."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Literal

import pytest
from lab.isp import isp
from lab.paths import SING_BOX, TOP
from lab.proxy import Proxy
from lab.topology import Network
from lab.traffic import WAYS, TalkServer, Way, start

KEY = "8JCsPssfgS8tiRwiMlhARg=="  # 16 bytes
PAGE = (TOP / "docs/on-the-router.md").read_text()
SING_BOX_JSON = TOP / "docs/vps/sing-box.json"
SYSCTLS = TOP / "docs/vps/90-mptcp.conf"


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert found, language
    return found.group(1)


def settings(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and line[0] != "#"]


def test_page_and_files_are_the_same() -> None:
    assert json.loads(block("json")) == json.loads(SING_BOX_JSON.read_text())
    assert settings(block("conf")) == settings(SYSCTLS.read_text())


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    """The far end runs stock sing-box and no agent; the router has the package's example."""
    assert SING_BOX.exists(), "sing-box is missing: run `make setup`"
    with isp((30, 30), Proxy(engine="sing-box")) as network:
        router, far = network.routers
        for line in settings(SYSCTLS.read_text()):
            far.run("sysctl", "-qw", line.replace(" = ", "="))
        config = "/etc/sing-box.json"
        far.path(config).write_text(SING_BOX_JSON.read_text().replace("YOUR-KEY", KEY))
        far.popen(str(SING_BOX), "run", "-c", config, log=far.log("sing-box"))
        TalkServer(network.server_host)
        router.write_config("mptcp-proxy", (TOP / "files/mptcp-proxy.config").read_text())
        router.start_openwrt()
        router.start_agent()
        router.wait_state("disabled")
        for line in settings(block("sh")):
            router.run("sh", "-ec", line.replace("YOUR-KEY", KEY))
        router.ubus("mptcp_proxy", "reload")
        router.wait_state("active")
        yield network


@pytest.mark.parametrize("way", WAYS)
def test_one_stream_over_both_links(net: Network, way: Way) -> None:
    index = 0 if way == "up" else 1
    before = [wire.bytes()[index] for wire in net.wires]
    what: Literal["get", "put"] = "get" if way == "down" else "put"
    transfer = start(net.client_host, what, net.target, size=6_000_000).result()
    assert transfer.ok, transfer.report.error
    carried = [w.bytes()[index] - b for w, b in zip(net.wires, before, strict=True)]
    assert min(carried) > 0.25 * sum(carried), carried


def test_nothing_to_mend(net: Network) -> None:
    rows = net.client.ubus("mptcp_proxy", "check")["checks"]
    assert [row for row in rows if row["result"] == "failed"] == []
