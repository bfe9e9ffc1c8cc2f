# SPDX-License-Identifier: GPL-2.0-or-later
"""What is watched beside the loop: paths, tunnel, traffic, processes, counters, host names."""
