# SPDX-License-Identifier: GPL-2.0-or-later
"""`make clean`: remove what labs left whose owner was killed. Needs nothing but Python."""

from __future__ import annotations

from lab.lab import sweep


def main() -> None:
    for name in sweep():
        print(f"removed what {name} had left")


if __name__ == "__main__":
    main()
