# SPDX-License-Identifier: GPL-2.0-or-later
"""How much a connection may buffer: tcp_rmem and tcp_wmem, (least, at the start, most) in bytes.

**Receiving** takes a lot from the start. When a WAN dies, what arrives on the others waits
behind the hole. Once that fills the buffer, the kernel also sets aside the repeated data that
would fill the hole, and the connection hangs for ever: seen on 6.18, where with the kernel's start
of 128 KiB about every sixth download did, with 4 MiB none of 250. From 6.19 on the code is another
and does the same (read, not run: net/mptcp/protocol.c, ``__mptcp_move_skbs_from_subflow`` puts it
into a backlog, which ``mptcp_can_spool_backlog`` leaves alone while the buffer is full). 6.1, 6.12
and 7.3 were run with 4 MiB only. Less than that does not carry the sum of unequal links
either. It delays nothing: a buffer is a limit, and only what waits behind a hole fills it.

**Sending** takes little. What a dead link has lost is sent again behind everything already
queued on the others: 4 MB stall for 315-393 ms, 768 KB for 119-127 ms. Twice rate x round trip
of all links together, with the round trip of the slowest, is enough and finds out by itself when
a link has become faster: a stream held back by its buffer builds no queue, so its rate grows to
twice what was measured. A connection has a buffer for each of its subflows.
"""

from __future__ import annotations

from collections.abc import Callable

from ..config import Config
from ..network import Facts

#: Bytes. Enough for the hole of any two links that together carry less than 120 Mbit/s.
RECEIVE = 4 << 20
#: What a sender may have under way lies in the receiver's buffer with its overhead, and once more.
BEHIND_A_HOLE = 4
#: Bytes for each subflow, while nothing has been measured, and the least.
SEND, LEAST_SEND = 512 << 10, 256 << 10
#: At most these shares of the memory for one connection: of 128 MB 4 MiB behind a hole, and
#: 2 MiB to send. With 2 MiB for both a receiver had no room for what two subflows may send.
RECEIVE_SHARE, SEND_SHARE = 32, 64
#: Memory where it is unknown.
SOME_MEMORY = 128 << 20
#: No connection needs more: 1 Gbit/s at 60 ms.
CEILING = 16 << 20
#: bit/s below which a rate says that nobody asked for more, not what the links can carry.
MIN_RATE = 2_000_000
#: Added to the shortest round trip (s): the queue that a busy link has at least.
QUEUE = 0.010
#: A server sends what its clients upload on to destinations as far away (s) as this. Not more than
#: ``SEND`` for it: what the subflows of a download hold together has to fit behind a hole at the
#: client. With 1.6 MB for each, one download in eight stood still for seconds.
ONWARD = 0.2
#: Limits are multiples of this many bytes: nobody reads the rest.
ROUND, RECEIVE_ROUND = 64 << 10, 1 << 20
#: A lower limit has to differ by this share to be worth a change; a higher one is taken at once.
STEP = 0.2
#: Acknowledgements are this share of what is received, at most: they ask for no room to send.
ACKS = 0.05

Values = tuple[int, int, int]


def receiving(config: Config, facts: Facts, present: Values) -> tuple[Values, str]:
    """tcp_rmem and the reason, from the present values. Not for ``buffers off``."""
    low, start, most = present
    behind = BEHIND_A_HOLE * _product(facts.measured.receive_rate, facts.measured.round_trip)
    wanted = max(RECEIVE, -(-behind // RECEIVE_ROUND) * RECEIVE_ROUND)
    ample = min(wanted, _affordable(facts, RECEIVE_SHARE))
    if config.globals.buffers != "auto":
        most = int(config.globals.buffers)
        return _fitting(low, max(start, ample), most), "set in the configuration"
    reason = "large enough for what waits behind a hole when a link dies"
    return _fitting(low, max(start, ample), max(most, ample)), reason


def sending(config: Config, facts: Facts, present: Values) -> tuple[Values, str]:
    """tcp_wmem and the reason, from the present values. Not for ``buffers off``."""
    low, start, most = present
    if config.globals.buffers != "auto":
        return _fitting(low, start, int(config.globals.buffers)), "set in the configuration"
    wanted, reason = _to_send(config, facts, most)
    return _fitting(low, start, wanted), reason


def _to_send(config: Config, facts: Facts, present: int) -> tuple[int, str]:
    measured = facts.measured
    if not measured.round_trip:
        return min(max(present, LEAST_SEND), SEND), "nothing measured yet"
    paths = max(1, measured.subflows_per_connection)
    target = _product(measured.send_rate, measured.round_trip) // paths
    reason = (
        f"follows the {measured.send_rate / 1e6:.0f} Mbit/s lately sent over {paths} "
        f"subflow{'s' if paths > 1 else ''} at a round trip of {measured.round_trip * 1000:.0f} ms"
    )
    onward = min(int(measured.receive_rate / 8 * ONWARD), SEND) if config.server else 0
    if onward > target:
        target = onward
        reason = f"room to send on the {measured.receive_rate / 1e6:.0f} Mbit/s lately received"
    data = data_rate(measured.send_rate, measured.receive_rate)
    if max(data, measured.receive_rate if onward else 0.0) < MIN_RATE:
        return max(present, LEAST_SEND), "stays as it was while little is sent"
    target = min(max(target // ROUND * ROUND, LEAST_SEND), _affordable(facts, SEND_SHARE))
    if target < present and not measured.steady:
        # The first reading of a stream saw a part of a second of it: that would hold it back.
        return present, "measuring"
    return (present if 0 <= present - target <= STEP * target else target), reason


def data_rate(sent: float, received: float) -> float:
    """What is left of a rate of sending without the acknowledgements of what is received; may be
    below 0."""
    return sent - ACKS * received


def _affordable(facts: Facts, share: int) -> int:
    return min((facts.memory or SOME_MEMORY) // share, CEILING)


def _product(rate: float, round_trip: float) -> int:
    """Twice bit/s x seconds, in bytes."""
    return int(2 * rate / 8 * (round_trip + QUEUE))


def _fitting(low: int, start: int, most: int) -> Values:
    """least <= start <= most, or the kernel starts connections above their limit."""
    return min(low, most), min(start, most), most


Wanted = Callable[[Config, Facts, Values], tuple[Values, str]]
