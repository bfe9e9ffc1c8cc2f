# SPDX-License-Identifier: GPL-2.0-or-later
"""ujail for the lab: `ujail OPTIONS -- PROGRAM ARGUMENTS`, as procd calls it for a jailed instance.

Source: `procd/jail/jail.c` of 2026-08-12; the lines in brackets are its.

`procd_add_jail NAME` without further words makes procd pass -t, -n and, where they are set, -C, -c,
-U, -G and -e (`procd/service/instance.c` 292-429). None of these asks for a namespace, so ujail
makes none and mounts nothing [3594, 3812, 3954]: it forks, and the service sees the router's own
files, processes and devices. What it then gives the service:

- an environment of `container=ujail` and the variables named by -e, and nothing else: no PATH,
  HOME or LANG [1656-1696, 3608-3629];
- a program that is searched for only where there is a -e, and then in the PATH of ujail itself
  [2132-2135];
- the capability sets of the -C file; for root the kernel makes the bounding set the permitted and
  effective ones at exec [2003-2086]; securebits cleared and their locks set [2077];
- no_new_privs with -c [2088]; umask 022 [3469]; SIGPIPE ignored (libubox' uloop);
- an end by SIGKILL together with ujail [2099]. That is of 2026-08: under the ujail of all releases
  up to 25.12 the service goes on when ujail alone is killed, and procd starts a second one. So it
  does with `bin/ujail-25.12`.

ujail lives as the parent, and its pid is the one that procd shows:

- it passes every signal on but CHLD, PIPE, SEGV, STOP and KILL; after a TERM the service has -t
  seconds, then it is killed (by ujail: procd itself does not do it) [1815-1851];
- it ends with the service's exit code, or 128 and the signal (before 2026-08, and with
  `bin/ujail-25.12`, the signal) [1791];
- a signal that comes while it waits for ubusd's greeting ends it, code 145 [3724]; one from then
  until the service is there is lost, and procd sends no KILL after a TERM [3721];
- it needs ubusd: without it it does not start, code 145 [3724]. When ubusd goes away later nothing
  happens (seen; libubox takes the socket out of its loop before libubus can end that).

It refuses to do nothing: one of -C, -S or a namespace must be asked for [3704].

Left out, and refused with a message: all namespaces and what is mounted in them (-p -s -u -D -l -o
-r -w -N -f -F -h -j -R -O -T -y), seccomp (-S), bundles (-J -i), pid files (-P).
"""

from __future__ import annotations

import ctypes
import getopt
import grp
import os
import pwd
import selectors
import shutil
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from . import capabilities
from .broker import DEFAULT_SOCKET
from .capabilities import Sets
from .libubus import Context

_OPTIONS = "cC:d:De:EfFG:h:ij:J:ln:NoO:pP:r:R:sS:uU:w:t:T:y"
_LEFT_OUT = frozenset("-p -s -u -D -l -o -r -w -N -f -F -h -j -R -O -T -y -S -J -i -P".split())

SOCKET_VARIABLE = "UJAIL_UBUS_SOCKET"
"""Where ubusd is, for a lab whose bus is elsewhere; the real one knows one place."""

_NO_UBUS = 145  # 256 - ECONNREFUSED

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15  # <linux/prctl.h>
_PR_SET_SECUREBITS, _PR_SET_NO_NEW_PRIVS = 28, 38
_NO_SETUID_FIXUP = 1 << 2  # <linux/securebits.h>
_LOCKS = 1 << 1 | 1 << 3 | 1 << 5  # of NOROOT, NO_SETUID_FIXUP and KEEP_CAPS
_prctl = ctypes.CDLL(None).prctl

_NOT_PASSED_ON = {
    signal.SIGCHLD, signal.SIGPIPE, signal.SIGSEGV, signal.SIGSTOP, signal.SIGKILL,
}  # fmt: skip


@dataclass
class Options:
    command: list[str]
    name: str = ""
    term_timeout: int = 5
    capabilities: str = ""
    no_new_privs: bool = False
    user: str = ""
    group: str = ""
    variables: list[str] = field(default_factory=list)


class _Refused(Exception):
    """Words for stderr, and the exit code."""

    def __init__(self, words: str, code: int = 1) -> None:
        super().__init__(words)
        self.code = code


def parse(argv: list[str]) -> Options:
    given, command = getopt.getopt(argv, _OPTIONS)
    options = Options(command)
    for flag, value in given:
        if flag in _LEFT_OUT:
            raise _Refused(f"{flag}: not in the lab's ujail")
        if flag == "-C":
            options.capabilities = value
        elif flag == "-c":
            options.no_new_privs = True
        elif flag == "-e":
            options.variables.append(value)
        elif flag == "-n":
            options.name = value
        elif flag == "-t":
            options.term_timeout = int(value)
        elif flag == "-U":
            options.user = value
        elif flag == "-G":
            options.group = value
    return options


def environment(options: Options) -> dict[str, str]:
    """The service's whole environment."""
    named = {name: os.environ[name] for name in options.variables if name in os.environ}
    return {"container": "ujail", **named}


class _Jail:
    """Parent of the service."""

    def __init__(self, options: Options, sets: Sets | None, released: bool) -> None:
        """From here on signals are heard, and lost until there is a service to have them."""
        self.connected = False
        self._options = options
        self._sets = sets
        self._released = released
        self._child = 0
        self._deadline: float | None = None
        for number in signal.valid_signals() - _NOT_PASSED_ON:
            signal.signal(number, lambda number, _: self._pass_on(number))

    def run(self) -> int:
        wake_read, wake_write = os.pipe()
        for end in (wake_read, wake_write):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        parent = os.getpid()
        child = os.fork()
        if not child:
            _become(self._options, self._sets, None if self._released else parent)
        self._child = child
        with selectors.DefaultSelector() as selector:
            ended = selector.register(os.pidfd_open(child), selectors.EVENT_READ)
            woken = selector.register(wake_read, selectors.EVENT_READ)
            while True:
                ready = [key for key, _ in selector.select(self._patience())]
                if ended in ready:
                    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                if woken in ready:
                    os.read(wake_read, 4096)
                if self._deadline is not None and time.monotonic() >= self._deadline:
                    self._deadline = None
                    os.kill(child, signal.SIGKILL)

    def _pass_on(self, number: int) -> None:
        """libubus takes an interrupted read for a failed one."""
        if not self.connected:
            raise InterruptedError
        if self._child:
            os.kill(self._child, number)
            if number == signal.SIGTERM:
                self._deadline = time.monotonic() + self._options.term_timeout

    def _patience(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())


def _become(options: Options, sets: Sets | None, parent: int | None) -> None:
    """In the child: the service, which dies with `parent`. Does not return."""
    try:
        _confine(options, sets)
        if parent is not None:
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)
        program = options.command[0]
        if options.variables and "/" not in program:
            program = shutil.which(program) or program
        signal.set_wakeup_fd(-1)
        os.execve(program, options.command, environment(options))
    except (OSError, KeyError) as error:
        print(f"failed to execve {options.command[0]}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(1)


def _confine(options: Options, sets: Sets | None) -> None:
    if sets is not None:
        # What the rest of the way needs is kept until it is done.
        _prctl(_PR_SET_SECUREBITS, _NO_SETUID_FIXUP, 0, 0, 0)
        capabilities.apply(
            sets, retain=capabilities.mask("CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP")
        )
    user = pwd.getpwnam(options.user) if options.user else None
    if user is not None:
        os.initgroups(user.pw_name, user.pw_gid)
    if options.group or user is not None:
        gid = grp.getgrnam(options.group).gr_gid if options.group else user.pw_gid if user else 0
        os.setregid(gid, gid)
    if user is not None:
        os.setreuid(user.pw_uid, user.pw_uid)
    if sets is not None:
        _prctl(_PR_SET_SECUREBITS, _LOCKS, 0, 0, 0)
        capabilities.apply(sets)
    if options.no_new_privs:
        _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _start(argv: list[str], released: bool) -> int:
    if os.getuid():
        raise _Refused("not root, aborting")
    options = parse(argv)
    os.umask(0o022)
    sets = None
    if options.capabilities:
        try:
            sets = capabilities.read(Path(options.capabilities))
        except (OSError, ValueError) as error:
            raise _Refused(
                f"failed to read capabilities from file {options.capabilities}: {error}", 255
            ) from None
    if not options.command:
        raise _Refused("ujail <options> -- <binary> <params ...>")
    if sets is None:
        raise _Refused("Not using namespaces, capabilities or seccomp !!!")
    try:
        jail = _Jail(options, sets, released)
        bus = Context(os.environ.get(SOCKET_VARIABLE, DEFAULT_SOCKET))  # kept for its lifetime
        jail.connected = True
    except OSError:
        raise _Refused("Connection to ubus failed", _NO_UBUS) from None
    if options.name:
        _prctl(_PR_SET_NAME, options.name.encode(), 0, 0, 0)
    code = jail.run()
    bus.close()
    if code < 0:
        return -code if released else 128 - code
    return code


def main(argv: list[str], released: bool = False) -> int:
    """`released`: as the ujail of the releases up to 25.12."""
    try:
        return _start(argv[1:], released)
    except getopt.GetoptError as error:
        print(f"ujail: {error}", file=sys.stderr)
        return 1
    except _Refused as why:
        print(f"jail: {why}", file=sys.stderr)
        return why.code
