# SPDX-License-Identifier: GPL-2.0-or-later
"""`make soak`: random faults for some minutes, and what became of the LAN's connections."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections import defaultdict

from soak.faults import FAULTS
from soak.marathon import Account, Happened, Marathon, windows


def table(account: Account) -> list[str]:
    """The account by kind of fault."""
    rows: dict[str, list[tuple[Happened, float]]] = defaultdict(list)
    for one, until in windows(account.happened):
        rows[one.blow.name].append((one, until))
    lines = [
        f"{'fault':40} {'times':>5} {'outage':>9} {'bound':>7} {'failed':>7} {'DNS':>8} "
        f"{'call':>8} {'stall':>8}"
    ]
    for name, found in sorted(rows.items()):
        outages = [(account.outage(one, until), one.bound) for one, until in found]
        outage, bound = max(outages, key=lambda pair: pair[0] / pair[1])
        stall, kind = max(account.stall(one, until) for one, until in found)
        load = [account.home[one.blow.number] for one, _ in found]
        dns, call = max(each.dns_gap for each in load), max(each.call_gap for each in load)
        failed = max(each.failed_share for each in load)
        lines.append(
            f"{name:40} {len(found):5} {outage:7.2f} s {bound:5.1f} s {failed:5.1f} % {dns:6.2f} s "
            f"{call:6.2f} s {stall:6.2f} s  {kind}"
        )
    return lines


def summary(account: Account) -> list[str]:
    kept, ended = account.lost()
    done = [t for t in account.told if not t.error]
    size = sum(t.bytes for t in account.told)
    faults = sum(len(h.blow.faults) for h in account.happened)
    never = sum(1 for t in account.told if t.error and not t.bytes)
    return [
        f"faults {faults}, connections {len(account.told)} ({len(done)} whole, {never} never "
        f"began), bytes {size}",
        f"lost that could have been kept: {len(kept)}; ended by the fault itself: {len(ended)}",
        f"leftovers: {len(account.leftovers)}",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", default="", help="of an earlier run, to repeat it")
    parser.add_argument("--fault", action="append", help="only these; may be repeated")
    options = parser.parse_args()
    seed = options.seed or str(secrets.randbelow(10**6))
    print(f"make soak MINUTES={options.minutes:g} SEED={seed}", flush=True)
    faults = [f for f in FAULTS if not options.fault or f.name in options.fault]
    if not faults:
        parser.error(f"there are: {', '.join(f.name for f in FAULTS)}")
    marathon = Marathon(seed, 60 * options.minutes, lambda line: print(line, flush=True), faults)
    account = marathon.run()
    print()
    print("\n".join([*table(account), "", *summary(account), *account.broken]))
    print(f"{'FAILED' if account.broken else 'ok'}, seed {seed}")
    return 1 if account.broken else 0


if __name__ == "__main__":
    sys.exit(main())
