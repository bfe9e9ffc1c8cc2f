# SPDX-License-Identifier: GPL-2.0-or-later
"""A clock, a bus, a kernel and a router of glass: everything the agent's parts stand on.

    clock      ``simulate`` runs a coroutine under simulated time, ``until`` waits for something
    bus        ubusd with rpcd, netifd and procd behind it
    kernel     what the monitor's edge finds: probes, sockets, counters
    machine    what the agent changes: kernel and files; netlink and engines beside them
    router     all of it around an agent that runs

For example:

    def test_a_silent_wan() -> None:
        async def work(clock: FakeClock) -> None:
            kernel = FakeKernel(clock)
            prober = Prober(lambda: None, kernel.edge, clock)
            ...
            assert await until(lambda: state(prober) == "down", 2) < 0.5

        simulate(work)
"""

from .bus import FakeBus, FakeProcd
from .clock import EPOCH, LATE, FakeClock, simulate, until
from .kernel import FakeKernel, Way

__all__ = [
    "EPOCH",
    "LATE",
    "FakeBus",
    "FakeClock",
    "FakeKernel",
    "FakeProcd",
    "Way",
    "simulate",
    "until",
]
