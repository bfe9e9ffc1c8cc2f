# SPDX-License-Identifier: GPL-2.0-or-later
"""UCI sections -> Config, and a named problem for everything that is wrong with them.

A bad option is reported with the value and what is allowed, its section is skipped and the
rest runs. ``globals`` cannot be skipped: there a bad option falls back to its default.
Nothing that UCI can hold makes this raise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..problem import Problem
from . import MAX_WANS, PACKAGE, Client, Config, Globals, Peer, Server, Wan, options

Values = Mapping[str, Mapping[str, object]]  # section name -> options and .type, .name, .index


class _Reader:
    def __init__(self, schema: options.Schema) -> None:
        self.schema = schema
        self.problems: list[Problem] = []

    def problem(self, section: str, option: str, message: str, hint: str = "") -> None:
        where = ".".join(part for part in (PACKAGE, section, option) if part)
        self.problems.append(Problem(where, message, hint))

    def warn(self, section: str, option: str, message: str, hint: str = "") -> None:
        where = ".".join(part for part in (PACKAGE, section, option) if part)
        self.problems.append(Problem(where, message, hint, severity="warning"))

    def section(self, kind: str, name: str, raw: Mapping[str, object]) -> dict[str, Any] | None:
        """The typed options of one section, or None where it has to be skipped."""
        schema = self.schema["$defs"][kind]
        values: dict[str, Any] = {}
        good = True
        for option, rule in schema["properties"].items():
            given = raw.get(option)
            if given is None or given == [] or (given == "" and "x-secret" not in rule):
                values[option] = options.default(rule)
                if option in schema.get("required", ()):
                    self.problem(name, option, "missing", f"needs {options.allowed(rule)}")
                    good = False
                continue
            try:
                values[option] = options.read_option(given, rule)
            except options.OptionError as error:
                shown = "(hidden)" if rule.get("x-secret") else _shown(given)
                self.problem(
                    name, option, f"{shown}: {error}", f"allowed is {options.allowed(rule)}"
                )
                values[option] = options.default(rule)
                good = False
        for option in raw:
            if not option.startswith(".") and option not in schema["properties"]:
                known = ", ".join(schema["properties"])
                self.warn(name, option, "unknown option, ignored", f"known are {known}")
        return values if good or kind == "globals" else None


def _shown(value: object) -> str:
    text = " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return f"'{text[:60]}…'" if len(text) > 60 else f"'{text}'"


def read(values: Values, schema: options.Schema) -> tuple[Config, tuple[Problem, ...]]:
    """Read ``uci get mptcp-proxy``'s values by the schema of ``mptcp-proxy.schema.json``."""
    reader = _Reader(schema)
    by_type: dict[str, list[tuple[str, dict[str, Any] | None]]] = {}
    for name, raw in _ordered(reader, values):
        kind = str(raw.get(".type"))
        if kind not in schema["properties"]:
            known = ", ".join(schema["properties"])
            reader.warn(name, "", f"unknown section type '{kind}', ignored", f"known are {known}")
            continue
        by_type.setdefault(kind, []).append((name, reader.section(kind, name, raw)))

    def good(kind: str) -> list[tuple[str, dict[str, Any]]]:
        return [(name, v) for name, v in by_type.get(kind, []) if v is not None]

    defaults = {k: options.default(s) for k, s in schema["$defs"]["globals"]["properties"].items()}
    found = _only(reader, "globals", good("globals"))
    settings = Globals(**(found[1] if found else defaults))
    peers = _one_port_each(
        reader,
        [p for name, v in good("peer") if _peer_ok(reader, p := Peer(name=name, **v))],
    )
    server = _server(reader, good("server"))
    client = _client(reader, good("client"), peers)
    if client and server and not _ports_differ(reader, client, server):
        client = None  # its LAN goes out directly; the server's clients have no other way
    return (
        Config(
            globals=settings,
            peers=peers,
            client=client,
            server=server,
            wans=_wans(reader, good("wan")),
        ),
        tuple(reader.problems),
    )


def _ordered(reader: _Reader, values: Values) -> Iterable[tuple[str, Mapping[str, object]]]:
    """Sections in the order of the file (``.index``), garbage left out."""
    if not isinstance(values, Mapping):
        reader.problem("", "", "not a set of sections")
        return []
    found = []
    for name, raw in values.items():
        if isinstance(raw, Mapping):
            found.append((str(name), {str(k): v for k, v in raw.items()}))
        else:
            reader.problem(str(name), "", "not a section")

    def index(item: tuple[str, Mapping[str, object]]) -> int:
        value = item[1].get(".index", 0)
        return value if isinstance(value, int) else 0

    return sorted(found, key=index)


def _only(
    reader: _Reader, kind: str, found: list[tuple[str, dict[str, Any]]]
) -> tuple[str, dict[str, Any]] | None:
    """The one section of a type of which there may be one: the first."""
    for name, _ in found[1:]:
        reader.warn(name, "", f"second section of type {kind}, ignored", "keep one of them")
    return found[0] if found else None


def _peer_ok(reader: _Reader, peer: Peer) -> bool:
    if peer.method != "none" and not peer.password:
        reader.problem(
            peer.name,
            "password",
            f"missing, and the method is {peer.method}",
            "set the server's password, or method none on a link you trust",
        )
        return False
    return True


def _one_port_each(reader: _Reader, peers: Iterable[Peer]) -> tuple[Peer, ...]:
    """The peers without addresses that an earlier one has at another port: paths and their
    health are told apart by address alone."""
    owners: dict[str, Peer] = {}
    found = []
    for peer in peers:
        kept = []
        for address in peer.address:
            owner = owners.setdefault(address, peer)
            if owner.port == peer.port:
                kept.append(address)
                continue
            reader.problem(
                peer.name,
                "address",
                f"'{address}' is already an address of peer {owner.name}, at port {owner.port}; "
                "one port per address",
                f"remove it here, or set port {owner.port}",
            )
        if kept:
            found.append(replace(peer, address=tuple(kept)))
    return tuple(found)


def _client(
    reader: _Reader, found: list[tuple[str, dict[str, Any]]], peers: tuple[Peer, ...]
) -> Client | None:
    enabled = [(name, v) for name, v in found if v["enabled"]]
    one = _only(reader, "client", enabled)
    if one is None:
        return None
    client = Client(name=one[0], **one[1])
    known = {p.name for p in peers}
    for name in client.peer:
        if name not in known:
            reader.problem(
                client.name,
                "peer",
                f"'{name}' is not a usable peer section",
                f"usable are: {', '.join(sorted(known)) or 'none'}",
            )
    if not known.intersection(client.peer):
        return None
    return client


def _server(reader: _Reader, found: list[tuple[str, dict[str, Any]]]) -> Server | None:
    one = _only(reader, "server", [(name, v) for name, v in found if v["enabled"]])
    if one is None:
        return None
    server = Server(name=one[0], **one[1])
    open_to_all = server.method == "none" or not server.password
    if server.method != "none" and not server.password:
        reader.problem(
            server.name,
            "password",
            f"missing, and the method is {server.method}",
            "set a password, or method none and allow on a link you trust",
        )
        return None
    if open_to_all and not server.allow:
        reader.problem(
            server.name,
            "allow",
            "missing, and the method is none: anyone could use this router as a proxy",
            "list the networks of your client routers, or use a method and a password",
        )
        return None
    return server


def _ports_differ(reader: _Reader, client: Client, server: Server) -> bool:
    if client.local_port != server.port:
        return True
    reader.problem(
        client.name,
        "local_port",
        f"{client.local_port} is already the port of section {server.name}: only one of them can "
        "listen there",
        "set a local_port that nothing else on this router listens at",
    )
    return False


def _wans(reader: _Reader, found: list[tuple[str, dict[str, Any]]]) -> tuple[Wan, ...]:
    wans: list[Wan] = []
    for name, values in found:
        wan = Wan(name=name, **values)
        twin = next((w for w in wans if w.interface == wan.interface), None)
        if twin is not None:
            reader.problem(
                name,
                "interface",
                f"'{wan.interface}' is already the interface of section {twin.name}",
                "one wan section per interface",
            )
        elif len(wans) == MAX_WANS:
            reader.problem(
                name,
                "interface",
                f"more than {MAX_WANS} WANs",
                "remove a wan section",
            )
        else:
            wans.append(wan)
    return tuple(wans)
