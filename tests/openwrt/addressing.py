"""The `ip` commands that make an interface what its section says.  Pure.

Source: `netifd/interface-ip.c`, `system-linux.c`.  With a metric (or a table) netifd replaces the
kernel's route to the connected network by one of its own, which has no source address.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from .interface import Config, Route
from .rtnl import Address


def up(config: Config) -> Iterator[list[str]]:
    for address in config.addresses:
        words = ["address", "replace", str(address), "dev", config.device]
        words += ["broadcast", "+"] if address.family == 4 and address.mask < 31 else []
        words += ["nodad"] if address.family == 6 else []  # so that it can be used at once
        if config.metric or config.table:
            yield [*words, "noprefixroute"]
            yield _connected(config, address, "replace")
        else:
            yield words
    for route in config.routes:
        yield _default(config, route, "replace")


def down(config: Config) -> Iterator[list[str]]:
    for route in config.routes:
        yield _default(config, route, "delete")
    for address in config.addresses:
        if config.metric or config.table:
            yield _connected(config, address, "delete")
        yield ["address", "delete", str(address), "dev", config.device]


def _connected(config: Config, address: Address, verb: str) -> list[str]:
    network = ipaddress.ip_interface(str(address)).network
    scope = ["scope", "link"] if address.family == 4 else []
    return _route(config, verb, f"-{address.family}", [str(network), *scope])


def _default(config: Config, route: Route, verb: str) -> list[str]:
    source, _, bits = route.source.partition("/")
    family = "-6" if ":" in route.gateway else "-4"
    words = ["default", "via", route.gateway]
    return _route(config, verb, family, [*words, "src", source] if bits != "0" else words)


def _route(config: Config, verb: str, family: str, what: list[str]) -> list[str]:
    words = [family, "route", verb, *what, "dev", config.device, "proto", "static"]
    words += ["metric", str(config.metric)] if config.metric else []
    return [*words, "table", str(config.table)] if config.table else words
