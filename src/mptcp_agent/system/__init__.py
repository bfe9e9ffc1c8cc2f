# SPDX-License-Identifier: GPL-2.0-or-later
"""The only code that touches the machine: one folder or file per thing touched.

All calls block, for a millisecond or so, and belong into the worker thread (probes wait in the
loop). What touches one thing knows no other; what they take and give are types of ``core``, and
what the machine refuses becomes an error of ``errors`` that names the thing and the way out.

    netlink     routes, rules, links, addresses, MPTCP endpoints, sockets, "look again" events
    firewall    nftables, iptables
    engines     what an installed engine can do, found out by running it
    ubus        the bus, and procd's service on it
    sysctl, files, counters, processes, programs, resolver, probes
"""
