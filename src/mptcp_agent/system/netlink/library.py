# SPDX-License-Identifier: GPL-2.0-or-later
"""The few parts of pyroute2 the agent uses, without the rest of it in memory.

pyroute2's package ``__init__`` imports everything it has: 370 modules, 33 MB resident, on a
router with 128 MB (svinota/pyroute2 issue 1404). So the package is registered here before
its ``__init__`` has run, as a module that runs it when somebody asks for one of its names:
submodules then load alone (25-27 MB), and nobody else in the process can tell the difference.

Also here: what differs between the two generations in use, 0.7 (OpenWrt 24.10 and 25.12) and
0.9 (an asyncio core under the synchronous interface), and between their errors and ours.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any, Generic, Protocol, TypeVar

_PACKAGE = "pyroute2"


def _register_lazily() -> None:
    """Put the package into sys.modules; its ``__init__`` runs when one of its names is used."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.loader is None or spec.submodule_search_locations is None:
        return  # missing, or nothing we know: the imports below say so
    package = importlib.util.module_from_spec(spec)
    loader = spec.loader

    def load(name: str) -> Any:
        if name.startswith("__") and name not in ("__all__", "__version__"):
            raise AttributeError(name)
        if importlib.util.find_spec(f"{_PACKAGE}.{name}") is not None:
            return importlib.import_module(f"{_PACKAGE}.{name}")
        vars(package).pop("__getattr__", None)
        loader.exec_module(package)
        return getattr(package, name)

    vars(package)["__getattr__"] = load  # PEP 562
    sys.modules[_PACKAGE] = package


def _parts() -> tuple[ModuleType, ModuleType, ModuleType]:
    return (
        importlib.import_module("pyroute2.iproute"),
        importlib.import_module("pyroute2.netlink.generic.mptcp"),
        importlib.import_module("pyroute2.netlink.exceptions"),
    )


def _parts_of_new_package() -> tuple[ModuleType, ModuleType, ModuleType]:
    _register_lazily()
    try:
        return _parts()
    except (ImportError, AttributeError):  # a future version that needs its __init__ first
        for name in [n for n in sys.modules if n.split(".")[0] == _PACKAGE]:
            del sys.modules[name]
        importlib.import_module(_PACKAGE)
        return _parts()


_iproute, _mptcp, _exceptions = _parts() if _PACKAGE in sys.modules else _parts_of_new_package()

IPRoute: Callable[..., Any] = _iproute.IPRoute
MPTCP: Callable[..., Any] = _mptcp.MPTCP
NetlinkError: type[Exception] = _exceptions.NetlinkError
NetlinkDumpInterrupted: type[Exception] = _exceptions.NetlinkDumpInterrupted
#: What pyroute2 raises besides NetlinkError and OSError when it is at its wits' end.
_LOST: tuple[type[Exception], ...] = (_exceptions.NetlinkDecodeError, RuntimeError)

#: linux/netlink.h: the table changed while it was being read; 0.7 raises, 0.9 stays silent.
NLM_F_DUMP_INTR = 0x10
_DUMP_ATTEMPTS = 5


class Message(Protocol):
    """A netlink message: header fields by index, attributes by name."""

    def __getitem__(self, field: str) -> Any: ...

    def get_attr(self, name: str) -> Any:
        """The attribute's value, None where it is absent."""


_S = TypeVar("_S")


class Handle(Generic[_S]):
    """A netlink socket that is opened on first use, and anew after it broke.

    On first use, because 0.9 binds a socket to the thread (and event loop) that made it, and
    the agent's kernel calls run in a worker thread.
    """

    def __init__(self, open_socket: Callable[[], _S]) -> None:
        self._open = open_socket
        self._socket: _S | None = None

    @property
    def socket(self) -> _S:
        if self._socket is None:
            self._socket = self._open()
        return self._socket

    def close(self) -> None:
        """Close it; the next use opens a new one."""
        if self._socket is not None:
            closing, self._socket = self._socket, None
            closing.close()  # type: ignore[attr-defined]

    def request(self, ask: Callable[[_S], object]) -> None:
        """One request; raises NetlinkError (the kernel says no) or OSError (no socket)."""
        with self._reopened_after_failure():
            ask(self.socket)

    def dump(self, ask: Callable[[_S], Iterable[Message]]) -> list[Message]:
        """All messages of a dump, asked for again while it is interrupted by changes.

        A table that changes faster than it can be read gives what the last attempt saw: the
        change that interrupted it has already been reported as an event. Raises like request.
        """
        messages: list[Message] = []
        for _ in range(_DUMP_ATTEMPTS):
            try:
                with self._reopened_after_failure():
                    messages = list(ask(self.socket))
            except NetlinkDumpInterrupted:
                continue
            if not any(m["header"]["flags"] & NLM_F_DUMP_INTR for m in messages):
                return messages
        return messages

    @contextlib.contextmanager
    def _reopened_after_failure(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            self.close()
            raise
        except _LOST as error:
            self.close()
            raise OSError(errno.EBADMSG, f"pyroute2: {error!r}") from error


def code(error: Exception) -> int:
    """The errno of an OSError or NetlinkError."""
    value = getattr(error, "code", None) or getattr(error, "errno", None)
    return value if isinstance(value, int) else errno.EIO


def text(error: Exception) -> str:
    """What the kernel said, in its words where it has some (extended acknowledgement)."""
    words = error.args[1] if len(error.args) > 1 else error
    return str(words)
