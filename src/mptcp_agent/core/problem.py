# SPDX-License-Identifier: GPL-2.0-or-later
"""A problem: something a person can mend, said so that they know where and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["warning", "error"]


@dataclass(frozen=True)
class Problem:
    """One thing that is not as it should be.

    ``where`` is ``package.section.option`` for configuration (fewer parts where there are
    fewer), or the name of a part of the router such as ``nftables`` or ``endpoint wan1``.
    ``hint`` says what to do about it. Neither ever holds a secret.
    """

    where: str
    message: str
    hint: str = ""
    severity: Severity = "error"

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}"
        return f"{text}; {self.hint}" if self.hint else text
