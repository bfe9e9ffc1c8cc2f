# SPDX-License-Identifier: GPL-2.0-or-later
"""The nftables back end: ``table inet mptcp_proxy`` by way of the ``nft`` program.

OpenWrt has no Python binding of libnftables, so the program it is: one call commits, one call
lists. fw4 replaces only its own table on reload and leaves this one alone; ``service firewall
stop`` flushes every table, which ``observe`` then reports as nothing there.

Needs nft 1.0.2 for stripping the MPTCP option (with Linux 5.18), otherwise nft 0.9.4 and
Linux 5.9 (a TCP reset from prerouting).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterable

from ...core.firewall import (
    Counter,
    checked,
    checked_devices,
    nft_readback,
    nft_ruleset,
    other_redirectors,
)
from ...core.state import Firewall, Redirect
from ...errors import FirewallError
from .. import programs

#: A commit takes milliseconds; what takes this long hangs.
_TIMEOUT = 20.0

_PROBE = "inet mptcp_proxy_probe"
_Part = tuple[str, str, str]
#: What the rules are made of, with the OpenWrt package that brings it to the kernel.
_PARTS = (
    ("nf_tables with the inet family", "kmod-nft-core", "chain c { }"),
    (
        "nat and redirect",
        "kmod-nft-nat",
        "chain c { type nat hook prerouting priority -99; meta l4proto tcp redirect to :9; }",
    ),
    ("fib", "kmod-nft-fib", "chain c { fib daddr type { local, anycast } return; }"),
    ("conntrack", "kmod-nf-conntrack", "chain c { ct status dnat ct direction original; }"),
    ("marks of connections", "kmod-nf-conntrack", "chain c { ct mark 0x0 ct mark set 0x1; }"),
    (
        "reject",
        "kmod-nft-core",
        "chain c { type filter hook prerouting priority -98; "
        "meta l4proto tcp reject with tcp reset; }",
    ),
)
_STRIP = (
    "removal of TCP options, which this engine needs for LAN clients that speak MPTCP; "
    "that takes nft 1.0.2 and Linux 5.18, or another engine",
    "",
    "chain c { tcp flags & (syn | ack) == syn reset tcp option mptcp; }",
)


class _NftError(FirewallError):
    """nft ended with an error; ``text`` is what it printed."""

    def __init__(self, text: str, returncode: int) -> None:
        text = text.strip() or f"ended with code {returncode}"
        super().__init__(f"nft: {_first_line(text)}")
        self.text = text
        self.crashed = returncode < 0


class _MissingError(FirewallError):
    """There is no program nft: then nothing of ours is in nftables that could be mended."""


class _UnreadableError(FirewallError):
    """nft cannot list the table, as 1.0 cannot (SIGSEGV) list one that 1.1 has written."""


class Nftables:
    """See ``core.firewall.FirewallBackend``. Works in the caller's network namespace."""

    def __init__(self, program: str = "nft") -> None:
        self._program = program

    def available(self) -> str:
        try:
            self._run("-j", "list", "tables")
            self._run("-c", "-f", "-", text=_probe(_together(_PARTS)))
        except FirewallError as error:
            return self._explain(error, _PARTS)
        return ""

    def observe(self) -> Firewall | None:
        try:
            listing = self._listing()
        except _MissingError:
            return None
        except _UnreadableError:
            return nft_readback.UNREADABLE
        return nft_readback.firewall_in(listing) if listing else None

    def apply(self, firewall: Firewall) -> None:
        firewall = checked(firewall, "nftables")
        if not firewall.redirect and not firewall.access and not firewall.inbound:
            self.remove()
            return
        parts = (*_PARTS, _STRIP) if firewall.redirect and firewall.redirect.strip_mptcp else _PARTS
        try:
            self._run("-f", "-", text=nft_ruleset.table_text(firewall))
            listing = self._listing()
            found = nft_readback.meaning(listing) if listing else None
            if listing is None or found != firewall:
                raise FirewallError(
                    f"nft took the rules but did not keep them: {firewall} became {found}; "
                    "is another program changing table inet mptcp_proxy?"
                )
            self._run("-f", "-", text=nft_readback.readback_text(firewall, listing))
        except _NftError as error:
            raise FirewallError(self._explain(error, parts)) from error

    def set_jumps(self, redirect: Redirect) -> None:
        checked_devices(redirect.jumps)
        try:
            self._run("-f", "-", text=nft_ruleset.jumps_text(redirect))
        except _NftError as error:
            if redirect.jumps or not _absent(error):
                raise
            # Switching off must work on a damaged table too: what is missing is off.
            for chain in nft_ruleset.JUMP_CHAINS.values():
                self._run_if_there("flush", "chain", "inet", "mptcp_proxy", chain)

    def remove(self) -> None:
        with contextlib.suppress(_MissingError):
            self._run("-f", "-", text=nft_ruleset.delete_text())

    def counters(self) -> tuple[Counter, ...]:
        try:
            listing = self._listing()
        except _MissingError:
            return ()
        return nft_readback.counters_in(listing) if listing else ()

    def first_takers(self, devices: Iterable[str]) -> tuple[str, ...]:
        """The chains of others that take the devices' connections before ours; see
        ``core.firewall.other_redirectors``. Without the elements of sets, which may be many."""
        try:
            document = json.loads(self._run("-j", "-t", "list", "ruleset"))
        except ValueError as error:
            raise FirewallError(f"nft lists what is no JSON: {error}") from error
        return other_redirectors.first_takers(document, devices)

    def _listing(self) -> nft_readback.Listing | None:
        try:
            text = self._run("-j", "list", "table", "inet", "mptcp_proxy")
        except _NftError as error:
            if _absent(error):
                return None
            if error.crashed:
                raise _UnreadableError(f"{error} while listing {nft_ruleset.TABLE}") from error
            raise FirewallError(self._explain(error, ())) from error
        try:
            return nft_readback.parse(text)
        except ValueError as error:
            raise _UnreadableError(str(error)) from error

    def _run_if_there(self, *arguments: str) -> None:
        try:
            self._run(*arguments)
        except _NftError as error:
            if not _absent(error):
                raise

    def _run(self, *arguments: str, text: str = "") -> str:
        program = programs.find(self._program)
        if program is None:
            raise _MissingError(
                f"the program {self._program} is missing (not in {programs.path()}); install "
                "nftables (on OpenWrt nftables-json), or set option redirect to iptables on a "
                "legacy system"
            )
        try:
            done = subprocess.run(
                [program, *arguments],
                input=text,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=_TIMEOUT,
                # A message is compared with English text.
                env=programs.environment(LC_ALL="C"),
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise FirewallError(f"nft {arguments[0]} took longer than {_TIMEOUT:.0f} s") from error
        except OSError as error:
            raise FirewallError(f"the program nft cannot be started: {error.strerror}") from error
        if done.returncode != 0:
            raise _NftError(done.stderr, done.returncode)
        return done.stdout

    def _explain(self, error: FirewallError, parts: tuple[_Part, ...]) -> str:
        """What a person can do about it."""
        if not isinstance(error, _NftError):
            return str(error)
        if "JSON support" in error.text:
            return "this nft has no JSON output; on OpenWrt install nftables-json"
        if "not permitted" in error.text:
            return "nft may not change the firewall here: the agent needs CAP_NET_ADMIN (root)"
        for name, package, text in parts:
            try:
                self._run("-c", "-f", "-", text=_probe(text))
            except _NftError as reason:
                mend = f"; on OpenWrt install {package}" if package else ""
                return f"the kernel or nft lacks {name}{mend} ({_first_line(reason.text)})"
        return str(error)


def _probe(text: str) -> str:
    return f"table {_PROBE} {{\n{text}\n}}\n"


def _together(parts: tuple[_Part, ...]) -> str:
    """All probes in one table, each chain with a name of its own."""
    texts = enumerate(text for _, _, text in parts)
    return "\n".join(text.replace("chain c", f"chain c{number}") for number, text in texts)


def _absent(error: _NftError) -> bool:
    """Whether the table or chain is not there (ENOENT)."""
    return "No such file or directory" in error.text


def _first_line(text: str) -> str:
    """nft's first complaint, without the file and position it starts with."""
    line = text.strip().partition("\n")[0]
    return line.partition("Error: ")[2] or line
