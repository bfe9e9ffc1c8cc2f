# SPDX-License-Identifier: GPL-2.0-or-later
"""What netifd and the kernel say of a router's network, as one picture.

How it is read, each line with the set-up that taught it in ``tests/unit/network/dumps``:

    WAN: device     that of its interface; of a modem whose own has none, a child's.
         address    What the kernel has on the device and can send from. Of each family the one
                    1. that can reach the peers: of global scope, unless all of them are ULAs;
                    2. that is neither deprecated nor temporary;
                    3. that its own interface or a child of it (``wan_4``) has; then another
                       interface of the device (``wan6``), but only with a way out: the address
                       for a modem's web page has none; then one only the kernel knows of;
                    4. that a gateway is meant for: by its source, or in the same network;
                    5. that is in use, or comes first.
         gateway    Of these interfaces' default routes, also of those kept out of the kernel
                    (``defaultroute 0``); of other interfaces of the device one that is in the
                    same network or link-local; else main's on that device.
    uplinks         Devices over which main's default leads to the Internet as far as we are
                    concerned: those of the wan sections, and of tunnels that carry one family
                    over the other (464xlat, DS-Lite, 6in4 …). Any other default is the user's:
                    what leaves by it (``elsewhere``) is not proxied.
    connected       Networks of the addresses on devices that are no WAN's, and delegated
                    prefixes: no WAN's table may swallow them.
    local           These, the networks on the WANs' devices, and what main has a more specific
                    route for than a default. Main is not copied, though: where a packet would
                    leave by another device than an uplink the kernel says so itself
                    (``fib`` of nftables). Copied is what leaves by an uplink (a provider's
                    television, option 121 of DHCP) or is refused; not what leads through a peer,
                    since that is the network behind the peer, which is to be reached by proxy.
    LAN devices     Those of the interfaces named in the client's section.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from ..state import Family, family
from . import Facts, Interface, KernelAddress, is_default, network_of

#: Protocols of netifd that carry one address family over the other.
TUNNELS = {"464xlat", "6in4", "6rd", "6to4", "dslite", "ipip6", "map"}

_ULA = ipaddress.IPv6Network("fc00::/7")


@dataclass(frozen=True)
class WanAddress:
    """One address of a WAN with its way out; ``gateway`` is None on a link without one."""

    address: str
    prefix: int
    gateway: str | None

    @property
    def family(self) -> Family:
        return family(self.address)

    @property
    def host(self) -> str:
        """The address as a network of one."""
        return f"{self.address}/{128 if self.family == 6 else 32}"

    @property
    def network(self) -> str:
        return network_of(f"{self.address}/{self.prefix}")

    def holds(self, address: str) -> bool:
        """Whether an address lies on this link."""
        return _within(address, self.network)


@dataclass(frozen=True)
class WanFacts:
    """What is known of the link of a WAN's interface, whether it is up or not."""

    device: str | None
    addresses: tuple[WanAddress, ...]


@dataclass(frozen=True)
class Topology:
    """The picture. Networks are sorted; see the rules above for what the words mean."""

    wans: tuple[tuple[str, WanFacts], ...]
    """By interface, in the order asked for."""
    uplinks: tuple[str, ...]
    connected: tuple[str, ...]
    local: tuple[str, ...]
    lan_devices: tuple[str, ...]
    elsewhere: tuple[tuple[Family, str], ...] = ()
    """Where the Internet is reached now by a device that is no uplink, as a VPN's: family and
    device."""


def topology(
    facts: Facts,
    wans: Iterable[str],
    lans: Iterable[str] = (),
    peers: Collection[str] = (),
    in_use: Collection[str] = (),
) -> Topology:
    """``wans`` and ``lans`` are netifd's names of interfaces, ``peers`` all addresses of all
    peers, ``in_use`` addresses that the WANs have used until now."""
    found = {name: _wan(name, facts, peers, in_use) for name in wans}
    devices = {wan.device for wan in found.values() if wan.device}
    connected = set(_connected(facts, devices))
    on_wans = {network_of(str(a)) for d in devices for a in _global(facts.kernel_addresses(d))}
    uplinks = uplink_devices(facts.interfaces, found)
    specific = {
        r.destination
        for r in facts.main
        if not is_default(r.destination)
        and not ipaddress.ip_network(r.destination).is_link_local
        and not (r.device in uplinks and r.gateway in peers)
    }
    local = connected | {n for n in on_wans if not is_default(n)} | specific
    interfaces = (facts.interface(name) for name in lans)
    return Topology(
        wans=tuple(found.items()),
        uplinks=uplinks,
        connected=tuple(sorted(connected)),
        local=tuple(sorted(local)),
        lan_devices=tuple(sorted({i.device for i in interfaces if i and i.device})),
        elsewhere=tuple(w for w in facts.ways_out if w[1] not in uplinks),
    )


def uplink_devices(interfaces: Iterable[Interface], wans: Iterable[str]) -> tuple[str, ...]:
    """The devices of uplinks; ``wans`` are the interfaces of the wan sections."""
    interfaces, wans = tuple(interfaces), tuple(wans)
    devices = {wan_device(interfaces, name) for name in wans}
    devices |= {i.device for i in interfaces if i.up and i.proto in TUNNELS}
    return tuple(sorted(d for d in devices if d))


def wan_device(interfaces: Iterable[Interface], name: str) -> str | None:
    """The device of a WAN's interface."""
    interfaces = tuple(interfaces)
    own = next((i for i in interfaces if i.name == name), None)
    if own is None or own.device:
        return own.device if own else None
    return next((i.device for i in _children(interfaces, name) if i.device), None)


def _children(interfaces: Iterable[Interface], name: str) -> list[Interface]:
    """The interfaces that one made, and those that these made."""
    interfaces = tuple(interfaces)
    found: list[Interface] = []
    for child in interfaces:
        if child.parent == name:
            found += [child, *_children(interfaces, child.name)]
    return found


# --- A WAN --------------------------------------------------------------------------------------


def _wan(name: str, facts: Facts, peers: Collection[str], in_use: Collection[str]) -> WanFacts:
    device = wan_device(facts.interfaces, name)
    if device is None:
        return WanFacts(None, ())
    on_device = [i for i in facts.interfaces if i.device == device]
    children = {i.name for i in _children(facts.interfaces, name)}
    link = _Link(
        own=tuple(
            sorted(
                (i for i in on_device if i.up and (i.name == name or i.name in children)),
                key=lambda i: i.name != name,
            )
        ),
        others=tuple(i for i in on_device if i.up and i.name != name and i.name not in children),
        main=tuple(
            r.gateway
            for r in facts.main
            if r.device == device and r.gateway and is_default(r.destination)
        ),
        down=frozenset(a for i in on_device if not i.up for a in i.addresses),
    )
    families: tuple[Family, Family] = (4, 6)
    chosen = (
        _address(fam, link, facts.kernel_addresses(device), peers, in_use) for fam in families
    )
    return WanFacts(device, tuple(address for address in chosen if address))


@dataclass(frozen=True)
class _Link:
    """What is said of one device: by the WAN's own interface and its children, by the others
    on it, by main's defaults; and the addresses of interfaces on it that are down."""

    own: tuple[Interface, ...]
    others: tuple[Interface, ...]
    main: tuple[str, ...]
    down: frozenset[str]

    def gateway(self, address: str) -> tuple[str | None, bool]:
        """The gateway for an ``address/prefix``, and whether it is meant for just this one."""
        host, network = address.partition("/")[0], network_of(address)
        found: list[tuple[str, bool]] = []
        for interface, foreign in (
            *((i, False) for i in self.own),
            *((i, True) for i in self.others),
        ):
            for hop in interface.gateways:
                sources = [s for h, s in interface.sources if h == hop]
                if family(hop) != family(host):
                    continue
                if sources and not any(_within(host, s) for s in sources):
                    continue
                near = _within(hop, network)
                if foreign and not near and not ipaddress.ip_address(hop).is_link_local:
                    continue
                found.append((hop, near or bool(sources)))
        found += [(hop, _within(hop, network)) for hop in self.main if family(hop) == family(host)]
        return next((f for f in found if f[1]), found[0] if found else (None, False))


def _address(
    fam: Family,
    link: _Link,
    kernel: Iterable[KernelAddress],
    peers: Collection[str],
    in_use: Collection[str],
) -> WanAddress | None:
    """The best address of a family, as the rules say."""
    order = [a for i in (*link.own, *link.others) for a in i.addresses]
    best: tuple[tuple[bool | int, ...], WanAddress] | None = None
    for place, address in enumerate(_global(kernel)):
        text = str(address)
        if family(address.address) != fam or "tentative" in address.flags:
            continue
        gateway, meant = link.gateway(text)
        candidate = WanAddress(address.address, address.prefix, gateway)
        if any(text in i.addresses for i in link.own):
            whose = 0
        elif any(text in i.addresses for i in link.others):
            if gateway is None and not any(candidate.holds(p) for p in peers):
                continue
            whose = 1
        elif text in link.down:
            continue
        else:
            whose = 2
        rank = (
            not _reaches(address.address, peers),
            "deprecated" in address.flags,
            "temporary" in address.flags,
            whose,
            not meant,
            address.address not in in_use,
            order.index(text) if text in order else len(order) + place,
        )
        if best is None or rank < best[0]:
            best = rank, candidate
    return best[1] if best else None


def _reaches(address: str, peers: Iterable[str]) -> bool:
    """Whether the peers' answers find the way back to this address, going by its scope
    (RFC 6724, rule 2): a ULA is of use where the peers have nothing but ULAs."""
    six = [p for p in peers if family(p) == 6]
    return family(address) == 4 or _is_ula(address) == (bool(six) and all(map(_is_ula, six)))


def _is_ula(address: str) -> bool:
    return ipaddress.IPv6Address(address) in _ULA


@lru_cache(maxsize=1024)
def _within(address: str, network: str) -> bool:
    """Whether an address lies in a network; not where the families differ."""
    return family(address) == family(network) and ipaddress.ip_address(
        address
    ) in ipaddress.ip_network(network)


# --- What is local ------------------------------------------------------------------------------


def _connected(facts: Facts, wan_devices: Collection[str]) -> Iterator[str]:
    """netifd may know an address that the kernel does not have yet, and the kernel devices that
    netifd does not know (Tailscale, a container's bridge)."""
    said = [(i.device, a) for i in facts.interfaces if i.up for a in i.addresses]
    said += [(d, str(a)) for d, addresses in facts.addresses for a in _global(addresses)]
    for device, address in said:
        network = network_of(address)
        if device not in wan_devices and device != "lo" and not is_default(network):
            yield network
    for interface in facts.interfaces:
        if interface.up:
            yield from interface.prefixes


def _global(addresses: Iterable[KernelAddress]) -> Iterator[KernelAddress]:
    return (a for a in addresses if a.scope in ("global", "site"))
