# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the compute time that the robot software reports: modelled or measured.

The modelled time is that of a small robot computer (a single-board computer of the class of a
Raspberry Pi 4, one core for each node), as a constant plus the work done. It depends on nothing
but the work, so the same run reports the same times on any host. The constants are set such that
the default parameters take about 15 ms (localizer) and 20 ms (navigator) for each scan.
"""

from __future__ import annotations

LOCALIZER_BASE = 2.5e-3  # s: receiving and unpacking a scan, publishing the pose
LOCALIZER_PER_PARTICLE = 6.0e-6  # s: moving, weighing and resampling one particle
LOCALIZER_PER_LOOKUP = 0.6e-6  # s: one beam of one particle in the likelihood field
LOCALIZER_PER_GRADIENT = 1.5e-6  # s: the same with its gradient, in a refinement

NAVIGATOR_BASE = 3.0e-3  # s: scan to points, marking obstacles, publishing
NAVIGATOR_PER_STATE = 8.0e-6  # s: one state of one trajectory against the lidar points
NAVIGATOR_PER_CELL = 1.5e-6  # s: one cell that the planner visits


def localizer_time(particles: int, lookups: int, gradients: int) -> float:
    """Return the modelled compute time [s] of one update of the localizer."""
    return (
        LOCALIZER_BASE
        + LOCALIZER_PER_PARTICLE * particles
        + LOCALIZER_PER_LOOKUP * lookups
        + LOCALIZER_PER_GRADIENT * gradients
    )


def navigator_time(states: int, cells: int) -> float:
    """Return the modelled compute time [s] of one decision of the navigator."""
    return NAVIGATOR_BASE + NAVIGATOR_PER_STATE * states + NAVIGATOR_PER_CELL * cells
