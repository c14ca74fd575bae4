# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for whether the target has confirmed what the source says.

Runs that all went where the source points say little of whether it is right: what is near each
<<<<<<< Updated upstream
other is alike in any case. So the first few are spread until the two agree. That pays where the
source can be run again, as it is trusted with more; else a test that agrees by chance makes an
unrelated source only more believable, and one of a related source is a run lost.
=======
other is alike in any case. Where such runs bring nothing more, and the two have not been seen to
agree, the next one goes where a tuner without a source would have begun.
>>>>>>> Stashed changes
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

PLACES = 6  # different places on the target from which on the models know by themselves
_CONFIRMED = 0.5  # correlation that must be exceeded
_FEWEST = 3  # places that can confirm anything
_NEAR = 0.5  # of the usual distance by the source's kernel: what is nearer is one place
_VAIN = 1  # runs at known places that bring nothing, after which it is enough
_USUAL = 64  # runs of the source that say how far two are usually apart


def confirmed(models: ModelSet) -> bool:
    """
    Say whether source and target agree at the target's points, for every metric that counts.

    Their correlation must be above a threshold by a standard error (Fisher's transformation).
    """
    return all(
        _agreement(models.models[objective.metric]) > _CONFIRMED
        for objective in models.study.objectives
    )


def stuck(models: ModelSet, target: Sequence[Measurement]) -> bool:
    """
    Say whether the last runs of the target were in vain, where a source alone speaks for them.

    They were if they went where runs had been before and bettered nothing by more than the noise.
    """
    first, space = len(target) - _VAIN, models.study.space
    if first < 1 or confirmed(models):
        return False
    X = space.encode([run.configuration for run in target])
    for objective in models.study.objectives:
        model = models.models[objective.metric]
        if not model.sources:
            return False
        place = places(model.sources[0], X)
        if place.max() + 1 >= PLACES or place[first:].max() > place[:first].max():
            return False
    losses = [_loss(models, run) for run in target]
    before = int(np.argmin(losses[:first]))
    if not math.isfinite(losses[before]):
        return not math.isfinite(min(losses[first:]))
    noise = float(models.assess(X[before: before + 1]).noise[0])
    return min(losses[first:]) > losses[before] - noise


def places(source: Source, X: Array) -> NDArray[np.int_]:
    """Return the number (n,) of each point's place among X (n, d), as the source tells them."""
    process = source.process
    rows = process.A[:_USUAL]
    pairs = process.covariance(rows, rows)[np.triu_indices(len(rows), 1)]
    usual = float(np.median(process.signal + 1.0 - pairs)) if len(pairs) else process.signal
    features = source.at(X).features
    far = process.signal + 1.0 - process.covariance(features, features) > _NEAR * usual
    found = np.zeros(len(X), dtype=int)
    first: list[int] = []
    for i in range(len(X)):
        near = [number for number, row in enumerate(first) if not far[i, row]]
        found[i] = near[0] if near else len(first)
        if not near:
            first.append(i)
    return found


def _loss(models: ModelSet, run: Measurement) -> float:
    """Return the objective of a run, infinite where it failed or broke a limit."""
    study = models.study
    known = all(objective.metric in run.metrics for objective in study.objectives)
    if not run.valid or not known or study.broken_limits(run.metrics):
        return math.inf
    return study.objective(run.metrics)


def _agreement(model: TransferModel) -> float:
    """Return the correlation of source and target over places, less a standard error."""
    if not model.sources or len(model.y) < _FEWEST:
        return -1.0
    source = model.sources[0]
    place = places(source, model.X)
    n = int(place.max()) + 1
    if n < _FEWEST:
        return -1.0
    size = np.bincount(place)
    expected = np.bincount(place, source.at(model.X).mean) / size
    given = np.bincount(place, model.y) / size
    if float(np.std(expected)) <= 1e-12 or float(np.std(given)) <= 1e-12:
        return -1.0
    correlation = float(np.clip(np.corrcoef(expected, given)[0, 1], -0.999, 0.999))
    return math.tanh(math.atanh(correlation) - 1.0 / math.sqrt(n - 1.5))
