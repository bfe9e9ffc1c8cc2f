# SPDX-License-Identifier: GPL-2.0-or-later
"""``table inet mptcp_proxy`` as text for ``nft -f``.

The table is always written whole, in one transaction, so nobody ever sees half of it. Only
the jump rules are changed alone (``jumps_text``).
"""

from __future__ import annotations

from collections.abc import Iterator

from ..state import MARK_MASK, Access, Firewall, Inbound, Redirect
from . import ALWAYS, CHAIN, PROBE, PROBE_SOURCE, of_family
from .nft_lan_rules import LEAVE, matches

TABLE = "inet mptcp_proxy"

# Behind fw4's dstnat chain (-100): once one nat chain has translated a connection the later
# ones are not asked, so the user's port forwards and NAT reflection win over the redirect.
_NAT = "type nat hook prerouting priority dstnat + 1; policy accept;"
# Behind nat: what was redirected is known by its conntrack status.
_AFTER_NAT = "type filter hook prerouting priority dstnat + 2; policy accept;"
# The same place for what the router itself sends; nft knows no word for it in this hook.
_PROBE_HOOK = "type nat hook output priority -99; policy accept;"
# After conntrack, before routing and nat; behind others who mark there (mangle, -150), as mwan3.
_MARKING = "type filter hook prerouting priority mangle + 1; policy accept;"
# Before fw4's input chain (filter, 0), which accepts whatever comes from the LAN zone.
_INPUT = "type filter hook input priority filter - 1; policy accept;"

#: A chain no hook leads to: its one rule holds a comment (``core.firewall.nft_readback``).
READBACK = "readback"

#: The chain that holds the jump rules, by mode. A TCP reset cannot come from a nat chain.
JUMP_CHAINS = {"proxy": "prerouting", "block": "block"}

# Not "!= unicast": for IPv6 the type comes from a real route lookup (nft_fib_ipv6.c of 6.18), and a
# router without an IPv6 default route would then never proxy IPv6.
_OWN = "fib daddr type { local, broadcast, anycast, multicast }"

# Where the kernel would send the packet now, by main and by whatever rules and marks there are.
# Without any route it would not go out at all, and can still be proxied. (A named set of device
# names cannot be compared with this: seen with nft 1.0.6.)
_ROUTED = "fib daddr . mark"


def table_text(firewall: Firewall) -> str:
    """The transaction that replaces the whole table by this one. Takes checked values only."""
    return (
        f"add table {TABLE}\ndelete table {TABLE}\ntable {TABLE} {{\n"
        + "".join(f"\t{line}\n" for line in _lines(firewall))
        + "}\n"
    )


def jumps_text(redirect: Redirect) -> str:
    """The transaction that makes ``redirect.jumps`` the jump rules."""
    chain = JUMP_CHAINS[redirect.mode]
    lines = [f"flush chain {TABLE} {chain}"]
    lines += [f"add rule {TABLE} {chain} {jump}" for jump in _jumps(redirect)]
    return "\n".join(lines) + "\n"


def delete_text() -> str:
    """Removes the table whether it exists or not ('destroy' is newer than nft 1.0.6)."""
    return f"add table {TABLE}\ndelete table {TABLE}\n"


def _lines(firewall: Firewall) -> Iterator[str]:
    yield f"chain {READBACK} {{}}"
    if firewall.redirect:
        yield from _redirect(firewall.redirect)
    if firewall.access:
        yield from _access(firewall.access)
    if firewall.inbound:
        yield from _inbound(firewall.inbound)


def _redirect(redirect: Redirect) -> Iterator[str]:
    port = redirect.port
    yield from _set("bypass4", "ipv4_addr", of_family(redirect.bypass, 4))
    yield from _set("bypass6", "ipv6_addr", of_family(redirect.bypass, 6))
    yield f"chain {CHAIN} {{"
    if redirect.mode == "block":
        # What a user's own rule translates was not ours to proxy; replies of connections
        # that came in from outside (port forwards) are not the LAN's choice.
        yield "\tct status dnat return"
        yield "\tct direction reply return"
    yield f'\t{_OWN} return comment "the router itself"'
    yield f'\tip daddr {{ {", ".join(ALWAYS[4])} }} return comment "left alone always"'
    yield f'\tip6 daddr {{ {", ".join(ALWAYS[6])} }} return comment "left alone always"'
    yield '\tip daddr @bypass4 return comment "left alone by configuration"'
    yield '\tip6 daddr @bypass6 return comment "left alone by configuration"'
    if redirect.uplinks:
        names = ", ".join(f'"{device}"' for device in redirect.uplinks)
        yield (
            f"\t{_ROUTED} oif exists {_ROUTED} oifname != {{ {names} }} return "
            'comment "routed elsewhere"'
        )
    does = (
        f'counter redirect to :{port} comment "redirect"'
        if redirect.mode == "proxy"
        else 'counter reject with tcp reset comment "refuse"'
    )
    for rule in redirect.rules:
        yield f"\t{matches(rule)} {does if rule.redirect else LEAVE}"
    yield f"\tmeta l4proto tcp {does}"
    yield "}"
    # This chain also stands, empty, in mode block: the last nat chain to leave would take the
    # kernel's nat hook along, and running proxied connections would no longer be translated (seen
    # on 6.18).
    yield f"chain prerouting {{ {_NAT}"
    yield from (f"\t{jump}" for jump in _jumps(redirect) if redirect.mode == "proxy")
    yield "}"
    if redirect.mode == "block":
        yield f"chain block {{ {_AFTER_NAT}"
        yield from (f"\t{jump}" for jump in _jumps(redirect))
        yield "}"
    yield f"chain probe {{ {_PROBE_HOOK}"
    yield (
        f"\tip saddr {PROBE_SOURCE} ip daddr {PROBE[0]} tcp dport {PROBE[1]} redirect to :{port}"
    )
    yield "}"
    if redirect.strip_mptcp:
        yield f"chain strip {{ {_AFTER_NAT}"
        yield (
            f"\ttcp dport {port} ct status dnat fib daddr type local "
            "tcp flags & (syn | ack) == syn counter reset tcp option mptcp "
            'comment "strip MPTCP"'
        )
        yield "}"
    yield f"chain guard {{ {_INPUT}"
    yield f'\ttcp dport {port} ct status dnat counter accept comment "redirected"'
    yield f'\ttcp dport {port} counter reject with tcp reset comment "refused"'
    yield "}"


def _access(access: Access) -> Iterator[str]:
    port = access.port
    yield from _set("allow4", "ipv4_addr", of_family(access.allow, 4))
    yield from _set("allow6", "ipv6_addr", of_family(access.allow, 6))
    yield f"chain access {{ {_INPUT}"
    if access.allow:
        yield f'\ttcp dport {port} iif lo accept comment "the router itself"'
        yield f'\ttcp dport {port} ip saddr @allow4 counter accept comment "allowed"'
        yield f'\ttcp dport {port} ip6 saddr @allow6 counter accept comment "allowed"'
        yield f'\ttcp dport {port} counter reject with tcp reset comment "refused"'
    else:
        yield f'\ttcp dport {port} counter accept comment "everyone"'
    yield "}"


def _inbound(inbound: tuple[Inbound, ...]) -> Iterator[str]:
    """A connection gets its mark by its first packet, its answers by the connection's. Of what is
    on its way to the router itself the answers have the WAN's address, and a rule of their own."""
    yield f"chain inbound {{ {_MARKING}"
    for one in inbound:
        yield (
            f'\tiifname "{one.device}" ct state new ct mark 0x0 '
            f'ct mark set {one.mark:#x} comment "came in"'
        )
    devices = ", ".join(f'"{one.device}"' for one in inbound)
    yield (
        f"\tct direction reply meta mark 0x0 ct mark & {MARK_MASK:#x} != 0x0 "
        f"iifname != {{ {devices} }} meta mark set ct mark & {MARK_MASK:#x} "
        'comment "goes back"'
    )
    yield "}"


def _set(name: str, type_: str, networks: tuple[str, ...]) -> Iterator[str]:
    elements = f" elements = {{ {', '.join(networks)} }};" if networks else ""
    yield f"set {name} {{ type {type_}; flags interval;{elements} }}"


def _jumps(redirect: Redirect) -> Iterator[str]:
    # iifname, not iif: the device need not exist yet, and may be made anew.
    return (f'iifname "{d}" meta l4proto tcp jump {CHAIN}' for d in redirect.jumps)
