# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's links and addresses in this network namespace, for the netifd stand-in.

A netlink socket says that something changed, `ip -json` what there is, `ip` changes it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass

log = logging.getLogger(__name__)

_NETLINK_ROUTE = 0
_GROUPS = 0x1 | 0x10 | 0x100  # RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR
_SETTLE = 0.02  # seconds to wait for the rest of a burst before looking


@dataclass(frozen=True)
class Address:
    address: str
    mask: int
    """Prefix length."""
    scope: str = "global"

    @property
    def family(self) -> int:
        return 6 if ":" in self.address else 4

    def __str__(self) -> str:
        return f"{self.address}/{self.mask}"


@dataclass(frozen=True)
class Link:
    name: str
    carrier: bool
    addresses: tuple[Address, ...]


def links() -> dict[str, Link]:
    """Every link, by name."""
    output = subprocess.run(["ip", "-json", "address"], capture_output=True, check=True).stdout
    found = {}
    for item in json.loads(output or b"[]"):
        if not item:
            continue
        addresses = tuple(
            Address(str(each["local"]), int(each["prefixlen"]), str(each.get("scope", "")))
            for each in item.get("addr_info", ())
            if "local" in each
        )
        found[item["ifname"]] = Link(item["ifname"], "LOWER_UP" in item["flags"], addresses)
    return found


def ip(*words: str) -> None:
    """Run one `ip` command; a failure is logged."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        log.warning("ip %s: %s", " ".join(words), done.stderr.strip())


def ip_all(commands: Iterable[Iterable[str]]) -> None:
    for words in commands:
        ip(*words)


def watch(on_change: Callable[[], None]) -> None:
    """Call `on_change` after each burst of link and address changes, for ever.

    The content of the messages is not read, so an overrun of the socket loses nothing.
    """
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_ROUTE)
    sock.bind((0, _GROUPS))
    loop = asyncio.get_running_loop()
    waiting: list[asyncio.TimerHandle] = []

    def look() -> None:
        waiting.clear()
        on_change()

    def readable() -> None:
        try:
            while sock.recv(65536):
                pass
        except BlockingIOError:
            pass
        except OSError as error:
            log.info("netlink: %s", error)  # ENOBUFS
        if not waiting:
            waiting.append(loop.call_later(_SETTLE, look))

    loop.add_reader(sock, readable)
