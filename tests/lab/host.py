# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine of the lab: a network namespace with commands running in it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from lab.lab import Lab
from lab.paths import PYTHONPATH


class Host:
    """A namespace called `LAB-ROLE`; it shares the file system with the real machine."""

    def __init__(self, lab: Lab, role: str) -> None:
        self.lab = lab
        self.role = role
        self.namespace = lab.add_namespace(role)
        self.netns = self.namespace.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.netns})"

    def enter(self) -> list[str]:
        """Return the words to put before a command; they replace themselves by it (same pid)."""
        return ["nsenter", f"--net={self.namespace.path}", "--"]

    def environment(self) -> dict[str, str]:
        """Return the whole environment of this machine's processes; nothing else is inherited."""
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "PYTHONPATH": ":".join(map(str, PYTHONPATH)),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "TERM": os.environ.get("TERM", "dumb"),
        }

    def run(
        self,
        *argv: str,
        check: bool = True,
        timeout: float = 60,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. Raises CalledProcessError (with `check`) or TimeoutExpired."""
        done = subprocess.run(
            [*self.enter(), *argv],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**self.environment(), **(env or {})},
        )
        if check and done.returncode:
            raise subprocess.CalledProcessError(
                done.returncode, f"[{self.role}] {' '.join(argv)}: {done.stderr.strip()}"
            )
        return done

    def popen(
        self,
        *argv: str,
        log: Path | None = None,
        stdin: int | IO[str] = subprocess.DEVNULL,
        stdout: int | IO[str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Start a command; its pid is the command's own. Output goes to `log`, else nowhere."""
        output: int | IO[str] = subprocess.DEVNULL
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            output = log.open("a")
        try:
            return subprocess.Popen(
                [*self.enter(), *argv],
                stdin=stdin,
                stdout=output if stdout is None else stdout,
                stderr=output,
                text=True,
                env={**self.environment(), **(env or {})},
                start_new_session=True,  # a person's Ctrl-C is for the lab, not for its machines
            )
        finally:
            if not isinstance(output, int):
                output.close()

    def ip(self, *argv: str) -> str:
        """Run `ip` in this namespace."""
        return self.namespace.ip(*argv)

    def sysctl(self, **values: object) -> None:
        """Set sysctls; `net__ipv4__ip_forward=1` is net.ipv4.ip_forward."""
        words = [f"{key.replace('__', '/')}={value}" for key, value in values.items()]
        self.run("sysctl", "-qw", *words)

    def pids(self) -> list[int]:
        """Return the processes that run on this machine."""
        return self.namespace.pids()

    def log(self, name: str) -> Path:
        """Return where this machine's program `name` writes what it has to say."""
        return self.lab.logs / f"{self.role}-{name}.log"
