# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``nft -j list table inet mptcp_proxy`` says, and whether it is what we wrote.

Releases of nft list the same rule in different ways (seen with 0.9.8, 1.0.6, 1.1.3, 1.1.7), so
the listing is not compared with a form kept here. Instead nft's own listing, taken right
after the commit, is hashed into the comment of a rule in the chain ``readback``, together
with a hash of the text it came from. A table whose listing no longer has that hash was changed
by somebody; one whose text would be another today was written by another release of the agent.
Both are written anew. Jump rules come and go and are left out of both hashes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..state import Access, Firewall, Inbound, Redirect
from . import CHAIN, FOREIGN_JUMP, TAMPERED, Counter, collapse, nft_lan_rules, tampered
from .nft_ruleset import JUMP_CHAINS, READBACK, TABLE, table_text

#: A table that cannot be read is certainly not as planned.
UNREADABLE = Firewall("nftables", Redirect(TAMPERED, (), (FOREIGN_JUMP,)))

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
                if not all(isinstance(statement, dict) for statement in item["expr"]):
                    raise ValueError(f"a rule in chain {item['chain']}")
                chains.setdefault(item["chain"], []).append(item)
                if item["chain"] == READBACK:
                    note = item.get("comment", "")
                if item["chain"] in (READBACK, *JUMP_CHAINS.values()):
                    continue
            elif kind == "set":
                sets[item["name"]] = tuple(nft_lan_rules.networks(item.get("elem", ())))
            elif kind == "metainfo":
                continue
            hashed.append(kind + json.dumps(_bare(item), sort_keys=True))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"cannot read nft's listing: {error!r}") from error
    return Listing(chains, sets, note, _hash("\n".join(hashed)))


def readback_text(firewall: Firewall, listing: Listing) -> str:
    """The transaction that notes how nft lists a table that was just written."""
    return (
        f"flush chain {TABLE} {READBACK}\n"
        f'add rule {TABLE} {READBACK} counter comment "{_note(firewall, listing)}"\n'
    )


def firewall_in(listing: Listing) -> Firewall:
    """The Firewall a listing shows; damaged where it is not just as we left it."""
    seen = meaning(listing)
    if listing.note == _note(seen, listing):
        return seen
    return tampered("nftables", seen, seen.redirect.jumps if seen.redirect else ())


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
            uplinks=_uplinks(listing),
            strip_mptcp="strip" in listing.chains,
            rules=tuple(nft_lan_rules.rules_in(listing.chains[CHAIN])),
        )
    if "access" in listing.chains:
        allow = collapse(_elements(listing, "allow4", "allow6"))
        access = Access(_port(listing, "access"), allow)
    return Firewall("nftables", redirect, access, tuple(sorted(_inbound(listing))))


def counters_in(listing: Listing) -> tuple[Counter, ...]:
    found = []
    for chain, rules in listing.chains.items():
        for rule in rules if chain != READBACK else ():
            for statement in rule["expr"]:
                count = statement.get("counter")
                if isinstance(count, dict):  # a text would name a counter of somebody's own
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


def _elements(listing: Listing, *names: str) -> Iterator[str]:
    return (network for name in names for network in listing.sets.get(name, ()))


def _matched(rule: _Json, left: _Json) -> Any:
    """What a rule compares ``left`` with, None if it does not."""
    for statement in rule["expr"]:
        match = statement.get("match")
        if isinstance(match, dict) and match.get("left") == left:
            return match.get("right")
    return None


def _port(listing: Listing, chain: str) -> int:
    dport = {"payload": {"protocol": "tcp", "field": "dport"}}
    for rule in listing.chains.get(chain, ()):
        port = _matched(rule, dport)
        if isinstance(port, int):
            return port
    return TAMPERED


def _uplinks(listing: Listing) -> tuple[str, ...]:
    """The devices of the rule that asks for a packet's way."""
    for rule in listing.chains.get(CHAIN, ()):
        for statement in rule["expr"]:
            match = statement.get("match", {})
            left = match.get("left", {})
            asked = left.get("fib", {}) if isinstance(left, dict) else {}
            if asked.get("result") == "oifname":
                right = match["right"]
                names = right.get("set", ()) if isinstance(right, dict) else right
                return (names,) if isinstance(names, str) else tuple(sorted(map(str, names)))
    return ()


def _inbound(listing: Listing) -> Iterator[Inbound]:
    """The WANs of the rules that mark connections."""
    for rule in listing.chains.get("inbound", ()):
        device = _matched(rule, {"meta": {"key": "iifname"}})
        for statement in rule["expr"]:
            mark = statement.get("mangle", {}).get("value")
            if isinstance(device, str) and isinstance(mark, int):
                yield Inbound(device, mark)


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
