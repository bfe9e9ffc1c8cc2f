# SPDX-License-Identifier: GPL-2.0-or-later
"""A laboratory of network namespaces: routers, hosts, cables, traffic, and what is left afterwards.

    with bridge(links=[Shape(50), Shape(20)]) as net:
        net.client.start_openwrt()
        net.client.start_agent()
        ...

Needs root and Debian's tools (`make setup` brings them). Nothing outside the lab's own namespaces
and its directory under /run is touched, and both are gone when the `with` block ends, however it
ends; what a killed run left is removed by the next one or by `make clean`.

What the programs said is in build/logs/LAB while the lab lives, and stays there after an error or
with LAB_KEEP_LOGS=1 in the environment.
"""
