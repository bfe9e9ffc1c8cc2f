# SPDX-License-Identifier: GPL-2.0-or-later
"""What is read at an interval: counters, rates of the last minutes, subflows in use.

Runs in the worker thread. The packet counters of the firewall cost a process and are read
only while somebody looks at the status.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ..core import connections
from ..core.config import Config
from ..core.health import mptcp_blocked
from ..core.network import Measured
from ..core.network.wans import WanLink, names_by_address
from ..core.plan import Plan
from ..core.plan.buffers import MIN_RATE, data_rate
from ..core.sampled import DeviceTraffic, Sampled
from ..core.sockets import TcpSocket
from ..core.state import Endpoint
from ..errors import AgentError
from .kernel import KERNEL, Kernel

#: Seconds between samples, and how many are kept: the last five minutes for the graph.
INTERVAL = 3.0
POINTS = 100
#: Samples that count as lately: a minute.
RECENT = 20
#: Samples of a stream, one at each end and its beginning's, that say little of its rate.
ENDS = 3


@dataclass
class _Device:
    at: float
    rx: int
    tx: int
    rx_rates: deque[int] = field(default_factory=lambda: deque(maxlen=POINTS))
    tx_rates: deque[int] = field(default_factory=lambda: deque(maxlen=POINTS))


class Sampler:
    """``redirected`` gives the packets and bytes of the redirect rule; it may cost a process.
    ``connections_opened`` counts the connections of this router so far."""

    def __init__(
        self,
        redirected: Callable[[], tuple[int, int]],
        connections_opened: Callable[[], int],
        kernel: Kernel = KERNEL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redirected = redirected
        self._opened = connections_opened
        self._kernel = kernel
        self._clock = clock
        self._none_since: tuple[int, Config | None] | None = None
        """Connections opened when none was proxied, and by which configuration: until there are
        more none is, and the kernel's table of all sockets need not be walked."""
        self._devices: dict[str, _Device] = {}
        self._before: dict[str, int] = {}
        self._most_subflows: deque[int] = deque(maxlen=RECENT)
        """Subflows of the connection that had most."""
        self.sampled = Sampled(INTERVAL, POINTS)

    @property
    def interval(self) -> float:
        return INTERVAL

    def sample(self, config: Config | None, plan: Plan, watched: bool) -> None:
        """Read everything once; ``watched``: somebody asked for the status a moment ago."""
        names = {w.device for w in plan.wans if w.device}
        self._devices = {n: d for n, d in self._devices.items() if n in names}
        counted = self._kernel.link_bytes()
        devices = tuple((n, self._traffic(n, *counted[n])) for n in sorted(names & counted.keys()))
        found = self._proxied(config, plan)
        subflows = [
            [s.local for s in c.sockets if s.state == "established"] for c in found if c.token
        ]
        by_address = Counter(local for each in subflows for local in each)
        self._most_subflows.append(max(map(len, subflows), default=0))
        usable = {w.name for w in plan.wans if any(joinable(w, e) for e in plan.state.endpoints)}
        served = [c for c in found if c.role == "server"]
        self.sampled = Sampled(
            interval=INTERVAL,
            points=POINTS,
            devices=devices,
            measured=Measured(
                send_rate=sum(max(t.tx_rates[-RECENT:], default=0) for _, t in devices),
                receive_rate=sum(max(t.rx_rates[-RECENT:], default=0) for _, t in devices),
                steady=self._steady(devices),
                round_trip=self._round_trip(found),
                subflows_per_connection=max(self._most_subflows),
            ),
            subflows=tuple(sorted(by_address.items())),
            connections=sum(1 for c in found if c.token),
            server_connections=len(served),
            server_clients=len({c.sockets[0].remote for c in served}),
            counters=tuple(sorted(self._counters().items())),
            redirected=self._redirected() if watched else self.sampled.redirected,
            blocked_wans=mptcp_blocked.update(
                self.sampled.blocked_wans,
                found,
                names_by_address(plan.wans),
                usable,
                self._ending(found, len(usable)),
            ),
        )

    def _proxied(self, config: Config | None, plan: Plan) -> tuple[connections.Proxied, ...]:
        now = self._opened(), config
        if config is None or now == self._none_since:
            return ()
        found = proxied(config, plan, self._kernel)
        self._none_since = None if found else now
        return found

    def _ending(self, found: Iterable[connections.Proxied], paths: int) -> set[int]:
        """Of those with fewer subflows than ``paths`` the tokens of which one end has closed;
        none on a kernel that cannot tell."""
        few = [c for c in found if c.role == "client" and c.token and len(c.sockets) < paths]
        ending = {c.token for c in few}
        try:
            for port in {c.sockets[0].remote_port for c in few}:
                ending -= self._kernel.mptcp_connections(port)
        except AgentError:  # no mptcp_diag (OpenWrt: kmod-inet-mptcp-diag)
            return set()
        return ending

    def ignore_so_far(self) -> None:
        """Count MPTCP events from here on: trying out the engines made some."""
        self._before = self._kernel.mptcp_counters()

    def _counters(self) -> dict[str, int]:
        now = self._kernel.mptcp_counters()
        return {name: value - self._before.get(name, 0) for name, value in now.items()}

    def _steady(self, devices: Iterable[tuple[str, DeviceTraffic]]) -> bool:
        """Whether data was sent in some whole intervals: at its ends it fills only parts."""
        return any(
            sum(
                data_rate(tx, rx) > MIN_RATE
                for rx, tx in zip(t.rx_rates[-RECENT:], t.tx_rates[-RECENT:], strict=True)
            )
            > ENDS
            for _, t in devices
        )

    def _round_trip(self, found: tuple[connections.Proxied, ...]) -> float:
        """Of the slowest path; stays as it was while nobody uses the paths."""
        shortest: dict[str, int] = {}
        for sock in (s for c in found for s in c.sockets if s.info.min_rtt):
            key = f"{sock.local} {sock.remote}"
            shortest[key] = min(shortest.get(key, sock.info.min_rtt), sock.info.min_rtt)
        return max(shortest.values()) / 1e6 if shortest else self.sampled.measured.round_trip

    def _traffic(self, device: str, rx: int, tx: int) -> DeviceTraffic:
        now = self._clock()
        last = self._devices.get(device)
        if last is None or rx < last.rx or tx < last.tx:  # new, or made anew under its name
            self._devices[device] = last = _Device(now, rx, tx)
        else:
            seconds = max(now - last.at, 0.001)
            last.rx_rates.append(round((rx - last.rx) * 8 / seconds))
            last.tx_rates.append(round((tx - last.tx) * 8 / seconds))
            last.at, last.rx, last.tx = now, rx, tx
        return DeviceTraffic(rx, tx, tuple(last.rx_rates), tuple(last.tx_rates))


def joinable(wan: WanLink, endpoint: Endpoint) -> bool:
    """Whether the kernel makes further subflows over the WAN."""
    return endpoint.device == wan.device and "subflow" in endpoint.flags


def proxied(config: Config, plan: Plan, kernel: Kernel = KERNEL) -> tuple[connections.Proxied, ...]:
    """The proxied connections there are now, from the kernel's diag interface."""
    remote, local = connections.ports(config)
    to_peers: list[TcpSocket] = []
    to_server: list[TcpSocket] = []
    try:
        for port in remote:
            to_peers += kernel.tcp_sockets(0, port)
        for port in local:
            to_server += kernel.tcp_sockets(port, 0)
    except AgentError:
        return ()  # said by ``check``: the kernel lacks inet_diag
    peers = {a: p.peer.name for p in plan.peers for a in p.addresses}
    return connections.proxied(config, peers, to_peers, to_server)
