# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for judging configurations by what was measured of them alone, without a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tl_adapt.designs import fingerprint
from tl_adapt.environments.base import Measurement
from tl_adapt.tuning.proposal import Choice

if TYPE_CHECKING:
    from tl_adapt.study import Study

#: How bad a run is: 0 if it is sound, 1 if it breaks a limit, 2 if it is invalid; then the
#: objective. The lower the better, so that no broken limit beats a sound run.
Loss = tuple[int, float]


def loss(study: Study, measurement: Measurement) -> Loss:
    """Return how bad a run is; one without a number for the objective counts as invalid."""
    metrics = measurement.metrics
    if not measurement.valid or any(o.metric not in metrics for o in study.objectives):
        return 2, math.inf
    value = study.objective(metrics)
    if not math.isfinite(value):
        return 2, math.inf
    return (1 if study.broken_limits(metrics) else 0), value


def best_measured(study: Study, valid: Sequence[Measurement]) -> Choice | None:
    """Return the best of valid runs, those of one configuration averaged; None without any."""
    groups: dict[str, list[Measurement]] = {}
    for measurement in valid:
        groups.setdefault(fingerprint(measurement.configuration), []).append(measurement)
    ranked = []
    for runs in groups.values():
        values = [study.objective(run.metrics) for run in runs]
        broken = sum(bool(study.broken_limits(run.metrics)) for run in runs)
        spread = float(np.std(values, ddof=1)) / math.sqrt(len(runs)) if values[1:] else 0.0
        ranked.append((2 * broken > len(runs), float(np.mean(values)), spread, runs[0]))
    if not ranked:
        return None
    broken, mean, std, run = min(ranked, key=lambda entry: entry[:2])
    limits = 'it breaks a limit, as all do' if broken else 'it keeps the limits'
    why = f'the lowest measured objective {mean:.4g} of {len(ranked)} measured; {limits}'
    return Choice(dict(run.configuration), mean, std, why)
