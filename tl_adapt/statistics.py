# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the statistics of a comparison: paired bootstrap and Wilson intervals.

Efron, Tibshirani 1993: An Introduction to the Bootstrap. Hesterberg 2015: What teachers should
know about the bootstrap (the expanded percentile interval). Wilson 1927: Probable inference.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from scipy.special import ndtr, stdtrit
from scipy.stats import rankdata


@dataclasses.dataclass(frozen=True)
class Interval:
    """Hold an estimate with the two ends of its interval, in the data's unit."""

    estimate: float
    low: float
    high: float

    @property
    def conclusive(self) -> bool:
        """Tell whether the interval leaves zero out."""
        return self.low > 0.0 or self.high < 0.0

    def to_dict(self) -> dict[str, float]:
        """Return the three numbers by name."""
        return dataclasses.asdict(self)


def bootstrap_mean(
    values: Sequence[float], *, level: float = 0.95, resamples: int = 4000, seed: int = 0
) -> Interval:
    """
    Estimate a mean with its expanded percentile bootstrap interval.

    `values`, shape (n,), are the differences of pairs if two configurations are compared. Plain
    percentiles are too narrow for small n, by the factor sqrt((n - 1) / n) and for want of
    Student's tails; expanded, the interval covers as it says from some 6 values on. Fewer can't
    support any. Raises ValueError without values.
    """
    data = np.asarray(values, dtype=float)
    if data.ndim != 1 or data.size == 0:
        raise ValueError(f'values must be a non-empty sequence, got shape {data.shape}')
    rng = np.random.default_rng(seed)
    means = data[rng.integers(0, data.size, (resamples, data.size))].mean(axis=1)
    tail = 50.0 * (1.0 - level)
    if data.size > 1:
        student = stdtrit(data.size - 1, 0.01 * tail)
        tail = 100.0 * float(ndtr(student * math.sqrt(data.size / (data.size - 1))))
    low, high = np.percentile(means, [tail, 100.0 - tail])
    return Interval(float(data.mean()), float(low), float(high))


def wilson(successes: int, trials: int, *, level: float = 0.95) -> Interval:
    """
    Estimate a share with Wilson's score interval.

    Raises ValueError unless 0 <= successes <= trials and trials > 0.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(
            f'0 <= successes <= trials and trials > 0 must hold, got ({successes}, {trials})'
        )
    z = NormalDist().inv_cdf(0.5 + level / 2.0)
    share = successes / trials
    scale = 1.0 + z * z / trials
    centre = (share + z * z / (2 * trials)) / scale
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / scale
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Return Spearman's rank correlation; NaN with fewer than 3 pairs or a constant side."""
    if len(a) != len(b):
        raise ValueError(f'both sides must have one length, got {len(a)} and {len(b)}')
    if len(a) < 3 or min(a) == max(a) or min(b) == max(b):
        return math.nan
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])
