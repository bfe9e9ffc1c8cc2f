# SPDX-License-Identifier: GPL-2.0-or-later
"""MPTCP endpoints and limits: the kernel's in-kernel path manager (``ip mptcp``).

Own messages, because pyroute2's class for them cannot be had without its sockets
(``conversation``), and gives an endpoint's device as hexadecimal text.
"""

from __future__ import annotations

import contextlib
import errno
import re
import socket
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from ...core.describe import line
from ...core.state import ENDPOINT_IDS, FEWEST_ENDPOINTS, Endpoint, EndpointFlag, Limits, family
from ...errors import KernelError
from .framing import attribute, attributes, device
from .path_manager import (
    ADD_ADDRESS,
    DELETE_ADDRESS,
    GET_ADDRESS,
    GET_LIMITS,
    SET_LIMITS,
    PathManagerSocket,
)

#: linux/mptcp_pm.h: MPTCP_PM_ATTR_*, MPTCP_PM_ADDR_ATTR_*
_ATTR_ADDR, _ATTR_RCV_ADD_ADDRS, _ATTR_SUBFLOWS = 1, 2, 3
_ADDR_FAMILY, _ADDR_ID, _ADDR4, _ADDR6, _ADDR_FLAGS, _ADDR_IF_IDX = 1, 2, 3, 4, 6, 7
_NESTED = 0x8000  # linux/netlink.h NLA_F_NESTED
#: linux/mptcp_pm.h (before Linux 6.7 linux/mptcp.h): MPTCP_PM_ADDR_FLAG_*
_FLAGS: dict[EndpointFlag, int] = {"signal": 1, "subflow": 2, "backup": 4}
#: The kernel's own note that a peer joined from this address, not an endpoint somebody set.
_IMPLICIT = 1 << 4

#: The kernel refuses an address that exists (EEXIST), or exists as an implicit one while an
#: id is asked for (EINVAL), or is one more than it holds (ERANGE); net/mptcp/pm_kernel.c (before
#: Linux 6.15 pm_netlink.c), mptcp_pm_nl_append_new_local_addr(). Seen on 6.18.
_TAKEN = (errno.EEXIST, errno.EINVAL, errno.ERANGE)


def add_again(endpoints: Iterable[Endpoint]) -> None:
    """Remove endpoints and add them at once: connections join anew over each, those that have no
    subflow left included. Raises KernelError."""
    with contextlib.closing(PathManager()) as manager:
        for endpoint in endpoints:
            manager.remove(endpoint)
            manager.add(endpoint)


@dataclass(frozen=True)
class _Entry:
    endpoint: Endpoint
    implicit: bool


class PathManager:
    """The path manager of the network namespace in which the first call is made.

    Every method blocks (under a millisecond) and raises KernelError.
    """

    def __init__(self) -> None:
        self._netlink = PathManagerSocket()

    def close(self) -> None:
        self._netlink.close()

    def observe(self) -> tuple[Endpoint, ...]:
        """The agent's own endpoints, sorted: known by their id, and not implicit (those the
        kernel keeps for itself)."""
        entries = [entry.endpoint for entry in self._entries() if not entry.implicit]
        own = (e for e in entries if e.id in ENDPOINT_IDS)
        return tuple(sorted(own, key=lambda e: (e.address, e.device, e.id)))

    def limits(self) -> Limits:
        for message in self._request("reading the MPTCP limits", GET_LIMITS) or ():
            found = {kind: _number(value) for kind, value in attributes(message).items()}
            return Limits(found[_ATTR_SUBFLOWS], found[_ATTR_RCV_ADD_ADDRS])
        raise KernelError("reading the MPTCP limits: the kernel gave no answer")

    def set_limits(self, limits: Limits) -> None:
        subflows = attribute(_ATTR_SUBFLOWS, struct.pack("=I", limits.subflows))
        accepted = attribute(_ATTR_RCV_ADD_ADDRS, struct.pack("=I", limits.add_addr_accepted))
        self._request(line(limits), SET_LIMITS, subflows + accepted)

    def most(self) -> int:
        """How many endpoints the kernel holds at once, and the most that each limit may be.

        Asked for by limits that no kernel takes. It refuses both before it sets either, with the
        number that it would take: 8 through Linux 7.1, 64 from 7.2 on (net/mptcp/pm_kernel.c,
        parse_limit(); 8 seen on 6.18, 64 endpoints on 7.3, the message of 64 read only). Before
        6.15 the number was not told, and was 8.
        """
        absurd = 1 << 20
        try:
            self.set_limits(Limits(absurd, absurd))
        except KernelError as error:
            refusal = error.__cause__
            if not isinstance(refusal, OSError) or refusal.errno != errno.EINVAL:
                raise
            said = re.search(r"\((\d+)\)$", refusal.strerror or "")
            return int(said[1]) if said else FEWEST_ENDPOINTS
        raise KernelError("the kernel has no greatest number of MPTCP endpoints")

    def add(self, endpoint: Endpoint) -> None:
        """Add the endpoint; whoever else has its address or its id makes way.

        Running connections try to open a subflow on it at once, so its address, table and
        rules must stand before. Fine where the very same endpoint exists.
        """
        for entry in self._entries():
            if entry.endpoint == endpoint and not entry.implicit:
                return
            # Refused with EBUSY (6.12, 7.3; in other words on 6.1).
            if endpoint.id == entry.endpoint.id or endpoint.address == entry.endpoint.address:
                self._delete(entry.endpoint)
        try:
            index = socket.if_nametoindex(endpoint.device)
        except OSError as error:
            raise KernelError(f"{line(endpoint)}: there is no device {endpoint.device}") from error
        bits = sum(_FLAGS[flag] for flag in endpoint.flags)
        request = _address(
            endpoint,
            attribute(_ADDR_FLAGS, struct.pack("=I", bits))
            + attribute(_ADDR_IF_IDX, struct.pack("=i", index)),
        )
        if self._request(line(endpoint), ADD_ADDRESS, request, fine=_TAKEN) is None:
            # One came back in between, or those of addresses long gone fill all places.
            self.forget_implicit()
            self._request(line(endpoint), ADD_ADDRESS, request)

    def forget_implicit(self) -> None:
        """Remove the kernel's own endpoints, which it never does itself (seen on 6.18 and 7.3)."""
        for entry in self._entries():
            if entry.implicit:
                self._delete(entry.endpoint)

    def remove(self, endpoint: Endpoint) -> None:
        """Remove the endpoint; fine where it is gone, or its id is somebody else's by now.

        Its subflows close, and the peer is told over another one (REMOVE_ADDR). One that is added
        again later is joined again, the initial subflow's too (seen on 6.1, 6.18 and 7.3).
        """
        for entry in self._entries():
            found = entry.endpoint
            if (found.id, found.address) == (endpoint.id, endpoint.address):
                self._delete(found)

    # --- Netlink ---------------------------------------------------------------------------

    def _entries(self) -> list[_Entry]:
        try:
            found = [attributes(message) for message in self._netlink.dump(GET_ADDRESS)]
        except OSError as error:
            raise KernelError(f"MPTCP path manager: {_reason(error)}") from error
        return [_entry(attributes(each[_ATTR_ADDR])) for each in found if _ATTR_ADDR in each]

    def _delete(self, endpoint: Endpoint) -> None:
        # Linux before 6.1 wants the address, too.
        self._request(
            f"removing {line(endpoint)}",
            DELETE_ADDRESS,
            _address(endpoint),
            fine=(errno.EINVAL, errno.ENOENT),  # EINVAL "address not found"
        )

    def _request(
        self, what: str, command: int, body: bytes = b"", fine: Iterable[int | None] = ()
    ) -> list[bytes] | None:
        """None where it failed in a way that is fine."""
        try:
            return self._netlink.request(command, body)
        except OSError as error:
            if error.errno not in fine:
                raise KernelError(f"{what}: {_reason(error)}") from error
            return None


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOENT, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT):
        return (
            "this kernel has no Multipath TCP (option CONFIG_MPTCP; OpenWrt 24.10 and "
            "later has it on targets without SMALL_FLASH)"
        )
    if error.errno == errno.EPERM:
        return "not permitted; the agent needs root (CAP_NET_ADMIN)"
    return error.strerror or str(error)


def _address(endpoint: Endpoint, more: bytes = b"") -> bytes:
    version, kind = (
        (socket.AF_INET6, _ADDR6) if family(endpoint.address) == 6 else (socket.AF_INET, _ADDR4)
    )
    return attribute(
        _ATTR_ADDR | _NESTED,
        attribute(_ADDR_FAMILY, struct.pack("=H", version))
        + attribute(_ADDR_ID, struct.pack("=B", endpoint.id))
        + attribute(kind, socket.inet_pton(version, endpoint.address))
        + more,
    )


def _entry(given: dict[int, bytes]) -> _Entry:
    version = socket.AF_INET6 if _ADDR6 in given else socket.AF_INET
    bits = _number(given.get(_ADDR_FLAGS))
    return _Entry(
        Endpoint(
            address=socket.inet_ntop(version, given[_ADDR6 if _ADDR6 in given else _ADDR4]),
            device=device(_number(given.get(_ADDR_IF_IDX))),
            flags=frozenset(flag for flag, bit in _FLAGS.items() if bits & bit),
            id=_number(given.get(_ADDR_ID)),
        ),
        implicit=bool(bits & _IMPLICIT),
    )


def _number(value: bytes | None) -> int:
    """Of whatever width; a missing one is 0."""
    return int.from_bytes(value or b"", sys.byteorder)
