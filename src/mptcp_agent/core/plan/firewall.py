# SPDX-License-Identifier: GPL-2.0-or-later
"""The firewall: the chain SSREDIR with its jumps, and who may reach the server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from ..config import Config
from ..firewall import collapse, singles
from ..network.topology import Topology
from ..router_firewall.judgement import Judgement
from ..state import Access, Backend, Family, Firewall, Inbound, Redirect

Mode = Literal["proxy", "bypass", "block", "starting"]

_EVERYTHING: dict[Family, str] = {4: "0.0.0.0/0", 6: "::/0"}


def firewall(
    config: Config,
    backend: Backend,
    mode: Mode,
    around: Topology,
    peers: Iterable[str],
    strip_mptcp: bool,
    judged: Judgement,
    inbound: tuple[Inbound, ...] = (),
) -> Firewall:
    """``around`` is the router's network, ``peers`` every address of every peer, ``judged`` what
    the router's own firewall permits, ``inbound`` the WANs over which connections come in."""
    redirect = access = None
    # Of nftables the kernel is asked for the way of each connection.
    families = {family for family, _ in around.elsewhere} if backend == "iptables" else set()
    elsewhere = [_EVERYTHING[family] for family in sorted(families)]
    if config.client:
        redirect = Redirect(
            port=config.client.local_port,
            bypass=collapse([*config.client.bypass, *around.local, *peers, *elsewhere]),
            jumps=judged.devices if mode in ("proxy", "block") else (),
            mode="block" if mode == "block" else "proxy",
            uplinks=around.uplinks if backend == "nftables" else (),
            strip_mptcp=strip_mptcp,
            rules=singles(judged.rules) if backend == "iptables" else judged.rules,
        )
    if config.server:
        access = Access(config.server.port, collapse(config.server.allow))
    return Firewall(backend, redirect, access, inbound if backend == "nftables" else ())
