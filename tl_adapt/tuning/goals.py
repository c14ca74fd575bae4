# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what a tuner is after: the least weighted sum, or the whole Pareto front."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from tl_adapt import acquisition
from tl_adapt.acquisition import Mixture, Term
from tl_adapt.models.kernel import Array
from tl_adapt.models.model_set import Assessment
from tl_adapt.tuning import pareto, repeats
from tl_adapt.tuning.climb import Rank
from tl_adapt.tuning.preferences import loss_by_targets, metric_moments, own_targets

if TYPE_CHECKING:
    from tl_adapt.study import Study


class Goal(Protocol):
    """Judge what is reached, what a further run is worth, and which configuration to use."""

    #: Whether less of the objective is all that counts for the choice.
    by_objective: bool
    #: Whether what is reached is one number, whose regret says when to end.
    one_number: bool

    def reached(self, measured: Assessment) -> Array | None:
        """Return what the measured configurations reach by posterior mean, None if none does."""

    def rank(self, reached: Array | None) -> Rank:
        """
        Return what says how much each configuration (n,) should improve on what is reached.

        It is asked of all first that is considered, and then of any part.
        """

    def worth(self, reached: Array | None) -> Rank:
        """Return what gives the improvement that is expected of a run of each (n,)."""

    def worth_again(self, measured: Assessment) -> Array:
        """Return how much another run of each measured configuration (k,) is worth."""

    def too_little(self, worth: float, reached: Array, minimum: float) -> str | None:
        """Return why `worth` is too little to go on, as a share of what is reached, or None."""

    def choose(self, measured: Assessment) -> tuple[int, str]:
        """Return the index of the measured configuration to use, and why."""


class WeightedSum:
    """Go for the least objective: the worth is the expected improvement in its unit."""

    by_objective = True
    one_number = True

    def __init__(self, study: Study) -> None:
        """Keep the study."""
        self.study = study

    def reached(self, measured: Assessment) -> Array | None:
        """
        Return three numbers: the lowest posterior mean of the feasible, the lowest loss, its unit.

        The last is the loss of breaking a limit for sure; see `acquisition.lowest_loss`.
        """
        index = acquisition.incumbent(measured.mean, measured.feasible)
        if index is None:
            return None
        penalty = abs(float(np.median(measured.mean)))
        loss = measured.mean + penalty * (1.0 - measured.feasible)
        return np.array([measured.mean[index], loss.min(), penalty])

    def rank(self, reached: Array | None) -> Rank:
        """
        Return what configurations are ranked by: the expected improvement (n,), or information.

        Where runs are exact (no repeats), what they tell of the least value there is leads sooner
        to it.
        """
        if reached is None or self.study.tuning.repeats:
            return self.worth(reached)
        best = float(reached[0])
        information: acquisition.MinimumInformation | None = None

        def rank(found: Assessment) -> Array:
            nonlocal information
            said, least = _one_scale(found, best)
            if information is None:
                information = acquisition.MinimumInformation(least)
            return found.feasible * information(said)

        return rank

    def worth(self, reached: Array | None) -> Rank:
        """
        Return what gives the expected improvement (n,) under constraints.

        Without repeats what the model takes for noise is what it does not know yet of exact runs:
        then all of its uncertainty is a chance. With them and limits it is the loss that should
        improve, in which a configuration that may break a limit is no better for its objective:
        the value of a repeat is in the same unit.
        """
        best = None if reached is None else float(reached[0])
        noisy = self.study.tuning.repeats
        if noisy and self.study.limits and reached is not None:
            _, lowest, penalty = reached.tolist()
            return lambda found: acquisition.expected_improvement(
                [*repeats.told(found), repeats.limit_term(found, penalty)], lowest
            )
        return lambda found: acquisition.constrained_improvement(
            repeats.told(found) if noisy else found.terms, found.mean, found.feasible, best
        )

    def worth_again(self, measured: Assessment) -> Array:
        """Return by how much a further run should better the choice (k,)."""
        return repeats.worth(measured)

    def too_little(self, worth: float, reached: Array, minimum: float) -> str | None:
        """Compare with the objective that is reached."""
        best = float(reached[0])
        if worth >= minimum * max(abs(best), 1e-9):
            return None
        return (
            f'the expected improvement {worth:.2g} is below {100 * minimum:.2g} % of the '
            f'objective {best:.4g}'
        )

    def choose(self, measured: Assessment) -> tuple[int, str]:
        """Return the lowest expected loss, or what is likeliest to be feasible if nothing is."""
        if measured.feasible.max() < acquisition.FEASIBLE:
            return int(np.argmax(measured.feasible)), 'the most likely to keep the limits'
        index = acquisition.lowest_loss(measured.mean, measured.feasible)
        return index, 'the lowest expected loss'


class Front(WeightedSum):
    """
    Go for the Pareto front: the worth is a share of the present hypervolume.

    It is the expected hypervolume improvement times the probability of being feasible. Volumes
    are on the scale of the models, where errors are normal and a heavy tail does not outweigh
    what can still be gained at its other end. The choice is by the study's targets, if it has
    any, or by its weights.
    """

    one_number = False

    def __init__(self, study: Study) -> None:
        """Keep the study's targets."""
        super().__init__(study)
        self.targets = own_targets(study)
        self.by_objective = not self.targets

    def reached(self, measured: Assessment) -> Array | None:
        """Return the front (k, m) of the feasible, on the scale of the models."""
        values = _on_models_scale(measured)[measured.feasible >= acquisition.FEASIBLE]
        return values[pareto.nondominated(values)] if len(values) else None

    def rank(self, reached: Array | None) -> Rank:
        """
        Return what gives the expected share (n,) by which the hypervolume grows.

        The reference point lies beyond the front that is predicted of all that is asked first:
        the measured one alone is too short at first to say how far the ends are apart.
        """
        if reached is None:
            return super().worth(None)
        return _ExpectedGrowth(reached)

    def worth(self, reached: Array | None) -> Rank:
        """Return what configurations are ranked by."""
        return self.rank(reached)

    def worth_again(self, measured: Assessment) -> Array:
        """Return 0 (k,): what a repeat tells of a front is not known."""
        return np.zeros(len(measured.mean))

    def too_little(self, worth: float, reached: Array, minimum: float) -> str | None:
        """Compare with 1, the present hypervolume."""
        if worth >= minimum:
            return None
        return (
            f'the expected gain of {100 * worth:.2g} % of the hypervolume is below '
            f'{100 * minimum:.2g} %'
        )

    def choose(self, measured: Assessment) -> tuple[int, str]:
        """Return what comes nearest to the targets, or has the lowest expected loss."""
        feasible = np.flatnonzero(measured.feasible >= acquisition.FEASIBLE)
        if self.by_objective or not len(feasible):
            return super().choose(measured)
        loss = loss_by_targets(self.study, metric_moments(measured)[0][feasible], self.targets)
        return int(feasible[np.argmin(loss)]), 'the nearest to the targets'


class _ExpectedGrowth:
    """Give the expected growth of a front (k, m); the first call sets the reference point."""

    def __init__(self, reached: Array) -> None:
        self.reached = reached
        self._boxes: pareto.Boxes | None = None

    def __call__(self, found: Assessment) -> Array:
        if self._boxes is None:
            predicted = _on_models_scale(found)[found.feasible >= acquisition.FEASIBLE]
            predicted = predicted[pareto.nondominated(predicted)]
            reference = pareto.reference_point(np.vstack([self.reached, predicted]))
            self._boxes = pareto.undominated_boxes(self.reached, reference)
            self._volume = pareto.hypervolume(self.reached, reference)
        terms = [Term(t.factor, False, t.mean, t.variance) for t in found.terms]
        gain = pareto.expected_improvement(terms, self._boxes)
        return np.asarray(found.feasible * gain / self._volume)


def _one_scale(found: Assessment, best: float) -> tuple[Mixture, float]:
    """Return what is said of the objective (n,), and what is reached, on one scale."""
    term, *others = found.terms
    told = term.mixture or _normal(term.mean, term.variance)
    if not others and not term.log:
        return told.scaled(term.factor), best
    if not others and term.factor > 0 and best > 0:
        return told, float(np.log(best / term.factor))
    return _normal(found.mean, found.std**2), best


def _normal(mean: Array, variance: Array) -> Mixture:
    """Return what a single hypothesis says (n,)."""
    return Mixture(np.ones(1), mean[None], variance[None])


def make_goal(study: Study) -> Goal:
    """Return the goal that the study names."""
    return Front(study) if study.tuning.goal == 'front' else WeightedSum(study)


def _on_models_scale(found: Assessment) -> Array:
    """Return the objectives (n, m), each to be minimised, as the models see them."""
    return np.column_stack([term.factor * term.mean for term in found.terms])
