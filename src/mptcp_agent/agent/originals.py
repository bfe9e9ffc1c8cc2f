# SPDX-License-Identifier: GPL-2.0-or-later
"""Values the agent changes and did not make: sysctls, and the path manager's limits.

What each was before its first change is noted in a file, so that it can be put back by whoever
comes later: the agent with another configuration, one after a crash, ``cleanup``.
"""

from __future__ import annotations

import json

from ..core.state import Limits, RouterState, Sysctl
from ..errors import AgentError, FileError, KernelError
from ..system import files, sysctl
from ..system.netlink.endpoints import PathManager

#: Key of the path manager's limits among the values; the others are keys of sysctls.
_LIMITS = "mptcp limits"


class Originals:
    """``path`` is the file. Every method blocks, and raises AgentError."""

    def __init__(self, path: str, path_manager: PathManager) -> None:
        self._path = path
        self._path_manager = path_manager
        self.written: dict[str, str] = {}
        """Sysctls by key, as they were set last."""

    def set_sysctl(self, item: Sysctl) -> None:
        present = sysctl.read(item.key)
        if present is None:
            raise KernelError(f"sysctl {item.key}: this kernel does not have it")
        self._note(item.key, present)
        sysctl.write(item.key, item.value)
        self.written[item.key] = item.value

    def set_limits(self, limits: Limits) -> None:
        present = self._path_manager.limits()
        self._note(_LIMITS, f"{present.subflows} {present.add_addr_accepted}")
        self._path_manager.set_limits(limits)

    def restore(self, wanted: RouterState) -> None:
        """Put back what was changed and is not wanted any more."""
        noted = self._read()
        keep = {s.key for s in wanted.sysctls} | ({_LIMITS} if wanted.limits else set())
        gone = {key: value for key, value in noted.items() if key not in keep}
        if not gone:
            return
        failed: dict[str, str] = {}
        for key, value in gone.items():
            try:
                self._put_back(key, value)
            except AgentError as error:
                failed[key] = str(error)
        self._write({k: v for k, v in noted.items() if k in keep or k in failed})
        if failed:
            raise KernelError("; ".join(failed.values()))

    def _put_back(self, key: str, value: str) -> None:
        if key == _LIMITS:
            subflows, _, accepted = value.partition(" ")
            if not (subflows.isdecimal() and accepted.isdecimal()):
                raise FileError(f"the limits noted before the first change are damaged: {value!r}")
            self._path_manager.set_limits(Limits(int(subflows), int(accepted)))
        elif sysctl.read(key) is not None:  # a device may have left with its settings
            sysctl.write(key, value)
            self.written.pop(key, None)

    # --- The file --------------------------------------------------------------------------

    def _note(self, key: str, present: str) -> None:
        """Before the first change, and in the file at once: it must be known after a crash."""
        noted = self._read()
        if key not in noted:
            self._write({**noted, key: present})

    def _read(self) -> dict[str, str]:
        text = files.read(self._path)
        try:
            values = json.loads(text) if text else {}
        except ValueError as error:
            raise FileError(
                f"{self._path} is damaged ({error}); remove it: sysctls the agent has changed "
                "then stay so until the next boot"
            ) from error
        return {str(k): str(v) for k, v in values.items()} if isinstance(values, dict) else {}

    def _write(self, noted: dict[str, str]) -> None:
        if noted:
            files.write_private(self._path, json.dumps(noted, indent=1))
        else:
            files.remove(self._path)
