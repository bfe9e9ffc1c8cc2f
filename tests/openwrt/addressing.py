# SPDX-License-Identifier: GPL-2.0-or-later
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
        yield _routed(config, route, "replace")


def down(config: Config) -> Iterator[list[str]]:
    for route in config.routes:
        yield _routed(config, route, "delete")
    for address in config.addresses:
        if config.metric or config.table:
            yield _connected(config, address, "delete")
        yield ["address", "delete", str(address), "dev", config.device]


def _connected(config: Config, address: Address, verb: str) -> list[str]:
    network = str(ipaddress.ip_interface(str(address)).network)
    return _routed(config, Route(network), verb)


def _routed(config: Config, route: Route, verb: str) -> list[str]:
    words = [f"-{route.family}", "route", verb, route.target]
    words += ["via", route.gateway] if route.gateway else []
    words += ["dev", config.device, "proto", "static"]
    if not route.gateway and route.family == 4:
        words += ["scope", "link"]
    if route.source:
        words += ["src", route.source]
    numbers = {
        "metric": route.metric or config.metric,
        "table": route.table or config.table,
        "mtu": route.mtu,
    }
    words += [word for name, value in numbers.items() if value for word in (name, str(value))]
    return [*words, "onlink"] if route.onlink else words
