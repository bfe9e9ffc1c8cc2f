# SPDX-License-Identifier: GPL-2.0-or-later
"""MPTCP endpoints and limits: the kernel's in-kernel path manager (``ip mptcp``).

Spoken to by pyroute2's MPTCP class, whose two traps are dealt with here: an interface index
goes in as bytes and comes back as hexadecimal text, and flags are a bare bitmap.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.describe import line
from ...core.state import ENDPOINT_IDS, Endpoint, EndpointFlag, Limits, family
from ...errors import KernelError
from .framing import device
from .library import MPTCP, Handle, Message, NetlinkError, code, text

#: linux/mptcp_pm.h (before Linux 6.7 linux/mptcp.h): MPTCP_PM_ADDR_FLAG_*
_FLAGS: dict[EndpointFlag, int] = {"signal": 1, "subflow": 2, "backup": 4}
#: The kernel's own note that a peer joined from this address, not an endpoint somebody set.
_IMPLICIT = 1 << 4

#: The kernel refuses an address that exists (EEXIST), or exists as an implicit one while an
#: id is asked for (EINVAL), or is the ninth (ERANGE); net/mptcp/pm_kernel.c
#: mptcp_pm_nl_append_new_local_addr().
_TAKEN = (errno.EEXIST, errno.EINVAL, errno.ERANGE)

#: There wherever the kernel has MPTCP. Asked first, because pyroute2 0.9 leaves sockets open
#: each time it does not find the path manager.
_SYSCTLS = Path("/proc/sys/net/mptcp")


def _open() -> Any:
    if not _SYSCTLS.is_dir():
        raise OSError(errno.EPROTONOSUPPORT, "no MPTCP")
    return MPTCP(ext_ack=True)


@dataclass(frozen=True)
class _Entry:
    endpoint: Endpoint
    implicit: bool


class PathManager:
    """The path manager of the network namespace in which the first call is made.

    Every method blocks (under a millisecond) and raises KernelError.
    """

    def __init__(self) -> None:
        self._netlink = Handle(_open)

    def close(self) -> None:
        self._netlink.close()

    def observe(self) -> tuple[Endpoint, ...]:
        """The agent's own endpoints, sorted: known by their id, and not implicit (those the
        kernel keeps for itself)."""
        entries = [entry.endpoint for entry in self._entries() if not entry.implicit]
        own = (e for e in entries if e.id in ENDPOINT_IDS)
        return tuple(sorted(own, key=lambda e: (e.address, e.device, e.id)))

    def limits(self) -> Limits:
        for message in self._dump(lambda mptcp: mptcp.limits("show")):
            return Limits(
                subflows=int(message.get_attr("MPTCP_PM_ATTR_SUBFLOWS")),
                add_addr_accepted=int(message.get_attr("MPTCP_PM_ATTR_RCV_ADD_ADDRS")),
            )
        raise KernelError("reading the MPTCP limits: the kernel gave no answer")

    def set_limits(self, limits: Limits) -> None:
        self._request(
            f"{line(limits)} (each may be 0 to 8)",
            lambda mptcp: mptcp.limits(
                "set", subflows=limits.subflows, add_addr_accepted=limits.add_addr_accepted
            ),
        )

    def add(self, endpoint: Endpoint) -> None:
        """Add the endpoint; whoever else has its address or its id makes way.

        Running connections try to open a subflow on it at once, so its address, table and
        rules must stand before. Fine where the very same endpoint exists.
        """
        for entry in self._entries():
            if entry.endpoint == endpoint and not entry.implicit:
                return
            # The kernel would accept a second endpoint under the same id.
            if endpoint.id == entry.endpoint.id or endpoint.address == entry.endpoint.address:
                self._delete(entry.endpoint)
        try:
            index = socket.if_nametoindex(endpoint.device)
        except OSError as error:
            raise KernelError(f"{line(endpoint)}: there is no device {endpoint.device}") from error
        address = "addr6" if family(endpoint.address) == 6 else "addr4"
        bits = sum(_FLAGS[flag] for flag in endpoint.flags)

        def ask(mptcp: Any) -> Any:
            return mptcp.endpoint(
                "add",
                **{address: endpoint.address},
                id=endpoint.id,
                flags=bits,
                if_idx=struct.pack("=i", index),
            )

        if not self._request(line(endpoint), ask, fine=_TAKEN):
            # One came back in between, or those of addresses long gone fill all eight places.
            self.forget_implicit()
            self._request(line(endpoint), ask)

    def forget_implicit(self) -> None:
        """Remove the kernel's own endpoints, which it never does itself."""
        for entry in self._entries():
            if entry.implicit:
                self._delete(entry.endpoint)

    def remove(self, endpoint: Endpoint) -> None:
        """Remove the endpoint; fine where it is gone, or its id is somebody else's by now.

        Its subflows close, and the peer is told over another one (REMOVE_ADDR).
        """
        for entry in self._entries():
            found = entry.endpoint
            if (found.id, found.address) == (endpoint.id, endpoint.address):
                self._delete(found)

    # --- Netlink ---------------------------------------------------------------------------

    def _entries(self) -> list[_Entry]:
        nested = "MPTCP_PM_ATTR_ADDR"
        messages = self._dump(lambda mptcp: mptcp.endpoint("show"))
        return [_entry(m.get_attr(nested)) for m in messages if m.get_attr(nested)]

    def _delete(self, endpoint: Endpoint) -> None:
        # Linux before 6.1 wants the family, too; the address must be there only for id 0.
        address = "addr6" if family(endpoint.address) == 6 else "addr4"
        self._request(
            f"removing {line(endpoint)}",
            lambda mptcp: mptcp.endpoint("del", **{address: endpoint.address}, id=endpoint.id),
            fine=(errno.EINVAL, errno.ENOENT),  # EINVAL "address not found"
        )

    def _request(self, what: str, ask: Any, fine: Iterable[int] = ()) -> bool:
        """False where it failed in a way that is fine."""
        try:
            self._netlink.request(ask)
        except (NetlinkError, OSError) as error:
            if code(error) not in fine:
                raise KernelError(f"{what}: {self._reason(error)}") from error
            return False
        return True

    def _dump(self, ask: Any) -> list[Message]:
        try:
            return self._netlink.dump(ask)
        except (NetlinkError, OSError) as error:
            raise KernelError(f"MPTCP path manager: {self._reason(error)}") from error

    def _reason(self, error: Exception) -> str:
        if code(error) in (errno.ENOENT, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT):
            return (
                "this kernel has no Multipath TCP (option CONFIG_MPTCP; OpenWrt 24.10 and "
                "later has it on targets without SMALL_FLASH)"
            )
        if code(error) == errno.EPERM:
            return "not permitted; the agent needs root (CAP_NET_ADMIN)"
        return text(error)


def _entry(address: Message) -> _Entry:
    raw = address.get_attr("MPTCP_PM_ADDR_ATTR_ADDR4") or address.get_attr(
        "MPTCP_PM_ADDR_ATTR_ADDR6"
    )
    bits = address.get_attr("MPTCP_PM_ADDR_ATTR_FLAGS") or 0
    return _Entry(
        Endpoint(
            address=str(ipaddress.ip_address(raw)),
            device=device(_index(address.get_attr("MPTCP_PM_ADDR_ATTR_IF_IDX"))),
            flags=frozenset(flag for flag, bit in _FLAGS.items() if bits & bit),
            id=int(address.get_attr("MPTCP_PM_ADDR_ATTR_ID") or 0),
        ),
        implicit=bool(bits & _IMPLICIT),
    )


def _index(shown: str | None) -> int:
    """An index like ``03:00:00:00``; none is 0."""
    return int(struct.unpack("=i", bytes.fromhex((shown or "0" * 8).replace(":", "")))[0])
