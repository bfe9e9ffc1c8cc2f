# SPDX-License-Identifier: GPL-2.0-or-later
"""One iptables rule, to and from the bytes the kernel keeps (``struct ipt_entry``).

Only the few kinds of rules the agent makes. Their bytes are written here rather than by
python-iptables' Match and Target classes, because those ask libxtables' plug-ins, and

- a value a plug-in does not like ends in another rule than asked for, or in ``exit(1)`` of
  the whole process;
- from iptables 1.8.8 on REDIRECT can be had for IPv4 or for IPv6, whichever a process asks for
  first (libxt_NAT.so registers only the family that is current while it is loaded);
- OpenWrt has no such plug-ins: they are linked into libiptext*.so;
- ``Rule6.in_interface`` makes a mask of 0x01 bytes, so that ``eth0`` matches ``eth2``, too.

The layouts are the kernel's user space interface and do not change: linux/netfilter/x_tables.h,
linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h and the header named at
each match and target. ``@`` in the formats is the machine's own byte order and alignment.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ..state import Family

#: Target of a rule that none of ours could be.
UNKNOWN = "?"

_ALIGN = struct.calcsize("@BQ") - 8  # XT_ALIGN: of a 64-bit number
_HEAD = struct.Struct("@H29sB")  # xt_entry_match, xt_entry_target: size, name, revision

#: ip(6)t_entry up to the matches: source, destination, their masks, two device names and their
#: masks, then protocol, flags, inversion; nfcache, target_offset, next_offset, comefrom,
#: packet and byte counters.
_ENTRY = {
    4: struct.Struct("@4s4s4s4s16s16s16s16sHBB IHHI QQ"),
    6: struct.Struct("@16s16s16s16s16s16s16s16sHBBB3x IHHI QQ"),
}
_IPPROTO_TCP = 6
_IP6T_F_PROTO = 1

_TCP = struct.Struct("@HHHHBBBB")  # xt_tcpudp.h xt_tcp: ports, option, flag mask, flags, inverse
_ANY_PORT = (0, 0xFFFF)
_SYN_MASK, _SYN = 0x17, 0x02  # FIN,SYN,RST,ACK: only SYN

_ADDRTYPE = struct.Struct("@HHI")  # xt_addrtype.h, revision 1: source, destination, flags
#: XT_ADDRTYPE_LOCAL, _BROADCAST, _ANYCAST. The kernel refuses to match broadcast in IPv6, and
#: with multicast in the list IPv6 addresses must be that as well (xt_addrtype.c match_type6).
_OWN_TYPES = {4: 1 << 2 | 1 << 3 | 1 << 4, 6: 1 << 2 | 1 << 4}

_CONNTRACK = struct.Struct("@128s 2I 5H 4H 4H")  # xt_conntrack.h xt_conntrack_mtinfo3
_CT_STATE, _CT_DIRECTION = 1 << 0, 1 << 12
_CT_STATE_DNAT = 1 << 7  # XT_CONNTRACK_STATE_DNAT

_MAC = struct.Struct("@6si")  # xt_mac.h xt_mac_info: address, inverse

_STANDARD = struct.Struct("@i")  # xt_standard_target: libiptc puts the verdict in
_REDIRECT = {
    4: struct.Struct("@III I 2s2s"),  # nf_nat_ipv4_multi_range_compat
    6: struct.Struct("@I 32s 2s2s"),  # nf_nat_range
}
_BY_PORT = 1 << 1  # NF_NAT_RANGE_PROTO_SPECIFIED
_REJECT = struct.Struct("@I")
_TCP_RESET = {4: 7, 6: 6}  # IPT_TCP_RESET, IP6T_TCP_RESET
_STRIP = struct.Struct("@8I")  # xt_TCPOPTSTRIP.h: a bit per TCP option
_MPTCP = 30  # the option's number, RFC 8684


@dataclass(frozen=True)
class XtRule:
    """A rule for TCP. What is None or False is not asked for.

    ``target`` is RETURN, REJECT (with a TCP reset), REDIRECT (to ``to_port``), TCPOPTSTRIP (of
    the MPTCP option) or one of our chains.
    """

    family: Family
    target: str
    source: str | None = None
    destination: str | None = None
    device: str | None = None
    dport: int | None = None
    sports: tuple[int, int] | None = None
    dports: tuple[int, int] | None = None
    """First and last of more than one port."""
    mac: str | None = None
    not_macs: tuple[str, ...] = ()
    syn: bool = False
    dnat: bool = False
    """Of a connection whose destination was translated."""
    reply: bool = False
    """In the direction of the replies."""
    own: bool = False
    """To one of the router's own addresses, or broadcast or anycast."""
    to_port: int | None = None


def encode(rule: XtRule) -> bytes:
    """The entry for libiptc, with empty counters."""
    matches = b"".join(_matches(rule))
    target = _target(rule)
    entry = _ENTRY[rule.family]
    target_offset = entry.size + len(matches)
    source, source_mask = _network(rule.source, rule.family)
    destination, destination_mask = _network(rule.destination, rule.family)
    device = (rule.device or "").encode()
    # With its terminating zero: the name must end here.
    device_mask = b"\xff" * (len(device) + 1) if device else b""
    addresses = (source, destination, source_mask, destination_mask)
    # IPv6 has the traffic class first, and a flag for having a protocol at all.
    flags = (0, _IP6T_F_PROTO, 0) if rule.family == 6 else (0, 0)
    head = entry.pack(
        *addresses,
        *(device, b"", device_mask, b""),
        *(_IPPROTO_TCP, *flags),
        *(0, target_offset, target_offset + len(target), 0, 0, 0),
    )
    return head + matches + target


def decode(data: bytes, family: Family, target: str) -> XtRule:
    """The rule an entry is; one with target UNKNOWN where ``encode`` never made it.

    ``target`` is what libiptc calls its target: the entry itself has a verdict for RETURN and
    for our chains.
    """
    try:
        data = bare(data, family, target)
        rule = _fields(data, family)
        if encode(rule) == data:
            return rule
    except (struct.error, ValueError, KeyError):
        pass
    return XtRule(family, UNKNOWN)


def bare(data: bytes, family: Family, target: str) -> bytes:
    """An entry as read, in the form in which it would be given to libiptc.

    Without counters and marks, with the target's name instead of a verdict, and without what
    the kernel leaves behind the end of a name (a piece of a pointer).
    """
    entry = _ENTRY[family]
    *fixed, _nfcache, offset, end, _comefrom, _packets, _bytes = entry.unpack_from(data)
    extensions = [*_extensions(data[entry.size : offset]), *_extensions(data[offset:end])]
    name, revision, info = extensions.pop()
    if not name:
        name, info = target, _STANDARD.pack(0)
    extensions.append((name, revision, info))
    return entry.pack(*fixed, 0, offset, end, 0, 0, 0) + b"".join(
        _extension(*extension) for extension in extensions
    )


def counters(data: bytes, family: Family) -> tuple[int, int]:
    """Packets and bytes a rule has seen."""
    *_, packets, bytes_ = _ENTRY[family].unpack_from(data)
    return packets, bytes_


def _matches(rule: XtRule) -> Iterator[bytes]:
    if rule.dport is not None or rule.dports or rule.sports or rule.syn:
        ports = (rule.dport, rule.dport) if rule.dport is not None else rule.dports or _ANY_PORT
        flags = (_SYN_MASK, _SYN) if rule.syn else (0, 0)
        yield _extension("tcp", 0, _TCP.pack(*(rule.sports or _ANY_PORT), *ports, 0, *flags, 0))
    for mac, inverse in ((rule.mac, 0), *((m, 1) for m in rule.not_macs)):
        if mac:
            yield _extension("mac", 0, _MAC.pack(bytes.fromhex(mac.replace(":", "")), inverse))
    if rule.dnat or rule.reply:
        what = (_CT_STATE if rule.dnat else 0) | (_CT_DIRECTION if rule.reply else 0)
        # Reply is "not original".
        inverse = _CT_DIRECTION if rule.reply else 0
        state = _CT_STATE_DNAT if rule.dnat else 0
        numbers = (*(0, 0), *(0,) * 5, what, inverse, state, 0, *(0,) * 4)
        yield _extension("conntrack", 3, _CONNTRACK.pack(b"", *numbers))
    if rule.own:
        yield _extension("addrtype", 1, _ADDRTYPE.pack(0, _OWN_TYPES[rule.family], 0))


def _target(rule: XtRule) -> bytes:
    data = _STANDARD.pack(0)
    if rule.target == "REDIRECT":
        port = struct.pack("!H", rule.to_port or 0)
        if rule.family == 4:
            data = _REDIRECT[4].pack(1, _BY_PORT, 0, 0, port, port)
        else:
            data = _REDIRECT[6].pack(_BY_PORT, b"", port, port)
    elif rule.target == "REJECT":
        data = _REJECT.pack(_TCP_RESET[rule.family])
    elif rule.target == "TCPOPTSTRIP":
        data = _STRIP.pack(1 << _MPTCP, *(0,) * 7)
    return _extension(rule.target, 0, data)


def _extension(name: str, revision: int, data: bytes) -> bytes:
    data += b"\0" * (-(_HEAD.size + len(data)) % _ALIGN)
    return _HEAD.pack(_HEAD.size + len(data), name.encode(), revision) + data


def _network(text: str | None, family: Family) -> tuple[bytes, bytes]:
    address, _, mask = (text or ("0.0.0.0/0", "::/0")[family == 6]).partition("/")
    if not mask.isdigit():  # one with holes
        return ipaddress.ip_address(address).packed, ipaddress.ip_address(mask).packed
    network = ipaddress.ip_network(f"{address}/{mask}")
    return network.network_address.packed, network.netmask.packed


# --- Reading: every field is taken, and ``decode`` then asks whether that was all -------------


def _fields(data: bytes, family: Family) -> XtRule:
    source, destination, source_mask, destination_mask, device, *rest = _ENTRY[family].unpack_from(
        data
    )
    target_offset = rest[-5]
    matches = [*_extensions(data[_ENTRY[family].size : target_offset])]
    found = {name: info for name, _, info in matches}
    macs = [_MAC.unpack_from(info) for name, _, info in matches if name == "mac"]
    ((target, _, info),) = _extensions(data[target_offset:])
    tcp = _TCP.unpack_from(found["tcp"]) if "tcp" in found else None
    conntrack = _CONNTRACK.unpack_from(found["conntrack"]) if "conntrack" in found else None
    to_port = None
    if target == "REDIRECT":
        (to_port,) = struct.unpack("!H", _REDIRECT[family].unpack_from(info)[-1])
    return XtRule(
        family,
        target,
        source=_text(source, source_mask),
        destination=_text(destination, destination_mask),
        device=device.rstrip(b"\0").decode("ascii") or None,
        dport=tcp[2] if tcp and tcp[2] == tcp[3] else None,
        sports=tcp[0:2] if tcp and tcp[0:2] != _ANY_PORT else None,
        dports=tcp[2:4] if tcp and tcp[2] != tcp[3] and tcp[2:4] != _ANY_PORT else None,
        mac=next((address.hex(":") for address, inverse in macs if not inverse), None),
        not_macs=tuple(address.hex(":") for address, inverse in macs if inverse),
        syn=bool(tcp and tcp[6]),
        dnat=bool(conntrack and conntrack[8] & _CT_STATE),
        reply=bool(conntrack and conntrack[8] & _CT_DIRECTION),
        own="addrtype" in found,
        to_port=to_port,
    )


def _extensions(data: bytes) -> Iterator[tuple[str, int, bytes]]:
    """Name, revision and data of each match or target in a row of them."""
    while data:
        size, name, revision = _HEAD.unpack_from(data)
        if size < _HEAD.size:
            raise ValueError("an extension smaller than its head")
        yield name.partition(b"\0")[0].decode("ascii"), revision, data[_HEAD.size : size]
        data = data[size:]


def _text(address: bytes, mask: bytes) -> str | None:
    if not any(mask):
        return None
    bits = "".join(f"{byte:08b}" for byte in mask).rstrip("0")
    if "0" in bits:
        return f"{ipaddress.ip_address(address)}/{ipaddress.ip_address(mask)}"
    return str(ipaddress.ip_network((address, len(bits))))
