# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Measure, transfer and adapt the parameters of a robot's software."""

__version__ = '0.1.0'
