# SPDX-License-Identifier: GPL-2.0-or-later
"""What people write in UCI, option by option."""

from __future__ import annotations

from typing import Any

import pytest

from mptcp_agent.core.config.options import (
    OptionError,
    Value,
    allowed,
    is_address,
    is_host,
    is_name,
    is_network,
    read_option,
)

BOOLEAN = {"type": "boolean"}
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
ROLE = {"type": "string", "enum": ["subflow", "backup", "off"]}
HOSTS = {"type": "array", "items": {"type": "string", "format": "host"}, "minItems": 1}
NETWORKS = {"type": "array", "items": {"type": "string", "format": "network"}}
ADDRESS = {"type": "string", "format": "address"}
METHOD = {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]*$"}
TEXT = {"type": "string"}


@pytest.mark.parametrize(
    ("raw", "rule", "value"),
    [
        *((word, BOOLEAN, True) for word in ("1", "on", "true", "yes", "enabled", "ON", " 1 ")),
        *((word, BOOLEAN, False) for word in ("0", "off", "false", "no", "disabled")),
        ("8388", PORT, 8388),
        (" 8388\n", PORT, 8388),
        ("0443", PORT, 443),
        ("65535", PORT, 65535),
        (["8388"], PORT, 8388),  # `list port 8388`
        ("backup", ROLE, "backup"),
        (["backup"], ROLE, "backup"),
        ("10.1.1.70", HOSTS, ("10.1.1.70",)),  # `option address`, where a list is meant
        ("10.1.1.70 10.2.2.70", HOSTS, ("10.1.1.70", "10.2.2.70")),
        (["10.1.1.70", "10.2.2.70"], HOSTS, ("10.1.1.70", "10.2.2.70")),
        (["10.1.1.70 10.2.2.70", "vps.example"], HOSTS, ("10.1.1.70", "10.2.2.70", "vps.example")),
        (["10.1.1.70", "10.1.1.70"], HOSTS, ("10.1.1.70",)),
        ([], NETWORKS, ()),
        ("", NETWORKS, ()),
        # One spelling of each address, so that what is planned equals what the kernel shows.
        ("2001:DB8:0::1", ADDRESS, "2001:db8::1"),
        (["2001:DB8::1", "2001:db8:0::1"], HOSTS, ("2001:db8::1",)),
        ("0::0", ADDRESS, "::"),
        ("aes-128-gcm", METHOD, "aes-128-gcm"),
        ("with 'quotes' and spaces", TEXT, "with 'quotes' and spaces"),
        ("", TEXT, ""),
    ],
)
def test_accepted(raw: object, rule: dict[str, Any], value: Value) -> None:
    found = read_option(raw, rule)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("raw", "rule", "why"),
    [
        ("maybe", BOOLEAN, "not a boolean"),
        ("", BOOLEAN, "not a boolean"),
        ("0", PORT, "out of range"),
        ("65536", PORT, "out of range"),
        ("-1", PORT, "out of range"),
        ("9" * 5000, PORT, "not a whole number"),  # int() of it would raise
        ("80.0", PORT, "not a whole number"),
        ("8_0", PORT, "not a whole number"),
        ("٨٠", PORT, "not a whole number"),  # digits, but not ours
        ("0x50", PORT, "not a whole number"),
        (8388, PORT, "not a text"),
        (None, PORT, "not a text"),
        ({"a": "b"}, PORT, "not a text"),
        (["1", "2"], PORT, "given 2 times, allowed once"),
        ([["1"]], PORT, "not a text"),
        ([], PORT, "given 0 times, allowed once"),
        ("Backup", ROLE, "unknown value"),
        ("", HOSTS, "empty"),
        ([" "], HOSTS, "empty"),
        (["10.1.1.70", 7], HOSTS, "not a text"),
        ("10.1.1.256", HOSTS, "not of the form"),
        ("10.1.1.1/33", NETWORKS, "not of the form"),
        ("fe80::1%eth0", ADDRESS, "not of the form"),
        ("AES-128-gcm", METHOD, "not of the form"),
        ("none\n", METHOD, "not of the form"),  # `$` must not stop before a line end
        ("no\0ne", METHOD, "holds a NUL character"),
        ("no\0ne", TEXT, "holds a NUL character"),
    ],
)
def test_refused(raw: object, rule: dict[str, Any], why: str) -> None:
    with pytest.raises(OptionError, match=why):
        read_option(raw, rule)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (BOOLEAN, "0 or 1"),
        (PORT, "a whole number from 1 to 65535"),
        (ROLE, "subflow, backup, off"),
        (HOSTS, "a list, each an IP address or a host name"),
        ({**METHOD, "x-allowed": "a method such as none"}, "a method such as none"),
        (TEXT, "a text"),
    ],
)
def test_what_is_allowed_is_said_in_words(rule: dict[str, Any], words: str) -> None:
    assert allowed(rule) == words


@pytest.mark.parametrize(
    ("text", "address", "network", "host"),
    [
        ("10.1.1.1", True, True, True),
        ("10.1.1.0/24", False, True, False),
        ("10.1.1.7/24", False, True, False),  # host bits: as UCI firewalls take it
        ("10.1.1.0/255.255.255.0", False, True, False),
        ("2001:db8::1", True, True, True),
        ("2001:db8::/32", False, True, False),
        ("fe80::1%eth0", False, False, False),
        ("fe80::%eth0/64", False, False, False),
        ("010.1.1.1", False, False, False),  # octal to some programs
        ("10.1.1", False, False, False),
        ("vps.example", False, False, True),
        ("vps.example.", False, False, True),
        ("under_score.example", False, False, True),
        ("-vps.example", False, False, False),
        ("vps..example", False, False, False),
        ("a" * 64, False, False, False),
        (".".join(["a" * 60] * 5), False, False, False),
        ("", False, False, False),
        (".", False, False, False),
        ("vps example", False, False, False),
        ("vps;reboot", False, False, False),
    ],
)
def test_addresses_networks_and_hosts(text: str, address: bool, network: bool, host: bool) -> None:
    assert (is_address(text), is_network(text), is_host(text)) == (address, network, host)


@pytest.mark.parametrize("text", ["wan1", "wan_6", "eth0.2", "cfg0a1b2c", "6in4", "a" * 32])
def test_names(text: str) -> None:
    assert is_name(text)


@pytest.mark.parametrize("text", ["", "-wan", ".wan", "wan 1", "wan/1", "wän", "a" * 33, "wan\n"])
def test_no_names(text: str) -> None:
    assert not is_name(text)
