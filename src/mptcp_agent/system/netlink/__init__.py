# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's network by netlink: routes and rules, MPTCP endpoints, sockets, events."""
