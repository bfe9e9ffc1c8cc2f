# SPDX-License-Identifier: GPL-2.0-or-later
"""Starts a program deaf to netlink events, under another account:

    seccomp_no_netlink.py USER PROGRAM ARGS…

sing-box closes all its connections whenever the device of the default route changes in any way
(``ResetNetwork`` in its route/network.go, up to 1.14 without an option against it): the main
WAN loses its carrier, and every connection dies that MPTCP would have carried on over the
others. It hears of it by binding a netlink socket to multicast groups. A seccomp filter
answers that bind with success without carrying it out: requests on netlink sockets work
unbound, only the events never come.

A program of its own because the filter has to be in place before exec; it imports nothing of
the package, so that it starts in some ten milliseconds. Needs no_new_privs, not root.
"""

from __future__ import annotations

import ctypes
import os
import platform
import pwd
import struct
import sys

#: By ``uname -m``: AUDIT_ARCH_* of linux/audit.h, and the number of bind(2). i386 is missing:
#: there Go goes through socketcall(2), whose arguments a filter cannot see.
_MACHINES = {
    "x86_64": (0xC000003E, 49),
    "aarch64": (0xC00000B7, 200),
    "armv7l": (0x40000028, 282),
    "armv6l": (0x40000028, 282),
    "armv5tel": (0x40000028, 282),
    "mips": (0x40000008 if sys.byteorder == "little" else 0x00000008, 4169),
    "mips64": (0xC0000008 if sys.byteorder == "little" else 0x80000008, 5048),
    "ppc": (0x00000014, 327),
    "ppc64": (0x80000015, 327),
    "ppc64le": (0xC0000015, 327),
    "riscv64": (0xC00000F3, 200),
    "loongarch64": (0xC0000102, 200),
}

#: linux/bpf_common.h, linux/seccomp.h, linux/prctl.h
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _PRETEND_SUCCESS = 0x7FFF0000, 0x00050000  # SECCOMP_RET_ERRNO with errno 0
_NR, _ARCH = 0, 4  # struct seccomp_data
_LENGTH = 16 + 2 * 8 + (4 if sys.byteorder == "big" else 0)  # low half of the third argument
_SOCKADDR_NL_SIZE = 12  # of the address families only netlink's address has this size
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _SECCOMP_MODE_FILTER = 22, 38, 2


def supported() -> bool:
    """Whether this machine's system calls are known."""
    return platform.machine() in _MACHINES


class _Program(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def refuse_netlink_events() -> None:
    """Install the filter in this process and all it becomes. OSError where that fails."""
    arch, bind = _MACHINES[platform.machine()]
    steps = (
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 0, 5, arch),
        (_LOAD, 0, 0, _NR),
        (_EQUAL, 0, 3, bind),
        (_LOAD, 0, 0, _LENGTH),
        (_EQUAL, 0, 1, _SOCKADDR_NL_SIZE),
        (_RETURN, 0, 0, _PRETEND_SUCCESS),
        (_RETURN, 0, 0, _ALLOW),
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = _Program(len(steps), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program)
    ):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def main() -> None:
    user, program, *arguments = sys.argv[1:]
    if user and os.geteuid() == 0:
        account = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    try:
        refuse_netlink_events()
    except (OSError, KeyError) as error:
        # Better with the habit than without a proxy.
        print(f"no seccomp filter ({error}): {program} hears of every link", file=sys.stderr)
    os.execv(program, [program, *arguments])


if __name__ == "__main__":
    main()
