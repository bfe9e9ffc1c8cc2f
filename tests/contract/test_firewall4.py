# SPDX-License-Identifier: GPL-2.0-or-later
"""What firewall4 does with the configurations of ``unit/firewalls.py``, by real connections.

With ``UPDATE_VERDICTS=1`` what was measured becomes what the unit tests expect.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract.tools import real
from toolkit.namespace import Namespace
from unit.firewalls import (
    DESTINATIONS,
    FIREWALLS,
    HOSTS,
    INTERFACES,
    PORTS,
    REDIRECTOR,
    UPLINKS,
    VERDICTS,
    Probe,
    probes,
    recorded,
)

#: Connections to these are redirected, as the agent does.
REDIRECTED = {4: "192.0.2.1", 6: "2001:db8:ff::1"}
#: Who has not been answered so long after the last answer never will be: nobody is further than a
#: virtual cable away, and a rule that drops does not say so.
QUIET = 0.4

_measured: dict[str, dict[str, list[str]]] = {}
_bound = itertools.count()


class Lab:
    """The router of ``unit/firewalls.py`` without its firewall, its hosts, and the world."""

    def __init__(self) -> None:
        self.router, self.world = Namespace(), Namespace()
        self.hosts = {name: Namespace() for name in HOSTS}
        self.listeners: list[socket.socket] = []
        for space in (self.router, self.world):
            for key in ("all", "default"):
                space.sysctl(f"net/ipv4/conf/{key}/rp_filter", 0)
            space.sysctl("net/ipv4/ip_forward", 1)
            space.sysctl("net/ipv6/conf/all/forwarding", 1)
        self.router.sh("ip link add br-lan type bridge; ip link add br-guest type bridge")
        for name, (bridge, mac, addresses) in HOSTS.items():
            host, path = self.hosts[name], self.hosts[name].path
            self.router.sh(
                f"ip link add port-{name} type veth peer eth0 netns {path} address {mac}; "
                f"ip link set port-{name} master {bridge} up"
            )
            for address in addresses:
                length = "64 dev eth0 nodad" if ":" in address else "24 dev eth0"
                host.ip("address", "add", *f"{address}/{length}".split())
            net = addresses[0].split(".")[2]
            host.sh(
                f"""ip link set eth0 up; ip route add default via 192.168.{net}.1
                ip -6 route add default via fd{net}::1"""
            )
        for uplink in UPLINKS:
            number = uplink[-1]
            self.router.sh(f"ip link add {uplink} type veth peer {uplink} netns {self.world.path}")
            self.world.sh(
                f"""ip address add 10.{number}.{number}.70/24 dev {uplink}
                ip address add fd0{number}::70/64 dev {uplink} nodad; ip link set {uplink} up"""
            )
        for interface in INTERFACES:
            for address in interface.addresses:
                words = ["nodad"] if ":" in address else []
                self.router.ip("address", "add", address, "dev", str(interface.device), *words)
            self.router.ip("link", "set", str(interface.device), "up")
        self.world.sh("ip route add default via 10.1.1.78; ip -6 route add default via fd01::78")
        for family, destinations in DESTINATIONS.items():
            for address in destinations:
                self.world.ip("address", "add", f"{address}/{32 if family == 4 else 128}", *LO)
        for port in PORTS:
            self._serve(self.world, port)
        self._serve(self.router, REDIRECTOR)

    def _serve(self, space: Namespace, port: int) -> None:
        listener = space.call(socket.socket, socket.AF_INET6, socket.SOCK_STREAM)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::", port))
        listener.listen(512)
        self.listeners.append(listener)

    def load(self, ruleset: str) -> None:
        """Make this the router's firewall, beside the redirect of the agent."""
        ours = f"""
            add table inet ours; delete table inet ours
            add table inet fw4; delete table inet fw4
            table inet ours {{ chain pre {{ type nat hook prerouting priority dstnat + 1;
                ip daddr {REDIRECTED[4]} tcp dport 80 redirect to :{REDIRECTOR};
                ip6 daddr {REDIRECTED[6]} tcp dport 80 redirect to :{REDIRECTOR}
            }}
            }}
        """
        with self.router:
            subprocess.run(["nft", "-f", "-"], input=ours + ruleset, text=True, check=True)

    def route(self, uplink: str) -> None:
        self.router.sh(
            f"""ip route replace default via 10.{uplink[-1]}.{uplink[-1]}.70
            ip -6 route replace default via fd0{uplink[-1]}::70"""
        )

    def refused(self, asked: list[Probe]) -> list[str]:
        """Those of the connections that do not come about; all are tried at once."""
        waiting: dict[socket.socket, Probe] = {}
        failed: list[str] = []
        with contextlib.ExitStack() as after:
            for probe in asked:
                family = socket.AF_INET6 if probe.family == 6 else socket.AF_INET
                made = self.hosts[probe.host].call(socket.socket, family, socket.SOCK_STREAM)
                after.callback(made.close)
                made.setblocking(False)
                made.bind((probe.source, 5000 + next(_bound) if probe.bound else 0))
                code = made.connect_ex((probe.destination, probe.port))
                assert code in (0, errno.EINPROGRESS), os.strerror(code)
                waiting[made] = probe
            last = time.monotonic()
            while waiting and time.monotonic() < last + QUIET:
                for ready in select.select([], waiting, [], QUIET)[1]:
                    probe, last = waiting.pop(ready), time.monotonic()
                    if ready.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                        failed.append(str(probe))
            failed += map(str, waiting.values())
        for listener in self.listeners:
            listener.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    listener.accept()[0].close()
        return sorted(failed)


LO = ("dev", "lo")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    made = Lab()
    made.load("")
    for uplink in UPLINKS:  # neighbours are found, IPv6 has come up
        made.route(uplink)
        deadline = time.monotonic() + 10
        while made.refused(probes()) and time.monotonic() < deadline:
            pass
    yield made
    if os.environ.get("UPDATE_VERDICTS"):
        VERDICTS.write_text(json.dumps(_measured, indent=1, sort_keys=True) + "\n", "utf-8")


def ruleset(text: str, directory: Path) -> str:
    """What firewall4 loads for a configuration."""
    config, state = directory / "config", directory / "state"
    config.mkdir()
    (config / "firewall").write_text(text)
    networks = {
        i.name: {
            "up": True,
            "device": i.device,
            "physdev": i.device,
            "ipaddrs": [
                {
                    "family": 6 if ":" in a else 4,
                    "addr": a.split("/")[0],
                    "bits": int(a.split("/")[1]),
                }
                for a in i.addresses
            ],
        }
        for i in INTERFACES
    }
    state.write_text(json.dumps({"networks": networks, "ubus_rules": []}))
    program = str(real("FW4"))
    done = subprocess.run(
        [program, str(config), str(state)], capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize("name", FIREWALLS)
def test_what_is_recorded_is_what_firewall4_does(lab: Lab, name: str, tmp_path: Path) -> None:
    lab.load(ruleset(FIREWALLS[name], tmp_path))
    out, found = probes(), {}
    for uplink in UPLINKS:
        lab.route(uplink)
        found[uplink] = lab.refused(out)
    into = [
        Probe(host, source, REDIRECTED[6 if ":" in source else 4], 80)
        for host, (_, _, addresses) in HOSTS.items()
        for source in addresses
    ]
    found["in"] = sorted(text.split()[0] for text in lab.refused(into))
    _measured[name] = found
    if not os.environ.get("UPDATE_VERDICTS"):
        assert found == recorded()[name]
