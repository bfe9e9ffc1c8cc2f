"""The kernel's network by netlink: routes and rules, MPTCP endpoints, sockets, events."""
