# SPDX-License-Identifier: GPL-2.0-or-later
"""Proxy programs as they are installed: what a build can do is found out by running it."""
