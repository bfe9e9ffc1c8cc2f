"""Where things are in the source tree."""

from __future__ import annotations

from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
BUILD = TOP / "build"
VENV_PYTHON = TOP / ".venv" / "bin" / "python"
SING_BOX = BUILD / "bin" / "sing-box"

OPENWRT = TOP / "tests" / "openwrt"
"""The stand-ins of what OpenWrt has and Debian has not."""

PYTHONPATH = [TOP / "src", OPENWRT / "module", TOP / "tests"]
"""What a router's Python sees: the agent, the stand-in of the `ubus` module, and the lab."""
