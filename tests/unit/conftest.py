# SPDX-License-Identifier: GPL-2.0-or-later
"""How Hypothesis runs here: no clock in the verdict, since other work may share the machine."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("unit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unit")
