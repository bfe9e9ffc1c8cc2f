# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel settings: each only where the kernel has it and only as far as needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from ..config import Config
from ..network import Facts
from ..network.wans import WanLink
from ..state import Sysctl
from . import buffers

#: Wanted value and why, by key; ``facts`` names those that exist on this kernel.
MPTCP = {
    # Off on some builds of the kernel.
    "net.mptcp.enabled": "1",
    # Our own fail-over looks like a black hole to the kernel (SYNs lost on the dead WAN, then
    # one passes on the other): it would switch MPTCP off for up to an hour (mptcp_net-next 557).
    # There on 6.12, 6.18 and 7.3, not on 6.1; 6.6 has neither the setting nor the habit (its
    # mptcp-sysctl.rst).
    "net.mptcp.blackhole_timeout": "0",
    # With the default of 2 a connection opened while its WAN is dead is plain TCP for life. There
    # on 6.18 and 7.3. 6.12 gives up after 3 SYNs and has nothing to set; 6.1 had not after 5.
    "net.mptcp.syn_retrans_before_tcp_fallback": "128",
    # Intervals without progress until a subflow counts as stale: 1 shortens the stall from
    # 445-664 to 336-518 ms where the kernel is alone (measured on 6.18; there on 6.1 to 7.3).
    "net.mptcp.stale_loss_cnt": "1",
}

#: Who looks after the subflows of new connections: the kernel by its endpoints, not a program
#: (mptcpd) or a BPF one, to whom endpoints mean nothing. By name from Linux 6.15 on, where each of
#: the two settings sets the other (seen on 6.18); by number since 5.19.
PATH_MANAGER = {"net.mptcp.path_manager": "kernel", "net.mptcp.pm_type": "0"}
#: A connection that still calls over a WAN whose route is gone gets another address with its next
#: SYN, instead of none for minutes (inet_sk_reselect_saddr; ``routing`` takes the route away).
DYNAMIC = "net.ipv4.ip_dynaddr"

RMEM, WMEM = "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"
BUFFERS: dict[str, buffers.Wanted] = {RMEM: buffers.receiving, WMEM: buffers.sending}


def keys(devices: Iterable[str]) -> tuple[str, ...]:
    """Every sysctl the plan may want to know or set."""
    per_device = [
        f"net/ipv4/conf/{device}/{name}"
        for device in devices
        for name in ("rp_filter", "arp_filter")
    ]
    return (
        *MPTCP,
        *PATH_MANAGER,
        DYNAMIC,
        *BUFFERS,
        "net/ipv4/conf/all/rp_filter",
        "net/ipv6/conf/all/disable_ipv6",
        *per_device,
    )


def sysctls(config: Config, wans: tuple[WanLink, ...], facts: Facts) -> tuple[Sysctl, ...]:
    found = (_mptcp(facts), _dynamic(config, facts), _buffers(config, facts), _filters(wans, facts))
    return tuple(sorted(chain.from_iterable(found)))


def _mptcp(facts: Facts) -> Iterator[Sysctl]:
    for key, value in MPTCP.items():
        if facts.sysctl(key) is not None:
            yield Sysctl(key, value)
    known = [item for item in PATH_MANAGER.items() if facts.sysctl(item[0]) is not None]
    yield from (Sysctl(*item) for item in known[:1])


def _dynamic(config: Config, facts: Facts) -> Iterator[Sysctl]:
    present = facts.sysctl(DYNAMIC)
    if config.client and present is not None:
        yield Sysctl(DYNAMIC, "1" if present == "0" else present)


def _buffers(config: Config, facts: Facts) -> Iterator[Sysctl]:
    if config.globals.buffers == "off":
        return
    for key, wanted in BUFFERS.items():
        # From what the agent has made of it: a value that another program has set under traffic
        # is no reason to keep it.
        present = _values(facts.sysctl_of_ours(key)) if facts.sysctl(key) else None
        if present is not None:
            # Planned also where it is so already: the agent may have set it, and what it has
            # set and no longer plans is put back.
            values, _ = wanted(config, facts, present)
            yield Sysctl(key, " ".join(map(str, values)))


def buffer_values(facts: Facts, key: str) -> buffers.Values | None:
    """The present (least, start, most) of tcp_rmem or tcp_wmem in bytes; None: not known."""
    return _values(facts.sysctl(key))


def _values(text: str | None) -> buffers.Values | None:
    present = (text or "").split()
    if len(present) != 3 or not all(p.isdigit() for p in present):
        return None
    low, start, most = map(int, present)
    return low, start, most


def strict_filter(facts: Facts, device: str) -> bool:
    """Whether answers to the device's address that arrive by another route are dropped: rp_filter
    1, where the larger of ``all`` and the device's own value counts (ip-sysctl.rst)."""
    own = facts.sysctl(f"net/ipv4/conf/{device}/rp_filter")
    return own is not None and max(own, facts.sysctl("net/ipv4/conf/all/rp_filter") or "0") == "1"


def _filters(wans: tuple[WanLink, ...], facts: Facts) -> Iterator[Sysctl]:
    """Two WANs in one subnet: each answers ARP only for its own address (arp_filter), or both
    subflows arrive on one link."""
    for wan in wans:
        if not wan.in_use or wan.device is None:
            continue
        key = f"net/ipv4/conf/{wan.device}/rp_filter"
        # Compared with 2 as well: what the agent has set stays planned.
        if strict_filter(facts, wan.device) or facts.sysctl(key) == "2":
            yield Sysctl(key, "2")
        own = wan.address(4)
        shared = own and any(
            other is not wan and other.up and (a := other.address(4)) and a.network == own.network
            for other in wans
        )
        key = f"net/ipv4/conf/{wan.device}/arp_filter"
        if shared and facts.sysctl(key) is not None:
            yield Sysctl(key, "1")
