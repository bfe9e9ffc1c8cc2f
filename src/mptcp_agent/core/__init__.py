# SPDX-License-Identifier: GPL-2.0-or-later
"""Pure decisions: frozen dataclasses in, frozen dataclasses out.

Nothing here opens a socket or a file, reads a clock or starts a process, and nothing here
imports ``system``; ``tests/unit/test_layering.py`` holds that.

    reader    UCI values          -> Config + problems
    network   what netifd and the kernel say of the links
    health    what the probes say of the paths
    plan      Config + facts + health -> RouterState
    diff      RouterState, RouterState -> ordered changes
    status    all of it           -> the document people and LuCI read
"""
