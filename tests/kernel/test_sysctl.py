# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel parameters, in a namespace that has its own."""

from __future__ import annotations

import pytest
from toolkit.namespace import Namespace

from mptcp_agent.errors import KernelError
from mptcp_agent.system import sysctl


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("net.ipv4.conf.wan1.rp_filter", "2"),
        ("net/ipv4/conf/wan1/rp_filter", "1"),
        ("net.mptcp.enabled", "0"),
        ("net.mptcp.stale_loss_cnt", "1"),
        ("net.ipv4.tcp_wmem", "4096 16384 1500000"),
        ("net.ipv4.tcp_wmem", "4096\t16384\t1500000"),
    ],
)
def test_written_and_read(client: Namespace, key: str, value: str) -> None:
    sysctl.write(key, value)
    assert sysctl.read(key) == value.replace("\t", " ")


def test_a_device_name_with_dots(client: Namespace) -> None:
    client.sh("ip link set wan2 down; ip link set wan2 name eth0.2")
    sysctl.write("net/ipv4/conf/eth0.2/rp_filter", "2")
    assert sysctl.read("net/ipv4/conf/eth0.2/rp_filter") == "2"
    assert sysctl.read("net.ipv4.conf.eth0.2.rp_filter") is None


def test_what_is_absent(client: Namespace) -> None:
    assert sysctl.read("net.mptcp.no_such_thing") is None
    assert sysctl.read("net.mptcp.enabled.no_such_thing") is None
    with pytest.raises(KernelError, match=r"net\.mptcp\.no_such_thing: .* does not have it"):
        sysctl.write("net.mptcp.no_such_thing", "1")


@pytest.mark.parametrize("value", ["garbage", "", "99999999999999999999"])
def test_a_refused_value(client: Namespace, value: str) -> None:
    with pytest.raises(KernelError, match=r"net\.mptcp\.stale_loss_cnt"):
        sysctl.write("net.mptcp.stale_loss_cnt", value)


def test_what_does_not_stick_is_told(client: Namespace) -> None:
    with pytest.raises(KernelError, match="wrote 1 2, but the kernel keeps 1"):
        sysctl.write("net.ipv4.conf.wan1.rp_filter", "1 2")


@pytest.mark.parametrize("key", ["", ".", "net..mptcp", "../../etc/passwd", "net/../kernel", "/"])
def test_what_is_no_parameter(key: str) -> None:
    with pytest.raises(KernelError, match="is not the name"):
        sysctl.read(key)
