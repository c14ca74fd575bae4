# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the posterior of a Gaussian process' hyperparameters, and for its maximum.

theta = (log length scale of each column, log signal variance, log noise variance). The covariance
is base + signal * correlation + noise * I, where `base` is any fixed covariance: a constant trend,
or what a source environment leaves uncertain. The gradients are analytic (Rasmussen & Williams
2006, section 5.4.1); the sum over all pairs for the length scales is one matrix product. Priors on
theta make it a maximum a posteriori, so that 8 points in 34 dimensions still give a sane answer.
They are normal (that is: log-normal on the quantities) but for the columns' length scales, which
follow Student's distribution around one that all share: most columns are alike, a few may differ
by far without many points to prove it. The shared one grows with the square root of the dimension
(Hvarfner et al. 2024).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, lapack
from scipy.optimize import minimize

from tl_adapt.models.kernel import Array, radial, radial_with_slope, squared_distance

_LOG_2PI = float(np.log(2.0 * np.pi))
# Mean of log(length scale / sqrt(dim)), scale of a column's own deviation, and deviation that all
# share: with few points the columns share one length scale, many points tell them apart.
LENGTH = (0.3, 0.5, 1.0)
FREEDOM = 1.5  # Student's degrees of freedom of a column's own deviation


@dataclasses.dataclass(frozen=True)
class Prior:
    """
    Hold mean, scale, lower and upper bound of theta, each of shape (d + 2,).

    `shared` is the standard deviation of what all length scales deviate by from their mean.
    """

    mean: Array
    std: Array
    low: Array
    high: Array
    shared: float

    def penalty(self, theta: Array, free: slice) -> tuple[float, Array]:
        """Return minus the log density up to a constant and its gradient at the free theta."""
        off = theta - self.mean[free]
        gradient = off / self.std[free] ** 2
        value = 0.5 * float(off[-2:] @ gradient[-2:])
        dim = len(theta) - 2
        if dim > 0:
            common = float(off[:dim].mean())
            own = off[:dim] - common
            width = FREEDOM * self.std[:dim] ** 2
            value += 0.5 * (common / self.shared) ** 2
            value += 0.5 * (FREEDOM + 1.0) * float(np.log1p(own**2 / width).sum())
            slant = (FREEDOM + 1.0) * own / (width + own**2)
            gradient[:dim] = slant - slant.mean() + common / self.shared**2 / dim
        return value, gradient


def make_prior(
    dim: int,
    *,
    signal: tuple[float, float] = (0.0, 1.0),
    noise: tuple[float, float] = (-3.0, 2.0),
    length: tuple[float, float, float] = LENGTH,
) -> Prior:
    """
    Return the prior over theta for `dim` columns of the unit cube.

    `signal` and `noise` are mean and standard deviation of the log variances; `length` is the mean
    of log(length scale / sqrt(dim)), the scale of a column's own deviation, and the shared one.
    """
    grow = 0.5 * np.log(max(dim, 1))
    mean = np.r_[np.full(dim, length[0] + grow), signal[0], noise[0]]
    std = np.r_[np.full(dim, length[1]), signal[1], noise[1]]
    low = np.r_[np.full(dim, np.log(0.03)), -9.0, -13.0]
    high = np.r_[np.full(dim, np.log(30.0) + grow), 5.0, 3.0]
    return Prior(np.clip(mean, low, high), std, low, high, shared=length[2])


def factorise(K: Array) -> Array:
    """
    Return the lower Cholesky factor (n, n) of K (n, n), with as little jitter as is needed.

    Raises ArithmeticError if K is not positive definite even with a jitter of 1 % of its scale.
    """
    scale = float(K.trace()) / len(K) if len(K) else 1.0
    for power in (None, -10, -8, -6, -4, -2):
        A = K if power is None else K + np.diag(np.full(len(K), scale * 10.0**power))
        L, info = lapack.dpotrf(A, lower=1, clean=1)
        if info == 0 and np.isfinite(L.diagonal()).all():
            return np.asarray(L)
    raise ArithmeticError('the covariance is not positive definite')


def root(K: Array) -> Array:
    """Return R (n, n) with R R^T = K (n, n), but for what rounding made negative in K."""
    try:
        return factorise(K)
    except ArithmeticError:
        values, vectors = np.linalg.eigh(0.5 * (K + K.T))
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def inverse(L: Array) -> Array:
    """Return the symmetric inverse (n, n) of L L^T, for L (n, n) with zeros above its diagonal."""
    half, info = lapack.dpotri(L, lower=1)
    if info != 0:
        return np.asarray(cho_solve((L, True), np.eye(len(L))))
    found = half + half.T
    found.flat[:: len(L) + 1] *= 0.5
    return np.asarray(found)


class Posterior:
    """
    Evaluate the log posterior of theta for given data.

    `features` (n, D), `owner` (D,) the input column of each feature, `residual` (n,) the targets
    minus the prior mean, `base` (n, n) a fixed covariance. If `lengths` (d,) is given, the length
    scales stay at it and the free part of theta is (log signal, log noise).
    """

    def __init__(
        self,
        features: Array,
        owner: NDArray[np.int_],
        residual: Array,
        base: Array,
        prior: Prior,
        *,
        lengths: Array | None = None,
    ) -> None:
        """Keep the data; with fixed length scales the correlation is computed once."""
        self.features, self.owner, self.residual = features, owner, residual
        self.base, self.prior, self.lengths = base, prior, lengths
        self.dim = len(prior.mean) - 2
        self.fixed: Array | None = None
        if lengths is not None:
            scaled = features * np.exp(-lengths)[owner]
            self.fixed = radial(squared_distance(scaled, scaled))

    @property
    def free(self) -> slice:
        """Say which part of theta is free."""
        return slice(0, None) if self.fixed is None else slice(self.dim, None)

    def __call__(self, theta: Array) -> tuple[float, Array]:
        """Return the log posterior up to a constant, and its gradient, at the free theta."""
        n = len(self.residual)
        signal, noise = np.exp(theta[-2:])
        slope: Array | None = None
        if self.fixed is None:
            weight = np.exp(-theta[: self.dim])[self.owner]
            scaled = self.features * weight
            corr, slope = radial_with_slope(squared_distance(scaled, scaled))
        else:
            corr = self.fixed
        K = self.base + signal * corr
        K.flat[:: n + 1] += noise
        L = factorise(K)
        value = -np.log(L.diagonal()).sum() - 0.5 * n * _LOG_2PI
        solved = inverse(L)
        alpha = solved @ self.residual
        value -= 0.5 * self.residual @ alpha
        M = np.outer(alpha, alpha)
        M -= solved
        gradient = np.empty(len(theta))
        gradient[-2] = 0.5 * signal * np.vdot(M, corr)
        gradient[-1] = 0.5 * noise * np.trace(M)
        if slope is not None:
            P = M
            P *= slope
            P *= signal
            # sum_ab P_ab (x_a - x_b)^2 = 2 sum_a x_a^2 P_a. - 2 x^T P x, for all columns at once.
            each = (scaled * scaled).T @ P.sum(axis=1) - (scaled * (P @ scaled)).sum(axis=0)
            gradient[: self.dim] = np.bincount(self.owner, each, minlength=self.dim)
        penalty, slant = self.prior.penalty(theta, self.free)
        return float(value - penalty), gradient - slant


def maximise(
    posterior: Posterior, starts: list[Array], *, iterations: int = 60, tolerance: float = 1e-7
) -> tuple[Array, float]:
    """
    Climb from every start (full theta each) and return the best full theta and its value.

    A climb ends where the value grows by less than a share of `tolerance`. A start at
    which the covariance can not be factorised counts as a bad one, not as an error.
    """
    free, prior = posterior.free, posterior.prior
    bounds = list(zip(prior.low[free], prior.high[free]))

    def negative(theta: Array) -> tuple[float, Array]:
        try:
            value, gradient = posterior(theta)
        except ArithmeticError:
            return 1e25, np.zeros_like(theta)
        return -value, -gradient

    best, best_value = prior.mean.copy(), -np.inf
    for start in starts:
        begin = np.clip(start, prior.low, prior.high)[free]
        found = minimize(
            negative, begin, jac=True, method='L-BFGS-B', bounds=bounds,
            options={'maxiter': iterations, 'ftol': tolerance},
        )
        if -found.fun > best_value:
            best_value = -float(found.fun)
            best = prior.mean.copy()
            best[free] = found.x
    if posterior.lengths is not None:
        best[: posterior.dim] = posterior.lengths
    return best, best_value


def starting_points(prior: Prior, count: int, rng: np.random.Generator) -> list[Array]:
    """Return the prior's mean and `count` - 1 draws around it."""
    draws = [prior.mean + 0.7 * prior.std * rng.standard_normal(len(prior.mean))
             for _ in range(count - 1)]
    return [prior.mean, *draws]
