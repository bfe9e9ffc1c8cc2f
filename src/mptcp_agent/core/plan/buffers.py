"""How much a connection may buffer: the third values of tcp_rmem and tcp_wmem.

Too little does not carry the sum of the links: with 512 KiB two links of 50 and 20 Mbit/s
carry 32, with 1 MiB 65. Too much makes every fail-over stall longer: what a dead link has lost
is sent again behind everything already queued on the others, 4 MB for 315-393 ms, 768 KB for
119-127 ms. The sender's limit decides both, so each router follows what it sends itself.

The kernel counts buffers with their overhead (about half is payload), and what waits for the
slowest path waits on all of them, hence twice rate x round trip, the rate of all links with the
round trip of the slowest.
"""

from __future__ import annotations

from ..config import Config
from ..network import Facts

#: Bytes. Below 1 MiB two ordinary links carry less than one of them would alone.
FLOOR = 1 << 20
#: At most this share of the memory for one connection: 1 MiB of 64 MB, 4 MiB of 256 MB.
MEMORY_SHARE = 64
#: No connection needs more: 1 Gbit/s at 60 ms.
CEILING = 16 << 20
#: bit/s below which a rate says that nobody asked for more, not what the links can carry.
TELLING_RATE = 2_000_000
#: Added to the shortest round trip (s): the queue that a busy link has at least.
QUEUE = 0.010
#: Room above what was seen, so that a link that became faster shows it.
HEADROOM = 1.25
#: A new limit has to differ by this share to be worth a change.
STEP = 0.2


def wanted(config: Config, facts: Facts, present: int, sending: bool) -> tuple[int, str]:
    """The limit in bytes and the reason, from the present one. Not for ``buffers off``."""
    if config.globals.buffers != "auto":
        return int(config.globals.buffers), "set in the configuration"
    most = max(FLOOR // 4, facts.memory // MEMORY_SHARE) if facts.memory else FLOOR
    most = min(most, CEILING)
    least = min(FLOOR, most)
    if not sending:
        # A large receive buffer delays nothing, it only holds what arrives out of order.
        target = min(max(_product(facts.receive_rate, facts.round_trip), least), most)
        if target > present:
            return target, f"raised to {target >> 10} KiB so that all links can be filled"
        return present, "large enough as it is"
    if facts.send_rate < TELLING_RATE or not facts.round_trip:
        return max(present, least), "nothing measured yet"
    target = min(max(_product(facts.send_rate, facts.round_trip), least), most)
    reason = (
        f"follows the {facts.send_rate / 1e6:.0f} Mbit/s lately sent at a round trip of "
        f"{facts.round_trip * 1000:.0f} ms"
    )
    if abs(target - present) <= STEP * target:
        return present, reason
    return target, reason


def _product(rate: float, round_trip: float) -> int:
    wanted = 2 * HEADROOM * rate / 8 * (round_trip + QUEUE)
    return int(wanted) // 65536 * 65536
