# SPDX-License-Identifier: GPL-2.0-or-later
"""rpcd's `session` object, as far as a program makes a session of its own.

Source: `rpcd/session.c`.  Left out: passwords (`login`), ACL files, data of a session, and
sessions that outlive rpcd.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from .peer import Method, Refused, Reply
from .wire import Json, Status, Type

Arguments = dict[str, Json]

_DEFAULT_TIMEOUT = 300  # RPC_DEFAULT_SESSION_TIMEOUT
_ID = {"ubus_rpc_session": Type.STRING}
_ACL = {"ubus_rpc_session": Type.STRING, "scope": Type.STRING, "objects": Type.ARRAY}


@dataclass
class _Session:
    timeout: int
    used: float = field(default_factory=time.monotonic)
    acls: dict[str, dict[str, list[str]]] = field(default_factory=dict)


class Sessions:
    """`on_end` is told the id of each session that ends."""

    def __init__(self, on_end: Callable[[str], None]) -> None:
        self._on_end = on_end
        self._sessions: dict[str, _Session] = {}

    def methods(self) -> dict[str, Method]:
        return {
            "create": Method(self._create, {"timeout": Type.INT32}),
            "list": Method(self._list, _ID),
            "grant": Method(self._grant, _ACL),
            "destroy": Method(self._destroy, _ID),
        }

    def allows(self, session: str, scope: str, what: str, function: str) -> bool:
        """rpc_session_access()"""
        found = self._touched(session)
        return found is not None and any(
            fnmatchcase(what, pattern) and any(fnmatchcase(function, f) for f in functions)
            for pattern, functions in found.acls.get(scope, {}).items()
        )

    def _touched(self, name: str) -> _Session | None:
        found = self._sessions.get(name)
        if found is not None:
            found.used = time.monotonic()
        return found

    def _create(self, arguments: Arguments) -> Reply:
        timeout = arguments.get("timeout")
        name = secrets.token_hex(16)
        self._sessions[name] = _Session(timeout if isinstance(timeout, int) else _DEFAULT_TIMEOUT)
        self._expire(name)
        return self._shown(name)

    def _expire(self, name: str) -> None:
        found = self._sessions.get(name)
        if found is None or not found.timeout:
            return
        left = found.used + found.timeout - time.monotonic()
        if left <= 0:
            self._end(name)
        else:
            asyncio.get_running_loop().call_later(left, self._expire, name)

    def _shown(self, name: str) -> Reply:
        found = self._sessions[name]
        left = found.used + found.timeout - time.monotonic() if found.timeout else 0
        return {
            "ubus_rpc_session": name,
            "timeout": found.timeout,
            "expires": int(left),
            "acls": {
                scope: {what: list(functions) for what, functions in objects.items()}
                for scope, objects in found.acls.items()
            },
            "data": {},
        }

    def _list(self, arguments: Arguments) -> Reply:
        name = str(arguments.get("ubus_rpc_session", ""))
        if self._touched(name) is None:
            raise Refused(Status.NOT_FOUND)
        return self._shown(name)

    def _grant(self, arguments: Arguments) -> Reply:
        if "ubus_rpc_session" not in arguments:
            raise Refused(Status.INVALID_ARGUMENT)
        found = self._touched(str(arguments["ubus_rpc_session"]))
        if found is None:
            raise Refused(Status.NOT_FOUND)
        scope = found.acls.setdefault(str(arguments.get("scope", "ubus")), {})
        objects = arguments.get("objects")
        for pair in objects if isinstance(objects, list) else []:
            words = [w for w in pair if isinstance(w, str)] if isinstance(pair, list) else []
            if len(words) >= 2 and words[1] not in scope.setdefault(words[0], []):
                scope[words[0]].append(words[1])
        return None

    def _destroy(self, arguments: Arguments) -> Reply:
        if "ubus_rpc_session" not in arguments:
            raise Refused(Status.INVALID_ARGUMENT)
        if str(arguments["ubus_rpc_session"]) not in self._sessions:
            raise Refused(Status.NOT_FOUND)
        self._end(str(arguments["ubus_rpc_session"]))
        return None

    def _end(self, name: str) -> None:
        del self._sessions[name]
        self._on_end(name)
