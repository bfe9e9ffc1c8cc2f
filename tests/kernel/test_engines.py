# SPDX-License-Identifier: GPL-2.0-or-later
"""Rendered files in the hands of the real programs: a LAN, a redirect, two links, a server.

    lan --lan-- client ==wan1, wan2== server (which also has the destinations, on loopback)

Which engines take part is what is installed; that the two of the set-up are is asserted in
``test_engine_trial.py``. Of sing-box every line that a user's feed can have takes part.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import pytest
from lab.paths import SING_BOX, SING_BOXES, TOP
from toolkit.namespace import Namespace
from toolkit.stopping import end
from toolkit.waiting import wait_until

from mptcp_agent.engines import ENGINES, Build, ClientSettings, Rendered, ServerSettings
from mptcp_agent.system.engines.trial import EngineBuilds

METHODS = ("none", "aes-128-gcm", "2022-blake3-aes-128-gcm")
KEY = "MDEyMzQ1Njc4OWFiY2RlZg=="

DESTINATIONS = {socket.AF_INET: "198.51.100.9", socket.AF_INET6: "2001:db8:9::9"}
ECHO, GREETING = 7100, 7101
PEERS = {socket.AF_INET: "10.1.1.2", socket.AF_INET6: "2001:db8:1::2"}
PAYLOAD = b"0123456789abcdef" * 20_000
SO_PROTOCOL = 38  # asm-generic/socket.h


def tried(place: Path, names: Collection[str], methods: Collection[str]) -> dict[str, Build]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(place), prepend=os.pathsep)
        return EngineBuilds().find(names, methods)


#: What people paste, by file.
SHIPPED = {
    str(file.relative_to(TOP)): method
    for file in (TOP / "files/mptcp-proxy.config", *TOP.glob("docs/two-routers/*/mptcp-proxy"))
    for method in re.findall(r"^\toption method '(.+)'", file.read_text(), re.MULTILINE)
} | {
    "docs/vps/sing-box.json": json.loads((TOP / "docs/vps/sing-box.json").read_text())["inbounds"][
        0
    ]["method"]
}
TRIED = tuple(dict.fromkeys((*METHODS, *SHIPPED.values())))

BUILDS = tried(SING_BOX.parent, [*ENGINES], TRIED)
#: sing-box by version, with the newest as above. There is no 1.12.22 for arm64 (tests/setup.sh).
LINES = {
    version: BUILDS["sing-box"]
    if program.samefile(SING_BOX)
    else tried(program.parent, ["sing-box"], TRIED)["sing-box"]
    for version, program in SING_BOXES.items()
    if program.exists()
}
CASES = [
    pytest.param(build, method, id=f"{name}-{method}")
    for name, build in {**BUILDS, **{f"sing-box-{v}": b for v, b in LINES.items()}}.items()
    for method in METHODS
    if name != "sing-box" and method in build.methods
]
#: Waiting for the LAN client, by line: opened fast or not.
HANGS = {
    "1.12.22": {("none", False)},
    "1.13.18": {("none", False), ("none", True)},
    "1.14.4": {("none", False)},
}


@dataclass
class ProxyLab:
    lan: Namespace
    client: Namespace
    server: Namespace

    def counter(self, name: str) -> int:
        """A counter of MPTcpExt on the client router (include/uapi … net/mptcp/mib.c)."""
        lines = self.client.sh("grep MPTcpExt /proc/self/net/netstat").splitlines()
        return int(dict(zip(*(line.split() for line in lines), strict=True))[name])

    @contextlib.contextmanager
    def one_more(self, name: str) -> Iterator[None]:
        """The counter rises by one; the second subflow may come later than the data."""
        before = self.counter(name)
        yield
        wait_until(lambda: self.counter(name) != before, 3, f"one {name} more")
        assert self.counter(name) == before + 1, name

    def connect(
        self, family: socket.AddressFamily, port: int, protocol: int = socket.IPPROTO_TCP
    ) -> socket.socket:
        """From the LAN to a destination."""
        with self.lan:
            connection = socket.socket(family, socket.SOCK_STREAM, protocol)
        connection.settimeout(5)
        connection.connect((DESTINATIONS[family], port))
        return connection


@pytest.fixture
def proxy_lab(pair: tuple[Namespace, Namespace]) -> Iterator[ProxyLab]:
    lan, (client, server) = Namespace(), pair
    lan.sh(f"ip link add lan type veth peer name lan netns {client.path}")
    for space, host in ((lan, 9), (client, 1)):
        space.sh(
            f"ip addr add 192.168.78.{host}/24 dev lan; ip addr add fd78::{host}/64 dev lan nodad;"
            "ip link set lan up"
        )
    lan.sh("ip route add default via 192.168.78.1; ip -6 route add default via fd78::1")
    for address in DESTINATIONS.values():
        server.sh(f"ip addr add {address} dev lo")
    client.sh(
        "ip mptcp endpoint add 10.2.2.1 dev wan2 subflow;"
        "nft add table inet t;"
        "nft 'add chain inet t in { type nat hook prerouting priority -101; }';"
        "nft 'add rule inet t in iifname lan meta l4proto tcp redirect to :1080'"
    )
    stop = threading.Event()
    with server:
        listeners = [
            socket.create_server(("::", p), family=socket.AF_INET6, dualstack_ipv6=True)
            for p in (ECHO, GREETING)
        ]
    for listener in listeners:
        threading.Thread(target=_serve, args=(listener, stop), daemon=True).start()
    yield ProxyLab(lan, client, server)
    stop.set()
    for listener in listeners:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    lan.close()


def _serve(listener: socket.socket, stop: threading.Event) -> None:
    greet = listener.getsockname()[1] == GREETING
    while not stop.is_set():
        with contextlib.suppress(OSError):
            connection = listener.accept()[0]
            threading.Thread(target=_echo, args=(connection, greet), daemon=True).start()


def _echo(connection: socket.socket, greet: bool) -> None:
    """Says hello first where asked to; then gives back what comes until the end of it."""
    with connection, contextlib.suppress(OSError):
        if greet:
            connection.sendall(b"hello")
        while data := connection.recv(65536):
            connection.sendall(data)


@contextlib.contextmanager
def running(space: Namespace, rendered: Rendered, port: int) -> Iterator[None]:
    """The process, ready to be connected to."""
    with (
        tempfile.NamedTemporaryFile("w", suffix=".json") as config,
        tempfile.TemporaryFile() as log,
    ):
        config.write(rendered.config)
        config.flush()
        with space:
            process = subprocess.Popen(
                rendered.command(config.name),
                env={**os.environ, **dict(rendered.environment)},
                stdout=log,
                stderr=log,
            )
        try:

            def listening() -> bool:
                assert process.poll() is None, _said(log)
                return f":{port} " in space.sh("ss -Hltn")

            wait_until(listening, 5, lambda: f"port {port}: {_said(log)}")
            yield
        finally:
            end(process, signal.SIGTERM, 5)


def _said(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read().decode(errors="replace")


@contextlib.contextmanager
def proxied(
    lab: ProxyLab,
    build: Build,
    method: str,
    family: socket.AddressFamily = socket.AF_INET,
    fast_open: bool = False,
) -> Iterator[None]:
    """Both proxies, with exactly what is rendered for this build."""
    engine = ENGINES[build.engine]
    password = "" if method == "none" else KEY
    server = ServerSettings(("::",), 8388, method, password, fast_open=fast_open)
    client = ClientSettings(PEERS[family], 8388, method, password, 1080, fast_open=fast_open)
    rendered = engine.client(client, build)
    if rendered.strip_mptcp:
        lab.client.sh(
            "nft 'add chain inet t strip { type filter hook prerouting priority -150; }';"
            "nft 'add rule inet t strip iifname lan tcp flags & (syn | ack) == syn "
            "reset tcp option mptcp'"
        )
    with (
        running(lab.server, engine.server(server, build), 8388),
        running(lab.client, rendered, 1080),
    ):
        yield


def echo(connection: socket.socket) -> bytes:
    """Everything back, with both directions busy at once."""
    sender = threading.Thread(target=connection.sendall, args=(PAYLOAD,))
    sender.start()
    received = bytearray()
    while len(received) < len(PAYLOAD) and (data := connection.recv(65536)):
        received += data
    sender.join(5)
    return bytes(received)


def test_every_line_of_sing_box_is_what_it_says() -> None:
    assert {version: build.version for version, build in LINES.items()} == {v: v for v in LINES}
    assert {"1.14.4", "1.13.18"} <= LINES.keys()
    assert "1.12.22" in LINES or platform.machine() != "x86_64"
    for version, build in LINES.items():
        assert build.mptcp and build.plain_listener and not build.problems and not build.refused
        assert build.hangs == HANGS[version]


@pytest.mark.parametrize(("build", "method"), CASES)
def test_lan_connections_ride_on_mptcp(proxy_lab: ProxyLab, build: Build, method: str) -> None:
    """Both families, plain and MPTCP-speaking LAN clients, over both links."""
    with proxied(proxy_lab, build, method):
        for family in DESTINATIONS:
            for protocol in (socket.IPPROTO_TCP, socket.IPPROTO_MPTCP):
                with proxy_lab.one_more("MPCapableSYNACKRX"), proxy_lab.one_more("MPJoinSynAckRx"):
                    connection = proxy_lab.connect(family, ECHO, protocol)
                    assert echo(connection) == PAYLOAD
                connection.close()


def test_each_pasted_file_names_its_method() -> None:
    assert len(SHIPPED) == 4


@pytest.mark.parametrize("method", sorted({*SHIPPED.values()}))
@pytest.mark.parametrize("version", LINES)
def test_what_people_paste_lets_servers_speak_first(
    proxy_lab: ProxyLab, version: str, method: str
) -> None:
    """The shipped example, the guide of two routers and the VPS, with the sing-box of each feed."""
    build = LINES[version]
    settings = ClientSettings(PEERS[socket.AF_INET], 8388, method, KEY, 1080)
    assert not [*ENGINES["sing-box"].problems(settings, build, "mptcp-proxy.r7000")]
    with (
        proxied(proxy_lab, build, method),
        proxy_lab.connect(socket.AF_INET, GREETING) as connection,
    ):
        assert connection.recv(5) == b"hello"


@pytest.mark.parametrize(("build", "method"), CASES)
def test_servers_that_speak_first_are_heard(proxy_lab: ProxyLab, build: Build, method: str) -> None:
    """Mail, FTP, databases: the LAN client waits for the server's greeting. Where it would wait
    for ever the user has been told."""
    password = "" if method == "none" else KEY
    settings = ClientSettings(PEERS[socket.AF_INET], 8388, method, password, 1080)
    waits = (method, True) in HANGS.get(build.version, ())  # nothing cures it
    problems = ENGINES[build.engine].problems(settings, build, "mptcp-proxy.r7000")
    assert ["server speaks first" in p.message for p in problems] == [True] * waits
    with (
        proxied(proxy_lab, build, method),
        proxy_lab.connect(socket.AF_INET, GREETING) as connection,
    ):
        if waits:
            connection.sendall(b"\n")  # or it would hang, which the trial has seen
        assert connection.recv(5) == b"hello"
        if waits:
            assert connection.recv(1) == b"\n"
        assert echo(connection) == PAYLOAD


@pytest.mark.parametrize(("build", "method"), CASES)
def test_a_peer_over_ipv6(proxy_lab: ProxyLab, build: Build, method: str) -> None:
    with (
        proxy_lab.one_more("MPCapableSYNACKRX"),
        proxied(proxy_lab, build, method, socket.AF_INET6),
        proxy_lab.connect(socket.AF_INET, ECHO) as connection,
    ):
        assert echo(connection) == PAYLOAD


@pytest.mark.parametrize(("build", "method"), CASES)
def test_fast_open_does_not_cost_mptcp(proxy_lab: ProxyLab, build: Build, method: str) -> None:
    with (
        proxy_lab.one_more("MPCapableSYNACKRX"),
        proxied(proxy_lab, build, method, fast_open=True),
        proxy_lab.connect(socket.AF_INET, ECHO) as connection,
    ):
        assert echo(connection) == PAYLOAD


def test_half_close_with_sing_box(proxy_lab: ProxyLab) -> None:
    """Since 1.14, with method none; nowhere else."""
    with (
        proxied(proxy_lab, BUILDS["sing-box"], "none"),
        proxy_lab.connect(socket.AF_INET, ECHO) as connection,
    ):
        connection.sendall(PAYLOAD)
        connection.shutdown(socket.SHUT_WR)
        received = bytearray()
        while data := connection.recv(65536):
            received += data
        assert bytes(received) == PAYLOAD


def test_an_unpatched_build_under_the_wrapper(proxy_lab: ProxyLab) -> None:
    """mptcpize turns the LAN listener as well: without stripping, an MPTCP client would hang."""
    build = replace(BUILDS["shadowsocks-libev"], mptcp=False, mptcpize="/usr/bin/mptcpize")
    with proxied(proxy_lab, build, "aes-128-gcm"):
        for protocol in (socket.IPPROTO_TCP, socket.IPPROTO_MPTCP):
            with proxy_lab.one_more("MPJoinSynAckRx"):
                connection = proxy_lab.connect(socket.AF_INET, ECHO, protocol)
                assert echo(connection) == PAYLOAD
            connection.close()


@pytest.mark.parametrize("version", LINES)
@pytest.mark.parametrize("method", ENGINES["sing-box"].methods)
def test_sing_box_checks_every_document(method: str, version: str, tmp_path: Path) -> None:
    engine, build = ENGINES["sing-box"], LINES[version]
    password = KEY if "128" in method else "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    for fast_open in (False, True):
        for rendered in (
            engine.client(
                ClientSettings("fd00::1", 1, method, password, 65535, fast_open=fast_open), build
            ),
            engine.server(
                ServerSettings(("10.0.0.1", "fd00::1"), 443, method, password, fast_open=fast_open),
                build,
            ),
        ):
            path = tmp_path / rendered.file_name
            path.write_text(rendered.config)
            done = subprocess.run(
                [str(build.client), "check", "-c", path], capture_output=True, text=True
            )
            assert (done.returncode, done.stderr) == (0, "")
