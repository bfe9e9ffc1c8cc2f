"""`make demo`: two routers, several links, one TCP stream over all of them, and nothing left.

Every figure is measured on the spot, in network namespaces, with the real kernel, the real proxy
programs and the real agent. The result goes to build/demo.json; the exit code says whether it held.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import get_args

from lab import draw
from lab.bridge import bridge
from lab.isp import isp
from lab.lab import NETNS, STATE, LabError
from lab.paths import BUILD, TOP
from lab.proxy import Engine, Proxy, Redirect
from lab.snapshot import Snapshot, leftovers, snapshot
from lab.topology import Network
from lab.traffic import WAYS, Sampler, TalkServer, Transfer, Way, iperf, start
from lab.wire import Shape

CEILING = 0.9379
"""MPTCP payload per Ethernet frame at an MTU of 1500: 1420 of 1514 bytes (MPTCP's option, 28)."""

WANTED = 0.9
"""Least share of the ceiling that the proxied stream must reach."""

FAIR = 0.5
"""Least share of its part of the load that each link must have carried to count as used."""

LENGTH, PULLED, BACK = 12.0, 3.0, 7.0
"""The transfer with a WAN pulled: its length, and when the cable goes and comes back; seconds."""

COLUMN, SAMPLE = 0.25, 0.05
"""Seconds per column of the picture, and per sample."""


@dataclass
class Result:
    """What goes to build/demo.json."""

    engine: str = ""
    links_mbit: list[float] = field(default_factory=list)
    single_path_mbit: dict[Way, float] = field(default_factory=dict)
    bonded_mbit: dict[Way, float] = field(default_factory=dict)
    ratio_to_ceiling: dict[Way, float] = field(default_factory=dict)
    pull: dict[str, float | None] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    leftovers: list[str] = field(default_factory=list)


class Demo:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.screen = draw.Screen()
        self.result = Result(links_mbit=[shape.rate for shape in options.links])
        self.problems: list[str] = []
        self._steps = 0
        self._before: dict[str, Snapshot] = {}

    # --- the story ----------------------------------------------------------------------------

    def run(self) -> int:
        began = time.monotonic()
        self.header()
        build = {"bridge": bridge, "isp": isp}[self.options.topology]
        proxy = Proxy(self.options.engine, self.options.redirect)
        with build(self.options.links, proxy) as net:
            self.routers(net)
            self.single_path(net)
            self.agents(net)
            self.bonded(net)
            self.pull(net)
            if self.options.hold:
                self.hold(net)
            self.clean_up(net)
        self.check_lab_gone(net)
        self.summary(time.monotonic() - began)
        return 1 if self.problems else 0

    def header(self) -> None:
        rates = " + ".join(f"{shape.rate:g}" for shape in self.options.links)
        title = f"mptcp-agent: one TCP stream over {len(self.options.links)} links"
        self.screen.line(self.screen.style(title, "title"))
        self.screen.line(f"{self.options.topology} topology, links of {rates} Mbit/s")

    def routers(self, net: Network) -> None:
        self.step("Two routers with OpenWrt's daemons, a LAN host behind each")
        hosts = (
            f"{net.client_host.role} ─── {net.client.role}",
            f"{net.server.role} ─── {net.server_host.role}",
        )
        for line in draw.cables(self.screen, hosts[0], net.rates, hosts[1]):
            self.screen.line(line)
        for router in net.routers:
            router.start_openwrt()
            self._before[router.role] = snapshot(router)
        TalkServer(net.server_host)

    def single_path(self, net: Network) -> None:
        self.step("One TCP stream of the LAN host without the proxy: one link carries it")
        for way in WAYS:
            mbit = self.measure(net, way)[0]
            self.result.single_path_mbit[way] = round(mbit, 1)

    def agents(self, net: Network) -> None:
        self.step("The agent starts on both routers, configured by /etc/config/mptcp-proxy")
        for router in net.routers:
            router.start_agent()
        for role, router in zip(("client", "server"), net.routers, strict=True):
            status = router.wait_state("active")
            self.result.states[role] = status["state"]
            self.result.engine = (status["engine"] or {}).get("name", "")
        for router in net.routers:
            self.show_status(
                router.role, router.run("ubus", "call", "mptcp_proxy", "status").stdout
            )

    def bonded(self, net: Network) -> None:
        self.step("The same stream through the proxy: all links at once")
        total = sum(net.rates)
        ceiling = CEILING * total
        for way in WAYS:
            mbit, carried = self.measure(net, way, ceiling)
            ratio = mbit / ceiling
            self.result.bonded_mbit[way] = round(mbit, 1)
            self.result.ratio_to_ceiling[way] = round(ratio, 3)
            if ratio < WANTED:
                self.problem(f"{way}: {mbit:.1f} Mbit/s is under {WANTED} of the ceiling")
            for number, (share, rate) in enumerate(zip(carried, net.rates, strict=True), 1):
                if share < FAIR * rate / total:
                    self.problem(f"{way}: wan{number} carried only {share:.0%} of the bytes")
        text = f"ceiling: {CEILING:.2%} of {total:g} Mbit/s = {ceiling:.1f} Mbit/s"
        self.screen.line(self.screen.style(f"  {text} (MPTCP payload per frame)", "dim"))

    def pull(self, net: Network) -> None:
        self.step(f"wan1 is pulled out during a download, and put back {BACK - PULLED:g} s later")
        stream = start(net.client_host, "get", net.target, seconds=LENGTH)
        times: dict[str, float] = {}
        with Sampler(net.wires, SAMPLE) as sampler:
            began = time.monotonic()
            while (now := time.monotonic() - began) < LENGTH:
                if now >= PULLED and "pulled" not in times:
                    net.wires[0].carrier(False)
                    times["pulled"] = time.monotonic()
                if now >= BACK and "put back" not in times:
                    net.wires[0].carrier(True)
                    times["put back"] = time.monotonic()
                self.screen.draw(self.chart(net, sampler, began, times))
                time.sleep(0.05)
            transfer = stream.result()
        self.screen.settle(self.chart(net, sampler, began, times))
        self.judge_pull(transfer, sampler, times, net.rates[0])

    def judge_pull(
        self, transfer: Transfer, sampler: Sampler, times: dict[str, float], rate: float
    ) -> None:
        stall = transfer.stall_ms(times["pulled"])
        again = (s.at for s in sampler.samples if s.at > times["put back"] and s.down[0] > rate / 2)
        first = next(again, None)
        recovered = None if first is None else round(first - times["put back"], 2)
        self.result.pull = {"stall_ms": round(stall), "recovered_s": recovered}
        size = transfer.report.bytes / 1e6
        if transfer.ok:
            self.good(f"{size:.1f} MB arrived, every byte right; longest stall {stall:.0f} ms")
        else:
            self.problem(f"the transfer broke after {size:.1f} MB: {transfer.report.error}")
        if recovered is None:
            self.problem("wan1 was not used again after it came back")
        else:
            self.good(f"wan1 carried data again {recovered} s after it was put back")

    def hold(self, net: Network) -> None:
        self.step("Holding. Look around; Ctrl-C goes on with the clean-up")
        line = self.screen.line
        for router in net.routers:
            line(f"  a shell on {router.role}:  {router.door}")
        client = net.client.door
        line(f"  the agent:       {client} ubus call mptcp_proxy status")
        line(f"                   {client} {net.client.python} -m mptcp_agent status")
        line(f"  its rules:       {client} nft list ruleset")
        line(f"  the LAN host:    ip netns exec {net.client_host.netns} sh")
        line(f"    a download:    iperf3 -R -c {net.target}")
        line("                   (on the other host, `iperf3 -s`: "
             f"ip netns exec {net.server_host.netns} iperf3 -s)")  # fmt: skip
        line(f"  logs:            {net.lab.logs.relative_to(TOP)}")
        try:
            signal.pause()
        except KeyboardInterrupt:
            line()

    def clean_up(self, net: Network) -> None:
        self.step("The agents stop; what is left of them?")
        found = self.result.leftovers
        looked: dict[str, int] = {}
        for router in net.routers:
            code = router.stop_agent()
            if code:
                self.problem(f"{router.role}: the agent ended with exit code {code}")
            after = snapshot(router)
            found += [f"{router.role} {x}" for x in leftovers(self._before[router.role], after)]
            for name, lines in after.items():
                looked[name] = looked.get(name, 0) + len(lines)
        text = ", ".join(f"{count} {name}" for name, count in looked.items() if count)
        self.screen.line(self.screen.style(f"  compared with before, line by line: {text}", "dim"))
        for each in found:
            self.problem(f"left: {each}")
        if not found:
            self.good("nothing is left")

    def check_lab_gone(self, net: Network) -> None:
        name = net.lab.name
        left = [path for path in (*NETNS.glob(f"{name}-*"), STATE / name) if path.exists()]
        self.result.leftovers += [f"lab {path}" for path in left]
        for path in left:
            self.problem(f"left: {path}")

    def summary(self, seconds: float) -> None:
        self.screen.line()
        result, style = self.result, self.screen.style
        rows = [f"{'':14}{'one link':>12}{'all links':>12}{'of ceiling':>12}"]
        for way in WAYS:
            rows.append(
                f"  {way:12}{result.single_path_mbit[way]:>12.1f}{result.bonded_mbit[way]:>12.1f}"
                f"{result.ratio_to_ceiling[way]:>12.1%}"
            )
        stall, back = result.pull["stall_ms"], result.pull["recovered_s"]
        rows.append(f"  wan1 pulled: stall {stall:g} ms, used again after {back} s")
        rows.append(f"  engine {result.engine}; took {seconds:.0f} s; written to build/demo.json")
        self.screen.line(style("Summary (Mbit/s of payload)", "title"))
        for row in rows:
            self.screen.line(row)
        BUILD.mkdir(exist_ok=True)
        (BUILD / "demo.json").write_text(json.dumps(vars(result), indent=2) + "\n")
        if self.problems:
            self.screen.line(style(f"  {len(self.problems)} not as it should be: see ✗", "bad"))
        else:
            self.screen.line(style("  all as it should be", "good"))

    # --- its parts ----------------------------------------------------------------------------

    def measure(
        self, net: Network, way: Way, ceiling: float | None = None
    ) -> tuple[float, list[float]]:
        """Measure one stream; return its goodput and each link's share of the frames' bytes."""
        index = 1 if way == "down" else 0
        before = [wire.bytes()[index] for wire in net.wires]
        mbit = iperf(net.client_host, net.server_host, net.target, way)
        used = [w.bytes()[index] - old for w, old in zip(net.wires, before, strict=True)]
        shares = [each / sum(used) for each in used]
        parts = [mbit * share for share in shares]
        painted = draw.split_bar(self.screen, parts, sum(net.rates), 36)
        split = " + ".join(f"wan{i} {part:.1f}" for i, part in enumerate(parts, 1) if part > 0.05)
        ratio = f" {mbit / ceiling:6.1%} of ceiling" if ceiling else ""
        self.screen.line(f"  {way:4} {painted} {mbit:5.1f} Mbit/s{ratio}")
        self.screen.line(self.screen.style(f"       {split}", "dim"))
        return mbit, shares

    def chart(
        self, net: Network, sampler: Sampler, began: float, times: dict[str, float]
    ) -> list[str]:
        length, each = round(LENGTH / COLUMN), round(COLUMN / SAMPLE)
        samples = list(sampler.samples)[: length * each]
        full = [samples[i : i + each] for i in range(0, len(samples) - each + 1, each)]
        series = {
            f"wan{number + 1}": [sum(s.down[number] for s in part) / each for part in full]
            for number in range(len(net.wires))
        }
        marks = {round((at - began) / COLUMN): word for word, at in times.items()}
        return draw.over_time(
            self.screen, series, net.rates, marks, length=length, seconds_per_column=COLUMN
        )

    def show_status(self, role: str, text: str) -> None:
        self.screen.line(self.screen.style(f"  {role}# ubus call mptcp_proxy status", "bold"))
        for line in text.replace("\t", "  ").splitlines():
            self.screen.line(self.screen.style(f"  {line}", "dim"))

    def step(self, title: str) -> None:
        self._steps += 1
        self.screen.line()
        self.screen.line(self.screen.style(f"{self._steps}  {title}", "title"))

    def good(self, text: str) -> None:
        self.screen.line(f"  {self.screen.style('✓', 'good')} {text}")

    def problem(self, text: str) -> None:
        self.problems.append(text)
        self.screen.line(f"  {self.screen.style('✗', 'bad')} {text}")


def links(text: str) -> list[Shape]:
    """Parse `50,20` or, with a one-way delay in ms, `50@10,20@30`."""
    shapes = []
    for word in text.split(","):
        rate, _, delay = word.partition("@")
        try:
            shapes.append(Shape(float(rate), float(delay or 0)))
        except ValueError:
            raise argparse.ArgumentTypeError(f"{word!r} is not a rate in Mbit/s") from None
    if not 2 <= len(shapes) <= 4 or not all(1 <= shape.rate <= 1000 for shape in shapes):
        raise argparse.ArgumentTypeError("two to four links of 1 to 1000 Mbit/s are wanted")
    return shapes


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--engine", choices=get_args(Engine), default="shadowsocks-libev")
    parser.add_argument("--redirect", choices=get_args(Redirect), default="auto")
    parser.add_argument("--topology", choices=["bridge", "isp"], default="bridge")
    parser.add_argument("--links", type=links, default="50,20", help="Mbit/s, two to four")
    parser.add_argument("--hold", action="store_true", help="leave it running until Ctrl-C")
    demo = Demo(parser.parse_args())
    try:
        return demo.run()
    except LabError as problem:
        print(f"demo: {problem}", file=sys.stderr)
    except KeyboardInterrupt:
        print("demo: stopped; everything is cleaned up", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
