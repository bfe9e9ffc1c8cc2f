# SPDX-License-Identifier: GPL-2.0-or-later
"""`make bench`: figures, measured in the lab, beside those of peers in the same run.

One file per line of the table; each has TITLE, MEANING (for docs/benchmarks.md) and
``run(bench) -> list[Measure]``. What they share:

    setups    the agent, and what it is compared with
    cut       one stream with a cut in the middle, and what the receiver saw of it
    kernel    endpoints and links of a namespace, asked and changed without a process
    measure   a figure with its repeats, peers and limit
    report    tables, build/bench.json, docs/benchmarks.md
"""
