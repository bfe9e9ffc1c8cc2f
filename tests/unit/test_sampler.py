# SPDX-License-Identifier: GPL-2.0-or-later
"""monitor.sampler: counters and rates, read at an interval, from a kernel of glass."""

from __future__ import annotations

from dataclasses import replace

from unit.examples import BRIDGE, BRIDGE_BOTH, BRIDGE_CLIENT, config, plan
from unit.fakes import FakeClock, FakeKernel

from mptcp_agent.core.config import Config
from mptcp_agent.core.network import Measured
from mptcp_agent.core.plan.buffers import MIN_RATE
from mptcp_agent.core.sampled import DeviceTraffic, Sampled
from mptcp_agent.core.sockets import TcpSocket
from mptcp_agent.core.state import Endpoint
from mptcp_agent.errors import KernelError
from mptcp_agent.monitor.sampler import ENDS, INTERVAL, POINTS, RECENT, Sampler, joinable

CONFIG = config(BRIDGE_CLIENT)
PLAN = plan(CONFIG, BRIDGE)
BOTH = config(BRIDGE_BOTH)
WAN1, WAN2, NEAR = "10.1.1.78", "10.2.2.78", "10.1.1.70"
#: Bytes of one interval at this many bit/s.
MBIT = int(1e6 * INTERVAL / 8)


class Rig:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.kernel = FakeKernel(self.clock)
        self.kernel.links = {"eth1": (0, 0), "eth2": (0, 0), "br-lan": (5, 5)}
        self.redirect = (0, 0)
        self.asked = 0
        self.probes = 0
        self.sampler = Sampler(
            self._redirected,
            lambda: self.kernel.opened - self.probes,
            self.kernel.edge,
            self.clock,
        )

    def _redirected(self) -> tuple[int, int]:
        self.asked += 1
        return self.redirect

    def sample(self, config: Config | None = CONFIG, watched: bool = False) -> Sampled:
        self.clock.now += INTERVAL
        self.sampler.sample(config, PLAN, watched)
        return self.sampler.sampled

    def carry(self, device: str, rx: int = 0, tx: int = 0) -> None:
        before = self.kernel.links[device]
        self.kernel.links[device] = (before[0] + rx, before[1] + tx)

    def measured(self) -> Measured:
        return self.sampler.sampled.measured


# --- Rates -------------------------------------------------------------------------------------


def test_rates_are_those_between_two_samples_of_each_wan() -> None:
    rig = Rig()
    assert rig.sample().device("eth1") == DeviceTraffic()
    rig.carry("eth1", rx=8 * MBIT, tx=2 * MBIT)
    found = rig.sample()
    assert found.device("eth1") == DeviceTraffic(8 * MBIT, 2 * MBIT, (8_000_000,), (2_000_000,))
    assert found.device("eth2").rx_rates == (0,)
    assert [name for name, _ in found.devices] == ["eth1", "eth2"], "the LAN is no WAN"
    assert (found.interval, found.points) == (INTERVAL, POINTS)


def test_a_late_sample_is_no_higher_rate() -> None:
    rig = Rig()
    rig.sample()
    rig.carry("eth1", rx=8 * MBIT)
    rig.clock.now += INTERVAL
    assert rig.sample().device("eth1").rx_rates == (4_000_000,)


def test_a_device_made_anew_starts_anew() -> None:
    rig = Rig()
    rig.carry("eth1", rx=1000, tx=1000)
    rig.sample()
    rig.carry("eth1", rx=1000)
    assert len(rig.sample().device("eth1").rx_rates) == 1
    for links in ((0, 5000), (5000, 0)):
        rig.kernel.links["eth1"] = links
        assert rig.sample().device("eth1") == DeviceTraffic(*links)


def test_a_device_that_left_and_came_back_starts_anew() -> None:
    rig = Rig()
    rig.sample()
    rig.sample()
    del rig.kernel.links["eth1"]
    assert rig.sample().device("eth1") == DeviceTraffic()


def test_a_device_that_is_no_wan_for_a_while_starts_anew() -> None:
    rig = Rig()
    rig.sample()
    rig.sample()
    rig.sampler.sample(CONFIG, replace(PLAN, wans=PLAN.wans[1:]), False)
    assert [name for name, _ in rig.sampler.sampled.devices] == ["eth2"]
    assert rig.sample().device("eth1").rx_rates == ()


def test_the_graph_keeps_so_many_points() -> None:
    rig = Rig()
    for _ in range(POINTS + 20):
        rig.carry("eth1", rx=MBIT)
        rig.sample()
    assert len(rig.sample().device("eth1").rx_rates) == POINTS


def test_the_best_of_the_last_minute_counts_of_each_wan() -> None:
    rig = Rig()
    rig.sample()
    for eth1, eth2 in ((50, 0), (10, 20), (0, 0)):
        rig.carry("eth1", rx=eth1 * MBIT, tx=2 * eth1 * MBIT)
        rig.carry("eth2", rx=eth2 * MBIT)
        rig.sample()
    assert rig.measured().receive_rate == 70e6
    assert rig.measured().send_rate == 100e6
    for _ in range(RECENT):
        rig.sample()
    assert (rig.measured().receive_rate, rig.measured().send_rate) == (0, 0)


def test_a_rate_is_steady_after_some_whole_intervals_of_sending() -> None:
    rig = Rig()
    rig.sample()
    for _ in range(ENDS):
        rig.carry("eth1", tx=10 * MBIT)
        rig.sample()
        assert not rig.measured().steady
    rig.carry("eth1", tx=10 * MBIT)
    rig.sample()
    assert rig.measured().steady
    for _ in range(RECENT):
        rig.sample()
    assert not rig.measured().steady


def test_chatter_and_acknowledgements_are_not_steady() -> None:
    rig = Rig()
    rig.sample()
    for _ in range(RECENT):
        rig.carry("eth1", tx=MIN_RATE // 2 * int(INTERVAL) // 8)
        rig.carry("eth2", rx=100 * MBIT, tx=4 * MBIT)
        rig.sample()
    assert not rig.measured().steady


# --- Connections -------------------------------------------------------------------------------


def test_subflows_are_counted_by_address_and_by_connection() -> None:
    rig = Rig()
    for local, token in ((WAN1, 1), (WAN2, 1), (WAN1, 2)):
        rig.kernel.opens(local, NEAR, token=token)
    rig.kernel.opens(WAN2, NEAR, state="syn-sent")
    found = rig.sample()
    assert (found.connections, found.subflows) == (2, ((WAN1, 2), (WAN2, 1)))
    assert found.measured.subflows_per_connection == 2
    rig.kernel.sockets.clear()
    assert rig.sample().connections == 0
    assert rig.measured().subflows_per_connection == 2, "of the last minute"
    for _ in range(RECENT):
        rig.sample()
    assert rig.measured().subflows_per_connection == 0


def test_clients_of_the_server_are_counted_by_their_address() -> None:
    rig = Rig()
    for token, remote in ((1, "10.1.1.71"), (2, "10.1.1.71"), (3, "10.1.1.72")):
        rig.kernel.opens("10.1.1.78", remote, port=50000 + token, token=token)
        rig.kernel.sockets[-1] = replace(rig.kernel.sockets[-1], local_port=8388)
    found = rig.sample(BOTH)
    assert (found.server_connections, found.server_clients) == (3, 2)


def test_the_round_trip_is_the_shortest_of_the_slowest_path() -> None:
    rig = Rig()
    for local, micros in ((WAN1, 30_000), (WAN1, 20_000), (WAN2, 50_000), (WAN2, 90_000)):
        rig.kernel.moves(rig.kernel.opens(local, NEAR), min_rtt=micros)
    rig.kernel.opens(WAN1, "10.1.1.70")  # has measured nothing yet
    rig.sample()
    assert rig.measured().round_trip == 0.05
    rig.kernel.sockets.clear()
    rig.sample()
    assert rig.measured().round_trip == 0.05, "as it was, while nobody uses the paths"


def test_sockets_are_not_read_while_no_connection_is_new() -> None:
    rig = Rig()
    rig.sample()
    walks = rig.kernel.walks
    rig.sample()
    rig.kernel.opened += 1
    rig.probes += 1  # the agent's own
    rig.sample()
    assert rig.kernel.walks == walks
    rig.kernel.opens(WAN1, NEAR)
    assert rig.sample().connections == 1
    rig.sample()
    assert rig.kernel.walks == walks + 2, "while there are some they are read each time"


def test_another_configuration_looks_for_other_connections() -> None:
    rig = Rig()
    rig.sample()
    walks = rig.kernel.walks
    rig.sample(BOTH)
    assert rig.kernel.walks > walks


def test_without_a_configuration_there_are_none() -> None:
    rig = Rig()
    rig.kernel.opens(WAN1, NEAR)
    assert rig.sample(None).connections == 0
    assert rig.kernel.walks == 0


def test_a_kernel_without_diag_has_no_connections_and_all_the_rest() -> None:
    class Mute(FakeKernel):
        def _tcp_sockets(self, local_port: int = 0, remote_port: int = 0) -> list[TcpSocket]:
            raise KernelError("the kernel lacks inet_diag")

    rig = Rig()
    mute = Mute(rig.clock)
    mute.links = {"eth1": (7, 7)}
    rig.sampler = Sampler(rig._redirected, lambda: mute.opened, mute.edge, rig.clock)
    mute.opens(WAN1, NEAR)
    found = rig.sample()
    assert (found.connections, found.device("eth1").rx_bytes) == (0, 7)


def test_a_wan_without_subflows_is_noticed_as_blocked() -> None:
    rig = Rig()
    rig.kernel.opens(WAN1, NEAR, token=7)
    for _ in range(5):
        rig.sample()
    assert rig.sampler.sampled.blocked_wans.wans["wan2"].missing == 1
    assert "wan1" not in rig.sampler.sampled.blocked_wans.wans


def test_a_wan_whose_endpoint_makes_no_subflows_is_not_missed() -> None:
    wan = PLAN.wans[0]
    assert joinable(wan, Endpoint(WAN1, "eth1", frozenset({"subflow"}), 101))
    assert joinable(wan, Endpoint(WAN1, "eth1", frozenset({"subflow", "backup"}), 101))
    assert not joinable(wan, Endpoint(WAN1, "eth1", frozenset({"signal"}), 101))
    assert not joinable(wan, Endpoint(WAN1, "eth2", frozenset({"subflow"}), 101))


# --- Counters ----------------------------------------------------------------------------------


def test_counters_count_from_the_trial_of_the_engines() -> None:
    rig = Rig()
    rig.kernel.counters = {"MPCapableSYNTX": 5, "MPTCPRetrans": 1}
    assert rig.sample().counters == (("MPCapableSYNTX", 5), ("MPTCPRetrans", 1))
    rig.sampler.ignore_so_far()
    rig.kernel.counters = {"MPCapableSYNTX": 7, "MPTCPRetrans": 1, "DssFallback": 2}
    assert rig.sample().counters == (
        *(("DssFallback", 2), ("MPCapableSYNTX", 2), ("MPTCPRetrans", 0)),
    )


def test_the_firewall_is_asked_only_while_somebody_looks() -> None:
    rig = Rig()
    rig.redirect = (3, 1800)
    assert (rig.sample().redirected, rig.asked) == ((0, 0), 0)
    assert (rig.sample(watched=True).redirected, rig.asked) == ((3, 1800), 1)
    rig.redirect = (9, 9000)
    assert (rig.sample().redirected, rig.asked) == ((3, 1800), 1), "as it was seen last"
