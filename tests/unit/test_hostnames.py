# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of peers: answers that come, change and stay away, and outlive the agent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
from toolkit.waiting import wait_until_async
from unit.examples import BRIDGE, PEER, Sections, config, section

from mptcp_agent.monitor import hostnames as module
from mptcp_agent.monitor.hostnames import FORMER, TRIES, Names
from mptcp_agent.system.ubus.services import Running

BY_NAME: Sections = {
    "vps": section("peer", address=["vps.example", "10.2.2.70"]),
    "client": section("client", peer="vps"),
}
BY_ADDRESS: Sections = {"r": PEER, "client": section("client", peer="r")}
CLIENT = (Running("client", True, 77),)


class Dns:
    """Answers as told, or not at all; remembers who was asked for and what was said of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers: dict[str, tuple[str, ...]] = {}
        self.asked: list[str] = []
        self.looks: list[str] = []

    def ask(self, name: str) -> tuple[str, ...]:
        self.asked.append(name)
        return self.answers.get(name, ())

    def names(self) -> Names:
        changed = partial(self.looks.append, "changed")
        settled = partial(self.looks.append, "settled")
        return Names(changed, settled, str(self.path), self.ask)


@pytest.fixture
def dns(tmp_path: Path) -> Dns:
    return Dns(tmp_path / "state" / "names.json")


def resolved(names: Names) -> dict[str, tuple[str, ...]]:
    return dict(names.known(BRIDGE).resolved)


def formerly(names: Names) -> dict[str, tuple[str, ...]]:
    return dict(names.known(BRIDGE).formerly)


def during(names: Names, steps: Callable[[], Awaitable[None]]) -> None:
    """Take these steps while names are asked for."""

    async def both() -> None:
        running = asyncio.create_task(names.run())
        try:
            async with asyncio.timeout(10):
                await steps()
        finally:
            running.cancel()

    asyncio.run(both())


async def until(condition: Callable[[], bool]) -> None:
    await wait_until_async(condition, 10, "the name's answer", interval=0.005)


def saved(dns: Dns) -> tuple[list[str], list[str]]:
    now, former = json.loads(dns.path.read_text())["vps.example"]
    return now, former


def answered(dns: Dns, *answers: tuple[str, ...]) -> Names:
    """Names that have had these answers for vps.example, one after the other."""
    names = dns.names()

    async def give(answer: tuple[str, ...]) -> None:
        dns.answers["vps.example"] = answer
        names.request(config(BY_NAME), ())
        asked = len(dns.asked)
        await until(lambda: len(dns.asked) > asked)
        await until(lambda: dns.path.exists() and set(answer) == set(saved(dns)[0]))

    async def steps() -> None:
        for answer in answers:
            await give(answer)

    during(names, steps)
    return names


def test_answers_and_those_before(dns: Dns) -> None:
    names = answered(dns, ("10.1.1.70",), ("10.1.1.71", "10.1.1.72"), ("10.1.1.70",))
    assert resolved(names) == {"vps.example": ("10.1.1.70",)}
    assert formerly(names) == {"vps.example": ("10.1.1.71", "10.1.1.72")}
    assert dns.looks == ["changed"] * 3
    assert set(dns.asked) == {"vps.example"}


def test_the_order_of_an_answer_is_no_news(dns: Dns) -> None:
    answered(dns, ("10.1.1.70", "10.1.1.71"), ("10.1.1.71", "10.1.1.70"))
    assert dns.looks == ["changed"]


def test_earlier_answers_are_bounded(dns: Dns) -> None:
    names = answered(dns, *((f"10.9.{n}.1",) for n in range(FORMER + 3)))
    assert len(formerly(names)["vps.example"]) == FORMER
    assert formerly(names)["vps.example"][0] == f"10.9.{FORMER + 1}.1"


def test_answers_outlive_the_agent(dns: Dns) -> None:
    answered(dns, ("10.1.1.70",), ("10.1.1.71",))
    dns.answers.clear()
    again = dns.names()
    assert resolved(again) == {"vps.example": ("10.1.1.71",)}
    assert formerly(again) == {"vps.example": ("10.1.1.70",)}
    assert again.request(config(BY_NAME), CLIENT)
    dns.path.unlink()
    assert not dns.names().request(config(BY_NAME), CLIENT)


def test_the_file_is_written_only_when_an_answer_changes(dns: Dns) -> None:
    answered(dns, ("10.1.1.70",))
    written = dns.path.stat().st_ino
    again = dns.names()

    async def steps() -> None:
        again.request(config(BY_NAME), ())
        asked = len(dns.asked)
        await until(lambda: len(dns.asked) > asked)

    during(again, steps)
    assert dns.path.stat().st_ino == written
    assert dns.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        "null",
        '{"vps.example": 7}',
        '{"vps.example": [["10.1.1.70"]]}',
        '{"vps.example": [[7], []]}',
        '{"vps.example": [["no address"], []]}',
    ],
)
def test_a_damaged_file_is_no_answer(dns: Dns, text: str) -> None:
    dns.path.parent.mkdir()
    dns.path.write_text(text)
    assert resolved(dns.names()) == {}


def test_what_the_file_holds_of_others_is_not_kept_for_ever(dns: Dns) -> None:
    answered(dns, ("10.1.1.70",))
    other: Sections = {**BY_NAME, "vps": section("peer", address="other.example")}
    dns.answers["other.example"] = ("10.1.1.71",)
    names = dns.names()

    async def steps() -> None:
        names.request(config(other), ())
        await until(lambda: "other.example" in dns.path.read_text())

    during(names, steps)
    assert list(json.loads(dns.path.read_text())) == ["other.example"]


@pytest.mark.parametrize(
    ("sections", "running", "ready"),
    [
        (BY_NAME, CLIENT, False),
        (BY_NAME, (Running("client", False, None),), False),  # procd starts it again
        (BY_NAME, None, False),
        (BY_NAME, (), True),
        (BY_NAME, (Running("server", True, 78),), True),
        (BY_ADDRESS, CLIENT, True),
        ({**BY_NAME, "globals": section("globals", enabled="0")}, CLIENT, True),
        ({"vps": BY_NAME["vps"]}, CLIENT, True),
    ],
)
def test_whether_a_configuration_may_come_into_force(
    dns: Dns, sections: Sections, running: tuple[Running, ...] | None, ready: bool
) -> None:
    names = dns.names()
    assert names.request(config(sections), running) == ready
    assert (names.waiting is None) == ready
    if names.waiting:
        assert "no answer yet for vps.example" in str(names.waiting)


@pytest.mark.parametrize("answer", [("10.1.1.70",), ()])
def test_the_wait_ends_with_an_answer_or_after_some_failures(
    dns: Dns, answer: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AGAIN", 0.01)
    names = dns.names()

    async def steps() -> None:
        assert not names.request(config(BY_NAME), CLIENT)
        if answer:
            await until(lambda: bool(dns.asked))
            dns.answers["vps.example"] = answer
        await until(lambda: "settled" in dns.looks)
        assert answer or len(dns.asked) >= TRIES
        assert names.request(config(BY_NAME), CLIENT)
        assert names.waiting is None

    during(names, steps)
