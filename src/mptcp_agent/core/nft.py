"""``table inet mptcp_proxy``: its text for ``nft -f``, and what ``nft -j list`` says of it.

The table is always written whole, in one transaction, so nobody ever sees half of it. Only
the jump rules are changed alone (``jumps_text``).

Is what we read what we wrote? Releases of nft list the same rule in different ways, so the
listing is not compared with a form kept here. Instead nft's own listing, taken right after
the commit, is hashed into the comment of a rule in the chain ``readback``, together with a
hash of the text it came from. A table whose listing no longer has that hash was changed by
somebody; one whose text would be another today was written by another release of the agent.
Both are written anew. Jump rules come and go and are left out of both hashes.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from .chain import (
    ALWAYS,
    CHAIN,
    DAMAGED,
    FOREIGN_JUMP,
    PROBE,
    Counter,
    collapse,
    damaged,
    of_family,
)
from .state import Access, Firewall, Redirect

TABLE = "inet mptcp_proxy"
_NAME = "mptcp_proxy"

# Behind fw4's dstnat chain (-100): once one nat chain has translated a connection the later
# ones are not asked, so the user's port forwards and NAT reflection win over the redirect.
_NAT = "type nat hook prerouting priority dstnat + 1; policy accept;"
# Behind nat: what was redirected is known by its conntrack status.
_AFTER_NAT = "type filter hook prerouting priority dstnat + 2; policy accept;"
# The same place for what the router itself sends; nft knows no word for it in this hook.
_PROBE_HOOK = "type nat hook output priority -99; policy accept;"
# Before fw4's input chain (filter, 0), which accepts whatever comes from the LAN zone.
_INPUT = "type filter hook input priority filter - 1; policy accept;"

#: The chain that holds the jump rules, by mode. A TCP reset cannot come from a nat chain.
JUMP_CHAINS = {"proxy": "prerouting", "block": "block"}

# Not "!= unicast": for IPv6 the type comes from a real route lookup (nft_fib_ipv6.c), and a
# router without an IPv6 default route would then never proxy IPv6.
_OWN = "fib daddr type { local, broadcast, anycast, multicast }"


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


def readback_text(firewall: Firewall, listing: Listing) -> str:
    """The transaction that notes how nft lists a table that was just written."""
    return (
        f"flush chain {TABLE} readback\n"
        f'add rule {TABLE} readback counter comment "{_note(firewall, listing)}"\n'
    )


def delete_text() -> str:
    """Removes the table whether it exists or not ('destroy' is newer than nft 1.0.6)."""
    return f"add table {TABLE}\ndelete table {TABLE}\n"


def _lines(firewall: Firewall) -> Iterator[str]:
    # Used in no hook: only here to hold a comment.
    yield "chain readback {}"
    if firewall.redirect:
        yield from _redirect(firewall.redirect)
    if firewall.access:
        yield from _access(firewall.access)


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
    if redirect.mode == "proxy":
        yield f'\tmeta l4proto tcp counter redirect to :{port} comment "redirect"'
    else:
        yield '\tmeta l4proto tcp counter reject with tcp reset comment "refuse"'
    yield "}"
    # This chain also stands, empty, in mode block: the last nat chain to leave would take the
    # kernel's nat hook along, and running proxied connections would no longer be translated.
    yield f"chain prerouting {{ {_NAT}"
    yield from (f"\t{jump}" for jump in _jumps(redirect) if redirect.mode == "proxy")
    yield "}"
    if redirect.mode == "block":
        yield f"chain block {{ {_AFTER_NAT}"
        yield from (f"\t{jump}" for jump in _jumps(redirect))
        yield "}"
    yield f"chain probe {{ {_PROBE_HOOK}"
    yield f"\tip daddr {PROBE[0]} tcp dport {PROBE[1]} redirect to :{port}"
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


def _set(name: str, type_: str, networks: tuple[str, ...]) -> Iterator[str]:
    elements = f" elements = {{ {', '.join(networks)} }};" if networks else ""
    yield f"set {name} {{ type {type_}; flags interval;{elements} }}"


def _jumps(redirect: Redirect) -> Iterator[str]:
    # iifname, not iif: the device need not exist yet, and may be made anew.
    return (f'iifname "{d}" meta l4proto tcp jump {CHAIN}' for d in redirect.jumps)


# --- What nft lists ---------------------------------------------------------------------------

#: A table that cannot be read is certainly not as planned.
UNREADABLE = Firewall("nftables", Redirect(DAMAGED, (), (FOREIGN_JUMP,)))

# nft's JSON: a rule is a list of statements, each a dict with one key.
_Json = dict[str, Any]


@dataclass(frozen=True)
class Listing:
    """A table as ``nft -j list table`` gives it, taken apart."""

    chains: dict[str, list[_Json]]
    sets: dict[str, tuple[str, ...]]
    note: str
    """What the rule in ``readback`` remembers."""
    digest: str
    """Hash of everything but jump rules, counters, handles and the note."""


def parse(text: str) -> Listing:
    """Take nft's JSON apart. ValueError where it is not what nft writes."""
    chains: dict[str, list[_Json]] = {}
    sets: dict[str, tuple[str, ...]] = {}
    note = ""
    hashed: list[str] = []
    try:
        for entry in json.loads(text)["nftables"]:
            ((kind, item),) = entry.items()
            if kind == "chain":
                chains.setdefault(item["name"], [])
            elif kind == "rule":
                chains.setdefault(item["chain"], []).append(item)
                if item["chain"] == "readback":
                    note = item.get("comment", "")
                if item["chain"] in ("readback", *JUMP_CHAINS.values()):
                    continue
            elif kind == "set":
                sets[item["name"]] = tuple(_networks(item.get("elem", ())))
            elif kind == "metainfo":
                continue
            hashed.append(kind + json.dumps(_bare(item), sort_keys=True))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"cannot read nft's listing: {error!r}") from error
    return Listing(chains, sets, note, _hash("\n".join(hashed)))


def firewall_in(listing: Listing) -> Firewall:
    """The Firewall a listing shows; damaged where it is not just as we left it."""
    seen = meaning(listing)
    if listing.note == _note(seen, listing):
        return seen
    return damaged("nftables", seen, seen.redirect.jumps if seen.redirect else ())


def meaning(listing: Listing) -> Firewall:
    """What the rules seem to say, without asking whether anything else was changed."""
    redirect = access = None
    if CHAIN in listing.chains:
        block = "block" in listing.chains
        redirect = Redirect(
            port=_port(listing, "guard"),
            bypass=collapse(_elements(listing, "bypass4", "bypass6")),
            jumps=tuple(sorted(map(_device, _jump_rules(listing)))),
            mode="block" if block else "proxy",
            strip_mptcp="strip" in listing.chains,
        )
    if "access" in listing.chains:
        allow = collapse(_elements(listing, "allow4", "allow6"))
        access = Access(_port(listing, "access"), allow)
    return Firewall("nftables", redirect, access)


def counters_in(listing: Listing) -> tuple[Counter, ...]:
    found = []
    for chain, rules in listing.chains.items():
        for rule in rules if chain != "readback" else ():
            for statement in rule["expr"]:
                count = statement.get("counter")
                if count:
                    name = rule.get("comment", "")
                    found.append(Counter(chain, name, count["packets"], count["bytes"]))
    return tuple(found)


def _note(firewall: Firewall, listing: Listing) -> str:
    """Both hashes of the module's docstring. A comment holds at most 127 bytes."""
    if firewall.redirect:
        firewall = replace(firewall, redirect=replace(firewall.redirect, jumps=()))
    return f"text {_hash(table_text(firewall))} listing {listing.digest}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _bare(item: Any) -> Any:
    """Without what differs between two listings of the same table."""
    if isinstance(item, dict):
        return {
            key: sorted(map(_bare, value), key=json.dumps)
            if key in ("elem", "set") and isinstance(value, list)
            else _bare(value)
            for key, value in item.items()
            if key not in ("handle", "packets", "bytes")
        }
    if isinstance(item, list):
        return [_bare(part) for part in item]
    return item


def _networks(elements: Iterable[Any]) -> Iterator[str]:
    """Set elements: ``"a"``, ``{"prefix": {"addr": "a", "len": 8}}``, ``{"range": ["a", "b"]}``,
    or one of these wrapped in ``{"elem": {"val": …}}`` with a comment or counter beside it."""
    for element in elements:
        value = element
        if isinstance(value, dict) and "elem" in value:
            value = value["elem"]["val"]
        if isinstance(value, str):
            yield value
        elif "prefix" in value:
            yield f"{value['prefix']['addr']}/{value['prefix']['len']}"
        else:
            # We write none, but nft 0.9 lists 0.0.0.0/0 as one.
            first, last = map(ipaddress.ip_address, value["range"])
            yield from map(str, ipaddress.summarize_address_range(first, last))


def _elements(listing: Listing, *names: str) -> Iterator[str]:
    return (network for name in names for network in listing.sets.get(name, ()))


def _matched(rule: _Json, left: _Json) -> Any:
    """What a rule compares ``left`` with, None if it does not."""
    for statement in rule["expr"]:
        match = statement.get("match")
        if match and match["left"] == left:
            return match["right"]
    return None


def _port(listing: Listing, chain: str) -> int:
    dport = {"payload": {"protocol": "tcp", "field": "dport"}}
    for rule in listing.chains.get(chain, ()):
        port = _matched(rule, dport)
        if isinstance(port, int):
            return port
    return DAMAGED


def _jump_rules(listing: Listing) -> Iterator[_Json]:
    return (rule for chain in JUMP_CHAINS.values() for rule in listing.chains.get(chain, ()))


def _device(rule: _Json) -> str:
    """The device of a jump rule, FOREIGN_JUMP for any other rule."""
    device = _matched(rule, {"meta": {"key": "iifname"}})
    protocol = _matched(rule, {"meta": {"key": "l4proto"}})
    # Without /etc/protocols the name is a number.
    whole = len(rule["expr"]) == 3 and rule["expr"][2] == {"jump": {"target": CHAIN}}
    if whole and isinstance(device, str) and protocol in ("tcp", 6):
        return device
    return FOREIGN_JUMP
