"""One netifd interface: what it is configured to be, whether it should be up, what it says.

Pure: no kernel, no clock.  Source: `netifd/interface.c`, `interface-ip.c`, `proto-static.c`,
`ubus.c` (the dump).  As in netifd an interface needs carrier to be up, unless it is `static`
without `option force_link '0'`: then neither a lost cable nor `ip link set down` by somebody
else changes anything it says.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, replace

from .rtnl import Address, Link
from .ucifile import Package, Section, Value
from .wire import Json

_TRUE = ("1", "on", "true", "yes", "enabled")


@dataclass(frozen=True)
class Route:
    """An interface's gateway, or a `config route` section.  Numbers are 0 where not given."""

    target: str
    """Network with prefix length."""
    gateway: str = ""
    source: str = ""
    metric: int = 0
    table: int = 0
    mtu: int = 0
    onlink: bool = False

    @property
    def family(self) -> int:
        return 6 if ":" in self.target else 4

    def shown(self) -> dict[str, Json]:
        target, _, mask = self.target.partition("/")
        nothing = "::" if self.family == 6 else "0.0.0.0"
        shown: dict[str, Json] = {"target": target, "mask": int(mask)}
        shown["nexthop"] = self.gateway or nothing
        shown |= {
            name: value
            for name, value in (("mtu", self.mtu), ("metric", self.metric), ("table", self.table))
            if value
        }
        bits = 128 if self.family == 6 else 32
        shown["source"] = f"{self.source}/{bits}" if self.source else f"{nothing}/0"
        return shown


@dataclass(frozen=True)
class Config:
    """A `config interface` section.

    proto `static` and `none` are netifd's (a proto it does not know is `none`).  With `dhcp` the
    address options say what the server gives; without them it waits for a lease for ever.
    `external` is the lab's own: the interface has whatever addresses others put on the device.
    """

    name: str
    proto: str
    device: str
    auto: bool = True
    force_link: bool = False
    metric: int = 0
    dns_metric: int = 0
    table: int = 0
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    kept_out: tuple[Route, ...] = ()
    """Default routes that netifd knows and does not install: `option defaultroute '0'`."""
    dns: tuple[str, ...] = ()
    data: tuple[tuple[str, Json], ...] = ()
    bad_address: str = ""
    """What is wrong with a section that cannot be used."""

    @property
    def waits_for_lease(self) -> bool:
        return self.proto == "dhcp" and not self.addresses


def parse(package: Package) -> dict[str, Config]:
    """The interfaces of /etc/config/network, by name; without the disabled ones."""
    routes: dict[str, list[Route]] = {}
    configs: dict[str, Config] = {}
    for section in package.sections.values():
        if section.type == "interface":
            config = _interface(section)
            if config is not None:
                configs[section.name] = config
        elif section.type in ("route", "route6"):
            with contextlib.suppress(ValueError):  # left out without a word
                route = _route(section.options, section.type == "route6")
                routes.setdefault(_one(section.options, "interface"), []).append(route)
    for name, config in configs.items():
        own = sorted(routes.get(name, ()), key=lambda route: -route.family)
        configs[name] = replace(config, routes=(*own, *config.routes))
    return configs


def _route(options: Mapping[str, Value], v6: bool) -> Route:
    """Raises ValueError."""
    if _one(options, "disabled") == "1":
        raise ValueError
    mask = "128" if v6 else _one(options, "netmask") or "32"
    target = _address(_one(options, "target") or ("::/0" if v6 else "0.0.0.0"), mask)
    return Route(
        str(target),
        _one(options, "gateway"),
        _one(options, "source").partition("/")[0],
        _number(options, "metric"),
        _number(options, "table"),
        _number(options, "mtu"),
        _boolean(options, "onlink", False),
    )


def _interface(section: Section) -> Config | None:
    """None for a disabled section."""
    options = section.options
    if _one(options, "disabled") in ("1", "true"):
        return None
    proto = _one(options, "proto")
    if proto not in ("static", "dhcp", "external"):
        proto = "none"
    device = _one(options, "device") or _one(options, "ifname")
    config = Config(
        section.name,
        proto,
        device,
        auto=_boolean(options, "auto", True),
        force_link=_boolean(options, "force_link", proto == "static"),
        metric=_number(options, "metric"),
        dns_metric=_number(options, "dns_metric"),
        table=_number(options, "ip4table"),
        dns=tuple(_many(options, "dns")),
    )
    if proto not in ("static", "dhcp"):
        return config
    found: list[Address] = []
    for option, mask in (("ipaddr", _one(options, "netmask") or "32"), ("ip6addr", "128")):
        for text in _many(options, option):
            try:
                found.append(_address(text, mask))
            except ValueError:
                return replace(config, bad_address=text)
    leased = proto == "dhcp"
    routes = []
    for option, family in (("ip6gw", 6), ("gateway", 4)):  # netifd's order
        gateway = _one(options, option)
        sources = [each.address for each in found if each.family == family]
        if not gateway or not sources:
            continue
        target = "0.0.0.0/0" if family == 4 else "::/0"
        routes.append(Route(target, gateway, sources[0] if leased else ""))
    data: tuple[tuple[str, Json], ...] = ()
    if leased and found:
        data = (("dhcpserver", _one(options, "gateway")), ("leasetime", 3600))
    kept_out = routes if not _boolean(options, "defaultroute", True) else []
    return replace(
        config,
        addresses=tuple(found),
        routes=() if kept_out else tuple(routes),
        kept_out=tuple(kept_out),
        data=data,
    )


def _one(options: Mapping[str, Value], name: str) -> str:
    value = options.get(name, "")
    return value if isinstance(value, str) else " ".join(value)


def _many(options: Mapping[str, Value], name: str) -> list[str]:
    value = options.get(name, [])
    return value.split() if isinstance(value, str) else list(value)


def _boolean(options: Mapping[str, Value], name: str, default: bool) -> bool:
    value = _one(options, name)
    return value in _TRUE if value else default


def _number(options: Mapping[str, Value], name: str) -> int:
    value = _one(options, name)
    return int(value) if value.isdigit() else 0


def _address(text: str, mask: str) -> Address:
    """`ADDRESS`, `ADDRESS/LENGTH` or `ADDRESS/NETMASK`.  Raises ValueError."""
    address, _, length = text.partition("/")
    length = length or mask
    if not length.isdigit():
        length = str(ipaddress.IPv4Network(f"0.0.0.0/{length}").prefixlen)
    return Address(str(ipaddress.ip_interface(f"{address}/{length}").ip), int(length))


# -- state ---------------------------------------------------------------------------------


@dataclass
class Interface:
    """What netifd keeps of an interface.  `autostart` is what `up` and `down` change."""

    config: Config
    autostart: bool = True
    available: bool = False
    link: bool = False
    up: bool = False
    since: float = 0.0
    external: tuple[Address, ...] = ()

    def observe(self, link: Link | None) -> None:
        """Take in what the kernel says of the device."""
        self.available = link is not None
        self.link = link is not None and link.carrier
        shown = link.addresses if link is not None and self.config.proto == "external" else ()
        self.external = tuple(each for each in shown if each.scope == "global")

    @property
    def wanted(self) -> bool:
        """Everything it needs from outside is there."""
        return self.autostart and self.available and (self.link or self.config.force_link)

    @property
    def should_be_up(self) -> bool:
        return self.wanted and not self.config.bad_address and not self.config.waits_for_lease

    def addresses(self) -> tuple[Address, ...]:
        return self.external if self.config.proto == "external" else self.config.addresses

    def status(self, now: float) -> dict[str, Json]:
        """As `ubus call network.interface.NAME status` shows it; `now` and `since` in seconds."""
        config = self.config
        shown: dict[str, Json] = {
            "up": self.up,
            "pending": self.wanted and config.waits_for_lease,
            "available": self.available,
            "autostart": self.autostart,
            "dynamic": False,
        }
        if self.up:
            shown |= {"uptime": int(now - self.since), "l3_device": config.device}
        shown["proto"] = config.proto
        if config.device:
            shown["device"] = config.device
        if self.up:
            shown |= self._settings()
        shown["data"] = dict(config.data) if self.up else {}
        if config.bad_address:
            error = {"subsystem": "proto", "code": "INVALID_ADDRESS"}
            shown["errors"] = [{**error, "data": [config.bad_address]}]
        elif not self.available and self.autostart:
            shown["errors"] = [{"subsystem": "interface", "code": "NO_DEVICE"}]
        return shown

    def _settings(self) -> dict[str, Json]:
        config = self.config
        updated: list[Json] = []
        if self.addresses():
            updated.append("addresses")
        if config.routes:
            updated.append("routes")
        if config.data:
            updated.append("data")
        shown: dict[str, Json] = {"updated": updated} if updated else {}
        if config.table:
            shown["ip4table"] = config.table
        shown |= {"metric": config.metric, "dns_metric": config.dns_metric, "delegation": True}
        for family in (4, 6):
            shown[f"ipv{family}-address"] = [
                {"address": each.address, "mask": each.mask}
                for each in self.addresses()
                if each.family == family
            ]
        shown |= {"ipv6-prefix": [], "ipv6-prefix-assignment": []}
        shown["route"] = [route.shown() for route in config.routes]
        shown |= {"dns-server": list(config.dns), "dns-search": [], "neighbors": []}
        kinds = ("ipv4-address", "ipv6-address", "route", "dns-server", "dns-search", "neighbors")
        inactive: dict[str, Json] = {kind: [] for kind in kinds}
        inactive["route"] = [route.shown() for route in config.kept_out]
        shown["inactive"] = inactive
        return shown
