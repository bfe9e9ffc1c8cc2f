# SPDX-License-Identifier: GPL-2.0-or-later
"""What all tests and the lab stand on: namespaces, waiting, sampling and stopping.

Plain Python and no test framework, so that the demo and `make clean` can use it as well.
"""
