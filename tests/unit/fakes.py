"""A clock, a bus and a kernel of glass: everything the agent's running parts stand on.

``simulate`` runs a coroutine under simulated time: while something can run time stands still,
and when nothing can it jumps to the next timer, so that minutes take milliseconds. Calls meant
for a worker thread are made on the spot. What waits for something that can never come fails at
once, instead of hanging.

    def test_a_silent_wan() -> None:
        async def work(clock: FakeClock) -> None:
            kernel = FakeKernel(clock)
            prober = Prober(lambda: None, kernel.edge, clock)
            ...
            assert await until(lambda: state(prober) == "down", 2) < 0.5

        simulate(work)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import selectors
import socket
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from unit.examples import Sections, values

from mptcp_agent.core.network import Interface
from mptcp_agent.core.sockets import Subflow, SubflowFlag, TcpInfo, TcpSocket, TcpState
from mptcp_agent.core.ubus import Reply
from mptcp_agent.errors import BusError
from mptcp_agent.monitor.kernel import Kernel
from mptcp_agent.system.probes import Outcome
from mptcp_agent.system.ubus.bus import Bus, Handler, Listener

T = TypeVar("T")

# --- Time --------------------------------------------------------------------------------------

#: Seconds by which a timer is late: it never is early.
LATE = 1e-6
#: Unix time at 0 on the clock.
EPOCH = 1_800_000_000.0


class FakeClock:
    """Stands for ``time.monotonic``; ``unix`` for ``time.time``; ``spend`` for work."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.spent = 0.0

    def __call__(self) -> float:
        return self.now

    def unix(self) -> float:
        return EPOCH + self.now

    def spend(self, seconds: float) -> None:
        """Said inside a call of the worker thread: it takes so long. The loop goes on."""
        self.spent += seconds


class _Selector(selectors.SelectSelector):
    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise AssertionError("nothing will ever happen: no timer, nothing to read")
            if timeout > 0:
                self._clock.now += timeout + LATE
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Descriptors are real, time is the clock's, worker threads are none."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(_Selector(clock))
        self._clock = clock

    def time(self) -> float:
        return self._clock()

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()
        self._clock.spent = 0.0
        settle: Callable[[Any], None] = future.set_result
        outcome: Any
        try:
            outcome = func(*args)
        except Exception as error:
            settle, outcome = future.set_exception, error

        def done() -> None:
            if not future.done():  # else nobody waits any more
                settle(outcome)

        self.call_later(self._clock.spent, done)
        return future


def simulate(work: Callable[[FakeClock], Coroutine[Any, Any, T]]) -> T:
    """Run it to its end in simulated time; tasks it left are cancelled."""
    clock = FakeClock()
    with asyncio.Runner(loop_factory=lambda: SimulatedLoop(clock)) as runner:
        return runner.run(work(clock))


async def until(condition: Callable[[], object], timeout: float = 60.0) -> float:
    """Seconds until it was so, in steps of 5 ms."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not condition():
        assert loop.time() - began < timeout, "it was never so"
        await asyncio.sleep(0.005)
    return loop.time() - began


# --- The bus -----------------------------------------------------------------------------------


class FakeBus(Bus):
    """ubusd with rpcd, netifd and procd behind it, as far as the agent asks them.

    ``away`` holds objects whose daemon is not there; ``up`` False is no ubusd at all (``die``
    and ``rise``). ``procd`` says what runs. ``called`` and ``sent`` remember; what procd is told
    and the events are lines of ``journal``, too.
    """

    def __init__(
        self,
        sections: Sections | None = None,
        interfaces: Iterable[Interface] = (),
        procd: FakeProcd | None = None,
        journal: list[str] | None = None,
    ) -> None:
        super().__init__()
        self.journal: list[str] = [] if journal is None else journal
        self.packages: dict[str, Sections] = {} if sections is None else {"mptcp-proxy": sections}
        self.interfaces = tuple(interfaces)
        self.procd = procd or FakeProcd()
        self.away: set[str] = set()
        self.up = True
        self.called: list[tuple[str, str, Mapping[str, object]]] = []
        self.sent: list[tuple[str, Mapping[str, object]]] = []
        self.handlers: dict[str, Mapping[str, Handler]] = {}
        self._listeners: list[tuple[tuple[str, ...], Listener]] = []
        self._inbox: list[tuple[str, Reply]] = []
        self._descriptor: int | None = None

    # What happens on the bus

    def emit(self, event: str, **data: Any) -> None:
        """Somebody sends an event."""
        if self._descriptor is not None:
            self._inbox.append((event, data))
            os.eventfd_write(self._descriptor, 1)

    def die(self) -> None:
        """ubusd ends: nothing is raised, the descriptor stays readable."""
        self.up = False
        if self._descriptor is not None:
            os.eventfd_write(self._descriptor, 1)

    def rise(self) -> None:
        self.up = True

    # As Bus

    @property
    def connected(self) -> bool:
        return self._descriptor is not None

    def fileno(self) -> int:
        if self._descriptor is None:
            raise BusError("not connected to ubusd")
        return self._descriptor

    def connect(self) -> None:
        if not self.up:
            raise BusError("ubusd does not answer (Failed to connect): is it running?")
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK)

    def disconnect(self, *, orderly: bool = True) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None
        self.handlers, self._listeners, self._inbox = {}, [], []

    def alive(self) -> bool:
        return self.connected and self.up

    def dispatch(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fileno())
        while self._inbox:
            event, data = self._inbox.pop(0)
            for patterns, listener in self._listeners:
                if event in patterns:
                    listener(event, data)

    def call(self, object_: str, method: str, arguments: Mapping[str, object]) -> Reply:
        if not self.connected:
            raise BusError(f"{object_} {method}: not connected to ubusd")
        self.called.append((object_, method, arguments))
        try:
            if object_ in self.away or not self.up:
                raise BusError(f"Object '{object_}' was not found.")
            return self._answer(object_, method, arguments)
        except BusError as error:
            raise BusError(f"ubus call {object_} {method}: {error}") from error
        finally:
            self.dispatch()

    def publish(self, name: str, handlers: Mapping[str, Handler]) -> None:
        self.handlers = {**self.handlers, name: handlers, f"luci.{name}": handlers}

    def listen(self, events: Iterable[str], listener: Listener) -> None:
        self._listeners.append((tuple(events), listener))

    def send(self, event: str, data: Mapping[str, object]) -> None:
        if self.connected:
            self.sent.append((event, dict(data)))
            what = f"{data.get('name', '')} {data.get('state', '')}".strip()
            self.journal.append(f"event {event.rpartition('.')[2]} {what}")

    # The daemons

    def _answer(self, object_: str, method: str, arguments: Mapping[str, object]) -> Reply:
        match object_, method:
            case "uci", "configs":
                return {"configs": sorted(self.packages)}
            case "uci", "get":
                package = str(arguments["config"])
                if package not in self.packages:
                    raise BusError("ubus error occured: Not found")
                return {"values": values(self.packages[package])}
            case "network.interface", "dump":
                return {"interface": [_netifd(i) for i in self.interfaces]}
            case "service", _:
                answer = self.procd.answer(method, arguments)
                if method != "list":
                    told: Any = arguments.get("instances") or [arguments.get("instance", "")]
                    self.journal.append(f"procd {method} {' '.join(sorted(told))}".strip())
                return answer
        raise BusError(f"Object '{object_}' was not found.")


def _netifd(interface: Interface) -> dict[str, object]:
    found: dict[str, object] = {
        "interface": interface.name,
        "up": interface.up,
        "proto": interface.proto,
        "route": [{"target": _zero(g), "mask": 0, "nexthop": g} for g in interface.gateways],
    }
    if interface.device:
        found["l3_device"] = found["device"] = interface.device
    for kind, six in (("ipv4-address", False), ("ipv6-address", True)):
        pairs = [a.split("/") for a in interface.addresses if (":" in a) == six]
        found[kind] = [{"address": address, "mask": int(mask)} for address, mask in pairs]
    return found


def _zero(address: str) -> str:
    return "::" if ":" in address else "0.0.0.0"


class FakeProcd:
    """Runs instances: a changed one gets another pid, one that ends is started again after
    ``RESPAWN`` seconds. ``kernel`` is told of starts and ends; ``ports`` says on which port an
    instance listens while it runs, ``delay`` after how many seconds; ``refuses`` why it takes no
    others."""

    RESPAWN = 1.0

    def __init__(
        self,
        kernel: FakeKernel | None = None,
        ports: Mapping[str, int] | None = None,
        delay: float = 0.0,
    ) -> None:
        self.services: dict[str, dict[str, dict[str, Any]]] = {}
        self.pids: dict[tuple[str, str], int] = {}
        self.signals: list[tuple[str, int]] = []
        self._kernel = kernel
        self._ports = ports or {}
        self.delay = delay
        self.refuses = ""
        self._last_pid = 4000

    def answer(self, method: str, arguments: Mapping[str, object]) -> Reply:
        name = str(arguments.get("name", ""))
        if method == "list":
            chosen = {name} if name else set(self.services)
            return {s: self._listed(s) for s in sorted(chosen & self.services.keys())}
        if method == "set":
            if self.refuses:
                raise BusError(self.refuses)
            instances: Any = arguments.get("instances", {})
            before = self.services.get(name, {})
            for gone in [i for i, data in before.items() if instances.get(i) != data]:
                self._stop(name, gone)
            self.services[name] = dict(instances)
            for instance in instances:
                if (name, instance) not in self.pids:
                    self._start(name, instance)
            return {}
        if name not in self.services:
            raise BusError("ubus error occured: Not found")
        if method == "delete":
            for instance in list(self.services[name]):
                self._stop(name, instance)
            del self.services[name]
        elif method == "signal":
            instance, number = str(arguments["instance"]), arguments["signal"]
            if (name, instance) not in self.pids:
                raise BusError("ubus error occured: Not found")
            assert isinstance(number, int)
            self.signals.append((instance, number))
            self.end(name, instance)
        return {}

    def end(self, service: str, instance: str) -> None:
        """A process ends by itself; it comes back."""
        self._stop(service, instance)
        again = asyncio.get_running_loop().call_later
        again(self.RESPAWN, self._start, service, instance)

    def _listed(self, service: str) -> Reply:
        def of(name: str, data: dict[str, Any]) -> dict[str, Any]:
            pid = self.pids.get((service, name))
            shown: dict[str, Any] = {"running": pid is not None}
            shown |= {k: data[k] for k in ("command", "env", "data") if k in data}
            return shown | ({"pid": pid} if pid else {})

        return {"instances": {n: of(n, data) for n, data in self.services[service].items()}}

    def _start(self, service: str, instance: str) -> None:
        if instance not in self.services.get(service, {}) or (service, instance) in self.pids:
            return
        self._last_pid += 1
        pid = self.pids[service, instance] = self._last_pid
        if self._kernel:
            self._kernel.processes.add(pid)
            if port := self._ports.get(instance):
                listen = asyncio.get_running_loop().call_later
                listen(self.delay, self._listen, pid, port)

    def _listen(self, pid: int, port: int) -> None:
        if self._kernel and pid in self._kernel.processes:
            self._kernel.listening.add(port)

    def _stop(self, service: str, instance: str) -> None:
        pid = self.pids.pop((service, instance), None)
        if self._kernel and pid:
            self._kernel.listening.discard(self._ports.get(instance, 0))
            self._kernel.end(pid)


# --- The kernel --------------------------------------------------------------------------------


@dataclass
class Way:
    """What becomes of a probe: its answer after so many seconds. ``lost`` is silence."""

    outcome: Outcome = "answered"
    rtt: float = 0.02
    repeated: bool = False


class FakeKernel:
    """What the monitor's edge finds. Change the fields; ``edge`` is what the parts are given."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.ways: dict[tuple[str, str], Way] = {}
        """By device and remote address; what is not named answers."""
        self.tunnel = Way(rtt=0.04)
        self.sockets: list[TcpSocket] = []
        self.waiting = 0
        """Connections the redirector has not accepted."""
        self.listening: set[int] = set()
        self.processes: set[int] = set()
        self.opened = 0
        self.links: dict[str, tuple[int, int]] = {}
        self.counters: dict[str, int] = {}
        self.cost = 0.0
        """Processor time (s) that each reading of the sockets takes."""
        self.probes: list[tuple[float, str, str]] = []
        """Time, device and address of each; the tunnel's have neither."""
        self.destroyed: list[TcpSocket] = []
        self.walks = 0
        """Readings of the sockets."""
        self._kept: dict[str, list[socket.socket]] = {}
        self._pidfds: dict[int, list[int]] = {}
        self._spent = 0.0

    @property
    def edge(self) -> Kernel:
        return Kernel(
            connect=self._connect,
            repeated=lambda _: self._repeated,
            through=self._through,
            calls=self._calls,
            tcp_sockets=self._tcp_sockets,
            backlog=self._backlog,
            destroy=self._destroy,
            tcp_opened=lambda: self.opened,
            link_bytes=lambda: dict(self.links),
            mptcp_counters=lambda: dict(self.counters),
            watch=self._watch,
            listens=lambda port: port in self.listening,
            cost=lambda: self._spent,
        )

    # What happens

    def stop_listening(self, address: str, *devices: str) -> None:
        """A server stops: it refuses, and its connections end."""
        for device in devices:
            self.ways[device, address] = Way("refused")
        self.end_connections(address)

    def end_connections(self, address: str) -> None:
        """The server at an address ends the probes' connections."""
        for one in self._kept.pop(address, []):
            one.close()

    def held(self, address: str) -> int:
        """Connections of probes that are still open."""
        self._kept[address] = [*filter(_open, self._kept.get(address, ()))]
        return len(self._kept[address])

    def end(self, pid: int) -> None:
        """A process ends; who watches it hears of that."""
        self.processes.discard(pid)
        for descriptor in self._pidfds.pop(pid, []):
            os.eventfd_write(descriptor, 1)
            os.close(descriptor)

    # The edge

    _repeated = False

    async def _connect(
        self, device: str, source: str, address: str, port: int, timeout: float
    ) -> tuple[Outcome, socket.socket | None]:
        self.opened += 1
        self.probes.append((self._clock(), device, address))
        outcome = await self._travel(lambda: self.ways.get((device, address), Way()), timeout)
        if outcome != "answered":
            return outcome, None
        near, far = socket.socketpair()
        self._kept[address] = [*filter(_open, self._kept.get(address, ())), far]
        self._repeated = self.ways.get((device, address), Way()).repeated
        return "answered", near

    async def _through(self, timeout: float) -> Outcome:
        self.opened += 1
        self.probes.append((self._clock(), "", ""))
        return await self._travel(lambda: self.tunnel, timeout)

    async def _travel(self, way: Callable[[], Way], timeout: float) -> Outcome:
        """There and back: who falls silent meanwhile gives no answer."""
        sent = way()
        if sent.outcome == "unsent":
            return "unsent"
        await asyncio.sleep(min(sent.rtt, timeout))
        if "lost" in (sent.outcome, way().outcome) or sent.rtt >= timeout:
            await asyncio.sleep(max(0.0, timeout - sent.rtt))
            return "lost"
        return sent.outcome

    def _calls(self, port: int) -> list[TcpSocket]:
        return [s for s in self._tcp_sockets(0, port) if s.subflow or s.state == "syn-sent"]

    def _tcp_sockets(self, local_port: int = 0, remote_port: int = 0) -> list[TcpSocket]:
        self.walks += 1
        self._spent += self.cost
        return [
            s
            for s in self.sockets
            if local_port in (0, s.local_port) and remote_port in (0, s.remote_port)
        ]

    def _backlog(self, port: int) -> int:
        return self.waiting

    def _destroy(self, sock: TcpSocket) -> bool:
        self.destroyed.append(sock)
        self.sockets = [s for s in self.sockets if s.cookie != sock.cookie]
        return True

    def _watch(self, pid: int) -> int | None:
        if pid not in self.processes:
            return None
        descriptor = os.eventfd(0, os.EFD_NONBLOCK)
        # Of the same event: who watches closes the other one.
        self._pidfds.setdefault(pid, []).append(os.dup(descriptor))
        return descriptor

    # Its sockets

    def opens(
        self,
        local: str,
        remote: str,
        *flags: SubflowFlag,
        state: TcpState = "established",
        port: int = 8388,
        token: int = 1,
        device: str = "",
    ) -> int:
        """A connection to a peer begins, or one more subflow of it; its cookie."""
        self.opened += 1
        cookie = self.opened
        subflow = Subflow(token, 0, frozenset(flags or ("capable-local",)))
        self.sockets.append(
            TcpSocket(
                *(local, 40000 + cookie, remote, port, state, device, cookie, TcpInfo()),
                subflow=None if state == "syn-sent" and not flags else subflow,
            )
        )
        return cookie

    def moves(self, cookie: int, **info: Any) -> None:
        """Another TcpInfo: ``received`` and ``acked`` are added to, the rest is set."""
        for index, sock in enumerate(self.sockets):
            if sock.cookie == cookie:
                rest = {k: v for k, v in info.items() if k not in ("received", "acked")}
                new = replace(
                    sock.info,
                    bytes_received=sock.info.bytes_received + info.get("received", 0),
                    bytes_acked=sock.info.bytes_acked + info.get("acked", 0),
                    **rest,
                )
                self.sockets[index] = replace(sock, info=new)

    def closes(self, *cookies: int) -> None:
        self.sockets = [s for s in self.sockets if s.cookie not in cookies]


def _open(far: socket.socket) -> bool:
    """Whether the other end is still held; else this one is closed as well."""
    try:
        held = far.recv(1, socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        held = True
    if not held:
        far.close()
    return held
