# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the probability that a configuration runs validly.

The source's results are regressed as labels of +-1 by a Gaussian process and made probabilities by
a logistic curve through its leave-one-out predictions (Rasmussen & Williams 2006, section 6.5;
Platt 1999). The target's results shift that on the logit scale: a logistic Gaussian process
(Laplace's approximation, algorithm 3.1) whose prior mean is the source's logit.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import minimize
from scipy.special import expit, logit

from tl_adapt.models.gaussian_process import GaussianProcess
from tl_adapt.models.kernel import Array, Features, as_points, correlation
from tl_adapt.models.likelihood import LENGTH, factorise
from tl_adapt.models.threads import single_thread

_OFFSET = 1.5  # prior deviation of a shift of the logit that all configurations share
_LOCAL = 1.5  # prior deviation of a shift that only similar configurations share
_STEPS = 60


class ValidityModel:
    """
    Predict P(valid) of points in the unit cube.

    `categorical` is a boolean mask (d,) or None. No results at all, few, or results of one kind
    only are no error: the probability then stays near the share of valid ones, smoothed.
    """

    def __init__(self, categorical: ArrayLike | None = None, seed: int = 0) -> None:
        """Keep the settings."""
        self.categorical = None if categorical is None else np.asarray(categorical, dtype=bool)
        self.seed = seed
        self.process: GaussianProcess | None = None
        self.curve = np.zeros(2)
        self.fitted = False
        self._source_key: tuple[bytes, bytes] | None = None

    @single_thread
    def fit(
        self, X: ArrayLike, valid: ArrayLike, *, target: tuple[ArrayLike, ArrayLike] | None = None
    ) -> ValidityModel:
        """
        Learn from points X (n, d) and booleans valid (n,), n >= 0, and those of a `target`.

        Raises ValueError for shapes that do not fit.
        """
        points, labels = _checked(X, valid)
        Xt, seen = _checked(*target) if target is not None else (points[:0], labels[:0])
        if len(seen) == 0:
            Xt = points[:0]
        self._fit_source(points, labels)
        self.X, self.seen = Xt, seen
        self._fit_target()
        self.fitted = True
        return self

    def _fit_source(self, X: Array, labels: Array) -> None:
        """Set the process and the curve of the source's logit, unless they have seen the same."""
        key = (X.tobytes(), labels.tobytes())
        if self._source_key == key:
            return
        self._source_key = key
        good, n = float(labels.sum()), len(labels)
        self.process = None
        # Without target and source alike most configurations may be hoped to run: 3 of 4.
        self.curve = np.array([0.0, logit((good + 1.5) / (n + 2.0))])
        if min(good, n - good) < 2 or n < 8:
            return
        self.process = GaussianProcess(
            self.categorical, log=False, seed=self.seed, mistakes=False
        )
        self.process.fit(X, 2.0 * labels - 1.0)
        used = self.process.y > 0.0
        self.curve = _platt(self.process.loo()[0], used)

    def _source_logit(self, X: Array) -> Array:
        """Return the logit (n,) that the source alone gives."""
        slope, level = self.curve
        if self.process is None:
            return np.full(len(X), level)
        return np.asarray(level + slope * self.process.latent(X, noise=False)[0])

    def _prepare(self) -> None:
        """Set the kernel over the target's points."""
        if self.process is not None:
            self.features, self.lengths = self.process.features, self.process.lengths
            return
        dim = self.X.shape[1]
        mask = np.zeros(dim, dtype=bool) if self.categorical is None else self.categorical
        self.features = Features(mask, self.X)
        self.lengths = np.full(dim, LENGTH[0] + 0.5 * np.log(max(dim, 1)))

    def _covariance(self, A: Array, B: Array) -> Array:
        """Return the prior covariance (n, m) of the shift."""
        return np.asarray(
            _OFFSET**2 + _LOCAL**2 * correlation(A, B, self.features.owner, self.lengths)
        )

    def _fit_target(self) -> None:
        """Find the mode of the shift at the target's points by Newton's method."""
        self._prepare()
        n = len(self.seen)
        if n == 0:
            return
        self.A = self.features(self.X)
        K = self._covariance(self.A, self.A)
        prior = self._source_logit(self.X)
        shift = np.zeros(n)
        for _ in range(_STEPS):
            p = expit(prior + shift)
            weight = np.maximum(p * (1.0 - p), 1e-9)
            root = np.sqrt(weight)
            L = factorise(np.eye(n) + root[:, None] * K * root)
            b = weight * shift + self.seen - p
            a = b - root * cho_solve((L, True), root * (K @ b))
            step = K @ a - shift
            # Newton's step may overshoot where the curve is flat; a bounded one always arrives.
            size = float(np.abs(step).max())
            shift = shift + step * min(1.0, 3.0 / max(size, 1e-12))
            if size < 1e-9:
                break
        p = expit(prior + shift)
        root = np.sqrt(np.maximum(p * (1.0 - p), 1e-9))
        self.gradient = self.seen - p
        L = factorise(np.eye(n) + root[:, None] * K * root)
        self.half = solve_triangular(L, np.diag(root), lower=True, check_finite=False)

    @single_thread
    def probability(self, X: ArrayLike) -> Array:
        """Return P(valid) (n,) at points X (n, d); raises ValueError before the first fit."""
        if not self.fitted:
            raise ValueError('fit must be called first')
        points = as_points(X)
        mean = self._source_logit(points)
        if len(self.seen) == 0:
            return np.asarray(expit(mean))
        cross = self._covariance(self.A, self.features(points))
        mean = mean + self.gradient @ cross
        explained = ((self.half @ cross) ** 2).sum(axis=0)
        var = np.maximum(_OFFSET**2 + _LOCAL**2 - explained, 0.0)
        # The target's own uncertainty counts by what it says less than before any result: a mere
        # lack of target results must not make a sure source unsure.
        extra = np.minimum(var, 1.0)
        return np.asarray(expit(mean / np.sqrt(1.0 + np.pi / 8.0 * extra)))

    def to_arrays(self) -> dict[str, Array]:
        """Return all that is needed to have the same model again."""
        mask = np.zeros(0) if self.categorical is None else self.categorical.astype(np.float64)
        arrays = {
            'curve': self.curve, 'X': self.X, 'seen': self.seen, 'categorical': mask,
            'seed': np.array(float(self.seed)),
        }
        if self.process is not None:
            arrays |= {f'process.{key}': a for key, a in self.process.to_arrays().items()}
        return arrays

    @classmethod
    @single_thread
    def from_arrays(cls, arrays: Mapping[str, Array]) -> ValidityModel:
        """Make the model that `to_arrays` described; raises KeyError or ValueError if broken."""
        mask = arrays['categorical'].astype(bool)
        model = cls(mask if len(mask) else None, seed=int(arrays['seed']))
        inner = {k.removeprefix('process.'): a for k, a in arrays.items() if k[:8] == 'process.'}
        if inner:
            model.process = GaussianProcess.from_arrays(inner, seed=model.seed)
        model.curve = np.asarray(arrays['curve'], dtype=np.float64)
        model.X, model.seen = arrays['X'], arrays['seen']
        if model.curve.shape != (2,) or model.X.shape[:1] != model.seen.shape:
            raise ValueError('the validity model has wrong shapes')
        model._fit_target()
        model.fitted = True
        return model


def _checked(X: ArrayLike, valid: ArrayLike) -> tuple[Array, Array]:
    """Return points (n, d) and labels 0 or 1 (n,)."""
    labels = np.asarray(valid, dtype=bool).astype(np.float64)
    points = np.asarray(X, dtype=np.float64)
    if points.size == 0:
        points = points.reshape(0, points.shape[1] if points.ndim == 2 else 0)
    points = as_points(points)
    if labels.shape != (len(points),):
        raise ValueError(f'valid must have shape ({len(points)},), got {labels.shape}')
    return points, labels


def _platt(score: Array, good: ArrayLike) -> Array:
    """Return slope >= 0 and level of the logistic curve from scores (n,) to labels (n,)."""
    label = np.asarray(good, dtype=bool)
    some, rest = float(label.sum()), float((~label).sum())
    # Platt's smoothed labels keep the curve finite where a threshold divides the classes.
    wanted = np.where(label, (some + 1.0) / (some + 2.0), 1.0 / (rest + 2.0))

    def loss(w: Array) -> tuple[float, Array]:
        z = w[0] * score + w[1]
        off = expit(z) - wanted
        value = float(np.logaddexp(0.0, z).sum() - wanted @ z) + 0.02 * float(w[0] ** 2)
        return value, np.array([off @ score + 0.04 * w[0], off.sum()])

    start = np.array([1.0, float(logit((some + 1.0) / (some + rest + 2.0)))])
    found = minimize(loss, start, jac=True, method='L-BFGS-B', bounds=[(0.0, 30.0), (-30.0, 30.0)])
    return np.asarray(found.x)
