# SPDX-License-Identifier: GPL-2.0-or-later
"""Netlink events: the kernel says that something changed, the agent looks again.

Own sockets rather than pyroute2's, because only the fact of a message counts here, never its
content (a lost one costs nothing: whoever looks again sees all of it), and because receiving
events is what differs most between pyroute2 0.7 (a thread) and 0.9 (asyncio).
"""

from __future__ import annotations

import contextlib
import errno
import socket

from ...core.state import Part
from ...errors import KernelError
from .framing import messages

#: linux/netlink.h
_NETLINK_NETFILTER = 12
_SOL_NETLINK = 270
_NETLINK_ADD_MEMBERSHIP = 1
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h; beyond net.core.rmem_max, with CAP_NET_ADMIN

#: linux/rtnetlink.h: RTNLGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV4_RULE, _IPV6_IFADDR,
#: _IPV6_ROUTE, _IPV6_RULE
_ROUTE_GROUPS = (1, 5, 7, 8, 9, 11, 19)
#: linux/netfilter/nfnetlink.h NFNLGRP_NFTABLES
_NFTABLES_GROUP = 7

#: linux/rtnetlink.h: RTM_NEW*, RTM_DEL* of links, addresses, routes and rules
_PARTS = {
    **dict.fromkeys((16, 17, 20, 21), Part.LINKS),
    **dict.fromkeys((24, 25, 32, 33), Part.ROUTING),
}
#: linux/netfilter/nf_tables.h, NFT_MSG_*: elements of sets (dnsmasq adds them with each answer)
#: and what accompanies every change; no table, chain or rule is another after these.
_NFT_ELEMENTS = range(12, 18)
EVERYTHING = frozenset({Part.LINKS, Part.ROUTING, Part.FIREWALL})

#: Room for some thousand messages, so that a burst (an interface with many addresses going
#: down) is one wake-up and rarely an overrun.
_RECEIVE_BUFFER = 1 << 20
_READ = 1 << 16
#: So that a flood does not hold the loop: what is left makes the socket readable again.
_READS_AT_ONCE = 64


class NetlinkEvents:
    """Sockets that become readable when links, addresses, routes, rules or nftables change.

    Of the network namespace it is made in. nftables may be missing (iptables systems, kernels
    without nf_tables): then the firewall is never reported. Raises KernelError when there is
    no rtnetlink at all.
    """

    def __init__(self) -> None:
        try:
            self._route = _listen(socket.NETLINK_ROUTE, _ROUTE_GROUPS)
        except OSError as error:
            raise KernelError(f"listening to rtnetlink: {error.strerror}") from error
        self._netfilter: socket.socket | None = None
        with contextlib.suppress(OSError):
            self._netfilter = _listen(_NETLINK_NETFILTER, (_NFTABLES_GROUP,))

    def close(self) -> None:
        for open_socket in self._sockets():
            open_socket.close()

    def filenos(self) -> tuple[int, ...]:
        """What to give to ``loop.add_reader``; each one calls for ``drain``."""
        return tuple(open_socket.fileno() for open_socket in self._sockets())

    def drain(self) -> frozenset[Part]:
        """Read what has arrived; what must be looked at again. Never blocks.

        Empty when nothing (of interest) came; everything after an overrun, because then the
        kernel has thrown messages away.
        """
        found: set[Part] = set()
        for open_socket in self._sockets():
            for _ in range(_READS_AT_ONCE):
                try:
                    data = open_socket.recv(_READ)
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno == errno.ENOBUFS:
                        found |= EVERYTHING
                        continue
                    raise KernelError(f"reading netlink events: {error.strerror}") from error
                found |= meaning(data, nftables=open_socket is self._netfilter)
        return frozenset(found)

    def _sockets(self) -> list[socket.socket]:
        return [s for s in (self._route, self._netfilter) if s is not None]


def meaning(data: bytes, nftables: bool = False) -> set[Part]:
    """What the messages of rtnetlink or nftables in the datagram are about. Garbage means
    everything."""
    found: set[Part] = set()
    try:
        for kind, _, _ in messages(data):
            if nftables:
                found |= {Part.FIREWALL} if kind & 0xFF not in _NFT_ELEMENTS else set()
            elif kind in _PARTS:
                found.add(_PARTS[kind])
    except OSError:
        return set(EVERYTHING)
    return found


def _listen(protocol: int, groups: tuple[int, ...]) -> socket.socket:
    opened = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol
    )
    try:
        try:
            opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
        except PermissionError:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        opened.bind((0, 0))
        for group in groups:
            opened.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
    except OSError:
        opened.close()
        raise
    return opened
