# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of pyroute2 the agent uses, its rtnetlink messages, without the rest in memory.

pyroute2's package ``__init__`` imports everything it has: 370 modules, 33 MB resident, on a
router with 128 MB (svinota/pyroute2 issue 1404). So the package is registered here before
its ``__init__`` has run, as a module that runs it when somebody asks for one of its names:
submodules then load alone, and nobody else in the process can tell the difference.
"""

from __future__ import annotations

import errno
import importlib
import importlib.util
import struct
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Protocol

from .framing import HEADER

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


def _parts() -> tuple[ModuleType, ...]:
    names = ("rtnl.rtmsg", "rtnl.fibmsg", "rtnl.ifaddrmsg", "exceptions")
    return tuple(importlib.import_module(f"pyroute2.netlink.{name}") for name in names)


def _parts_of_new_package() -> tuple[ModuleType, ...]:
    _register_lazily()
    try:
        return _parts()
    except (ImportError, AttributeError):  # a future version that needs its __init__ first
        for name in [n for n in sys.modules if n.split(".")[0] == _PACKAGE]:
            del sys.modules[name]
        importlib.import_module(_PACKAGE)
        return _parts()


_rtmsg, _fibmsg, _ifaddrmsg, _exceptions = (
    _parts() if _PACKAGE in sys.modules else _parts_of_new_package()
)
_Undecodable: type[Exception] = _exceptions.NetlinkDecodeError

#: Messages of a route, a rule and an address.
ROUTE: type[Any] = _rtmsg.rtmsg
RULE: type[Any] = _fibmsg.fibmsg
ADDRESS: type[Any] = _ifaddrmsg.ifaddrmsg


class Message(Protocol):
    """A netlink message: header fields by index, attributes by name."""

    def __getitem__(self, field: str) -> Any: ...

    def get_attr(self, name: str) -> Any:
        """The attribute's value, None where it is absent."""


def encode(kind: type[Any], fields: Mapping[str, Any], attributes: Mapping[str, Any]) -> bytes:
    """What follows the netlink header."""
    message = kind()
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = list(attributes.items())
    message.encode()
    return bytes(message.data[HEADER.size :])


def decode(kind: type[Any], payload: bytes) -> Message:
    """Raises OSError (EBADMSG) where it cannot be read."""
    message = kind(HEADER.pack(HEADER.size + len(payload), 0, 0, 0, 0) + payload)
    try:
        message.decode()
    except (_Undecodable, struct.error) as error:  # the latter where it ends too early
        raise OSError(errno.EBADMSG, f"pyroute2: {error!r}") from error
    found: Message = message
    return found
