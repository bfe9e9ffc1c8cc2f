"""Where things are in the source tree."""

from __future__ import annotations

from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
BUILD = TOP / "build"
VENV_PYTHON = TOP / ".venv" / "bin" / "python"
SING_BOX = BUILD / "bin" / "sing-box"

OPENWRT_BIN = TOP / "tests" / "openwrt" / "bin"
"""Stand-ins of commands that OpenWrt has and Debian has not (`ubus`, `uci`)."""

PYTHONPATH = [TOP / "src", TOP / "tests" / "openwrt" / "module", TOP / "tests"]
"""What a router's Python sees: the agent, the stand-in of the `ubus` module, and the lab."""
