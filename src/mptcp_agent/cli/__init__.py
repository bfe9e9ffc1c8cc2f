# SPDX-License-Identifier: GPL-2.0-or-later
"""``mptcp-agent``: run, status, plan, check, cleanup.

Exit status: 0 fine, 1 something to mend, 2 wrong usage. ``status``, ``plan`` and ``check``
ask the running agent over ubus; without one, ``plan`` and ``check`` look for themselves.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import AgentError, BusError
from ..system import one_agent
from ..system.engines.on_trial import end_leftovers
from . import render
from .repeats import Repeats
from .validation import check_generated, load_schema

OBJECT = "mptcp_proxy"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        result: int = options.run(options)
    except BrokenPipeError:  # ``mptcp-agent status | head``
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 1
    except AgentError as error:
        print(f"mptcp-agent: {error}", file=sys.stderr)
        return 1
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mptcp-agent", description="Bonds WAN links for LAN TCP with Multipath TCP."
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--socket", help="socket of ubusd, where it is not the usual one")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, help_: str, run: Callable[[argparse.Namespace], int]) -> None:
        sub = commands.add_parser(name, help=help_, description=help_)
        sub.set_defaults(run=run)
        if name in ("status", "plan", "check"):
            sub.add_argument("--json", action="store_true", help="the reply as JSON")

    command("run", "run the agent (what procd starts)", _run)
    command("status", "how things are", _status)
    command("plan", "what would change now; changes nothing", _plan)
    command("check", "each precondition, with the way to mend it", _check)
    command("cleanup", "remove every trace of the agent from the kernel", _cleanup)
    return parser


def _needs_root() -> None:
    if os.geteuid() != 0:
        raise AgentError("needs root (CAP_NET_ADMIN)")


def _run(options: argparse.Namespace) -> int:
    _needs_root()
    # procd sends both streams to syslog, which adds the time and takes stderr for errors.
    told, failed = logging.StreamHandler(sys.stdout), logging.StreamHandler(sys.stderr)
    told.addFilter(lambda record: record.levelno < logging.WARNING)
    failed.setLevel(logging.WARNING)
    repeats = Repeats()
    for handler in (told, failed):
        handler.addFilter(repeats)
    logging.basicConfig(
        level=logging.INFO, format="%(levelname)s %(message)s", handlers=(told, failed)
    )
    with _alone():
        end_leftovers()
        asyncio.run(_agent(options.socket))
    return 0


def _alone() -> socket.socket:
    """Take over from an agent that runs: it leaves all in place, and nothing is cut off."""
    from ..agent.loop import HANDOVER
    from ..system.files import STATE_DIRECTORY

    while (name := one_agent.hold()) is None:
        if pid := one_agent.holder():
            logging.warning("another agent runs (process %d); this one takes over", pid)
            with contextlib.suppress(OSError):
                Path(STATE_DIRECTORY, HANDOVER).touch()
            one_agent.end(pid)
    return name


async def _agent(socket_path: str | None) -> None:
    # Made inside the loop: its event belongs to it.
    from ..agent.loop import Agent
    from ..system.ubus.bus import Bus

    await Agent(load_schema("mptcp-proxy"), Bus(socket_path)).run()


def _status(options: argparse.Namespace) -> int:
    reply = _asked(options.socket, "status")
    if reply is None:
        raise AgentError("the agent does not run: service mptcp-proxy start")
    _show(options, reply, render.status)
    return 0 if reply["state"] in ("active", "disabled") else 1


def _plan(options: argparse.Namespace) -> int:
    reply = _asked(options.socket, "plan")
    if reply is None:
        from ..agent.publisher import plan_document

        reply = plan_document(*_one_shot(options.socket).preview())
    _show(options, reply, render.plan)
    return 1 if reply["changes"] or reply["problems"] else 0


def _check(options: argparse.Namespace) -> int:
    from ..agent.capabilities import asked_for_check
    from ..checks import START, row, run_checks
    from ..system.files import CONFIG_DIRECTORY

    reply = _asked(options.socket, "check")
    if reply is None:
        one_shot = _one_shot(options.socket)
        rows = [row("agent", "warning", "does not run", START)]
        asked = asked_for_check(one_shot.call, one_shot.first_takers(), agent=False)
        reply = {"checks": rows + run_checks(one_shot.view, one_shot.call, asked)}
    reply["checks"] += [row(*r) for r in check_generated(Path(CONFIG_DIRECTORY))]
    _show(options, reply, render.check)
    return 1 if any(r["result"] == "failed" for r in reply["checks"]) else 0


def _cleanup(options: argparse.Namespace) -> int:
    from ..agent.machine import Machine
    from ..system.ubus.bus import Bus
    from ..system.ubus.services import Services

    _needs_root()
    failed: list[str] = []
    try:
        if pid := one_agent.holder():  # procd has lost it, and it would put everything back
            one_agent.end(pid)
    except AgentError as error:
        failed.append(str(error))
    end_leftovers()
    machine = Machine()
    machine.release()
    bus = Bus(options.socket)
    try:
        bus.connect()
    except BusError as error:  # without ubusd there is no procd, and so nothing that runs
        print(f"mptcp-agent: proxy processes: {error}", file=sys.stderr)
    else:
        try:
            Services(bus.call).set(())
        except AgentError as error:
            failed.append(f"proxy processes: {error}")
    failed += machine.sweep()
    for failure in failed:
        print(f"mptcp-agent: {failure}", file=sys.stderr)
    return 1 if failed else 0


def _asked(socket_path: str | None, method: str) -> dict[str, Any] | None:
    """The running agent's answer; None where none runs."""
    from ..system.ubus.bus import Bus

    bus = Bus(socket_path)
    try:
        bus.connect()
        reply = bus.call(OBJECT, method, {})
    except BusError:
        return None
    finally:
        bus.disconnect()
    if "error" in reply:
        raise AgentError(str(reply["error"]))
    return reply


def _one_shot(socket_path: str | None) -> Any:
    """One look at the router without an agent."""
    from ..system.ubus.bus import Bus
    from .oneshot import OneShot

    _needs_root()
    return OneShot(load_schema("mptcp-proxy"), Bus(socket_path))


def _show(
    options: argparse.Namespace,
    reply: dict[str, Any],
    lines: Callable[[dict[str, Any], render.Painter], Iterable[str]],
) -> None:
    if options.json:
        print(json.dumps(reply, indent=2))
        return
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    print("\n".join(lines(reply, render.Painter(colour))))


if __name__ == "__main__":
    sys.exit(main())
