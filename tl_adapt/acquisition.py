# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for how much a measurement is worth: expected improvement under constraints.

Jones et al. 1998 (expected improvement), Gardner et al. 2014 (times the probability of being
feasible), Picheny et al. 2013 (under noise the incumbent is judged by its posterior mean).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]

FEASIBLE = 0.5  # probability from which on a measured configuration counts as feasible


def expected_improvement(mean: Array, std: Array, best: float) -> Array:
    """Return E[max(best - f, 0)] (n,) of normal f with `mean` and `std` (n,)."""
    std = np.maximum(std, 1e-12)
    z = (best - mean) / std
    density = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
    return np.asarray(std * (z * ndtr(z) + density))


def constrained_improvement(
    mean: Array, std: Array, feasible: Array, best: float | None
) -> Array:
    """
    Return the worth (n,) of measuring, in the objective's unit.

    Without a feasible incumbent (`best` None) the probability of being feasible comes first, and
    among equals the lower mean: the worth is then in (0, 2).
    """
    if best is not None:
        return np.asarray(feasible * expected_improvement(mean, std, best))
    order = np.empty(len(mean))
    order[np.argsort(mean, kind='stable')] = np.arange(len(mean), 0, -1)
    return np.asarray(feasible * (1.0 + order / max(len(mean), 1)))


def predicted_best(mean: Array, feasible: Array, *, sure: float = 0.8) -> int:
    """
    Return the index of the lowest mean among those that are feasible with probability `sure`.

    If none is that sure, those near the surest are taken.
    """
    enough = feasible >= min(sure, 0.95 * float(feasible.max()))
    return int(np.argmin(np.where(enough, mean, np.inf)))


def incumbent(mean: Array, feasible: Array) -> int | None:
    """Return the index of the lowest posterior mean among the feasible, None without any."""
    if len(mean) == 0 or not (feasible >= FEASIBLE).any():
        return None
    return int(np.argmin(np.where(feasible >= FEASIBLE, mean, np.inf)))
