# SPDX-License-Identifier: GPL-2.0-or-later
"""A ubus call as those see it who make one; ``system.ubus.bus`` carries it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Reply = dict[str, Any]  # JSON of another program

#: Object, method and arguments -> the reply; raises BusError.
Call = Callable[[str, str, Mapping[str, object]], Reply]
