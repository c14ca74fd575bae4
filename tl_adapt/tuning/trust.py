# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for whether the target has confirmed what the source says.

Runs that all went where the source points say little of whether it is right: what is near each
other is alike in any case. Where such a run brings nothing more, and the two have not been seen to
agree elsewhere, the next one goes where a tuner without a source would have begun.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tl_adapt.environments.base import Measurement
from tl_adapt.models.kernel import Array
from tl_adapt.models.model_set import ModelSet
from tl_adapt.models.source import Source
from tl_adapt.models.transfer import TransferModel

PLACES = 4  # different places on the target from which on the models know by themselves
_CONFIRMED = 0.5  # correlation that must be exceeded
_FEWEST = 3  # runs that can confirm anything
_NEAR = 0.3  # of the usual distance by the source's kernel: what is nearer is one place
_VAIN = 1  # runs at known places that bring nothing, after which it is enough
_USUAL = 64  # runs of the source that say how far two are usually apart


def confirmed(models: ModelSet) -> bool:
    """
    Say whether source and target agree at the target's points, for every metric that counts.

    Their correlation must be above a threshold by a standard error (Fisher's transformation).
    """
    for objective in models.study.objectives:
        model = models.models[objective.metric]
        n = len(model.y)
        if n < _FEWEST or not model.sources:
            return False
        correlation = _correlation(model.sources[0].at(model.X).mean, model.y)
        if math.tanh(math.atanh(correlation) - 1.0 / math.sqrt(n - 1.5)) <= _CONFIRMED:
            return False
    return True


def stuck(models: ModelSet, target: Sequence[Measurement]) -> bool:
    """
    Say whether the last runs of the target were in vain, where a source alone speaks for them.

    They were if they went where runs had been before and bettered nothing by more than the noise.
    It alone speaks for them until its order of the few places that were run is the target's. An
    unrelated source passes at times, but one that is related is not tested on and on.
    """
    first, space = len(target) - _VAIN, models.study.space
    if first < 1:
        return False
    X = space.encode([run.configuration for run in target])
    for objective in models.study.objectives:
        model = models.models[objective.metric]
        if not model.sources:
            return False
        place = places(model.sources[0], X)
        if place.max() + 1 >= PLACES or place[first:].max() > place[:first].max():
            return False
    if all(_in_order(models.models[one.metric]) for one in models.study.objectives):
        return False
    losses = [_loss(models, run) for run in target]
    before = int(np.argmin(losses[:first]))
    if not math.isfinite(losses[before]):
        return not math.isfinite(min(losses[first:]))
    noise = float(models.assess(X[before: before + 1]).noise[0])
    return min(losses[first:]) > losses[before] - noise


def places(source: Source, X: Array) -> NDArray[np.int_]:
    """Return the number (n,) of each point's place among X (n, d), as the source tells them."""
    far = _far(source, X, X)
    found = np.zeros(len(X), dtype=int)
    first: list[int] = []
    for i in range(len(X)):
        near = [number for number, row in enumerate(first) if not far[i, row]]
        found[i] = near[0] if near else len(first)
        if not near:
            first.append(i)
    return found


def _far(source: Source, X: Array, Z: Array) -> NDArray[np.bool_]:
    """Say which points X (n, d) and Z (m, d) are far from each other, (n, m)."""
    process = source.process
    rows = process.A[:_USUAL]
    pairs = process.covariance(rows, rows)[np.triu_indices(len(rows), 1)]
    all_ = process.signal + 1.0
    usual = all_ - float(np.median(pairs)) if len(pairs) else process.signal
    covariance = process.covariance(source.at(X).features, source.at(Z).features)
    return np.asarray(all_ - covariance > _NEAR * usual)


def _loss(models: ModelSet, run: Measurement) -> float:
    """Return the objective of a run, infinite where it failed or broke a limit."""
    study = models.study
    known = all(objective.metric in run.metrics for objective in study.objectives)
    if not run.valid or not known or study.broken_limits(run.metrics):
        return math.inf
    return study.objective(run.metrics)


def _in_order(model: TransferModel) -> bool:
    """Say whether source and target correlate over the places that were run."""
    if not len(model.y):
        return False
    place = places(model.sources[0], model.X)
    size = np.bincount(place)
    expected = np.bincount(place, model.sources[0].at(model.X).mean) / size
    return _correlation(expected, np.bincount(place, model.y) / size) > _CONFIRMED


def _correlation(expected: Array, given: Array) -> float:
    """Return the correlation of two arrays (n,), a little less than 1 at most; 0 without any."""
    if float(np.std(expected)) <= 1e-12 or float(np.std(given)) <= 1e-12:
        return 0.0
    return float(np.clip(np.corrcoef(expected, given)[0, 1], -0.999, 0.999))
