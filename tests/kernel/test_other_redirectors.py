# SPDX-License-Identifier: GPL-2.0-or-later
"""Other transparent proxies, as nft lists their rules."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from toolkit.namespace import Namespace

from mptcp_agent.core.state import Firewall, Redirect
from mptcp_agent.system.firewall.nftables import Nftables

FW4 = """
table inet fw4 {
    chain dstnat {
        type nat hook prerouting priority dstnat
        iifname "br-lan" jump dstnat_lan
        iifname { "wan1", "wan2" } jump dstnat_wan
    }
    chain dstnat_lan {
        tcp dport 53 redirect to :5353
        udp dport { 53, 123 } redirect to :5353
        tcp dport 443 dnat ip to 192.168.78.5
    }
    chain dstnat_wan {
        tcp dport 2222 redirect to :22
    }
}
"""


@pytest.fixture
def router() -> Iterator[Namespace]:
    with Namespace() as space:
        yield space
    space.close()


def takers(router: Namespace, rules: str) -> tuple[str, ...]:
    router.sh(f"nft -f - <<'END'\n{rules}\nEND")
    return Nftables().first_takers(["br-lan"])


def test_a_stock_firewall_and_our_own_rules_are_none(router: Namespace) -> None:
    """An adblocker's DNS, a port opened to a WAN, a port forward."""
    Nftables().apply(Firewall("nftables", Redirect(1080, (), ("br-lan",))))
    assert takers(router, FW4) == ()


@pytest.mark.parametrize(
    ("rule", "taken"),
    [
        ("meta l4proto tcp redirect to :5331", True),
        ("ip protocol tcp redirect to :5331", True),
        ("tcp dport { 80, 443 } redirect to :8118", True),
        ("tcp dport 1-65535 redirect to :8118", True),
        ("ip daddr 10.0.0.0/8 tcp dport 1-65535 redirect to :8118", True),
        ('iifname "br-*" meta l4proto { tcp, udp } redirect to :5331', True),
        ('iifname != "wan1" meta l4proto tcp redirect to :5331', True),
        ("meta l4proto tcp goto more", True),
        ('iifname vmap { "br-lan" : jump more }', True),
        ("meta l4proto udp redirect to :5331", False),
        ("udp dport 443 redirect to :5331", False),
        ('iifname "br-guest" meta l4proto tcp redirect to :5331', False),
        ("meta l4proto tcp accept", False),
    ],
)
def test_who_takes_tcp_of_the_lan_is_named(router: Namespace, rule: str, taken: bool) -> None:
    found = takers(
        router,
        f"""
        table inet other {{
            chain more {{
                meta l4proto tcp redirect to :5331
            }}
            chain pre {{
                type nat hook prerouting priority dstnat - 5
                {rule}
            }}
        }}
        """,
    )
    chain = "more" if "more" in rule else "pre"
    assert found == ((f"inet other {chain}",) if taken else ())


def test_tproxy_is_one_and_what_comes_after_ours_is_none(router: Namespace) -> None:
    rules = """
    table ip proxy {
        chain divert {
            type filter hook prerouting priority mangle
            meta l4proto tcp meta mark set 1 tproxy to :5332
        }
    }
    table ip late {
        chain pre {
            type nat hook prerouting priority 0
            meta l4proto tcp redirect to :1
        }
    }
    """
    assert takers(router, rules) == ("ip proxy divert",)


def test_iptables_over_nftables_is_one(router: Namespace) -> None:
    router.sh("iptables-nft -t nat -A PREROUTING -i br-lan -p tcp -j REDIRECT --to-ports 1")
    assert takers(router, "") == ("ip nat PREROUTING",)
