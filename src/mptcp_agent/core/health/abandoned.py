# SPDX-License-Identifier: GPL-2.0-or-later
"""Connections that go on receiving although nobody will ever read it.

A LAN client breaks a download off, the proxy closes its connection to the peer, and everything
that was under way still comes: plain TCP answers data for a closed socket with a reset (RFC 1122
section 4.2.2.13), MPTCP takes it in. Until its buffer is full, megabytes later, the links are
busy for nobody; its memory, the sender's, and that of the server's connection to the destination
stay taken for a minute (net.mptcp.close_timeout counts from the close and is not worth shortening:
it is also how long a connection waits for a new subflow; seen on 6.1, 6.18 and 7.3). A socket
closed with unread data is reset at once by itself: some engines leave that to chance, others to
their habit of reading late.

    state       FIN-WAIT-2: all of this end's data has arrived, the other end knows that no more
                comes, so that nothing is lost; in FIN-WAIT-1 the rest of an upload still leaves
    process     none: who has closed its own direction only may read on
    unread      something: else the other end has nothing to say, and is about to close too
"""

from __future__ import annotations

from collections.abc import Iterable

from ..sockets import ClosedConnection


def abandoned(found: Iterable[ClosedConnection]) -> frozenset[int]:
    """The tokens of those that are to be reset."""
    return frozenset(c.token for c in found if not c.owned and c.unread)
