# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/on-the-router.md: the `uci` lines and the far end's files, pasted into the lab."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.support import assert_bonded
from lab.isp import isp
from lab.paths import SING_BOX, TOP
from lab.proxy import Proxy
from lab.topology import Network
from lab.traffic import WAYS, TalkServer, Way
from openwrt import ucifile

from mptcp_agent.cli.validation import load_schema
from mptcp_agent.core.config import Config, reader

KEY = "8JCsPssfgS8tiRwiMlhARg=="  # 16 bytes
PAGE = (TOP / "docs/on-the-router.md").read_text()
SING_BOX_JSON = TOP / "docs/vps/sing-box.json"
SYSCTLS = TOP / "docs/vps/90-mptcp.conf"


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert found, language
    return found


def block(language: str) -> str:
    return blocks(language)[0]


def settings(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and line[0] != "#"]


def test_page_and_files_are_the_same() -> None:
    assert json.loads(block("json")) == json.loads(SING_BOX_JSON.read_text())
    assert settings(block("conf")) == settings(SYSCTLS.read_text())


def configured(lines: list[str], directory: Path) -> Config:
    """What the agent reads after the lines, typed on a router just installed."""
    (directory / "mptcp-proxy").write_text((TOP / "files/mptcp-proxy.config").read_text())
    uci = f"{TOP}/tests/openwrt/bin/uci -c {directory} -t {directory}/saved"
    for line in lines:
        words = line.replace("YOUR-KEY", KEY).replace("uci", uci, 1)
        subprocess.run(["sh", "-ec", words], check=True)
    package = ucifile.parse("mptcp-proxy", (directory / "mptcp-proxy").read_text())
    values = {
        s.name: {**s.options, ".type": s.type, ".name": s.name, ".index": i}
        for i, s in enumerate(package.sections.values())
    }
    config, problems = reader.read(values, load_schema("mptcp-proxy"))
    assert problems == ()
    return config


def test_a_router_as_the_server(tmp_path: Path) -> None:
    config = configured(settings(blocks("sh")[1]), tmp_path)
    assert config.globals.enabled and config.client is None
    assert config.server is not None and config.server.password == KEY
    assert config.server.allow == ("198.51.100.0/24", "203.0.113.0/24")
    assert [w.interface for w in config.wans] == ["wan1", "wan2"]


@pytest.fixture(scope="module")
def vps_net() -> Iterator[Network]:
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
def test_one_stream_over_both_links(vps_net: Network, way: Way) -> None:
    assert_bonded(vps_net, [way])


def test_nothing_to_mend(vps_net: Network) -> None:
    rows = vps_net.client.ubus("mptcp_proxy", "check")["checks"]
    assert [row for row in rows if row["result"] == "failed"] == []
