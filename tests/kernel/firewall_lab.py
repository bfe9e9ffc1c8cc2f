# SPDX-License-Identifier: GPL-2.0-or-later
"""A LAN host, a router and the world, in three nameless network namespaces of this process.

    host 192.168.78.107 --br-lan-- router --wan-- world 10.1.1.70, 203.0.113.5, 198.51.100.9 …

Everything in the world answers TCP port 7100 with "direct ADDRESS"; the redirector on the
router answers with "proxied ADDRESS PORT", what SO_ORIGINAL_DST told it; both then echo.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

from toolkit.namespace import Namespace
from toolkit.waiting import wait_until

REDIRECTOR = 1080
PORT = 7100
SERVER = 8388
HOST4, HOST6 = "192.168.78.107", "fd78::107"
ROUTER4, ROUTER6 = "192.168.78.1", "fd78::1"
WORLD4 = ("203.0.113.5", "198.51.100.9")
WORLD6 = ("2001:db8::5", "2001:db8:9::9")
NEAR4, NEAR6 = "10.1.1.70", "fd01::70"

_SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h; the same number as IP6T_SO_ORIGINAL_DST
_SO_PROTOCOL = 38  # asm-generic/socket.h
MPTCP = 262  # linux/in.h IPPROTO_MPTCP
_TIMEOUT = 3.0


def stream_socket(space: Namespace, family: int, protocol: int = 0) -> socket.socket:
    made = space.call(socket.socket, family, socket.SOCK_STREAM, protocol)
    made.settimeout(_TIMEOUT)
    return made


def connect(
    space: Namespace, address: str, port: int, protocol: int = 0, source: str = ""
) -> Stream:
    """Connect and read the greeting. Raises OSError as connect does, or EOFError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = stream_socket(space, family, protocol)
    try:
        if source:
            made.bind((source, 0))
        made.connect((address, port))
        return Stream(made)
    except BaseException:
        made.close()
        raise


class Stream:
    """A connection whose other end has said who it is and now echoes."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.greeting = self._line()

    def _line(self) -> str:
        line = b""
        while not line.endswith(b"\n"):
            byte = self.socket.recv(1)
            if not byte:
                raise EOFError("closed without a word")
            line += byte
        return line.decode().strip()

    def echo(self) -> bool:
        """Whether data still goes there and back. ConnectionResetError when refused."""
        self.socket.sendall(b"still there?\n")
        return self._line() == "still there?"

    def close(self) -> None:
        self.socket.close()


class TcpService:
    """A TCP service in a namespace, on every address of both families."""

    def __init__(
        self, space: Namespace, port: int, greet: Callable[[socket.socket], str], protocol: int = 0
    ) -> None:
        self._greet = greet
        self._open: list[socket.socket] = []
        self._listeners = []
        for family, any_ in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            listener = space.call(socket.socket, family, socket.SOCK_STREAM, protocol)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((any_, port))
            listener.listen()
            self._listeners.append(listener)
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = listener.accept()
                self._open.append(accepted)
                threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        with contextlib.suppress(OSError), accepted:
            accepted.sendall(f"{self._greet(accepted)}\n".encode())
            while data := accepted.recv(65536):
                accepted.sendall(data)

    def close(self) -> None:
        for each in (*self._listeners, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def direct(accepted: socket.socket) -> str:
    return f"direct {accepted.getsockname()[0]}"


def protocol(accepted: socket.socket) -> str:
    mptcp = accepted.getsockopt(socket.SOL_SOCKET, _SO_PROTOCOL) == MPTCP
    return "MPTCP" if mptcp else "plain"


def original(accepted: socket.socket) -> str:
    """What a redirector does; an MPTCP socket refuses it (EOPNOTSUPP)."""
    try:
        if accepted.family == socket.AF_INET:
            raw = accepted.getsockopt(socket.SOL_IP, _SO_ORIGINAL_DST, 16)
            port, address = struct.unpack("!2xH4s8x", raw)
        else:
            raw = accepted.getsockopt(socket.IPPROTO_IPV6, _SO_ORIGINAL_DST, 28)
            port, address = struct.unpack("!2xH4x16s4x", raw)
    except OSError as error:
        return f"lost {error.strerror}"
    return f"proxied {socket.inet_ntop(accepted.family, address)} {port}"


class FirewallLab:
    """host -- router -- world, with both IP families, everything answering."""

    def __init__(self) -> None:
        self.host, self.router, self.world = spaces = Namespace(), Namespace(), Namespace()
        self._close: list[Callable[[], None]] = [s.close for s in spaces]
        self._link(self.host, "eth0", self.router, "br-lan")
        self._link(self.router, "wan", self.world, "eth0")
        self.host.sh(
            f"""ip addr add {HOST4}/24 dev eth0; ip addr add {HOST6}/64 dev eth0 nodad
            ip route add default via {ROUTER4}; ip -6 route add default via {ROUTER6}"""
        )
        self.router.sysctl("net/ipv4/ip_forward", 1)
        self.router.sysctl("net/ipv6/conf/all/forwarding", 1)
        self.router.sh(
            f"""ip addr add {ROUTER4}/24 dev br-lan; ip addr add {ROUTER6}/64 dev br-lan nodad
            ip addr add 10.1.1.78/24 dev wan; ip addr add fd01::78/64 dev wan nodad
            ip route add default via {NEAR4}; ip -6 route add default via {NEAR6}"""
        )
        self.fw4()
        self.world.sh(
            f"""ip addr add {NEAR4}/24 dev eth0; ip addr add {NEAR6}/64 dev eth0 nodad
            ip route add default via 10.1.1.78; ip -6 route add default via fd01::78
            """
            + "".join(f"ip addr add {a}/32 dev lo; " for a in WORLD4)
            + "".join(f"ip addr add {a}/128 dev lo; " for a in WORLD6)
        )
        self.serve(self.world, PORT, direct)
        self.serve(self.router, PORT, direct)
        self.serve(self.router, REDIRECTOR, original)
        self.wait_for_answer(NEAR6, f"direct {NEAR6}")

    def fw4(self) -> None:
        """What stands for the router's firewall.

        Without another user of conntrack (fw4 always is one) taking out our rules would take
        conntrack with them, and every redirected connection.
        """
        self.router.sh(
            """nft add table inet fw4
            nft add chain inet fw4 forward '{ type filter hook forward priority filter; }'
            nft add rule inet fw4 forward ct state established accept
            nft add chain inet fw4 dstnat '{ type nat hook prerouting priority dstnat; }'
            nft add chain inet fw4 srcnat '{ type nat hook postrouting priority srcnat; }'"""
        )

    def serve(
        self,
        space: Namespace,
        port: int,
        greet: Callable[[socket.socket], str],
        protocol: int = 0,
    ) -> TcpService:
        service = TcpService(space, port, greet, protocol)
        self._close.append(service.close)
        return service

    def ask(
        self, address: str, port: int = PORT, space: Namespace | None = None, source: str = ""
    ) -> str:
        """What answers a LAN client at that address, or how the connection failed."""
        try:
            stream = connect(space or self.host, address, port, source=source)
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "silence"
        except (EOFError, ConnectionResetError):
            return "closed"
        stream.close()
        return stream.greeting

    def wait_for_answer(self, address: str, wanted: str) -> None:
        """Wait until a LAN client is answered so, whatever ask() raises before."""

        def answered() -> bool:
            with contextlib.suppress(OSError):
                return self.ask(address).startswith(wanted)
            return False

        wait_until(answered, 5, f"{wanted!r} from {address}")

    def _link(self, left: Namespace, left_name: str, right: Namespace, right_name: str) -> None:
        left.sh(f"ip link add {left_name} type veth peer {right_name} netns {right.path}")
        left.sh(f"ip link set {left_name} up")
        right.sh(f"ip link set {right_name} up")

    def close(self) -> None:
        for close in reversed(self._close):
            close()
