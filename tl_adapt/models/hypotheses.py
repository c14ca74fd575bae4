# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for what may relate a target environment to a source: one small Gaussian process each.

All are cases of  target(x) = a + b * source(x) + difference(x) + noise  with normal priors on
a and b, and a Matern process as the difference. Given the source's measurements, source(x) is
a normal process with the source model's posterior mean f and covariance C. So each hypothesis is
an exact process over the few target points alone, with covariance
    var(a) + var(b) f f^T + b^2 C + signal * Matern + noise.
With the source's length scales this is the two-task process with intrinsic coregionalisation, and
co-kriging (Bonilla et al. 2008, Kennedy & O'Hagan 2000), at the cost of the few target points.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular

from tl_adapt.models.kernel import Array, correlation
from tl_adapt.models.likelihood import (
    Posterior,
    Prior,
    factorise,
    inverse,
    make_prior,
    maximise,
    starting_points,
)


@dataclasses.dataclass(frozen=True)
class Hypothesis:
    """
    Say which parts of the relation are free.

    `slope` is the prior mean of b, `slope_free` and `offset_free` whether b and a are uncertain.
    `difference` is None, 'source' (the source's length scales) or 'own'. `penalty` is taken from
    the log evidence: about half a unit for each quantity that is fitted.
    """

    name: str
    slope: float
    slope_free: bool
    offset_free: bool
    difference: str | None
    signal: tuple[float, float]
    penalty: float


HYPOTHESES = (
    Hypothesis('source copy', 1.0, False, False, None, (-9.0, 0.1), 0.0),
    Hypothesis('linear shift', 1.0, True, True, None, (-9.0, 0.1), 0.5),
    Hypothesis('two-task GP', 1.0, True, True, 'source', (-1.5, 1.2), 1.0),
    Hypothesis('residual GP', 1.0, False, True, 'own', (-1.5, 1.2), 1.5),
    Hypothesis('target only', 0.0, False, True, 'own', (-0.5, 1.2), 1.5),
)


@dataclasses.dataclass(frozen=True)
class View:
    """
    Hold what hypotheses may know of some points.

    `features` (n, D) of the kernel, `mean` (n,) and `cov` (n, m) the source model's posterior.
    """

    features: Array
    mean: Array
    cov: Array


@dataclasses.dataclass(frozen=True)
class Context:
    """
    Hold what all hypotheses share.

    `owner` (D,) as in `Features`, `lengths` (d,) the source's log length scales, `offset` and
    `slope` prior standard deviations of a and b, `noise` mean and deviation of the log variance.
    """

    owner: NDArray[np.int_]
    lengths: Array
    offset: float
    slope: float
    noise: tuple[float, float]


class Fitted:
    """Fit one hypothesis to the target's standardised values z (n,), n >= 0, and predict."""

    def __init__(
        self, hypothesis: Hypothesis, context: Context, view: View, z: Array,
        *, rng: np.random.Generator | None = None, theta: Array | None = None,
        share: float | None = None, starts: int = 2,
    ) -> None:
        """
        Learn theta if it is not given.

        `share` is the part b^2 of the source's uncertainty that the target inherits; it is found
        from the data if it is not given.
        """
        self.hypothesis, self.context, self.view, self.z = hypothesis, context, view, z
        self.share = hypothesis.slope**2 if share is None else share
        self.prior = self._make_prior()
        if theta is not None:
            self.theta = theta
        elif len(z) == 0:
            self.theta = self.prior.mean.copy()
        else:
            rng = np.random.default_rng(0) if rng is None else rng
            self.theta = self._search(starting_points(self.prior, starts, rng))
            if hypothesis.slope_free and share is None:
                self._factorise()
                self.share = float(np.clip(self.slope()[0] ** 2, 0.0, 2.0))
        self._factorise()

    def _make_prior(self) -> Prior:
        """Return the prior over theta; without a difference its signal is pinned to nothing."""
        dim = len(self.context.lengths)
        prior = make_prior(dim, signal=self.hypothesis.signal, noise=self.context.noise)
        if self.hypothesis.difference is None:
            prior.high[dim] = prior.low[dim]
            prior.mean[dim] = prior.low[dim]
        return prior

    @property
    def lengths(self) -> Array:
        """Return the log length scales of the difference (d,)."""
        own = self.hypothesis.difference == 'own'
        return self.theta[:-2] if own else self.context.lengths

    def _trend(self, left: View, right: View, cov: Array) -> Array:
        """Return the part (n, m) of the covariance that is no difference and no noise."""
        K = self.share * cov
        if self.hypothesis.offset_free:
            K = K + self.context.offset**2
        if self.hypothesis.slope_free:
            K = K + self.context.slope**2 * np.outer(left.mean, right.mean)
        return np.asarray(K)

    def _search(self, starts: list[Array]) -> Array:
        """Return the most probable theta."""
        view = self.view
        own = self.hypothesis.difference == 'own'
        posterior = Posterior(
            view.features, self.context.owner, self.z - self.hypothesis.slope * view.mean,
            self._trend(view, view, view.cov), self.prior,
            lengths=None if own else self.context.lengths,
        )
        return maximise(posterior, starts)[0]

    def _factorise(self) -> None:
        """Set what prediction needs."""
        view, n = self.view, len(self.z)
        self.signal, self.noise = (float(v) for v in np.exp(self.theta[-2:]))
        if self.hypothesis.difference is None:
            self.signal = 0.0
        self.residual = self.z - self.hypothesis.slope * view.mean
        K = self._trend(view, view, view.cov)
        if self.signal > 0.0:
            K = K + self.signal * self._corr(view.features)
        K = K + np.diag(np.full(n, self.noise))
        self.L = factorise(K) if n else np.empty((0, 0))
        self.alpha = cho_solve((self.L, True), self.residual) if n else np.empty(0)

    def _corr(self, features: Array) -> Array:
        """Return the correlation (n, m) of the target points with other features (m, D)."""
        return correlation(self.view.features, features, self.context.owner, self.lengths)

    def slope(self) -> tuple[float, float]:
        """Return posterior mean and standard deviation of b."""
        if not self.hypothesis.slope_free:
            return self.hypothesis.slope, 0.0
        var, f = self.context.slope**2, self.view.mean
        if len(self.z) == 0:
            return self.hypothesis.slope, self.context.slope
        mean = self.hypothesis.slope + var * float(f @ self.alpha)
        v = solve_triangular(self.L, f, lower=True)
        return mean, float(np.sqrt(max(var - var**2 * float(v @ v), 0.0)))

    def predict(self, view: View, var: Array, cross: Array) -> tuple[Array, Array]:
        """
        Return mean and variance (m,) of the target's function, without noise.

        `var` (m,) is the source's posterior variance at the view, `cross` (n, m) its posterior
        covariance with the target points.
        """
        mean = self.hypothesis.slope * view.mean
        total = self.share * var + self.signal
        if self.hypothesis.offset_free:
            total = total + self.context.offset**2
        if self.hypothesis.slope_free:
            total = total + self.context.slope**2 * view.mean**2
        if len(self.z):
            K = self._trend(self.view, view, cross)
            if self.signal > 0.0:
                K = K + self.signal * self._corr(view.features)
            V = solve_triangular(self.L, K, lower=True, check_finite=False)
            mean = mean + self.alpha @ K
            total = total - np.einsum('ij,ij->j', V, V)
        return mean, np.maximum(total, 1e-10)

    def loo(self) -> tuple[Array, Array]:
        """Return leave-one-out mean and variance (n,), noise included, at the present theta."""
        if len(self.z) == 0:
            return np.empty(0), np.empty(0)
        var = 1.0 / np.diag(inverse(self.L))
        return self.z - self.alpha * var, var
