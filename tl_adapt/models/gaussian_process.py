# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for a Gaussian process over configurations, in numpy and scipy alone.

Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006: algorithm 2.1 for the
posterior, section 5.4.2 for leave-one-out in closed form.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_solve, solve_triangular

from tl_adapt.models import scale
from tl_adapt.models.kernel import Array, Features, as_points, chunks, correlation
from tl_adapt.models.likelihood import (
    Posterior,
    factorise,
    inverse,
    make_prior,
    maximise,
    starting_points,
)
from tl_adapt.models.threads import single_thread

TREND = 1.0  # prior variance of the constant, in units of the standardised targets
_SUSPECT = 8.0  # robust deviations of the leave-one-out errors from which on a row is suspect
_BELIEVED = 5.0  # standard deviations up to which a suspect is believed again
_SUSPECTS = 0.03  # share of the rows that may be suspect
_MISTAKE = 1e-3  # probability of a mistake, beforehand


class GaussianProcess(scale.OnOriginalScale):
    """
    Model a metric over configurations of the unit cube.

    `categorical` is a boolean mask (d,) or None for all numeric; `log` is True, False or 'auto'.
    Hyperparameters are learnt on at most `hyper_points` rows and the process itself stands on at
    most `max_points`, both drawn by `seed` when there are more rows: exact inference costs their
    cube, and the hyperparameters of a stationary process gain little from more. Without `mistakes`
    every row is believed: a label that no other row has is not wrong.
    """

    def __init__(
        self,
        categorical: ArrayLike | None = None,
        log: bool | str = 'auto',
        seed: int = 0,
        *,
        hyper_points: int = 400,
        max_points: int = 2000,
        mistakes: bool = True,
    ) -> None:
        """Keep the settings."""
        self.categorical = None if categorical is None else np.asarray(categorical, dtype=bool)
        self.log = log
        self.seed = seed
        self.hyper_points = hyper_points
        self.max_points = max_points
        self.mistakes = mistakes
        self.theta: Array | None = None

    @single_thread
    def fit(self, X: ArrayLike, y: ArrayLike, *, warm: bool = False) -> GaussianProcess:
        """
        Learn from points X (n, d) and values y (n,), n >= 1.

        With `warm` the search starts at the present hyperparameters alone. Raises ValueError for
        shapes that do not fit, values that are not finite, or non-positive values with log=True.
        """
        points = as_points(X)
        values = scale.as_values(y, len(points))
        if len(values) == 0:
            raise ValueError('a Gaussian process needs at least one measurement')
        rng = np.random.default_rng(self.seed)
        self.log_scale = scale.choose_log(self.log, values)
        if len(values) > self.max_points:
            keep = rng.choice(len(values), self.max_points, replace=False)
            points, values = points[keep], values[keep]
        self.X = points
        self.y = scale.forward(values, self.log_scale)
        if self.mistakes:
            self.y = scale.tame(self.y)
        self._standardise()
        self.prior = make_prior(self.dim)
        start = self.theta if warm and self.theta is not None else None
        if start is not None and len(start) != self.dim + 2:
            start = None
        starts = [start] if start is not None else starting_points(self.prior, 3, rng)
        self.theta = self._search(starts, rng)
        self._factorise()
        if self.mistakes:
            self._drop_mistakes(rng)
        return self

    @single_thread
    def extended(self, X: ArrayLike, y: ArrayLike) -> GaussianProcess:
        """
        Return the process that also knows points X (m, d), y (m,); hyperparameters stay.

        Raises ValueError as `fit` does, and before it.
        """
        points = as_points(X, len(self.hyperparameters) - 2)
        values = scale.as_values(y, len(points))
        if self.log_scale and not (values > 0).all():
            raise ValueError('a log scale needs positive values')
        other = copy.copy(self)
        other.X = np.vstack([self.X, points])
        other.y = np.append(self.y, scale.forward(values, self.log_scale))
        other._standardise()
        other._factorise()
        return other

    def _drop_mistakes(self, rng: np.random.Generator) -> None:
        """
        Leave out rows that are more likely mistakes than measurements, if there are some.

        A far value alone proves nothing: heavy tails are real. Suspect is what all other rows do
        not expect at all; it is dropped if the evidence of the rest, times the small probability
        that so many values are mistakes from anywhere, is larger than that of all.
        """
        n = len(self.z)
        error = np.abs(self.alpha / np.diag(inverse(self.L)))
        limit = _SUSPECT * max(1.4826 * float(np.median(error)), 0.02)
        suspects = np.argsort(-error)[: max(1, int(_SUSPECTS * n))]
        suspects = suspects[error[suspects] > limit]
        if len(suspects) == 0 or n < 12:
            return
        rest = np.setdiff1d(np.arange(n), suspects)
        if float(np.ptp(self.y[rest])) <= 1e-9 * max(1.0, float(np.abs(self.y[rest]).max())):
            return  # a rare event is no mistake because nothing happens otherwise
        other = copy.copy(self)
        other.X, other.y = self.X[rest], self.y[rest]
        other._standardise()
        other.theta = other._search(starting_points(other.prior, 3, rng), rng)
        other._factorise()
        mistake = np.log(_MISTAKE) - np.log(2.0 * np.ptp(self.y))
        if other._evidence() + len(suspects) * mistake <= self._evidence():
            return
        mean, var = other.latent(self.X[suspects])
        far = np.abs(self.y[suspects] - mean) > _BELIEVED * np.sqrt(var)
        keep = np.setdiff1d(np.arange(n), suspects[far])
        theta = other.hyperparameters
        self.X, self.y = self.X[keep], self.y[keep]
        self._standardise()
        self.theta = theta
        self._factorise()

    def _evidence(self) -> float:
        """Return the log posterior of theta, in units of y, up to a constant."""
        n = len(self.z)
        return self._posterior(np.arange(n))(self.hyperparameters)[0] - n * np.log(self.spread)

    def _standardise(self) -> None:
        """Set what follows from X and y alone."""
        self.dim = self.X.shape[1]
        mask = self.categorical
        if mask is None:
            mask = np.zeros(self.dim, dtype=bool)
        if mask.shape != (self.dim,):
            raise ValueError(f'categorical must have shape ({self.dim},), got {mask.shape}')
        self.features = Features(mask, self.X)
        self.A = self.features(self.X)
        self.location = float(self.y.mean())
        spread = float(self.y.std()) if len(self.y) > 1 else 0.0
        floor = 1e-6 * max(1.0, abs(self.location))
        self.spread = spread if spread > floor else max(floor, 1e-3 * abs(self.location))
        self.z = (self.y - self.location) / self.spread

    def _search(self, starts: list[Array], rng: np.random.Generator) -> Array:
        """Return the best theta; restarts climb on a small subset, the best goes on to more."""
        n = len(self.z)
        order = rng.permutation(n)
        if len(starts) > 1 and n > 120:
            few = order[:120]
            climbed = [maximise(self._posterior(few), [start], iterations=30) for start in starts]
            starts = [max(climbed, key=lambda found: found[1])[0]]
        many = order[: self.hyper_points]
        return maximise(self._posterior(many), starts)[0]

    def _posterior(self, rows: NDArray[np.int_]) -> Posterior:
        """Return the posterior of theta that sees only `rows`."""
        base = np.full((len(rows), len(rows)), TREND)
        return Posterior(self.A[rows], self.features.owner, self.z[rows], base, self.prior)

    def _factorise(self) -> None:
        """Set what prediction needs, from X, y and theta alone."""
        theta = self.hyperparameters
        n = len(self.z)
        self.lengths = theta[: self.dim]
        self.signal, self.noise = (float(v) for v in np.exp(theta[-2:]))
        K = self.signal * correlation(self.A, self.A, self.features.owner, self.lengths) + TREND
        K.flat[:: n + 1] += self.noise
        self.L = factorise(K)
        self.alpha = cho_solve((self.L, True), self.z)

    @property
    def hyperparameters(self) -> Array:
        """Return theta (d + 2,); raises ValueError before the first fit."""
        if self.theta is None:
            raise ValueError('fit must be called first')
        return self.theta

    def covariance(self, A: Array, B: Array) -> Array:
        """Return the prior covariance (n, m) between features A (n, D) and B (m, D)."""
        corr = correlation(A, B, self.features.owner, self.lengths)
        corr *= self.signal
        corr += TREND
        return corr

    def project(self, A: Array) -> tuple[Array, Array]:
        """
        Return standardised posterior mean (n,) and V (m, n) of features A (n, D).

        The posterior covariance of two sets is their prior covariance minus V1^T V2.
        """
        cross = self.covariance(self.A, A)
        V = solve_triangular(self.L, cross, lower=True, check_finite=False)
        return self.alpha @ cross, V

    @single_thread
    def latent(self, X: ArrayLike, *, noise: bool = True) -> tuple[Array, Array]:
        """
        Return mean and variance (n,) on the model's scale (the logarithm if `log_scale`).

        With `noise` they are those of one measurement, without it of the function behind.
        """
        self.hyperparameters  # noqa: B018  raises before the first fit
        points = as_points(X, self.dim)
        mean, var = np.empty(len(points)), np.empty(len(points))
        for part in chunks(len(points)):
            mean[part], V = self.project(self.features(points[part]))
            var[part] = self.signal + TREND - np.einsum('ij,ij->j', V, V)
        var = np.maximum(var, 1e-10) + (self.noise if noise else 0.0)
        reach = float(np.ptp(self.z)) + 1.0
        mean = np.clip(mean, self.z.min() - reach, self.z.max() + reach)
        return self.location + self.spread * mean, self.spread**2 * var

    @single_thread
    def loo(self) -> tuple[Array, Array]:
        """
        Return leave-one-out mean and variance (n,) of each measurement, on the model's scale.

        Hyperparameters and standardisation stay those of all measurements.
        """
        self.hyperparameters  # noqa: B018  raises before the first fit
        var = 1.0 / np.diag(inverse(self.L))
        mean = self.z - self.alpha * var
        return self.location + self.spread * mean, self.spread**2 * var

    def to_arrays(self) -> dict[str, Array]:
        """Return all that is needed to have the same model again."""
        mask = self.features.categorical
        return {
            'X': self.X, 'y': self.y, 'theta': self.hyperparameters,
            'categorical': mask.astype(np.float64), 'log_scale': np.array(float(self.log_scale)),
        }

    @classmethod
    @single_thread
    def from_arrays(cls, arrays: Mapping[str, Array], seed: int = 0) -> GaussianProcess:
        """Make the model that `to_arrays` described; raises KeyError or ValueError if broken."""
        log = bool(arrays['log_scale'])
        model = cls(categorical=arrays['categorical'].astype(bool), log=log, seed=seed)
        model.log_scale = log
        model.X = as_points(arrays['X'])
        model.y = scale.as_values(arrays['y'], len(model.X))
        model._standardise()
        model.prior = make_prior(model.dim)
        model.theta = scale.as_values(arrays['theta'], model.dim + 2)
        model._factorise()
        return model
