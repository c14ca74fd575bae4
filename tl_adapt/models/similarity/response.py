# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for how alike two responses are: M1 to M5 of Jamshidi et al. 2017 (ASE, Table II).

The paper leaves open how M2 estimates densities and how M4 and M5 treat ties. Here M2 compares
the shapes of the distributions, each on its own range (a change of level or of unit is what a
linear shift removes), by kernel densities of the robust normal-reference bandwidth (Bowman,
Azzalini 1997); M4 and M5 are shares of the source's decile, ties included.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from tl_adapt.models.kernel import Array

RESPONSE = ('M1', 'M2', 'M3', 'M4', 'M5')
TAIL = 0.1  # share of configurations that count as the best, or the worst
_BINS = 512


def is_constant(y: Array) -> bool:
    """Say whether values (n,) are all the same, up to rounding."""
    return len(y) == 0 or float(np.ptp(y)) <= 1e-12 * float(np.abs(y).max())


def pearson(a: Array, b: Array) -> float:
    """Return Pearson's correlation of two samples (n,); NaN for n < 3 or a constant one."""
    if len(a) < 3 or is_constant(a) or is_constant(b):
        return float('nan')
    # Divided first, so that neither tiny nor huge values lose their squares.
    a, b = (v - v.mean() for v in (a / np.abs(a).max(), b / np.abs(b).max()))
    return float(np.clip(a @ b / np.sqrt((a @ a) * (b @ b)), -1.0, 1.0))


def spearman(a: Array, b: Array) -> float:
    """Return Spearman's rank correlation of two samples (n,), ties at their mean rank."""
    if len(a) < 3 or is_constant(a) or is_constant(b):
        return float('nan')
    return pearson(rankdata(a), rankdata(b))


def on_own_range(y: Array) -> Array:
    """Return values (n,) scaled to [0, 1] by their own smallest and largest."""
    return (y - y.min()) / np.ptp(y)


def bandwidth(y: Array) -> float:
    """Return the normal-reference bandwidth of a sample (n,), from its median deviation."""
    spread = float(np.median(np.abs(y - np.median(y)))) / 0.6745
    if spread <= 0.0:
        spread = float(y.std())
    return max(spread * (4.0 / (3.0 * len(y))) ** 0.2, 0.5 / _BINS)


def density(y: Array) -> Array:
    """
    Return the probability of each of 512 cells of the sample's own range.

    The sample (n,) is smoothed by a normal kernel and mixed with one more observation that is
    anywhere: n measurements can't exclude what has a chance of less than 1 / n.
    """
    scaled = on_own_range(y)
    counts = np.bincount(np.minimum((scaled * _BINS).astype(int), _BINS - 1), minlength=_BINS)
    kernel = np.exp(-0.5 * (np.arange(1 - _BINS, _BINS) / _BINS / bandwidth(scaled)) ** 2)
    found = np.convolve(counts, kernel)[_BINS - 1 : 2 * _BINS - 1]
    found /= found.sum()
    return np.asarray((len(y) * found + 1.0 / _BINS) / (len(y) + 1.0))


def divergence(a: Array, b: Array) -> float:
    """
    Return the Kullback-Leibler divergence [nat] of the distribution of a (n,) from that of b (m,).

    NaN for less than 3 values or a constant side.
    """
    if min(len(a), len(b)) < 3 or is_constant(a) or is_constant(b):
        return float('nan')
    p, q = density(a), density(b)
    return float(p @ np.log(p / q))


def tail_end(y: Array) -> float:
    """Return the last value of the smallest tenth of values (n,), which has one at least."""
    # The inverted distribution function, which NumPy's quantile only has from 1.22 on.
    ordered = np.sort(y)
    return float(ordered[max(int(np.ceil(TAIL * len(y) - 1e-9)), 1) - 1])


def shared_tail(a: Array, b: Array, *, largest: bool = False) -> float:
    """
    Return which share of the smallest (or largest) tenth of a (n,) is in that of b (n,).

    Values equal to the tenth's last belong to it. NaN for less than 10 values or a constant side.
    """
    if len(a) < 10 or is_constant(a) or is_constant(b):
        return float('nan')
    sign = -1.0 if largest else 1.0
    inside = [v <= tail_end(v) for v in (sign * a, sign * b)]
    return float((inside[0] & inside[1]).sum() / inside[0].sum())


def response_metrics(source: Array, target: Array) -> dict[str, float]:
    """Return M1 to M5 of responses (n,) to the same configurations, NaN where undefined."""
    return {
        'M1': pearson(source, target),
        'M2': divergence(source, target),
        'M3': spearman(source, target),
        'M4': shared_tail(source, target),
        'M5': shared_tail(source, target, largest=True),
    }
