# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for draws of a model's whole function: what else, given the data, it could look like.

Averages and differences over many points need draws that are coherent between the points: the
marginal variances alone say nothing of them. Rasmussen & Williams 2006, section 2.2, for draws of
a Gaussian process' posterior.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tl_adapt.models.gaussian_process import GaussianProcess
from tl_adapt.models.kernel import Array, as_points
from tl_adapt.models.likelihood import factorise
from tl_adapt.models.threads import single_thread

DRAWS = 300  # enough for the ends of a 90 % interval
_FARTHEST = 3.0  # of the model's spreads beyond the range of its means: no draw is wilder

#: Map points (n, d) of the unit cube to coherent draws (m, n) of a number in a unit.
Belief = Callable[[Array], Array]


@single_thread
def latent_draws(model: Any, X: Array, n: int = DRAWS, *, seed: int = 0) -> Array:
    """
    Return `n` draws (n, m) of a model's function at points X (m, d), on the model's scale.

    A `GaussianProcess` is drawn from exactly; any other model has `sample(X, n, seed)`, coherent
    between points and on the original scale.
    """
    points = as_points(X)
    if isinstance(model, GaussianProcess):
        return _of_process(model, points, n, np.random.default_rng(seed))
    drawn = np.asarray(model.sample(points, n, seed=seed), dtype=np.float64)
    return np.log(np.maximum(drawn, np.finfo(float).tiny)) if model.log_scale else drawn


def _of_process(
    model: GaussianProcess, X: Array, n: int, rng: np.random.Generator
) -> Array:
    """Return draws (n, m) of the exact posterior."""
    mean, cov = _posterior(model, X)
    drawn = mean + rng.standard_normal((n, len(X))) @ _root(cov).T
    return model.location + model.spread * _bounded(drawn, mean)


def _posterior(model: GaussianProcess, X: Array) -> tuple[Array, Array]:
    """Return mean (m,) and covariance (m, m) of a process' function, standardised."""
    A = model.features(X)
    mean, V = model.project(A)
    return mean, model.covariance(A, A) - V.T @ V


def _root(cov: Array) -> Array:
    """Return a lower factor (n, n); points that come twice make the matrix singular."""
    cov.flat[:: len(cov) + 1] += 1e-9 * max(float(np.mean(np.diag(cov))), 1e-12)
    return factorise(cov)


def _bounded(drawn: Array, mean: Array) -> Array:
    """Keep draws (n, m) within a few of their own spreads of the range of the means (m,)."""
    reach = _FARTHEST * float(np.mean(drawn.std(axis=0)))
    return np.clip(drawn, mean.min() - reach, mean.max() + reach)


def belief(
    model: Any, *, canonical: Callable[[Array], Array] | None = None, n: int = DRAWS,
    seed: int = 0,
) -> Belief:
    """
    Return the belief in a fitted model: draws (n, m) at points, on the original scale.

    `canonical` maps points to those that stand for them (a parameter that is not active has its
    default).
    """
    def draw(X: Array) -> Array:
        points = X if canonical is None else canonical(X)
        drawn = latent_draws(model, points, n, seed=seed)
        return np.exp(np.clip(drawn, -80.0, 80.0)) if model.log_scale else drawn

    return draw


def half_samples(n: int, count: int, rng: np.random.Generator) -> list[NDArray[np.int_]]:
    """
    Return `count` random halves of n rows.

    The spread of an estimate between refits on halves drawn without replacement is that of the
    estimate from all rows: the delete-half jackknife (Shao & Wu 1989), whose factor (n - d) / d
    is 1. No row comes twice, which would look like a measurement without noise.
    """
    return [np.sort(rng.permutation(n)[: max((n + 1) // 2, 1)]) for _ in range(count)]


def ensemble(
    fit: Callable[[NDArray[np.int_]], Callable[[Array], Array]],
    rows: int,
    *,
    members: int = 20,
    seed: int = 0,
) -> Belief:
    """
    Return the belief of an ensemble of refits on halves of the rows.

    `fit` learns from some rows and returns a function from points (n, d) to values (n,). For
    models that have no posterior; the draws (members, n) are centred at the fit to all rows.
    """
    rng = np.random.default_rng(seed)
    whole = fit(np.arange(rows))
    parts = [fit(half) for half in half_samples(rows, members, rng)]

    def draw(X: Array) -> Array:
        values = np.array([part(X) for part in parts])
        return np.asarray(whole(X) + values - values.mean(axis=0))

    return draw
