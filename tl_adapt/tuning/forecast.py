# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for what further runs of the target should bring, by the model's own lights.

Functions are drawn that could be the truth. On each, the runs that are left are played through:
a learner who knows no more than the model now takes the largest expected improvement, sees what
that function gives, learns, and reports the lowest expected loss at the end. What it gets there
is the forecast; it is as good as the model is.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from tl_adapt.models.kernel import Array
from tl_adapt.models.model_set import ModelSet
from tl_adapt.tuning.loss import Loss

_DRAWS = 200
_LARGEST = 4.0  # variance of a logarithm beyond which a tail is no longer followed
_SURE = 0.97  # belief in what one run says of limits


@dataclasses.dataclass(frozen=True)
class Forecast:
    """
    Hold what the objective should be after `runs` further runs of the target.

    `mean` and the ends `low`, `high` of a 90 % interval are those of the configuration that is
    reported then, `now` that which is expected of the present one. All by the model, which does
    not know what it is wrong about.
    """

    runs: int
    now: float
    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        """Say it in one line."""
        return (
            f'{self.runs} more run{"s" if self.runs != 1 else ""} should bring the objective '
            f'from {self.now:.4g} to '
            f'{self.mean:.4g} ({self.low:.4g} to {self.high:.4g} with 90 %), by the model'
        )


@dataclasses.dataclass(frozen=True)
class Truths:
    """Hold drawn functions: `objective` (D, m), and where they keep all limits, `fine` (D, m)."""

    objective: Array
    fine: NDArray[np.bool_]


def draw_truths(models: ModelSet, loss: Loss, X: Array, n: int, seed: int) -> Truths:
    """Return n functions that could be the truth, at the points X (m, d) of a loss."""
    study = models.study
    drawn = {
        name: models.models[name].sample(X, n, seed=seed + i)
        for i, name in enumerate(loss.joints)
    }
    objective = np.zeros((n, len(X)))
    for one in study.objectives:
        factor = study.metrics[one.metric].sign * one.weight / one.reference
        objective += factor * drawn[one.metric]
    rng = np.random.default_rng(seed)
    fine = rng.random((n, 1)) < loss.valid
    for limit in study.limits:
        if limit.metric in drawn:
            values = drawn[limit.metric]
            fine &= values <= limit.value if limit.op == '<=' else values >= limit.value
    return Truths(objective, fine)


def play(loss: Loss, truths: Truths, measured: NDArray[np.bool_], n: int, seed: int = 0) -> Array:
    """
    Return the objective (D,) that is reported on each function after n runs.

    `measured` (m,) says which points were measured already.
    """
    mean, covariance, noise = _moments(loss)
    D, m = truths.objective.shape
    rows = np.arange(D)
    rng = np.random.default_rng(seed)
    means = np.tile(mean, (D, 1))
    variance = np.tile(np.diagonal(covariance), (D, 1))
    feasible = np.tile(loss.feasible(loss.now), (D, 1))
    known = np.tile(np.asarray(measured, dtype=bool), (D, 1))
    steps = np.zeros((D, n, m))
    for number in range(n):
        expected = means + loss.penalty * (1.0 - feasible)
        best = np.where(known, expected, np.inf).min(axis=1)
        best = np.where(np.isfinite(best), best, expected.min(axis=1))
        deviation = np.sqrt(np.maximum(variance, 1e-12))
        z = (best[:, None] - expected) / deviation
        density = np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)
        worth = feasible * deviation * (z * ndtr(z) + density)
        pick = np.argmax(np.where(known, -1.0, worth), axis=1)
        before = steps[:, :number]
        column = covariance[pick] - np.einsum('dlm,dl->dm', before, before[rows, :, pick])
        total = np.sqrt(np.maximum(column[rows, pick], 1e-12) + noise[pick])
        seen = truths.objective[rows, pick] + np.sqrt(noise[pick]) * rng.standard_normal(D)
        step = column / total[:, None]
        fine = truths.fine[rows, pick]
        # A run that breaks a limit or fails tells that, but is no worse a measurement.
        means += step * ((seen - means[rows, pick]) / total)[:, None]
        variance = variance - step**2
        steps[:, number] = step
        known[rows, pick] = True
        feasible[rows, pick] = np.where(fine, _SURE, 1.0 - _SURE)
    expected = means + loss.penalty * (1.0 - feasible)
    report = np.argmin(np.where(known, expected, np.inf), axis=1)
    report = np.where(known.any(axis=1), report, np.argmin(expected, axis=1))
    return np.asarray(truths.objective[rows, report])


def forecast(
    models: ModelSet, X: Array, measured: NDArray[np.bool_], n: int, seed: int = 0,
) -> Forecast:
    """Return what n further runs of the points X (m, d) should bring; see `play`."""
    loss = Loss(models, X, X[:0])
    truths = draw_truths(models, loss, X, _DRAWS, seed)
    now = play(loss, truths, measured, 0)
    then = play(loss, truths, measured, n, seed) if n else now
    low, high = np.quantile(then, [0.05, 0.95])
    return Forecast(n, float(now.mean()), float(then.mean()), float(low), float(high))


def _moments(loss: Loss) -> tuple[Array, Array, Array]:
    """Return the objective's mean (m,), covariance (m, m), and variance of its noise (m,)."""
    study, models = loss.study, loss.models
    mean = loss.objective(loss.now)
    covariance, noise = np.zeros((len(mean), len(mean))), np.zeros(len(mean))
    for objective in study.objectives:
        joint = loss.joints[objective.metric]
        factor = (objective.weight / objective.reference) ** 2
        if models.models[objective.metric].log_scale:
            variance = np.minimum(joint.variance, _LARGEST)
            middle = np.exp(np.clip(joint.mean + 0.5 * variance, -80.0, 80.0))
            # cov(e^u, e^v) = E[e^u] E[e^v] (e^cov(u, v) - 1)
            covariance += factor * middle[:, None] * middle * np.expm1(
                np.clip(joint.covariance, -_LARGEST, _LARGEST)
            )
            noise += factor * middle**2 * np.expm1(min(joint.noise, _LARGEST))
        else:
            covariance += factor * joint.covariance
            noise += factor * joint.noise
    return mean, covariance, noise
