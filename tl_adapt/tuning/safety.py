# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for which configurations are safe to run on the target.

Sui et al. 2015 (SafeOpt): what is measured grows a set of configurations that are safe with high
probability, beginning with one that is known to be. Here it is the probability that one run is
valid and keeps all limits, noise and the model's uncertainty included, that must be high.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from tl_adapt.models.kernel import Array
from tl_adapt.models.model_set import Assessment

TRIES = 4  # runs of the safest measured configuration while none is safe
HOPE = 0.5  # probability below which it is not run again


def probability(found: Assessment, n: int) -> Array:
    """
    Return a careful probability (m,) that one run is valid and keeps all limits.

    The spread of a limit's metric and how it transfers are themselves learnt from the n target
    measurements: the distribution of one run is Student's, so that few measurements must leave
    the limit farther away. Where no measurement tells of a limit the probability is 0.
    """
    kept = found.valid.copy()
    for slack in found.slacks:
        kept *= 0.0 if slack is None else stdtr(n + 1, slack.margin)
    return kept


def within(found: Assessment, n: int, risk: float) -> Array:
    """Return which (m,) of the assessed configurations are safe, as booleans."""
    return np.asarray(probability(found, n) >= 1.0 - risk)


def fall_back(safe: Array, runs: NDArray[np.int_]) -> int | None:
    """
    Return the measured configuration to run again while none is safe, None for none.

    `safe` (k,) are the probabilities of the measured ones, `runs` (k,) how often each was run.
    """
    if len(safe) == 0:
        return None
    index = int(np.argmax(safe))
    return index if safe[index] >= HOPE and runs[index] < TRIES else None


def refusal(safe: Array, risk: float) -> str:
    """Say why nothing is proposed, given the probabilities (k,) of the measured ones."""
    best = f'; the safest measured has {safe.max():.2f}' if len(safe) else ''
    return (
        f'no further configuration is valid within all limits with probability '
        f'{1.0 - risk:.2f}{best}'
    )
