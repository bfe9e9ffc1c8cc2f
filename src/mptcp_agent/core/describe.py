# SPDX-License-Identifier: GPL-2.0-or-later
"""States and changes in the field's own words, for ``plan``, the log and people.

A generated file is named by its path alone: its content may hold a password.
"""

from __future__ import annotations

from .diff import Change, Item
from .plan.sysctls import BUFFERS
from .state import (
    MARK_MASK,
    TABLE_MAIN,
    Endpoint,
    File,
    Firewall,
    LanRule,
    Limits,
    Process,
    Route,
    Rule,
    Sysctl,
)


def kind(item: Item) -> str:
    """endpoint, limits, route, rule, firewall, process, file or sysctl."""
    return type(item).__name__.lower()


def line(item: Item) -> str:
    """One line, as ``ip``, ``sysctl`` and their like would take it."""
    match item:
        case Endpoint():
            flags = " ".join(sorted(item.flags, key=("subflow", "backup", "signal").index))
            return f"mptcp endpoint {item.address} dev {item.device} id {item.id} {flags}"
        case Limits():
            return (
                f"mptcp limits subflows {item.subflows} add_addr_accepted {item.add_addr_accepted}"
            )
        case Route():
            return _route(item)
        case Rule():
            return _rule(item)
        case Firewall():
            return _firewall(item)
        case Process():
            return f"process {item.name}: {' '.join(item.command)}"
        case File():
            return f"file {item.path}"
        case Sysctl():
            return f"sysctl {item.key}={item.value}"


def label(item: Item) -> str:
    """Which thing it is, in two or three words."""
    match item:
        case Endpoint():
            return f"endpoint {item.address}"
        case Route() | Rule():
            return line(item)
        case Firewall():
            return item.backend
        case Process():
            return f"process {item.name}"
        case Limits():
            return "mptcp limits"
        case File():
            return item.path
        case Sysctl():
            return f"sysctl {item.key}"


def _route(route: Route) -> str:
    words = ["route", "" if route.type == "unicast" else route.type, route.destination]
    if route.gateway:
        words += ["via", route.gateway]
    if route.device:
        words += ["dev", route.device]
    if route.source:
        words += ["src", route.source]
    if route.mtu:
        words += ["mtu", str(route.mtu)]
    return " ".join([w for w in words if w] + ["table", str(route.table)])


def _rule(rule: Rule) -> str:
    words = ["rule", "-6" if rule.family == 6 else "", f"priority {rule.priority}"]
    for word, value in (
        ("from", rule.source),
        ("to", rule.destination),
        ("iif", rule.iif),
        ("oif", rule.oif),
        ("ipproto tcp sport", rule.sport),
        ("ipproto tcp dport", rule.dport),
        ("fwmark", f"{rule.mark:#x}/{MARK_MASK:#x}" if rule.mark is not None else None),
    ):
        words.append(f"{word} {value}" if value is not None else "")
    words += ["lookup", "main" if rule.table == TABLE_MAIN else str(rule.table)]
    if rule.suppress is not None:
        words.append(f"suppress_prefixlength {rule.suppress}")
    return " ".join(w for w in words if w)


def _firewall(firewall: Firewall) -> str:
    parts = []
    if redirect := firewall.redirect:
        does = "refuse" if redirect.mode == "block" else f"redirect to port {redirect.port}"
        at = f"from {', '.join(redirect.jumps)}" if redirect.jumps else "switched off"
        alone = " ".join(redirect.bypass)
        if redirect.uplinks:
            alone += f" and what leaves by other devices than {', '.join(redirect.uplinks)}"
        parts.append(f"chain SSREDIR {does}, {at}, leaving alone {alone}")
        parts += [_lan_rule(rule) for rule in redirect.rules]
    if access := firewall.access:
        who = " ".join(access.allow) or "everyone"
        parts.append(f"server port {access.port} open to {who}")
    if firewall.inbound:
        devices = ", ".join(i.device for i in firewall.inbound)
        parts.append(f"what comes in on {devices} is answered over the same")
    return f"{firewall.backend}: {'; '.join(parts) or 'nothing'}"


def _lan_rule(rule: LanRule) -> str:
    """One exception, as the router's own firewall has it."""
    words = ["redirect" if rule.redirect else "leave alone", f"IPv{rule.family} of {rule.device}"]
    ports = [
        ",".join(f"{a}-{b}" if a != b else str(a) for a, b in each)
        for each in (rule.sports, rule.dports)
    ]
    for word, value in (
        ("from", " ".join(rule.sources)),
        ("from", " ".join(rule.macs)),
        ("from all but", " ".join(rule.not_macs)),
        ("from port", ports[0]),
        ("to", " ".join(rule.destinations)),
        ("to port", ports[1]),
    ):
        if value:
            words.append(f"{word} {value}")
    return " ".join(words)


def change_lines(change: Change) -> tuple[str, ...]:
    """The lines of a diff: ``-`` what goes, ``+`` what comes."""
    if change.action == "remove":
        return (f"- {line(change.item)}",)
    new = f"+ {line(change.item)}"
    if change.old is None or isinstance(change.item, File):
        return (new,)
    return (f"- {line(change.old)}", new)


def is_detail(item: Item) -> bool:
    """One of many that change together when a WAN does, or that follows the traffic: the log
    tells at ``info`` what it is about."""
    return isinstance(item, Endpoint | Route | Rule) or (
        isinstance(item, Sysctl) and item.key in BUFFERS
    )


def log_line(change: Change) -> str:
    """One log line."""
    verb = {"add": "added", "remove": "removed", "set": "set"}[change.action]
    return f"{verb} {line(change.item)}"
