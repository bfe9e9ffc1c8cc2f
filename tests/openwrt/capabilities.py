# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux capabilities as a jail's file names them, and as ujail sets them.

Source: `procd/jail/capabilities.c`.  The file is JSON with up to five lists of names; a set that
it does not name is left as it is.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PR_CAPBSET_READ, _PR_CAPBSET_DROP = 23, 24  # <linux/prctl.h>
_PR_CAP_AMBIENT, _IS_SET, _RAISE, _LOWER = 47, 1, 2, 3
_VERSION_3 = 0x20080522  # <linux/capability.h>
_WORD = 0xFFFFFFFF

#: In the order of <linux/capability.h>.
NAMES = """
chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable
net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio
sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config
mknod lease audit_write audit_control setfcap mac_override mac_admin syslog wake_alarm
block_suspend audit_read perfmon bpf checkpoint_restore
""".split()
_NUMBERS = {f"CAP_{name.upper()}": number for number, name in enumerate(NAMES)}

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Sets:
    """One bit per capability; None leaves the set alone."""

    bounding: int | None = None
    effective: int | None = None
    inheritable: int | None = None
    permitted: int | None = None
    ambient: int | None = None


def mask(*names: str) -> int:
    """Raises KeyError for a name that is none."""
    return sum({1 << _NUMBERS[name.upper()] for name in names})


def read(path: Path) -> Sets:
    """Raises OSError, or ValueError for what ujail does not take either."""
    given = json.loads(path.read_text())
    if not isinstance(given, dict):
        raise ValueError("not a table")

    def one(name: str) -> int | None:
        names = given.get(name)
        if not isinstance(names, list):
            return None
        try:
            return mask(*map(str, names))
        except KeyError as error:
            raise ValueError(f"unknown capability {error}") from None

    return Sets(*map(one, ("bounding", "effective", "inheritable", "permitted", "ambient")))


def apply(sets: Sets, retain: int = 0) -> None:
    """Set them for this process; `retain` is kept in addition. Raises OSError."""
    if sets.bounding is not None:
        for number in range(len(NAMES)):
            wanted = bool((sets.bounding | retain) >> number & 1)
            if not _prctl(_PR_CAPBSET_READ, number):
                if sets.bounding >> number & 1:
                    name = f"CAP_{NAMES[number].upper()}"
                    print(f"capability {name} ({number}) is not in bounding set", file=sys.stderr)
            elif not wanted:
                _prctl(_PR_CAPBSET_DROP, number)
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; low words, then high
    _checked(_libc.capget(header, data))
    for at, wanted_set in enumerate((sets.effective, sets.permitted, sets.inheritable)):
        if wanted_set is not None:
            data[at] = (wanted_set | retain) & _WORD
            data[at + 3] = (wanted_set | retain) >> 32
    _checked(_libc.capset(header, data))
    if sets.ambient is not None:
        for number in range(len(NAMES)):
            wanted = bool(sets.ambient >> number & 1)
            if wanted != bool(_prctl(_PR_CAP_AMBIENT, _IS_SET, number)):
                _prctl(_PR_CAP_AMBIENT, _RAISE if wanted else _LOWER, number)


def names(sets: int) -> Iterator[str]:
    """The capabilities in a set, as /proc/PID/status shows it in hexadecimal."""
    return (f"CAP_{name.upper()}" for number, name in enumerate(NAMES) if sets >> number & 1)


def _prctl(*words: int) -> int:
    return _checked(_libc.prctl(*words, *[0] * (5 - len(words))))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
