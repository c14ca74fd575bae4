# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the Pareto front that a tuner found, as a list to choose from."""

from __future__ import annotations

import dataclasses

import numpy as np

from tl_adapt import acquisition
from tl_adapt.designs import fingerprint
from tl_adapt.models.kernel import Array
from tl_adapt.space import Configuration
from tl_adapt.tuner import Tuner
from tl_adapt.tuning.choosing import SURE
from tl_adapt.tuning.goals import Front
from tl_adapt.tuning.pareto import nondominated
from tl_adapt.tuning.preferences import metric_moments, signs

PREDICTED = 10  # unmeasured configurations that are listed at most


@dataclasses.dataclass(frozen=True)
class FrontPoint:
    """
    Hold a configuration of the front: `mean` and `std` (m,) of the objectives' metrics.

    They are posterior ones in the metrics' units. `feasible` is the probability of a valid run
    that keeps the limits, `runs` how often it was measured: 0 if it is only predicted.
    """

    configuration: Configuration
    mean: Array
    std: Array
    feasible: float
    runs: int


def measured_front(tuner: Tuner) -> list[FrontPoint]:
    """
    Return the front of the valid target configurations, in the order of the first objective.

    What was refused is left out, unless it is all there is. If none is likely to be feasible,
    those that are likeliest count. Raises InputError where the models lack an objective's metric.
    """
    valid = [tuner.space.validate(m.configuration) for m in tuner.target if m.valid]
    runs: dict[str, list[Configuration]] = {}
    for one in [one for one in valid if one not in tuner.refused] or valid:
        runs.setdefault(fingerprint(one), []).append(one)
    configurations = [same[0] for same in runs.values()]
    found = tuner.model.assess(tuner.space.encode(configurations))
    mean, std = metric_moments(found)
    enough = min(acquisition.FEASIBLE, 0.95 * float(found.feasible.max()))
    likely = np.flatnonzero(found.feasible >= enough)
    kept = likely[nondominated(mean[likely] * signs(tuner.study))]
    counts = [len(same) for same in runs.values()]
    return _in_order(tuner, [
        FrontPoint(configurations[i], mean[i], std[i], float(found.feasible[i]), counts[i])
        for i in kept
    ])


def with_predicted(tuner: Tuner, front: list[FrontPoint]) -> list[FrontPoint]:
    """
    Return the front and what the model is sure to extend it, though it was not measured.

    Sure is: feasible with probability SURE and, two standard deviations worse than predicted,
    still not dominated by what was measured, each one standard deviation better. Of these the
    PREDICTED that promise most are taken.
    """
    goal, sign = Front(tuner.study), signs(tuner.study)
    known = [point.configuration for point in front]
    reached = goal.reached(tuner.model.assess(tuner.space.encode(known)))
    worth = goal.rank(reached)
    configurations, found = tuner.search.look(tuner.model, worth, known, (len(tuner.target),))
    mean, std = metric_moments(found)
    best = np.array([point.mean * sign - point.std for point in front])
    worst = mean * sign + 2.0 * std
    beaten = (best[:, None] <= worst[None]).all(axis=2).any(axis=0)
    seen = {fingerprint(one) for one in [*known, *tuner.refused]}
    sure = np.array([
        i for i in np.flatnonzero(~beaten & (found.feasible >= SURE))
        if fingerprint(configurations[i]) not in seen
    ], dtype=int)
    sure = sure[nondominated(mean[sure] * sign)]
    order = np.argsort(-worth(found)[sure], kind='stable')
    return _in_order(tuner, front + [
        FrontPoint(dict(configurations[i]), mean[i], std[i], float(found.feasible[i]), 0)
        for i in sure[order][:PREDICTED]
    ])


def _in_order(tuner: Tuner, front: list[FrontPoint]) -> list[FrontPoint]:
    """Return the points, the best in the first objective first."""
    first = signs(tuner.study)[0]
    return sorted(front, key=lambda point: first * float(point.mean[0]))
