# SPDX-License-Identifier: GPL-2.0-or-later
"""What the contract tests share: calling, captures, and where the real ones are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openwrt import jsontext, wire
from openwrt.libubus import Context
from openwrt.wire import Status
from toolkit.stopping import end
from toolkit.waiting import wait_until

TESTS = Path(__file__).resolve().parents[1]
OPENWRT = TESTS / "openwrt"


def real(name: str) -> str | None:
    """The value of MPTCP_REAL_<name>; tests/openwrt/README.md lists them."""
    return os.environ.get(f"MPTCP_REAL_{name}")


def variants(*needed: str) -> list[str]:
    """The stand-in, and the real one too where the environment says where it is."""
    return ["stand-in", "real"] if all(real(name) for name in needed) else ["stand-in"]


@dataclass
class Caller:
    """Calls methods and reports status and replies.  One connection, like the `ubus` command."""

    context: Context

    @classmethod
    @contextmanager
    def connect(cls, path: str) -> Iterator[Caller]:
        context = Context(path)
        try:
            yield cls(context)
        finally:
            context.close()

    def __call__(self, path: str, method: str, **arguments: Any) -> dict[str, Any]:
        """The one reply of a call that must succeed ({} for none)."""
        status, replies = self.raw(path, method, **arguments)
        assert status == Status.OK, f"{path} {method}: {wire.status_text(status)}"
        return replies[0] if replies else {}

    def raw(self, path: str, method: str, **arguments: Any) -> tuple[int, list[dict[str, Any]]]:
        status, ident = self.context.lookup_id(path)
        replies: list[dict[str, Any]] = []
        if not status:
            status = self.context.invoke(
                ident,
                method,
                wire.encode_table(arguments),
                lambda data: replies.append(dict(wire.table(data))),
                5000,
            )
        return status, replies

    def text(self, path: str, method: str, **arguments: Any) -> str:
        """The reply as the `ubus` command prints it: order and types of all fields."""
        status, ident = self.context.lookup_id(path)
        assert not status
        found: list[str] = []
        data = wire.encode_table(arguments)
        self.context.invoke(ident, method, data, lambda d: found.append(jsontext.dumps(d, 0)), 5000)
        return "\n".join(found)

    def status(self, path: str, method: str, **arguments: Any) -> int:
        return self.raw(path, method, **arguments)[0]


@dataclass(frozen=True)
class Captured:
    """One message of a capture."""

    from_client: bool
    name: str
    data: bytes

    @property
    def message(self) -> wire.Message:
        framer = wire.Framer()
        framer.feed(self.data)
        message = framer.next()
        assert message is not None and framer.is_empty()
        return message


def capture(name: str) -> list[Captured]:
    found: list[Captured] = []
    for line in (TESTS / "contract" / "captures" / f"{name}.txt").read_text().splitlines():
        if line.startswith(" "):
            last = found.pop()
            data = last.data + bytes.fromhex(line.strip())
            found.append(Captured(last.from_client, last.name, data))
        elif not line.startswith("#"):
            side, kind = line.split()
            found.append(Captured(side == "client", kind, b""))
    return found


@dataclass
class Ubusd:
    """A ubusd (or the broker) of our own, to be killed and started again."""

    command: list[str]
    path: str
    process: subprocess.Popen[bytes] | None = None

    def start(self, begun: Callable[[], bool] = lambda: True) -> None:
        """`begun`: what has to be so before an answer counts as this one's."""
        environment = {**os.environ, "PYTHONPATH": str(TESTS)}
        self.process = subprocess.Popen([*self.command, "-s", self.path], env=environment)
        wait_until(lambda: begun() and self._answers(), 10, "ubusd answers")

    def _answers(self) -> bool:
        try:
            Context(self.path).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """As a crash would end it: the socket file stays."""
        assert self.process is not None
        end(self.process)


def broker_command() -> list[str]:
    return [sys.executable, "-m", "openwrt.broker"]
