# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for why one run was bad: which options did it, and what would mend it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tl_adapt.environments.base import Measurement
from tl_adapt.explanation.environment import Explained, canonical_points
from tl_adapt.explanation.number import Number, fit_model
from tl_adapt.models.anomaly import (
    Remedy,
    Surprise,
    chance_below,
    judge,
    mend,
    single_changes,
)
from tl_adapt.models.attribution import Attribution, attribute
from tl_adapt.models.basis import Axis
from tl_adapt.models.kernel import Array

if TYPE_CHECKING:
    from tl_adapt.study import Study

AGAINST = ('default', 'best')
_SURE_OF_FAILURE = 0.2  # probability of failure that is aimed at

Points = Callable[[Array], Array]


@dataclasses.dataclass(frozen=True)
class BadRun:
    """
    Hold what is known of one run.

    `of_failure` says whether the probability of failure is explained, instead of the number.
    `predicted` and `reference_predicted` are the model's medians of both configurations. `singles`
    are the best single changes: name, place in the unit cube, improvement.
    """

    measurement: Measurement
    environment: str
    of_failure: bool
    measured: float
    against: str
    reference: dict[str, Any]
    predicted: float
    reference_predicted: float
    surprise: Surprise | None
    attribution: Attribution
    remedy: Remedy
    goal: float
    singles: list[tuple[str, float, float]]


def worst_runs(explained: Explained, number: Number) -> list[int]:
    """Return the row of the worst valid run, and that of the failure that was likeliest."""
    data, rows = explained.data, []
    if explained.effects is not None and data.usable.any():
        badness = np.where(data.usable, number.sign * data.y, -np.inf)
        rows.append(int(np.argmax(badness)))
    if explained.validity is not None:
        failed = np.flatnonzero(~data.valid)
        chance = explained.validity.probability(data.X[failed])
        rows.append(int(failed[np.argmin(chance)]))
    return rows


def explain_run(
    study: Study, number: Number, explained: Explained, row: int, axes: list[Axis], *,
    against: str = 'default', seed: int = 0,
) -> BadRun | None:
    """
    Explain one run of an environment, None where no model can.

    `against` is 'default' or 'best' (the best valid run there), the configuration that the run is
    compared with.
    """
    data = explained.data
    failed = not data.valid[row]
    canonical = canonical_points(study) or (lambda X: X)
    point = data.X[row]
    reference = _reference(study, number, explained, against)
    if failed:
        if explained.validity is None or explained.failure_belief is None:
            return None
        inner: Points = explained.validity.probability
        draws = explained.failure_belief
        sign, goal, measured, surprise = 1.0, _SURE_OF_FAILURE, 1.0, None
        predict = _after(canonical, lambda X: 1.0 - inner(X))
    else:
        if explained.effects is None or not data.usable[row]:
            return None
        # By a model that has not seen the run: what chance did must not be put on the options.
        model = _without(study, explained, row, seed)
        if model is None:
            return None
        draws = explained.belief(study, model, seed)
        sign, goal = number.sign, float(np.median(data.y[data.usable]))
        measured = float(data.y[row])
        surprise = judge(model, canonical(point[None, :])[0], measured, sign=sign, good=goal)
        inner = chance_below(model, goal, sign=sign)
        predict = _after(canonical, model.predict)
    chance = _after(canonical, inner)
    both = predict(np.array([point, reference]))
    return BadRun(
        measurement=data.measurements[row],
        environment=explained.name,
        of_failure=failed,
        measured=measured,
        against=against,
        reference=study.space.decode(reference[None, :])[0],
        predicted=float(both[0]),
        reference_predicted=float(both[1]),
        surprise=surprise,
        attribution=attribute(draws, point, reference, study.space.names, sign=sign, seed=seed),
        remedy=mend(chance, point, axes, reference=reference, allowed=_allowed(study)),
        goal=goal,
        singles=[
            one for one in single_changes(predict, point, axes, sign=sign, reference=reference)
            if one[2] > 0.0
        ],
    )


def _after(first: Points, then: Points) -> Points:
    """Return the function that calls one after the other."""
    return lambda X: np.asarray(then(first(X)))


def _reference(study: Study, number: Number, explained: Explained, against: str) -> Array:
    """Return the point (d,) of the configuration to compare with."""
    data = explained.data
    if against == 'best' and data.usable.any():
        badness = np.where(data.usable, number.sign * data.y, np.inf)
        return np.asarray(data.X[int(np.argmin(badness))])
    return np.asarray(study.space.encode([study.space.default()])[0])


def _without(study: Study, explained: Explained, row: int, seed: int) -> Any:
    """Return a model of all runs but one; None if none is left."""
    data = explained.data
    others = np.arange(len(data.y)) != row
    if not (data.usable & others).any() and explained.source is None:
        return None
    return fit_model(
        study, data, log=explained.log, source=explained.source, rows=others, seed=seed
    )


def _allowed(study: Study) -> Callable[[Array], NDArray[np.bool_]] | None:
    space = study.space
    if not space.constraints:
        return None
    return lambda X: np.array([space.satisfied(c) for c in space.decode(X)], dtype=bool)
