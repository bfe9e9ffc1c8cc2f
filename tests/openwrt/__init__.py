# SPDX-License-Identifier: GPL-2.0-or-later
"""A small OpenWrt for one network and mount namespace; see README.md beside this file.

It exists for tests and the demo, ships on no router, and `src/` does not know about it.
"""
