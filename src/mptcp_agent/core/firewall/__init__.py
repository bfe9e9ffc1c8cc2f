# SPDX-License-Identifier: GPL-2.0-or-later
"""What the firewall has to do, said once for both back ends (nftables, iptables).

The chain SSREDIR sees the TCP of the LAN. It leaves alone what never may be proxied
(``ALWAYS``), the router's own addresses, ``Redirect.bypass``, where the back end can ask what the
kernel would send by another device than ``Redirect.uplinks``, and what the router's own firewall
refuses (``Redirect.rules``); the rest it redirects into the proxy (mode proxy) or refuses with a
TCP reset (mode block). One jump rule per LAN device
leads into it; without jumps the chain stands ready and does nothing.

Besides the chain there are up to five small things:

- the guard: only redirected connections reach the redirector's port. Anybody else would be
  proxied to the router's own address, which is what SO_ORIGINAL_DST gives for a connection
  nobody redirected: an open proxy towards the WAN, and a loop on a router with both roles;
- the stripping of the MPTCP option from redirected SYNs (``Redirect.strip_mptcp``);
- the redirect of the agent's own probe through the tunnel (``PROBE``), with or without jumps;
- who may reach the proxy server's port (``Access``). The router itself always may;
- the marks of connections that come in on a WAN (``Inbound``; nftables only). Whoever else marks
  a connection or a packet is left alone.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product
from typing import Protocol, TypeVar

from ...errors import FirewallError
from ..state import MARK_MASK, Access, Backend, Family, Firewall, LanRule, Redirect, family

CHAIN = "SSREDIR"

#: Never proxied whatever the configuration says: "this network", loopback, link-local and
#: multicast (RFC 6890, RFC 4291). The router's own addresses are matched by type.
ALWAYS = {
    4: ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4"),
    6: ("::/127", "fe80::/10", "ff00::/8"),
}

#: Address and port of the probe through the tunnel (``system.probes``). The agent's own
#: connections to it are redirected like the LAN's; the server, told to connect to it, refuses
#: at once, since nobody listens there: an answer from beyond the whole tunnel.
PROBE = ("127.109.0.1", 1)
#: Where the agent connects to it from. Nobody else does: the router at the far end may redirect
#: probes of its own, and what its proxy server is told to connect to must not become another one
#: there and go back into a tunnel, round and round. Who binds no address has the source 127.0.0.1.
PROBE_SOURCE = "127.109.0.2"

#: Port of an observed redirect that somebody changed by hand: equal to no planned one, so
#: the diff repairs it.
TAMPERED = 0

#: A jump rule nobody planned, in ``Redirect.jumps`` of an observed redirect.
FOREIGN_JUMP = "?"

# Stricter than the kernel (dev_valid_name), which allows quotes, '*' and '+': the last two
# are wildcards to nft and iptables. 15 characters are IFNAMSIZ - 1.
_T = TypeVar("_T")
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}", re.ASCII)
_DEVICE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,14}")


@dataclass(frozen=True)
class Counter:
    """What one rule has seen since the rules were last written.

    ``chain`` redirect counts once per connection (nat sees only its first packet); guard
    counts every packet from the LAN into the redirector.
    """

    chain: str
    rule: str
    packets: int
    bytes: int


class FirewallBackend(Protocol):
    """The same for nftables and iptables. Calls block: run them in a worker thread."""

    def available(self) -> str:
        """'' where this back end can be used, else why not and what to install."""

    def observe(self) -> Firewall | None:
        """What is in the kernel; None where nothing of ours is."""

    def apply(self, firewall: Firewall) -> None:
        """Make it so in one commit and read it back. Running connections stay."""

    def set_jumps(self, redirect: Redirect) -> None:
        """Only switch: make ``redirect.jumps`` the jump rules, the chain stays as it is."""

    def remove(self) -> None:
        """Take out everything of ours; nothing there is fine."""

    def counters(self) -> tuple[Counter, ...]:
        """What the rules have seen; empty where there are none."""


def collapse(networks: Iterable[str]) -> tuple[str, ...]:
    """Networks in the one form in which equal sets compare equal: merged, IPv4 first.

    >>> collapse(["10.1.0.0/16", "10.0.0.0/8", "2001:db8::1"])
    ('10.0.0.0/8', '2001:db8::1/128')
    """
    four, six = [], []
    for text in networks:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError as error:
            raise FirewallError(f"{text!r} is not an IP network") from error
        if isinstance(network, ipaddress.IPv4Network):
            four.append(network)
        elif "%" in text:
            raise FirewallError(f"{text!r} has a zone, which no packet carries")
        else:
            six.append(network)
    return (
        *map(str, ipaddress.collapse_addresses(four)),
        *map(str, ipaddress.collapse_addresses(six)),
    )


def of_family(networks: Iterable[str], wanted: Family) -> tuple[str, ...]:
    return tuple(n for n in networks if family(n) == wanted)


def checked(firewall: Firewall, backend: Backend) -> Firewall:
    """The canonical form of a planned firewall, every value of it checked.

    Raises FirewallError naming the value; what passes is safe to hand to nft and iptables.
    """
    if firewall.backend != backend:
        raise FirewallError(f"rules for {firewall.backend} were given to {backend}")
    redirect, access = firewall.redirect, firewall.access
    if redirect and backend == "iptables":
        redirect = replace(redirect, rules=singles(redirect.rules))
    checked_devices(i.device for i in firewall.inbound)
    for one in firewall.inbound:
        if not 0 < one.mark == one.mark & MARK_MASK:
            raise FirewallError(f"{one.mark:#x} is not a mark within {MARK_MASK:#x}")
    if redirect:
        redirect = replace(
            redirect,
            port=_port(redirect.port),
            bypass=collapse(redirect.bypass),
            jumps=checked_devices(redirect.jumps),
            uplinks=checked_devices(redirect.uplinks),
            rules=tuple(map(_rule, redirect.rules)),
        )
    if access:
        access = Access(_port(access.port), collapse(access.allow))
    if redirect and access and redirect.port == access.port:
        raise FirewallError(
            f"port {access.port} is given to both the redirector (client, local_port) and "
            "the proxy server (server, port); choose another for one of them"
        )
    return replace(firewall, redirect=redirect, access=access)


def checked_devices(devices: Iterable[str]) -> tuple[str, ...]:
    names = tuple(sorted(set(devices)))
    for name in names:
        if not _DEVICE.fullmatch(name):
            raise FirewallError(f"{name!r} is not a device name the firewall can match")
    return names


def _rule(rule: LanRule) -> LanRule:
    checked_devices((rule.device,))
    if rule.family not in (4, 6):
        raise FirewallError(f"{rule.family!r} is no address family")
    for mac in (*rule.macs, *rule.not_macs):
        if not _MAC.fullmatch(mac):
            raise FirewallError(f"{mac!r} is not a MAC address")
    for ports in (*rule.sports, *rule.dports):
        for port in ports:
            if type(port) is not int or not 0 <= port <= 65535:
                raise FirewallError(f"{port!r} is not a TCP port")
    return replace(
        rule, sources=_addresses(rule.sources), destinations=_addresses(rule.destinations)
    )


def _addresses(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Networks, or one address with a mask that has holes."""
    if len(texts) == 1 and has_holes(texts[0]):
        address, _, mask = texts[0].partition("/")
        pair = ipaddress.ip_address(address), ipaddress.ip_address(mask)
        if pair[0].version != pair[1].version:
            raise FirewallError(f"{texts[0]!r} is of two families")
        return (f"{pair[0]}/{pair[1]}",)
    return collapse(texts)


def has_holes(network: str) -> bool:
    """Whether an ``address/mask`` has a mask that is no prefix length."""
    return bool(set(".:") & set(network.partition("/")[2]))


def singles(rules: Iterable[LanRule]) -> tuple[LanRule, ...]:
    """The same with at most one address, port range and MAC of each kind in a rule, IPv4 first, for
    back ends that have no sets."""
    return tuple(
        replace(rule, sources=a, destinations=b, macs=c, sports=d, dports=e)
        for rule in sorted(rules, key=lambda r: r.family)
        for a, b, c, d, e in product(
            _each(rule.sources),
            _each(rule.destinations),
            _each(rule.macs),
            _each(rule.sports),
            _each(rule.dports),
        )
    )


def _each(values: tuple[_T, ...]) -> list[tuple[_T, ...]]:
    return [(value,) for value in values] or [()]


def tampered(backend: Backend, seen: Firewall, jumps: tuple[str, ...]) -> Firewall:
    """What to report of rules that are ours but no longer mean what we wrote.

    The jumps are reported as they are: they decide whether the LAN is switched.
    """
    redirect = seen.redirect or Redirect(TAMPERED, (), ())
    redirect = replace(redirect, port=TAMPERED, jumps=jumps)
    return Firewall(backend, redirect, seen.access, seen.inbound)


def only_jumps_differ(old: Firewall | None, new: Firewall) -> bool:
    """True where ``set_jumps(new.redirect)`` does the whole change from old to new."""
    return (
        old is not None
        and old != new
        and old.redirect is not None
        and new.redirect is not None
        and replace(old, redirect=replace(old.redirect, jumps=new.redirect.jumps)) == new
    )


def _port(port: int) -> int:
    # bool is an int; so is a subclass with its own __str__.
    if type(port) is not int or not 1 <= port <= 65535:
        raise FirewallError(f"{port!r} is not a TCP port (1 to 65535)")
    return port
