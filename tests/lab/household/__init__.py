# SPDX-License-Identifier: GPL-2.0-or-later
"""The two ends of a home's load: `python -m lab.household far | lan TARGET... [--open N] …`.

lab/home.py starts both and reads what they tell: a line of JSON every TELL seconds, with what came
to an end since the line before. Times are of the machine's monotonic clock, in seconds.

far     serves: short connections, open ones, DNS queries, its half of the call
lan     makes them, from a host of the LAN

Each end is one process with one event loop, so that it costs little beside what is measured. It
ends with its standard input, at the latest after LONGEST, and holds no more than MOST connections.
"""

from __future__ import annotations

from lab.talker import pattern

TCP_PORT, CALL_PORT, DNS_PORT = 7200, 5004, 53

REQUEST = b"GET / HTTP/1.0" + b" " * 185 + b"\n"
ANSWER = pattern(0, 10_000)
"""What a short connection asks and gets: the size of a small web request."""

PATIENCE = 2.0
"""Seconds after which a short connection or a query has failed: a person reloads the page."""

MESSAGE = b"m" * 99 + b"\n"
EVERY = 10.0
"""An open connection says MESSAGE and hears it back so often (seconds)."""
OPEN_PATIENCE = 20.0
"""Seconds without an answer after which an open connection counts as lost."""
SILENT = 6.0
"""The same at the end, where nobody waits any longer."""
RAMP = 0.01
"""Seconds between two that are opened: no more at a time than a home would."""

CALL_EVERY, CALL_SIZE = 0.02, 160
"""One voice as G.711 has it: 50 packets a second."""
HUNG_UP = 30.0
"""Seconds without a packet after which the far end stops talking."""

TELL = 0.5
LONGEST = 4 * 3600.0
MOST = 800
IN_FLIGHT = 250
"""Short connections at a time: those of PATIENCE seconds of silence, and some more."""
