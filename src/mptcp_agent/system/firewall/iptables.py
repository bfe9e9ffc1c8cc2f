# SPDX-License-Identifier: GPL-2.0-or-later
"""The iptables back end, for legacy systems: chains in the tables nat, filter and mangle.

Each table and family is one commit, so the order counts: what guards comes first and goes
last (``core.firewall.iptables_rules``). Rules of others in the same tables are never touched.
"""

from __future__ import annotations

import subprocess
import threading
from functools import partial
from pathlib import Path

from ...core.firewall import CHAIN, Counter, checked, checked_devices
from ...core.firewall.iptables_entry import XtRule
from ...core.firewall.iptables_rules import (
    JUMPS,
    TABLES,
    Content,
    Tables,
    counters_in,
    device_jumps,
    firewall_in,
    tables,
)
from ...core.state import Family, Firewall, Redirect
from ...errors import FirewallError
from .. import programs
from .iptc_tables import MissingTableError, OpenTable, change, existing, load, locked, opened

_FAMILIES: tuple[Family, ...] = (4, 6)
_USE_NFTABLES = "set option redirect to 'nftables' (or 'auto')"


class Iptables:
    """See ``core.firewall.FirewallBackend``. Works in the calling thread's network namespace."""

    def __init__(self) -> None:
        # iptc keeps its tables in class attributes: one thread at a time.
        self._serial = threading.Lock()
        self._applied: Firewall | None = None

    def available(self) -> str:
        if _iptables_is_nftables():
            return (
                "this system's iptables keeps its rules in nftables (iptables-nft); rules in the "
                f"legacy tables would be seen by nobody: {_USE_NFTABLES}"
            )
        try:
            load()
            with self._serial, locked():
                self._families()
        except FirewallError as error:
            return str(error)
        return ""

    def observe(self) -> Firewall | None:
        if not _may_be_ours():
            return None
        with self._serial, locked():
            return self._observe()

    def apply(self, firewall: Firewall) -> None:
        firewall = checked(firewall, "iptables")
        if not firewall.redirect and not firewall.access:
            self.remove()
            return
        with self._serial, locked():
            planned = tables(firewall, self._families())
            for table in TABLES:
                for family in _FAMILIES:
                    self._write(family, table, planned.get((family, table), Content()))
            self._applied = firewall
            found = self._observe()
        if found != firewall:
            raise FirewallError(
                f"iptables took the rules but did not keep them: {firewall} became {found}; is "
                "another program changing the tables without holding the lock xtables.lock?"
            )

    def set_jumps(self, redirect: Redirect) -> None:
        checked_devices(redirect.jumps)
        if not _any_table():
            if redirect.jumps:
                raise FirewallError(f"iptables: there is no chain {CHAIN} to lead the LAN into")
            return
        with self._serial, locked():
            for mode, (table, chain) in JUMPS.items():
                for family in _FAMILIES:
                    if table in existing(family):
                        rules = device_jumps(redirect, family) if mode == redirect.mode else ()
                        change(family, table, partial(_switch, chain, rules))

    def remove(self) -> None:
        if not _may_be_ours():
            return
        with self._serial, locked():
            for table in reversed(TABLES):
                for family in _FAMILIES:
                    self._write(family, table, Content())
            self._applied = None

    def counters(self) -> tuple[Counter, ...]:
        if not _may_be_ours():
            return ()
        with self._serial, locked():
            return counters_in(_found())

    def _observe(self) -> Firewall | None:
        found = _found()
        return firewall_in(found, self._families(), self._applied) if found else None

    def _write(self, family: Family, table: str, content: Content) -> None:
        if content.chains or table in existing(family):
            change(family, table, partial(OpenTable.write, content=content))

    def _families(self) -> dict[Family, bool]:
        """The families that have iptables, and whether each has a nat table.

        Raises FirewallError where the rules would not hold what they promise.
        """
        found: dict[Family, bool] = {}
        for family in _FAMILIES:
            if _has(family, "filter"):
                found[family] = _has(family, "nat")
        if not found.get(4):
            raise FirewallError(
                "this kernel has no iptables nat table (on OpenWrt: kmod-ipt-nat, "
                f"iptables-zz-legacy); if it has nftables, {_USE_NFTABLES}"
            )
        if 6 not in found and _ipv6_addresses():
            raise FirewallError(
                "IPv6 is in use but ip6tables has no filter table, so by IPv6 anybody could reach "
                "the redirector and the proxy server; on OpenWrt install kmod-ip6tables, or "
                "switch IPv6 off"
            )
        return found


def _switch(chain: str, rules: tuple[XtRule, ...], table: OpenTable) -> None:
    """Make ``rules`` the only jumps into SSREDIR."""
    if rules and not table.has_chain(CHAIN):
        raise FirewallError(f"iptables: there is no chain {CHAIN} to lead the LAN into")
    table.remove_jumps((CHAIN,))
    table.add_jumps(chain, rules)


def _found() -> Tables:
    found = {}
    for family in _FAMILIES:
        for table in TABLES:
            if table in existing(family):
                with opened(family, table) as handle:
                    content = handle.read()
                if content.chains:
                    found[family, table] = content
    return found


def _any_table() -> bool:
    return any(existing(family) for family in _FAMILIES)


def _may_be_ours() -> bool:
    """Whether there is a table, and the library without which we cannot have made one."""
    if not _any_table():
        return False
    try:
        load()
    except FirewallError:
        return False
    return True


def _has(family: Family, table: str) -> bool:
    if table in existing(family):
        return True
    try:
        with opened(family, table):
            return True
    except MissingTableError:
        return False


def _ipv6_addresses() -> bool:
    """Whether any device of this namespace but lo has an IPv6 address."""
    try:
        lines = Path("/proc/thread-self/net/if_inet6").read_text("ascii").splitlines()
    except FileNotFoundError:
        return False
    return any(line.split()[-1] != "lo" for line in lines)


def _iptables_is_nftables() -> bool:
    """Whether ``iptables`` is iptables-nft and has rules of its own here."""
    try:
        version = _output("iptables", "-V")
        return "nf_tables" in version and "\n-A " in _output("iptables-save")
    except (OSError, subprocess.SubprocessError):
        return False


def _output(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [programs.find(name) or name, *arguments],
        capture_output=True,
        text=True,
        timeout=10,
        env=programs.environment(),
        check=False,
    )
    return done.stdout
