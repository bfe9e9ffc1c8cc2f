# SPDX-License-Identifier: GPL-2.0-or-later
"""The proxy processes: their end is heard of at once (pidfd), their start is looked for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..core.config import Config
from .kernel import KERNEL, Kernel

#: Bytes (SO_RCVBUF, of which the kernel makes twice as many) that a LAN client may have sent ahead
#: of what the WANs have taken: 200 Mbit/s at a LAN's 10 ms. It all goes out also when the client
#: has broken its upload off; without a bound five of them kept two links of 50 Mbit/s full for 5 s.
FROM_LAN = 256 << 10


class ProxyProcesses:
    """``ended`` is called when one of them ends, ``work`` runs a call in a worker thread."""

    def __init__(
        self,
        ended: Callable[[], None],
        work: Callable[..., Awaitable[Any]],
        kernel: Kernel = KERNEL,
    ) -> None:
        self._ended = ended
        self._work = work
        self._kernel = kernel
        self._pids: Mapping[str, int] = {}
        self._pidfds: dict[int, int] = {}
        self._bounding: asyncio.Task[bool] | None = None
        self._bounded: int | None = None
        """The process whose listener was bounded."""
        self._port: int | None = None
        """Where the redirector was found to listen; None: nowhere."""

    @property
    def redirector_listens(self) -> bool:
        return self._port is not None

    def follow(self, pids: Mapping[str, int]) -> None:
        """Hear of the end of these, by name."""
        self._pids = pids
        for gone in self._pidfds.keys() - set(pids.values()):
            self._unwatch(gone)
        for pid in pids.values():
            self._watch(pid)

    async def find_redirector(self, config: Config, known: bool) -> bool:
        """Look whether the redirector listens; whether it began to. Asked only while the answer
        may change, since its end is heard of. ``known``: procd has answered."""
        if config.client is None or (known and "client" not in self._pids):
            self.redirector_gone()
            return False
        port = config.client.local_port
        if port == self._port:
            self._bound(config)
            return False
        # Another port than before, too: one that still listens at the old one, since its file
        # could not be written, is no way for the LAN.
        self._port = port if await self._work(self._kernel.listens, port) else None
        self._bound(config)
        return self.redirector_listens

    def _bound(self, config: Config) -> None:
        """Bound what the redirector takes in ahead, once in each one's life."""
        pid = self._pids.get("client")
        if self._port and pid not in (None, self._bounded) and config.globals.buffers != "off":
            self._bounded = pid
            # Takes long on a slow router, and nothing waits for it.
            call = asyncio.to_thread(self._kernel.bound_listener, pid, self._port, FROM_LAN)
            self._bounding = asyncio.create_task(call)

    def redirector_gone(self) -> None:
        """It listens no more, or is about to be replaced."""
        self._port = None

    def close(self) -> None:
        for pid in list(self._pidfds):
            self._unwatch(pid)

    def _watch(self, pid: int) -> None:
        if pid in self._pidfds:
            return
        descriptor = self._kernel.watch(pid)
        if descriptor is not None:
            self._pidfds[pid] = descriptor
            asyncio.get_running_loop().add_reader(descriptor, self._has_ended, pid)

    def _unwatch(self, pid: int) -> None:
        descriptor = self._pidfds.pop(pid, None)
        if descriptor is not None:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)

    def _has_ended(self, pid: int) -> None:
        self._unwatch(pid)
        if pid == self._pids.get("client"):
            self.redirector_gone()
        self._ended()
