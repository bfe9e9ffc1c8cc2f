"""The firewall: the chain SSREDIR with its jumps, and who may reach the server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from ..config import Client, Config
from ..firewall import collapse
from ..network import Facts
from ..state import Access, Backend, Firewall, Redirect

Mode = Literal["proxy", "bypass", "block", "starting"]


def lan_devices(client: Client, facts: Facts) -> tuple[str, ...]:
    found = {i.device for name in client.lan if (i := facts.interface(name)) and i.device}
    return tuple(sorted(found))


def firewall(
    config: Config,
    facts: Facts,
    backend: Backend,
    mode: Mode,
    local: Iterable[str],
    peers: Iterable[str],
    strip_mptcp: bool,
) -> Firewall:
    """``local`` are the connected networks, ``peers`` every address of every peer."""
    redirect = access = None
    if config.client:
        redirect = Redirect(
            port=config.client.local_port,
            bypass=collapse([*config.client.bypass, *local, *peers]),
            jumps=lan_devices(config.client, facts) if mode in ("proxy", "block") else (),
            mode="block" if mode == "block" else "proxy",
            strip_mptcp=strip_mptcp,
        )
    if config.server:
        access = Access(config.server.port, collapse(config.server.allow))
    return Firewall(backend, redirect, access)
