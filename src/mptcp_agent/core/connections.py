# SPDX-License-Identifier: GPL-2.0-or-later
"""Sockets -> the proxied connections with their subflows (``schema/connections.schema.json``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .config import Config
from .network.wans import WanLink, names_by_address
from .sockets import TcpSocket, TcpState

Role = Literal["client", "server"]

#: Most connections in one reply: ubusd drops who sends more than 1 MiB at once, and a
#: connection with eight subflows is about 2 kB.
MOST = 300

#: States in which a socket still belongs to a living connection.
_LIVING: frozenset[TcpState] = frozenset(
    {"established", "syn-sent", "syn-recv", "close-wait", "fin-wait-1", "fin-wait-2"}
)


@dataclass(frozen=True)
class Proxied:
    """One proxied connection: its sockets towards the other router, the first one first.

    ``token`` 0: it fell back to plain TCP, or its handshake has not ended yet.
    """

    role: Role
    token: int
    sockets: tuple[TcpSocket, ...]
    peer: str | None

    @property
    def fallback(self) -> bool:
        """Plain TCP although MPTCP was asked for."""
        return self.token == 0 and self.sockets[0].state == "established"


def ports(config: Config) -> tuple[set[int], set[int]]:
    """Remote ports of the peers, and local ports of the server: where to look."""
    return (
        {p.port for p in config.client_peers},
        {config.server.port} if config.server else set(),
    )


def proxied(
    config: Config,
    peers: Mapping[str, str],
    to_peers: Iterable[TcpSocket],
    to_server: Iterable[TcpSocket],
) -> tuple[Proxied, ...]:
    """``peers`` maps peer addresses to section names; ``to_peers`` are sockets to the peers'
    ports, ``to_server`` sockets on the server's port."""
    # Plain TCP bound to a device: the agent's own probes.
    mine = [s for s in to_peers if s.remote in peers and (s.subflow or not s.device)]
    theirs = [s for s in to_server if not _is_probe(s)]
    return (
        *_grouped("client", mine, peers),
        *_grouped("server", theirs, {}),
    )


def _is_probe(sock: TcpSocket) -> bool:
    """A client's path probe: plain TCP that says nothing, where a proxied connection speaks
    first thing after its handshake."""
    return sock.subflow is None and sock.info.bytes_received == 0


def _grouped(
    role: Role, sockets: Iterable[TcpSocket], peers: Mapping[str, str]
) -> Iterator[Proxied]:
    groups: dict[int, list[TcpSocket]] = {}
    for sock in sockets:
        if sock.state not in _LIVING:
            continue
        if sock.subflow is None or sock.subflow.fallback or not sock.subflow.token_local:
            yield Proxied(role, 0, (sock,), peers.get(sock.remote))
        else:
            groups.setdefault(sock.subflow.token_local, []).append(sock)
    for token, group in groups.items():
        group.sort(key=lambda s: (bool(s.subflow and s.subflow.join), s.cookie))
        yield Proxied(role, token, tuple(group), peers.get(group[0].remote))


def document(found: Iterable[Proxied], wans: Iterable[WanLink]) -> dict[str, Any]:
    """The reply of ``connections``, the busiest first."""
    names = names_by_address(wans)
    rows = sorted((_row(p, names) for p in found), key=lambda r: -(r["rx_bytes"] + r["tx_bytes"]))
    return {"total": len(rows), "connections": rows[:MOST]}


def _row(connection: Proxied, names: Mapping[str, str]) -> dict[str, Any]:
    first = connection.sockets[0]
    return {
        "token": f"{connection.token:08x}" if connection.token else "",
        "role": connection.role,
        "local": _at(first.local, first.local_port),
        "remote": _at(first.remote, first.remote_port),
        "peer": connection.peer,
        "rx_bytes": sum(s.info.bytes_received for s in connection.sockets),
        "tx_bytes": sum(s.info.bytes_acked for s in connection.sockets),
        "fallback": connection.fallback,
        "subflows": [_subflow(s, names) for s in connection.sockets],
    }


def _subflow(sock: TcpSocket, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": sock.subflow.id_local if sock.subflow else 0,
        "local": _at(sock.local, sock.local_port),
        "remote": _at(sock.remote, sock.remote_port),
        "wan": names.get(sock.local),
        "state": sock.state,
        "rx_bytes": sock.info.bytes_received,
        "tx_bytes": sock.info.bytes_acked,
        "rtt": round(sock.info.rtt / 1000, 1),
        "cwnd": sock.info.cwnd,
        "retransmits": sock.info.total_retrans,
        "backup": bool(sock.subflow and sock.subflow.backup),
    }


def _at(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
