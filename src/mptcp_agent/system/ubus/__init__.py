# SPDX-License-Identifier: GPL-2.0-or-later
"""The bus, and procd's ``service`` object on it."""
