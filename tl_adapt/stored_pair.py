# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the measurements of two of a study's environments, as a pair to compare."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tl_adapt.environments.base import Measurement
from tl_adapt.errors import InputError
from tl_adapt.models.similarity.pair import Pair, Side, repeats_joined

if TYPE_CHECKING:
    from tl_adapt.study import Study

OBJECTIVE = 'objective'


def metric_of(study: Study, name: str | None) -> str:
    """
    Return the metric to compare: the named one, or what the study minimises.

    With one objective that is its metric, otherwise the weighted sum, 'objective'. Raises
    InputError for an unknown name.
    """
    if name is None:
        one = len(study.objectives) == 1
        return study.objectives[0].metric if one else OBJECTIVE
    if name not in study.metrics and name != OBJECTIVE:
        known = ', '.join([*study.metrics, OBJECTIVE])
        raise InputError(
            f'unknown metric; known are {known}', file=study.path, key='--metric', value=name
        )
    return name


def pair_of(
    study: Study, metric: str, source: Sequence[Measurement], target: Sequence[Measurement],
    names: tuple[str, str],
) -> Pair:
    """
    Return the pair of measurements of two environments that are called `names`.

    Runs of one configuration with several seeds count as one. `metric` as of `metric_of`.
    """
    known = study.metrics.get(metric)
    return Pair(
        study.space.names, study.space.categorical,
        _side(study, metric, names[0], source), _side(study, metric, names[1], target),
        metric=metric, unit='' if known is None or known.unit == '1' else known.unit,
        maximize=known is not None and known.direction == 'maximize',
    )


def _side(study: Study, metric: str, name: str, measurements: Sequence[Measurement]) -> Side:
    if not measurements:
        raise InputError('the environment has no measurements', key=name)
    points = study.space.encode([m.configuration for m in measurements])
    values = [_value(study, metric, m) for m in measurements]
    return repeats_joined(name, points, np.array(values), [m.valid for m in measurements])


def _value(study: Study, metric: str, measurement: Measurement) -> float:
    if metric in study.metrics:
        return float(measurement.metrics.get(metric, math.nan))
    try:
        return study.objective(measurement.metrics)
    except InputError:
        return math.nan
