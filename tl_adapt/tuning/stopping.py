# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for when to stop: what better there still could be, by draws of the posterior.

Wilson 2024 (Stopping Bayesian optimization with probabilistic regret bounds): end once the
regret of what is reported is below a bound with high probability. One run's expected improvement
alone would end too early where many configurations each have a small chance.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from tl_adapt.models.kernel import Array
from tl_adapt.models.model_set import ModelSet
from tl_adapt.tuning.forecast import draw_truths
from tl_adapt.tuning.loss import Loss

PROVEN = 0.01  # probability that any configuration is better, below which the best is proven
DOUBT = 0.1  # probability of a regret above the bound, below which the gain is too little
BOUND = 10.0  # times the minimum gain: what all further runs together may still be worth
LISTED = 1024  # configurations up to which a space is looked at as a whole
_DRAWS = 400


@dataclasses.dataclass(frozen=True)
class Regrets:
    """
    Hold by how much (D,) the best point of a draw is better than what is reported.

    `reported` is the objective expected of the latter.
    """

    values: Array
    reported: float

    def chance(self, gain: float) -> float:
        """Return the probability of something better by more than a share of the objective."""
        return float(np.mean(self.values > gain * max(abs(self.reported), 1e-9)))


def draw_regrets(
    models: ModelSet, X: Array, measured: NDArray[np.bool_], seed: int = 0
) -> Regrets:
    """
    Return the regrets of the best measured of the points X (m, d).

    `measured` (m,) must name one at least. Points that are not measured must keep the limits in a
    draw to count as better.
    """
    loss = Loss(models, X, X[:0])
    truths = draw_truths(models, loss, X, _DRAWS, seed)
    index = int(np.argmin(np.where(measured, loss(loss.now), np.inf)))
    reported = truths.objective[:, index]
    others = np.where(truths.fine & ~measured, truths.objective, np.inf).min(axis=1)
    return Regrets(np.maximum(reported - others, 0.0), float(loss.objective(loss.now)[index]))


def proven(regrets: Regrets, gain: float, size: int, unmeasured: int) -> str | None:
    """Return why nothing better is left in a finite space, or None."""
    chance = regrets.chance(gain)
    if chance >= PROVEN:
        return None
    return (
        f'none of the {unmeasured} of {size} configurations that are not measured is better by '
        f'{100 * gain:.2g} % of the objective {regrets.reported:.4g} with a probability of '
        f'{100 * PROVEN:g} % or more'
    )


def little_left(regrets: Regrets, gain: float) -> str | None:
    """Return what supports to stop for too little gain, None if something speaks against it."""
    chance = regrets.chance(BOUND * gain)
    if chance >= DOUBT:
        return None
    return (
        f'anything better by {100 * BOUND * gain:.2g} % has a probability of {100 * chance:.2g} %'
    )
