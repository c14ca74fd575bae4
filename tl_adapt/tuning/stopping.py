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
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tl_adapt.designs import fingerprint
from tl_adapt.environments.base import Measurement
from tl_adapt.models.kernel import Array
from tl_adapt.models.model_set import ModelSet
from tl_adapt.tuning.forecast import draw_truths
from tl_adapt.tuning.goals import Goal
from tl_adapt.tuning.loss import Loss
from tl_adapt.tuning.search import Search
from tl_adapt.tuning.view import View

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


class Ending:
    """Say why to end, given what is `reached` by a goal's reckoning."""

    def __init__(self, models: ModelSet, goal: Goal, reached: Array, seed: int) -> None:
        """Keep what is known."""
        self.models, self.goal, self.reached, self.seed = models, goal, reached, seed
        self.gain = models.study.tuning.minimum_gain

    def proven(self, search: Search, target: Sequence[Measurement]) -> str | None:
        """Return why nothing better is left in a space that is listed, or None."""
        among = search.among
        if among is None or len(among) > LISTED or not self.goal.one_number:
            return None
        known = {
            fingerprint(self.models.study.space.validate(m.configuration))
            for m in target if m.valid
        }
        measured = np.array([key in known for key in among.keys])
        left = int((~measured).sum())
        if left in (0, len(among)):
            return None
        worth = self.goal.worth(self.reached)(self.models.assess(among.places))
        if worth[~measured].max() > self.gain * abs(float(self.reached[0])):
            return None
        regrets = draw_regrets(self.models, among.places, measured, self.seed)
        if regrets.chance(self.gain) >= PROVEN:
            return None
        return (
            f'none of the {left} of {len(among)} configurations that are not measured is better '
            f'by {100 * self.gain:.2g} % of the objective {regrets.reported:.4g} with a '
            f'probability of {100 * PROVEN:g} % or more'
        )

    def too_little(self, worth: float, view: Callable[[], View]) -> str | None:
        """Return why a run of this worth, and those after it, are not worth it, or None."""
        why = self.goal.too_little(worth, self.reached, self.gain)
        if why is None or not self.goal.one_number:
            return why
        X, measured = view().points()
        chance = draw_regrets(self.models, X, measured, self.seed).chance(BOUND * self.gain)
        if chance >= DOUBT:
            return None
        return (
            f'{why}, and anything better by {100 * BOUND * self.gain:.2g} % has a probability of '
            f'{100 * chance:.2g} %'
        )
