# SPDX-License-Identifier: GPL-2.0-or-later
"""python-iptables (``iptc``) made safe: one table, opened under the lock, one commit.

iptc is asked for what it does well: tables, chains, many changes in one commit. Its habits
are dealt with here (python-iptables 1.2.0):

- it takes no lock: a commit that reads before and writes after another program's change of
  the same size silently undoes that one. So tables are only used inside ``locked()``;
- it commits whenever it likes: autocommit is off, and a table is open for one piece of work.
  Its handle is a socket of the network namespace of the thread that opened it;
- opening a table creates it in the kernel: ``existing`` says which are there;
- its Rule, Match and Target cannot be relied on: it gets and gives bytes
  (``core.firewall.iptables_entry``);
- the import takes 24 MB and looks for libraries with ldconfig and gcc: only when first used.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ...core.firewall.iptables_entry import UNKNOWN, XtRule, bare, counters, decode, encode
from ...core.firewall.iptables_rules import CHAINS, LAST, Content
from ...core.state import Family
from ...errors import FirewallError

_LOCK_TIMEOUT = 20.0
#: How often to start again when a program that takes no lock came between.
_ATTEMPTS = 5
_LIBRARY_PATHS = ("/usr/lib", "/lib")
_PLUGIN_PATHS = ("/usr/lib/iptables", "/usr/lib/xtables")


class MissingTableError(FirewallError):
    """The kernel has no such table."""


def load() -> Any:
    """The module iptc. FirewallError where it is not installed or cannot be used."""
    try:
        if Path("/sbin/ldconfig").exists():
            import iptc
        else:
            with _openwrt():
                import iptc
    except ImportError as error:
        raise FirewallError(
            "python-iptables is missing: install the package python3-iptables of this "
            "project's feed (elsewhere: pip install python-iptables)"
        ) from error
    except Exception as error:  # whatever ctypes and the libraries' first calls may raise
        raise FirewallError(f"python-iptables cannot be used here: {error}") from error
    return iptc


@contextlib.contextmanager
def _openwrt() -> Iterator[None]:
    """Where there is no ldconfig (OpenWrt, musl), tell iptc where the libraries are.

    find_library would need ldconfig, gcc or ld; iptc takes the ABI number from the file's name.
    """
    plugins = next((p for p in _PLUGIN_PATHS if Path(p).is_dir()), _PLUGIN_PATHS[0])
    os.environ.setdefault("XTABLES_LIBDIR", plugins)

    def find_library(name: str) -> str | None:
        # libx.so.2 rather than libx.so.2.0.1, never libx.so: that may be a linker's script.
        found = (p for path in _LIBRARY_PATHS for p in Path(path).glob(f"lib{name}.so.[0-9]*"))
        return min(map(str, found), key=len, default=None)

    original, ctypes.util.find_library = ctypes.util.find_library, find_library
    try:
        yield
    finally:
        ctypes.util.find_library = original


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Hold the locks of iptables and, where it is installed, fw3.

    fw3 holds its own while it runs iptables in scripts, hence this order.
    """
    run = "/run" if Path("/run").is_dir() else "/var/run"
    paths = [os.environ.get("XTABLES_LOCKFILE", f"{run}/xtables.lock")]
    if Path("/sbin/fw3").exists():
        paths.insert(0, "/var/run/fw3.lock")
    with contextlib.ExitStack() as stack:
        for path in paths:
            try:
                file = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise FirewallError(f"{path} cannot be opened: {error.strerror}") from error
            stack.callback(os.close, file)
            _lock(file, path)
        yield


def _lock(file: int, path: str) -> None:
    deadline = time.monotonic() + _LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise FirewallError(
                    f"another program has held {path} for {_LOCK_TIMEOUT:.0f} s"
                ) from None
            time.sleep(0.002)


def existing(family: Family) -> frozenset[str]:
    """The tables this network namespace has; none where the kernel has no iptables."""
    name = "ip_tables_names" if family == 4 else "ip6_tables_names"
    try:
        return frozenset(Path("/proc/thread-self/net", name).read_text("ascii").split())
    except FileNotFoundError:
        return frozenset()
    except OSError as error:
        raise FirewallError(f"/proc/net/{name}: {error.strerror}") from error


def change(family: Family, table: str, write: Callable[[OpenTable], None]) -> None:
    """Open a table, let ``write`` change it, commit. Call it inside ``locked()``."""
    iptc = load()
    for attempt in range(_ATTEMPTS):
        with opened(family, table) as opened_table:
            try:
                write(opened_table)
                opened_table.commit()
                return
            except iptc.IPTCError as error:
                # EAGAIN: the table has another size by now.
                if "temporarily unavailable" in str(error) and attempt < _ATTEMPTS - 1:
                    continue
                raise FirewallError(_explain(family, table, error)) from error


@contextlib.contextmanager
def opened(family: Family, table: str) -> Iterator[OpenTable]:
    """MissingTableError where the kernel lacks it. Creates the table where it may."""
    iptc = load()
    kind = iptc.Table6 if family == 6 else iptc.Table
    try:
        handle = kind(table, autocommit=False)
        # The same object for the same name, with what it once read.
        handle.refresh()
    except iptc.IPTCError as error:
        if "does not exist" in str(error):
            raise MissingTableError(f"the kernel has no table {table} of its family") from error
        raise FirewallError(_explain(family, table, error)) from error
    try:
        yield OpenTable(family, handle)
    finally:
        handle.close()


class OpenTable:
    """Ours in one table. Nothing is changed in the kernel before ``commit``."""

    def __init__(self, family: Family, handle: Any) -> None:
        self._family = family
        self._handle = handle
        self._changed = False

    def read(self) -> Content:
        chains: dict[str, tuple[XtRule, ...]] = {}
        counts: dict[str, tuple[tuple[int, int], ...]] = {}
        jumps: dict[str, tuple[XtRule, ...]] = {}
        for chain in self._handle.chains:
            entries = list(self._entries(chain.name))
            if chain.name in CHAINS:
                chains[chain.name] = tuple(decode(e, self._family, t) for e, t in entries)
                counts[chain.name] = tuple(counters(e, self._family) for e, _ in entries)
                continue
            ours = [decode(e, self._family, t) for e, t in entries if t in CHAINS]
            if ours and chain.name == LAST and entries[-1][1] not in CHAINS:
                # Somebody's rule has come behind ours, where it is never asked.
                ours.append(XtRule(self._family, UNKNOWN))
            if ours:
                jumps[chain.name] = tuple(ours)
        return Content(chains, jumps, counts)

    def write(self, content: Content) -> None:
        """Make ``content`` all there is of ours."""
        self.remove_jumps()
        present = [c.name for c in self._handle.chains if c.name in CHAINS]
        for name in present:
            self._handle.flush_entries(name)
            if name not in content.chains:
                self._handle.delete_chain(name)
            self._changed = True
        for name, rules in content.chains.items():
            if name not in present:
                self._handle.create_chain(name)
            for rule in rules:
                self._handle.append_entry(name, _buffer(encode(rule)))
            self._changed = True
        for chain, rules in content.jumps.items():
            self.add_jumps(chain, rules)

    def remove_jumps(self, into: tuple[str, ...] = CHAINS) -> None:
        """Take out every rule that leads into these chains, wherever it is."""
        for chain in self._handle.chains:
            for entry, target in list(self._entries(chain.name)):
                if target in into:
                    data = bare(entry, self._family, target)
                    every_byte = _buffer(b"\xff" * len(data))
                    self._handle.delete_entry(chain.name, _buffer(data), every_byte)
                    self._changed = True

    def add_jumps(self, chain: str, rules: tuple[XtRule, ...]) -> None:
        for place, rule in enumerate(rules):
            data = _buffer(encode(rule))
            if chain == LAST:
                self._handle.append_entry(chain, data)
            else:
                self._handle.insert_entry(chain, data, place)
            self._changed = True

    def has_chain(self, name: str) -> bool:
        return bool(self._handle.is_chain(name))

    def commit(self) -> None:
        """All changes at once. iptc.IPTCError where the kernel refuses them."""
        if self._changed:
            self._handle.commit()

    def _entries(self, chain: str) -> Iterator[tuple[bytes, str]]:
        """Each rule's bytes and the name of its target."""
        entry = self._handle.first_rule(chain)
        while entry:
            target = self._handle.get_target(entry) or b""
            yield ctypes.string_at(ctypes.addressof(entry), entry.next_offset), target.decode()
            entry = self._handle.next_rule(entry)


def _explain(family: Family, table: str, error: Exception) -> str:
    # iptc puts the repr of the C string into its message.
    text = str(error).replace("b'", "").rstrip("'")
    if "Permission denied" in text:
        return "iptables may not be changed here: the agent needs CAP_NET_ADMIN (root)"
    return f"{'ip6tables' if family == 6 else 'iptables'}, table {table}: {text}"


def _buffer(data: bytes) -> ctypes.Array[ctypes.c_ubyte]:
    return (ctypes.c_ubyte * len(data)).from_buffer_copy(data)
