# SPDX-License-Identifier: GPL-2.0-or-later
"""Loading a part of pyroute2, and sharing it with those who want the rest."""

from __future__ import annotations

import subprocess
import sys

import pytest
from kernel.support import open_files
from toolkit.namespace import Namespace

from mptcp_agent.system.netlink import library
from mptcp_agent.system.netlink.routes import Routing

_LOAD = "import sys; from mptcp_agent.system.netlink import endpoints, routes; "


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_rest_is_not_loaded() -> None:
    loaded = python(_LOAD + "print(*[m for m in sys.modules if m.startswith('pyroute2')])").split()
    assert "pyroute2.netlink.rtnl.rtmsg" in loaded
    for unwanted in ("ndb", "iproute", "ipset", "netlink.nlsocket", "conntrack", "config"):
        assert not [m for m in loaded if m.startswith(f"pyroute2.{unwanted}")]


@pytest.mark.parametrize(
    "code",
    [
        "import pyroute2; pyroute2.NDB; pyroute2.IPRoute().close()",
        "from pyroute2 import IPRoute, NetNS, MPTCP; IPRoute().close()",
        "import pyroute2; assert pyroute2.__version__; assert pyroute2.__path__",
        "import pyroute2; assert not hasattr(pyroute2, 'no_such_thing')",
        "from pyroute2 import netlink; import pyroute2.ndb.main",
        "from pyroute2.netlink.rtnl.rtmsg import rtmsg; "
        "from mptcp_agent.system.netlink import library; assert rtmsg is library.ROUTE",
    ],
)
def test_others_find_the_whole_package(code: str) -> None:
    python(_LOAD + code)


def test_a_package_that_is_loaded_already_is_used() -> None:
    python(
        "import pyroute2; from mptcp_agent.system.netlink import library; "
        "from pyroute2.netlink.rtnl.rtmsg import rtmsg; assert rtmsg is library.ROUTE"
    )


def test_sockets_and_memory_do_not_grow(client: Namespace) -> None:
    """The agent runs for months. (The heap settles within some thousand calls.)"""
    program = (
        "import os; from mptcp_agent.system.netlink import endpoints as e, routes as r\n"
        "routing, paths = r.Routing(), e.PathManager()\n"
        "def size():\n"
        "    pages = int(open('/proc/self/statm').read().split()[1])\n"
        "    return len(os.listdir('/proc/self/fd')), pages * 4\n"
        "def work(times):\n"
        "    for _ in range(times):\n"
        "        routing.observe(); routing.links(); routing.addresses()\n"
        "        paths.observe(); paths.limits()\n"
        "work(100); before = size(); work(1000); after = size()\n"
        "assert after[0] == before[0], (before, after)\n"
        "assert after[1] - before[1] < 3000, (before, after)\n"
    )
    python(program)


def test_memory_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    rss = "print(open('/proc/self/status').read().split('VmRSS:')[1].split()[0])"
    bare, parts, whole = (
        int(python(code + rss)) for code in ("", _LOAD, _LOAD + "from pyroute2 import NDB; ")
    )
    with capsys.disabled():
        print(f"\n  resident: python {bare} KiB, with the parts {parts}, with all {whole}")
    assert parts < whole


def test_a_message_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(OSError, match="pyroute2"):
        library.decode(library.ROUTE, b"\x02")


def test_closing_gives_everything_back(client: Namespace) -> None:
    routing = Routing()
    routing.observe()
    before = open_files()
    for _ in range(10):
        routing.close()
        assert routing.observe() == ((), ())
    assert open_files() == before
