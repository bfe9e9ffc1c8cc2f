# SPDX-License-Identifier: GPL-2.0-or-later
"""The firewall as iptables chains: what to make, and what was found.

    nat     PREROUTING  -i DEVICE -p tcp -j SSREDIR      (last: the user's port forwards win)
            SSREDIR     leave alone … REDIRECT
    filter  INPUT       -p tcp -j SSREDIR_IN             (first: before the firewall accepts)
            SSREDIR_IN  the guard, who may reach the server
            FORWARD     -i DEVICE -p tcp -j SSREDIR      (first; mode block)
            SSREDIR     leave alone … REJECT             (mode block)
    mangle  INPUT       -p tcp -j SSREDIR_IN
            SSREDIR_IN  strip the MPTCP option           (strip_mptcp)
    nat     OUTPUT      -p tcp -j SSREDIR_OUT            (IPv4)
            SSREDIR_OUT REDIRECT the agent's own probe

otherwise the same in iptables and ip6tables. A REJECT is not allowed before routing, hence
FORWARD; and INPUT is behind nat, so there what was redirected can be told by its connection's
state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from ..state import Access, Family, Firewall, Redirect
from ..state import family as family_of
from . import (
    ALWAYS,
    CHAIN,
    FOREIGN_JUMP,
    PROBE,
    PROBE_SOURCE,
    TAMPERED,
    Counter,
    collapse,
    iptables_lan_rules,
    of_family,
    tampered,
)
from .iptables_entry import XtRule

CHAIN_IN, CHAIN_OUT = "SSREDIR_IN", "SSREDIR_OUT"
CHAINS = (CHAIN, CHAIN_IN, CHAIN_OUT)
#: In this order they are written: the guard stands before anything is redirected.
TABLES = ("filter", "mangle", "nat")
#: Where the jump rules of the LAN devices are, by mode.
JUMPS = {"proxy": ("nat", "PREROUTING"), "block": ("filter", "FORWARD")}
#: Our rules go to the end of this chain, and to the start of the others.
LAST = "PREROUTING"

_EVERYTHING = {4: "0.0.0.0/0", 6: "::/0"}


@dataclass(frozen=True)
class Content:
    """Ours in one table: the rules of our chains, and the rules elsewhere that lead to them."""

    chains: Mapping[str, tuple[XtRule, ...]] = field(default_factory=dict)
    jumps: Mapping[str, tuple[XtRule, ...]] = field(default_factory=dict)
    counts: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict, compare=False)
    """Packets and bytes of the rules of ``chains``, where it was found."""


#: What is found or planned, by family and table. A table with nothing of ours is not in it.
Tables = Mapping[tuple[Family, str], Content]


def tables(firewall: Firewall, families: Mapping[Family, bool]) -> Tables:
    """What a firewall is made of. Takes checked values only.

    ``families`` says for each family that has iptables whether it has a nat table; without
    that its TCP cannot be redirected and is not refused in mode block either.
    """
    planned = {}
    for family, nat in families.items():
        for table in TABLES:
            content = Content(
                chains={n: r for n, r in _chains(firewall, family, table, nat) if r},
                jumps={n: r for n, r in _jumps(firewall, family, table, nat) if r},
            )
            if content.chains:
                planned[family, table] = content
    return planned


def device_jumps(redirect: Redirect, family: Family) -> tuple[XtRule, ...]:
    return tuple(XtRule(family, CHAIN, device=device) for device in redirect.jumps)


def _chains(
    firewall: Firewall, family: Family, table: str, nat: bool
) -> Iterator[tuple[str, tuple[XtRule, ...]]]:
    redirect = firewall.redirect
    if table == "filter":
        rules = tuple(_input(firewall, family))
        yield CHAIN_IN, rules
    if redirect and nat and table == JUMPS[redirect.mode][0]:
        yield CHAIN, tuple(_redirect(redirect, family))
    if redirect and family == 4 and table == "nat":
        probe = XtRule(
            4,
            "REDIRECT",
            source=f"{PROBE_SOURCE}/32",
            destination=f"{PROBE[0]}/32",
            dport=PROBE[1],
            to_port=redirect.port,
        )
        yield CHAIN_OUT, (probe,)
    if redirect and redirect.strip_mptcp and table == "mangle":
        strip = XtRule(family, "TCPOPTSTRIP", dport=redirect.port, syn=True, dnat=True)
        yield CHAIN_IN, (strip,)


def _jumps(
    firewall: Firewall, family: Family, table: str, nat: bool
) -> Iterator[tuple[str, tuple[XtRule, ...]]]:
    redirect = firewall.redirect
    if table == "filter" or (redirect and redirect.strip_mptcp and table == "mangle"):
        yield "INPUT", (XtRule(family, CHAIN_IN),)
    if redirect and family == 4 and table == "nat":
        yield "OUTPUT", (XtRule(family, CHAIN_OUT),)
    if redirect and nat and table == JUMPS[redirect.mode][0]:
        yield JUMPS[redirect.mode][1], device_jumps(redirect, family)


def _redirect(redirect: Redirect, family: Family) -> Iterator[XtRule]:
    if redirect.mode == "block":
        # See core.firewall.nft_ruleset: a user's own translation, and replies of forwarded ports.
        yield XtRule(family, "RETURN", dnat=True)
        yield XtRule(family, "RETURN", reply=True)
    yield XtRule(family, "RETURN", own=True)
    for network in (*ALWAYS[family], *of_family(redirect.bypass, family)):
        yield XtRule(family, "RETURN", destination=_given(network))
    does = XtRule(family, "REDIRECT", to_port=redirect.port)
    if redirect.mode == "block":
        does = XtRule(family, "REJECT")
    yield from iptables_lan_rules.of(redirect.rules, does)
    yield does


def _input(firewall: Firewall, family: Family) -> Iterator[XtRule]:
    if firewall.redirect:
        port = firewall.redirect.port
        yield XtRule(family, "RETURN", dport=port, dnat=True)
        yield XtRule(family, "REJECT", dport=port)
    if firewall.access:
        port = firewall.access.port
        # The first rule of the two for the server's port says which of these it is.
        if not firewall.access.allow:
            yield XtRule(family, "RETURN", dport=port)
            return
        yield XtRule(family, "RETURN", dport=port, device="lo")
        for network in of_family(firewall.access.allow, family):
            yield XtRule(family, "RETURN", dport=port, source=_given(network))
        yield XtRule(family, "REJECT", dport=port)


def _given(network: str) -> str | None:
    """Everything is what a rule without an address matches, and how the kernel keeps it."""
    return None if network in _EVERYTHING.values() else network


# --- What was found ---------------------------------------------------------------------------


def firewall_in(
    found: Tables, families: Mapping[Family, bool], elsewhere: Firewall | None
) -> Firewall | None:
    """The Firewall these tables show; damaged where they are not just as we make them.

    ``elsewhere`` is what was applied last: it stands in for the networks of a family that has
    no tables here to keep them.
    """
    if not found:
        return None
    seen = Firewall(
        "iptables",
        _redirect_in(found, families, elsewhere.redirect if elsewhere else None),
        _access_in(found, families, elsewhere.access if elsewhere else None),
    )
    jumps, foreign = _found_jumps(found, families)
    if _without_devices(tables(seen, families)) != _without_devices(found):
        return tampered("iptables", seen, jumps + foreign)
    if seen.redirect:
        seen = replace(seen, redirect=replace(seen.redirect, jumps=jumps + foreign))
    return seen


def counters_in(found: Tables) -> tuple[Counter, ...]:
    """Both families together, under the names the nftables back end has for the same rules."""
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for (_, table), content in found.items():
        for chain, rules in content.chains.items():
            guarded = {rule.dport for rule in rules if rule.dnat}
            for rule, (packets, bytes_) in zip(rules, content.counts[chain], strict=True):
                name = _name(table, chain, rule, rule.dport in guarded)
                if name:
                    before = sums.get(name, (0, 0))
                    sums[name] = (before[0] + packets, before[1] + bytes_)
    return tuple(Counter(*name, *numbers) for name, numbers in sums.items())


def _name(table: str, chain: str, rule: XtRule, guarded: bool) -> tuple[str, str] | None:
    refused = rule.target == "REJECT"
    if chain == CHAIN_OUT:
        return "probe", "redirect"
    if chain == CHAIN:
        names = {"REDIRECT": (CHAIN, "redirect"), "REJECT": (CHAIN, "refuse")}
        return names.get(rule.target)
    if table == "mangle":
        return "strip", "strip MPTCP"
    if guarded:
        return "guard", "refused" if refused else "redirected"
    if rule.device:
        return None
    return "access", "refused" if refused else "allowed"


def _redirect_in(
    found: Tables, families: Mapping[Family, bool], elsewhere: Redirect | None
) -> Redirect | None:
    """What the rules seem to say; IPv4 decides, networks come from all families."""
    guard = next((rule.dport for rule in _input_in(found, 4) if rule.dnat and rule.dport), None)
    if guard is None and not any(CHAIN in content.chains for content in found.values()):
        return None
    block = any(CHAIN in found[key].chains for key in found if key[1] == "filter")
    bypass = [
        rule.destination or _EVERYTHING[family]
        for (family, table), content in found.items()
        if table == ("filter" if block else "nat")
        for rule in _bypass(content.chains.get(CHAIN, ()), family)
    ]
    if elsewhere:
        bypass += _lost(elsewhere.bypass, {f for f, nat in families.items() if nat})
    return Redirect(
        port=guard or TAMPERED,
        bypass=collapse(bypass),
        jumps=(),
        mode="block" if block else "proxy",
        rules=(
            *(
                rule
                for (_, table), content in found.items()
                if table == ("filter" if block else "nat")
                for rule in iptables_lan_rules.rules_in(content.chains.get(CHAIN, ()))
            ),
            *(
                rule
                for rule in (elsewhere.rules if elsewhere else ())
                if rule.family not in {f for f, nat in families.items() if nat}
            ),
        ),
        strip_mptcp=any(table == "mangle" for _, table in found),
    )


def _access_in(
    found: Tables, families: Mapping[Family, bool], elsewhere: Access | None
) -> Access | None:
    guarded = {rule.dport for rule in _input_in(found, 4) if rule.dnat}
    rules = [
        rule
        for family in families
        for rule in _input_in(found, family)
        if rule.target == "RETURN" and rule.dport and rule.dport not in guarded
    ]
    if not rules or rules[0].dport is None:
        return None
    port, everyone = rules[0].dport, rules[0].device is None
    if everyone:
        return Access(port, ())
    allow = [rule.source or _EVERYTHING[rule.family] for rule in rules if not rule.device]
    if elsewhere:
        allow += _lost(elsewhere.allow, set(families))
    # Nobody is never planned, and must not be taken for everyone.
    return Access(port if allow else TAMPERED, collapse(allow))


def _input_in(found: Tables, family: Family) -> tuple[XtRule, ...]:
    return found.get((family, "filter"), Content()).chains.get(CHAIN_IN, ())


def _bypass(chain: tuple[XtRule, ...], family: Family) -> list[XtRule]:
    """The rules of the configured networks: behind those of the networks left alone always."""
    plain = [
        r for r in chain if r.target == "RETURN" and not (r.own or r.dnat or r.reply or r.device)
    ]
    return plain[len(ALWAYS[family]) :]


def _lost(networks: tuple[str, ...], kept: set[Family]) -> list[str]:
    """Those of networks that no table here keeps."""
    return [n for n in networks if family_of(n) not in kept]


def _found_jumps(
    found: Tables, families: Mapping[Family, bool]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Devices whose jump stands in every family, and a mark for each jump that is not right."""
    by_family: dict[Family, list[str]] = {f: [] for f, nat in families.items() if nat}
    foreign = 0
    for (family, _), content in found.items():
        for rules in content.jumps.values():
            for rule in rules:
                if rule.target in (CHAIN_IN, CHAIN_OUT):
                    continue
                right = rule.device and rule == XtRule(family, CHAIN, device=rule.device)
                if right and rule.device and family in by_family:
                    by_family[family].append(rule.device)
                else:
                    foreign += 1
    lists = [sorted(devices) for devices in by_family.values()]
    if any(devices != lists[0] for devices in lists):
        foreign += 1
    every = sorted({device for devices in lists for device in devices})
    common = tuple(lists[0]) if lists and not foreign else tuple(every)
    return common, (FOREIGN_JUMP,) * bool(foreign)


def _without_devices(all_: Tables) -> Tables:
    """Without the jump rules of devices, which are compared by themselves."""
    return {key: Content(content.chains, dict(_fixed(content))) for key, content in all_.items()}


def _fixed(content: Content) -> Iterator[tuple[str, tuple[XtRule, ...]]]:
    for chain, rules in content.jumps.items():
        if kept := tuple(rule for rule in rules if rule.target in (CHAIN_IN, CHAIN_OUT)):
            yield chain, kept
