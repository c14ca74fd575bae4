# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for choosing from a Pareto front: by weights, or by targets to come near to or surpass.

By targets: the achievement scalarising function of Wierzbicki (1980), whose choice is always on
the front, also where all targets can be surpassed or none can be reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tl_adapt.models import scale
from tl_adapt.models.kernel import Array
from tl_adapt.models.model_set import Assessment

if TYPE_CHECKING:
    from tl_adapt.study import Study

_AUGMENTATION = 1e-3  # how much the sum counts beside the worst objective


def metric_moments(found: Assessment) -> tuple[Array, Array]:
    """
    Return mean and standard deviation (n, m) of the objectives' metrics in their units.

    The columns are in the order of the study's objectives; noise is left out.
    """
    pairs = [scale.mean_and_std(term.mean, term.variance, term.log) for term in found.terms]
    mean, std = (np.column_stack(columns) for columns in zip(*pairs))
    return mean, std


def signs(study: Study) -> Array:
    """Return for each objective (m,) 1 if less is better, -1 if more is better."""
    return np.array([study.metrics[objective.metric].sign for objective in study.objectives])


def own_targets(study: Study) -> dict[str, float]:
    """Return the targets that the study gives its objectives, by metric."""
    return {o.metric: o.target for o in study.objectives if o.target is not None}


def loss_by_weights(
    study: Study, means: Array, weights: Mapping[str, float] | None = None
) -> Array:
    """
    Return the weighted sum (n,) of the metrics' means (n, m); less is better.

    A metric without a weight in `weights` has the study's.
    """
    weights = weights or {}
    factors = [weights.get(o.metric, o.weight) / o.reference for o in study.objectives]
    return np.asarray(means @ (signs(study) * factors))


def loss_by_targets(study: Study, means: Array, targets: Mapping[str, float]) -> Array:
    """
    Return by how much points (n,) with these metrics' means (n, m) miss the targets.

    The largest miss counts, in units of the range that the points cover. It is below 0 where all
    targets are surpassed. A metric without a target aims at the best of the points.
    """
    values = means * signs(study)
    ideal = values.min(axis=0)
    span = values.max(axis=0) - ideal
    aims = np.array([
        sign * targets[o.metric] if o.metric in targets else best
        for o, sign, best in zip(study.objectives, signs(study), ideal)
    ])
    missed = (values - aims) / np.where(span > 0, span, 1.0)
    return np.asarray(missed.max(axis=1) + _AUGMENTATION * missed.sum(axis=1))
