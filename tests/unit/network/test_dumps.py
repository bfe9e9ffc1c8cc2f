# SPDX-License-Identifier: GPL-2.0-or-later
"""How a router's network is read, one set-up a file in ``dumps/``.

Each file is netifd's ``network.interface dump`` of a router with what its kernel had besides, and
what the agent makes of it. ``source`` says where the dump is from: a run of netifd, an issue, a
mailing list; *constructed* ones follow the named script or netifd's ``ubus.c``. Addresses of
people are replaced by those for documentation; left out are loopback, empty lists, clocks and
DNS.

    kernel    addresses by device, "ADDRESS/LENGTH [scope] [flags]"; a device that is not named
              has what netifd says
    main      the main table's routes, as ``ip route`` shows them; those of connected networks
              need not be named
    ways_out  over which devices the kernel sends IPv4 to the Internet
    asked     the interfaces of the wan sections and of the client's ``lan``, the peers' addresses
    expected  what ``core.network.topology`` makes of it; ``local`` without what is connected

After a change that is meant, ``UPDATE_DUMPS=1 pytest tests/unit/network`` writes ``expected``
anew; the difference is what the change means in people's homes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mptcp_agent.core.network import Facts, KernelAddress, MainRoute, netifd
from mptcp_agent.core.network.topology import Topology, topology
from mptcp_agent.core.state import Family

Json = Any

DUMPS = sorted((Path(__file__).parent / "dumps").glob("*.json"))
SCOPES = {"site", "link", "host"}


def kernel_address(text: str) -> KernelAddress:
    address, *words = text.split()
    host, _, prefix = address.partition("/")
    scope: Any = next((w for w in words if w in SCOPES), "global")
    flags: Any = frozenset(w for w in words if w not in SCOPES)
    return KernelAddress(host, int(prefix), scope, flags)


def main_route(text: str) -> MainRoute:
    """``[unreachable] NETWORK [via HOP] [dev DEVICE] …``"""
    words = text.split()
    refuses = words[0] in ("unreachable", "blackhole", "prohibit")
    words = words[refuses:]
    if words[0] == "default":
        words[0] = "::/0" if "::" in text else "0.0.0.0/0"
    said = dict(zip(words[1::2], words[2::2], strict=True))
    return MainRoute(words[0], said.get("dev"), said.get("via"), refuses)


def facts(case: Json) -> Facts:
    families: tuple[Family, ...] = (4,)
    interfaces = netifd.interfaces(case["dump"])
    kernel: dict[str, tuple[KernelAddress, ...]] = {}
    for interface in interfaces:
        if interface.up and interface.device:
            had = kernel.get(interface.device, ())
            kernel[interface.device] = (*had, *map(kernel_address, interface.addresses))
    for device, texts in case.get("kernel", {}).items():
        kernel[device] = tuple(map(kernel_address, texts))
    return Facts(
        interfaces=interfaces,
        addresses=tuple(sorted(kernel.items())),
        main=tuple(map(main_route, case.get("main", ()))),
        ways_out=tuple(
            (family, device) for device in case.get("ways_out", ()) for family in families
        ),
    )


def written(found: Topology) -> Json:
    return {
        "wans": {
            name: {
                "device": wan.device,
                **{
                    f"ipv{a.family}": f"{a.address}/{a.prefix}"
                    + (f" via {a.gateway}" if a.gateway else "")
                    for a in wan.addresses
                },
            }
            for name, wan in found.wans
        },
        "uplinks": list(found.uplinks),
        "connected": list(found.connected),
        "local": [n for n in found.local if n not in found.connected],
        "lan_devices": list(found.lan_devices),
        **({"elsewhere": [device for _, device in found.elsewhere]} if found.elsewhere else {}),
    }


def text(case: Json) -> str:
    """JSON in which whatever fits is one line."""
    return "\n".join(_lines(case, "")) + "\n"


def _lines(value: Json, indent: str, key: str = "", end: str = "") -> Iterator[str]:
    flat = indent + key + json.dumps(value, ensure_ascii=False) + end
    if not isinstance(value, dict | list) or (len(flat) <= 100 and indent):
        yield flat
        return
    pairs = value.items() if isinstance(value, dict) else (("", item) for item in value)
    brackets = "{}" if isinstance(value, dict) else "[]"
    yield indent + key + brackets[0]
    for number, (name, item) in enumerate(pairs, 1):
        word = f"{json.dumps(name)}: " if isinstance(value, dict) else ""
        yield from _lines(item, indent + "  ", word, "," * (number < len(value)))
    yield indent + brackets[1] + end


@pytest.mark.parametrize("file", DUMPS, ids=lambda file: file.stem)
def test_dump(file: Path) -> None:
    case = json.loads(file.read_text("utf-8"))
    asked = case["asked"]
    found = topology(facts(case), asked["wans"], asked.get("lans", ()), asked.get("peers", ()))
    if os.environ.get("UPDATE_DUMPS"):
        file.write_text(text({**case, "expected": written(found)}), "utf-8")
        case = json.loads(file.read_text("utf-8"))
    assert written(found) == case["expected"]


@pytest.mark.parametrize("file", DUMPS, ids=lambda file: file.stem)
def test_a_dump_says_what_it_shows_and_where_it_is_from(file: Path) -> None:
    case = json.loads(file.read_text("utf-8"))
    assert list(case)[:2] == ["shows", "source"] and list(case)[-1] == "expected"
    assert case["shows"] and case["source"]
    assert file.read_text("utf-8") == text(case)


def test_there_are_enough() -> None:
    assert len(DUMPS) >= 25
