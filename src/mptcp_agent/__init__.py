# SPDX-License-Identifier: GPL-2.0-or-later
"""mptcp-agent: bonds the WAN links of a router for LAN TCP with Multipath TCP.

The agent is a control plane: it makes the router look the way UCI says it should,
keeps it so while links come and go, and tells the truth about it.
"""

#: Stands here and nowhere else: the package Makefiles read this line.
__version__ = "0.1.0"
