"""plan.proxies.runnable: what runs while something that was to be written is not."""

from __future__ import annotations

from dataclasses import replace

from mptcp_agent.core.plan.proxies import runnable
from mptcp_agent.core.state import File, Firewall, Process, Sysctl

CLIENT = Process("client", ("sing-box", "run"), config_path="/c.json", digest="new")
SERVER = Process("server", ("sing-box", "run"), config_path="/s.json", digest="new")
OLD_CLIENT = replace(CLIENT, digest="old")
OLD_SERVER = replace(SERVER, digest="old")


def test_all_is_well() -> None:
    assert runnable((CLIENT, SERVER), (OLD_CLIENT,), [Sysctl("a", "1")]) == (CLIENT, SERVER)


def test_a_process_whose_file_is_not_written_stays_as_it_is() -> None:
    failing = [File("/c.json", "new")]
    assert runnable((CLIENT, SERVER), (OLD_CLIENT,), failing) == (OLD_CLIENT, SERVER)
    assert runnable((CLIENT, SERVER), (), failing) == (SERVER,)


def test_none_starts_while_the_firewall_does_not_stand() -> None:
    """Without its access list a server with method none is anybody's; what runs, runs on."""
    failing = [Firewall("nftables")]
    assert runnable((CLIENT, SERVER), (), failing) == ()
    assert runnable((CLIENT, SERVER), (OLD_SERVER,), failing) == (SERVER,)
