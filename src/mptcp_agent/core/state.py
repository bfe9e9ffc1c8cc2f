# SPDX-License-Identifier: GPL-2.0-or-later
"""RouterState: what the router is, and what it should be, in one type.

It is built twice: observed from the machine (``system``) and planned from configuration,
facts and health (``core.plan``). Their difference (``core.diff``) is what has to be done.
Only what the agent itself makes is in here: its own routes carry ``ROUTE_PROTOCOL``, its
rules lie in ``RULE_PRIORITIES``, its endpoints have ids in ``ENDPOINT_IDS``, its firewall
rules live in tables and chains of its own names.

Addresses and networks are strings in canonical form (``str(ipaddress.ip_address(x))``), so
that equal things compare equal; the family follows from the text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

#: Route and rule protocol number of everything the agent installs: unassigned in iproute2's
#: rt_protos, above the kernel's reserved 0-4, below the routing daemons' 186-192.
ROUTE_PROTOCOL = 109

#: Rule priorities of the agent. Before main (32766) and before mwan3 (1001..) and pbr
#: (29000..), so that a subflow bound to a WAN stays on it whatever else is installed. From
#: PRIORITY_DEVICE and PRIORITY_ADDRESS on three each: the WAN's table without its default, main
#: without its defaults, the WAN's table.
PRIORITY_SERVER_REPLY = 700
PRIORITY_DEVICE = 710
PRIORITY_DEAD_CALL = 715
PRIORITY_ADDRESS = 720
PRIORITY_PEER = 730
PRIORITY_INBOUND = 733
RULE_PRIORITIES = range(700, 740)

#: Five bits of the marks of packets and connections: the WAN over which a connection came in. Those
#: of mwan3 are 0x3f00, of pbr, Tailscale and Docker's networks 0xff0000 and less.
MARK_MASK = 0x3E000000
MARK_SHIFT = 25

#: Routing tables: one per WAN (by its slot, see ``wans``), one for the first subflow of a
#: connection, which has no source address yet, and one in which nothing can be reached.
TABLE_PEERS = 10900
TABLE_FIRST_WAN = 10901
TABLE_NOWHERE = 10932
TABLES = range(10900, 10933)
#: linux/rtnetlink.h RT_TABLE_MAIN: the user's, looked up and never changed.
TABLE_MAIN = 254

#: Endpoint ids of the agent: one per WAN address, and one more for the same with small packets.
#: The kernel hands out ids from 1 upwards to those who do not ask for one, so these stay clear of
#: other people's.
ENDPOINT_IDS = range(101, 229)
ENDPOINT_SMALL_PACKETS = 64
#: How many endpoints every kernel holds at once: MPTCP_PM_ADDR_MAX of net/mptcp, 8 through
#: Linux 7.1. How many this one holds, the kernel is asked.
FEWEST_ENDPOINTS = 8

Family = Literal[4, 6]
RouteType = Literal["unicast", "throw", "unreachable"]
Backend = Literal["nftables", "iptables"]
EndpointFlag = Literal["subflow", "backup", "signal"]


def family(address: str) -> Family:
    """4 or 6, from the text of an address or network."""
    return 6 if ":" in address else 4


@dataclass(frozen=True, order=True)
class Endpoint:
    """An MPTCP path manager endpoint (``ip mptcp endpoint``)."""

    address: str
    device: str
    flags: frozenset[EndpointFlag]
    id: int


@dataclass(frozen=True)
class Limits:
    """``ip mptcp limits``; the kernel allows 0..8 of each."""

    subflows: int
    add_addr_accepted: int


@dataclass(frozen=True, order=True)
class Route:
    """A route in one of the agent's own tables. ``destination`` is a CIDR text."""

    table: int
    destination: str
    device: str | None = None
    gateway: str | None = None
    source: str | None = None
    type: RouteType = "unicast"
    mtu: int | None = None
    """Bytes of the packets that connections over it send and ask for; None: what the device has."""


@dataclass(frozen=True, order=True)
class Rule:
    """A policy rule; every selector that is None is absent. Networks are CIDR texts."""

    priority: int
    family: Family
    table: int
    source: str | None = None
    destination: str | None = None
    iif: str | None = None
    oif: str | None = None
    sport: int | None = None
    """TCP source port; set together with ``ipproto tcp``, as the next."""
    dport: int | None = None
    mark: int | None = None
    """Of packets with this in the bits MARK_MASK of their mark."""
    suppress: int | None = None
    """Routes to networks of so few bits or fewer do not count (``suppress_prefixlength``)."""


@dataclass(frozen=True)
class LanRule:
    """What of the LAN's TCP is redirected or left alone because the router's own firewall
    (``core.router_firewall``) says so; of several the first that matches counts.

    What is empty is not asked for. Addresses are networks in canonical form, or a single
    ``address/mask`` whose mask has holes; ports are first and last; MACs are in lower case.
    """

    redirect: bool
    device: str
    family: Family
    sources: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    macs: tuple[str, ...] = ()
    not_macs: tuple[str, ...] = ()
    sports: tuple[tuple[int, int], ...] = ()
    dports: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Redirect:
    """The chain SSREDIR and the rule that switches it on.

    The chain is complete before a jump leads to it; taking the jumps out is the fail-open
    switch. ``mode`` block refuses LAN TCP at once (TCP reset) instead of redirecting it.
    """

    port: int
    bypass: tuple[str, ...]
    """Networks left alone, sorted, besides those the chain always leaves alone."""
    jumps: tuple[str, ...]
    """LAN devices whose TCP enters the chain; empty = switched off."""
    mode: Literal["proxy", "block"] = "proxy"
    uplinks: tuple[str, ...] = ()
    """Devices over which main's default is to be proxied, sorted. What the kernel would send by
    any other device now is left alone. Empty: it is not asked (iptables cannot)."""
    strip_mptcp: bool = False
    """Strip the MPTCP option from LAN SYNs: for redirectors whose listener speaks MPTCP."""
    rules: tuple[LanRule, ...] = ()
    """Exceptions; what none is about is redirected."""


@dataclass(frozen=True)
class Access:
    """Who may reach the proxy server's port. Empty ``allow`` = everyone."""

    port: int
    allow: tuple[str, ...]


@dataclass(frozen=True, order=True)
class Inbound:
    """A WAN's device, and the mark (within MARK_MASK) of connections that came in on it."""

    device: str
    mark: int


@dataclass(frozen=True)
class Firewall:
    """Everything the agent has in one firewall back end."""

    backend: Backend
    redirect: Redirect | None = None
    access: Access | None = None
    inbound: tuple[Inbound, ...] = ()
    """The answers of the LAN to connections that came in on one of these (port forwards) get its
    mark, by which a rule sends them back over the same WAN. Sorted."""


@dataclass(frozen=True)
class Process:
    """A proxy process under procd: one instance of the agent's service.

    ``digest`` is of the configuration file's content: procd restarts an instance when its
    command, environment or ``file`` changes, and only then.
    """

    name: str
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    config_path: str = ""
    digest: str = ""
    user: str = ""


@dataclass(frozen=True)
class File:
    """A generated file, mode 0600. The content may hold a password: never log it."""

    path: str
    content: str = field(repr=False)
    user: str = ""
    """Its owner where the process reads it without being root; empty: root."""


@dataclass(frozen=True, order=True)
class Sysctl:
    """``key`` as in /proc/sys with dots, or slashes where a device name has dots."""

    key: str
    value: str


class Part(Enum):
    """A part of the router that is looked at on its own."""

    LINKS = "links"
    """Links and addresses: they decide what is dead, and are read in a millisecond."""
    ROUTING = "routing"
    """Routes, rules, endpoints and limits: several times that."""
    FIREWALL = "firewall"
    FILES = "files"
    SYSCTLS = "sysctls"
    CONFIG = "config"
    INTERFACES = "interfaces"
    SERVICES = "services"


#: What the kernel and the file system say, and what is asked for over ubus.
KERNEL_PARTS = frozenset({Part.LINKS, Part.ROUTING, Part.FIREWALL, Part.FILES, Part.SYSCTLS})
UBUS_PARTS = frozenset({Part.CONFIG, Part.INTERFACES, Part.SERVICES})
EVERY_PART = KERNEL_PARTS | UBUS_PARTS


@dataclass(frozen=True)
class RouterState:
    """All of it. Tuples are sorted, so that equal states compare equal."""

    endpoints: tuple[Endpoint, ...] = ()
    limits: Limits | None = None
    """None: leave as it is (nothing planned)."""
    routes: tuple[Route, ...] = ()
    rules: tuple[Rule, ...] = ()
    firewalls: tuple[Firewall, ...] = ()
    """At most one planned; observed, leftovers of the other back end show up too."""
    processes: tuple[Process, ...] = ()
    files: tuple[File, ...] = ()
    sysctls: tuple[Sysctl, ...] = ()

    @property
    def lan(self) -> Literal["proxy", "block"] | None:
        """What a new LAN connection is led into; None: it goes out directly."""
        chains = (f.redirect for f in self.firewalls if f.redirect)
        return next((chain.mode for chain in chains if chain.jumps), None)
