# SPDX-License-Identifier: GPL-2.0-or-later
"""`make demo`: two routers, several links, one TCP stream over all of them, and nothing left.

Every figure is measured on the spot, in network namespaces, with the real kernel, the real proxy
programs and the real agent. The result goes to build/demo.json; the exit code says whether it held.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import get_args

from toolkit.command import LabError
from toolkit.namespace import NETNS

from lab import draw
from lab.bridge import bridge
from lab.isp import isp
from lab.lab import STATE
from lab.paths import BUILD, TOP
from lab.proxy import Engine, Proxy, Redirect
from lab.pull import BACK, PULLED, Experiment
from lab.show import Show
from lab.snapshot import Snapshot, leftovers, snapshot
from lab.topology import Network
from lab.traffic import WAYS, TalkServer, Way, iperf
from lab.wire import Shape

CEILING = 0.9379
"""MPTCP payload per Ethernet frame at an MTU of 1500: 1420 of 1514 bytes (MPTCP's option, 28)."""

WANTED = 0.9
"""Least share of the ceiling that the proxied stream must reach."""

FAIR = 0.5
"""Least share of its part of the load that each link must have carried to count as used."""


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
        self.show = Show()
        self.result = Result(links_mbit=[shape.rate for shape in options.links])
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
        return 1 if self.show.problems else 0

    def header(self) -> None:
        rates = " + ".join(f"{shape.rate:g}" for shape in self.options.links)
        title = f"mptcp-agent: one TCP stream over {len(self.options.links)} links"
        self.show.title(title)
        self.show.line(f"{self.options.topology} topology, links of {rates} Mbit/s")

    def routers(self, net: Network) -> None:
        self.show.step("Two routers with OpenWrt's daemons, a LAN host behind each")
        hosts = (
            f"{net.client_host.role} ─── {net.client.role}",
            f"{net.server.role} ─── {net.server_host.role}",
        )
        for line in draw.cables(self.show, hosts[0], net.rates, hosts[1]):
            self.show.line(line)
        for router in net.routers:
            router.start_openwrt()
            self._before[router.role] = snapshot(router)
        TalkServer(net.server_host)

    def single_path(self, net: Network) -> None:
        self.show.step("One TCP stream of the LAN host without the proxy: one link carries it")
        for way in WAYS:
            mbit = self.measure(net, way)[0]
            self.result.single_path_mbit[way] = round(mbit, 1)

    def agents(self, net: Network) -> None:
        self.show.step("The agent starts on both routers, configured by /etc/config/mptcp-proxy")
        for router in net.routers:
            router.start_agent()
        for role, router in zip(("client", "server"), net.routers, strict=True):
            status = router.wait_state("active")
            self.result.states[role] = status["state"]
            self.result.engine = (status["engine"] or {}).get("name", "")
        for router in net.routers:
            self.show.document(f"{router.role}# ubus call mptcp_proxy status", router.status())

    def bonded(self, net: Network) -> None:
        self.show.step("The same stream through the proxy: all links at once")
        total = sum(net.rates)
        ceiling = CEILING * total
        for way in WAYS:
            mbit, carried = self.measure(net, way, ceiling)
            ratio = mbit / ceiling
            self.result.bonded_mbit[way] = round(mbit, 1)
            self.result.ratio_to_ceiling[way] = round(ratio, 3)
            if ratio < WANTED:
                self.show.problem(f"{way}: {mbit:.1f} Mbit/s is under {WANTED} of the ceiling")
            for number, (share, rate) in enumerate(zip(carried, net.rates, strict=True), 1):
                if share < FAIR * rate / total:
                    self.show.problem(f"{way}: wan{number} carried only {share:.0%} of the bytes")
        text = f"ceiling: {CEILING:.2%} of {total:g} Mbit/s = {ceiling:.1f} Mbit/s"
        self.show.aside(f"{text} (MPTCP payload per frame)")

    def pull(self, net: Network) -> None:
        away = BACK - PULLED
        self.show.step(f"wan1 is pulled out during a download, and put back {away:g} s later")
        pull = Experiment(net, self.show).run()
        recovered = None if pull.recovered_s is None else round(pull.recovered_s, 2)
        self.result.pull = {"stall_ms": round(pull.stall_ms), "recovered_s": recovered}
        size, report = pull.transfer.report.bytes / 1e6, pull.transfer.report
        if pull.transfer.ok:
            stall = f"longest stall {pull.stall_ms:.0f} ms"
            self.show.good(f"{size:.1f} MB arrived, every byte right; {stall}")
        else:
            self.show.problem(f"the download broke after {size:.1f} MB: {report.error}")
        if recovered is None:
            self.show.problem("wan1 was not used again after it came back")
        else:
            self.show.good(f"wan1 carried data again {recovered} s after it was put back")

    def hold(self, net: Network) -> None:
        self.show.step("Holding: look around. Enter (or Ctrl-C) goes on with the clean-up")
        client, line = net.client.door, self.show.line
        line("  A shell on a router, or a command there:")
        for router in net.routers:
            line(f"    {router.door}")
        line("  The agent:")
        line(f"    {client} ubus call mptcp_proxy connections")
        line(f"    {client} mptcp-agent status")
        line("  Its rules:")
        line(f"    {client} nft list ruleset")
        line("  A download of your own, in two terminals:")
        line(f"    ip netns exec {net.server_host.netns} iperf3 -s")
        line(f"    ip netns exec {net.client_host.netns} iperf3 -R -c {net.target}")
        line(f"  Logs: {net.lab.logs.relative_to(TOP)}")
        with contextlib.suppress(KeyboardInterrupt):
            if sys.stdin.isatty():
                sys.stdin.readline()
            else:
                signal.pause()

    def clean_up(self, net: Network) -> None:
        self.show.step("The agents stop; what is left of them?")
        found = self.result.leftovers
        looked: dict[str, int] = {}
        for router in net.routers:
            code = router.stop_agent()
            if code:
                self.show.problem(f"{router.role}: the agent ended with exit code {code}")
            after = snapshot(router)
            found += [f"{router.role} {x}" for x in leftovers(self._before[router.role], after)]
            for name, lines in after.items():
                looked[name] = looked.get(name, 0) + len(lines)
        counts = ", ".join(f"{name} {count}" for name, count in looked.items())
        self.show.aside(f"lines compared with before: {counts}")
        for each in found:
            self.show.problem(f"left: {each}")
        if not found:
            self.show.good("nothing is left")

    def check_lab_gone(self, net: Network) -> None:
        name = net.lab.name
        left = [path for path in (*NETNS.glob(f"{name}-*"), STATE / name) if path.exists()]
        self.result.leftovers += [f"lab {path}" for path in left]
        for path in left:
            self.show.problem(f"left: {path}")

    def summary(self, seconds: float) -> None:
        self.show.line()
        result, style = self.result, self.show.style
        rows = [f"{'':14}{'one link':>12}{'all links':>12}{'of ceiling':>12}"]
        for way in WAYS:
            rows.append(
                f"  {way:12}{result.single_path_mbit[way]:>12.1f}{result.bonded_mbit[way]:>12.1f}"
                f"{result.ratio_to_ceiling[way]:>12.1%}"
            )
        stall, back = result.pull["stall_ms"], result.pull["recovered_s"]
        rows.append(f"  wan1 pulled: stall {stall:g} ms, used again after {back} s")
        rows.append(f"  engine {result.engine}; took {seconds:.0f} s; written to build/demo.json")
        self.show.title("Summary (Mbit/s of payload)")
        for row in rows:
            self.show.line(row)
        BUILD.mkdir(exist_ok=True)
        (BUILD / "demo.json").write_text(json.dumps(vars(result), indent=2) + "\n")
        if self.show.problems:
            self.show.line(style(f"  {len(self.show.problems)} not as it should be: see ✗", "bad"))
        else:
            self.show.line(style("  all as it should be", "good"))

    # --- its parts ----------------------------------------------------------------------------

    def measure(
        self, net: Network, way: Way, ceiling: float | None = None
    ) -> tuple[float, list[float]]:
        """Measure one stream; return its goodput and each link's share of the frames' bytes."""
        index = 1 if way == "down" else 0
        before = [wire.bytes()[index] for wire in net.wires]
        # A bonded stream needs a while to fill several queues, and what they hold comes later.
        seconds, omit = (6, 2) if ceiling else (4, 1)
        mbit = iperf(net.client_host, net.server_host, net.target, way, seconds=seconds, omit=omit)
        used = [w.bytes()[index] - old for w, old in zip(net.wires, before, strict=True)]
        shares = [each / sum(used) for each in used]
        parts = [mbit * share for share in shares]
        painted = draw.split_bar(self.show, parts, sum(net.rates), 36)
        split = " + ".join(f"wan{i} {part:.1f}" for i, part in enumerate(parts, 1) if part > 0.05)
        ratio = f" {mbit / ceiling:6.1%} of ceiling" if ceiling else ""
        self.show.line(f"  {way:4} {painted} {mbit:5.1f} Mbit/s{ratio}")
        self.show.line(self.show.style(f"       {split}", "dim"))
        return mbit, shares


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
