# SPDX-License-Identifier: GPL-2.0-or-later
"""Does another transparent proxy take the LAN's connections before ours?

Read from ``nft -j list ruleset``: a rule outside our table that redirects TCP or hands it to
TPROXY, reached from a prerouting hook that comes before ours, for packets from a LAN device. The
first to take a connection has it (nf_nat's mapping is made once), so ours never sees it.

Not meant are rules for DNS or time alone, which adblockers have, nor what fw4 forwards to a port
of the router from a WAN. Addresses are not compared: part of the connections is enough to tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .nft_ruleset import TABLE

_Json = Any  # another program's

#: Ours is at dstnat + 1 (``nft_ruleset``); linux/netfilter_ipv4.h NF_IP_PRI_NAT_DST is -100.
_OURS = -99
#: DNS, NTP, DNS over TLS, mDNS: their redirects are no rivals.
_SMALL_PORTS = frozenset({53, 123, 853, 5353})
_TAKES = frozenset({"redirect", "tproxy"})
_XT_TARGETS = frozenset({"REDIRECT", "TPROXY"})


def first_takers(document: Mapping[str, _Json], devices: Iterable[str]) -> tuple[str, ...]:
    """The chains that take TCP connections from these devices first, as nft names them."""
    listed = [item for item in document.get("nftables", ()) if isinstance(item, dict)]
    rules: dict[tuple[str, str, str], list[list[_Json]]] = {}
    for rule in _all(listed, "rule"):
        where = (rule["family"], rule["table"], rule["chain"])
        rules.setdefault(where, []).append(rule.get("expr") or [])
    lan = frozenset(devices)
    found: dict[str, None] = {}
    for chain in _all(listed, "chain"):
        base = (chain["family"], chain["table"], chain["name"])
        if " ".join(base[:2]) == TABLE or not _comes_first(chain):
            continue
        for family, table, name in _taking(base, rules, lan):
            found[f"{family} {table} {name}"] = None
    return tuple(found)


def _all(listed: Iterable[Mapping[str, _Json]], kind: str) -> Iterator[dict[str, _Json]]:
    return (item[kind] for item in listed if isinstance(item.get(kind), dict))


def _comes_first(chain: Mapping[str, _Json]) -> bool:
    priority = chain.get("prio", 0)
    return chain.get("hook") == "prerouting" and isinstance(priority, int) and priority <= _OURS


def _taking(
    base: tuple[str, str, str],
    rules: Mapping[tuple[str, str, str], list[list[_Json]]],
    lan: frozenset[str],
) -> Iterator[tuple[str, str, str]]:
    """The chains with such a rule that a packet from the LAN may get to."""
    seen, waiting = {base}, [base]
    while waiting:
        here = waiting.pop()
        for expression in rules.get(here, ()):
            if not _may_match(expression, lan):
                continue
            if any(_takes(statement) for statement in expression):
                yield here
            for target in _targets(expression):
                there = (*here[:2], target)
                if there not in seen:
                    seen.add(there)
                    waiting.append(there)


def _takes(statement: Mapping[str, _Json]) -> bool:
    if not isinstance(statement, dict):
        return False
    xt = statement.get("xt")
    return not _TAKES.isdisjoint(statement) or (
        isinstance(xt, dict) and xt.get("name") in _XT_TARGETS
    )


def _targets(value: _Json) -> Iterator[str]:
    """The chains of jumps, also those inside maps."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("jump", "goto") and isinstance(inner, dict):
                yield str(inner.get("target"))
            else:
                yield from _targets(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _targets(inner)


def _may_match(expression: Iterable[_Json], lan: frozenset[str]) -> bool:
    """Whether a TCP connection from the LAN can match, as far as that is looked at."""
    for statement in expression:
        match = statement.get("match") if isinstance(statement, dict) else None
        if not isinstance(match, dict):
            continue
        left, right = match.get("left"), _values(match.get("right"))
        if not isinstance(left, dict) or match.get("op") == "!=":
            continue
        meta, payload = left.get("meta") or {}, left.get("payload") or {}
        if meta.get("key") == "iifname" and not _names(right, lan):
            return False
        protocol = meta.get("key") == "l4proto" or payload.get("field") in ("protocol", "nexthdr")
        if protocol and not {"tcp", 6} & set(right):
            return False
        if payload.get("protocol") == "udp":
            return False
        if payload.get("field") == "dport" and right and _SMALL_PORTS.issuperset(right):
            return False
    return True


def _values(right: _Json) -> list[str | int]:
    """Numbers and words of a match; of a range or a prefix its text, which is neither."""
    inner = right.get("set", right) if isinstance(right, dict) else right
    values = inner if isinstance(inner, list) else [inner]
    return [v if isinstance(v, (str, int)) else str(v) for v in values]


def _names(patterns: Iterable[str | int], devices: frozenset[str]) -> bool:
    """Whether one of the names (``eth*`` stands for more) is one of the devices. A named set's
    content is not known: it may be."""
    return any(
        str(p).startswith("@")
        or any(d == p or (str(p).endswith("*") and d.startswith(str(p)[:-1])) for d in devices)
        for p in patterns
    )
