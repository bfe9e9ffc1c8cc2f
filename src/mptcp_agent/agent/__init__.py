# SPDX-License-Identifier: GPL-2.0-or-later
"""The running agent. Begin with ``loop``: event -> observe -> plan -> diff -> apply -> publish."""
