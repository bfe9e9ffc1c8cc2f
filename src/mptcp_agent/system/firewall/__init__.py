# SPDX-License-Identifier: GPL-2.0-or-later
"""Firewall back ends, one file each; ``core.firewall`` says what rules they are to hold."""
