# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for M1 to M5 from a sample: how alike two responses are when few targets were measured.

M1 and M2 depend on the whole response. The source's is known in its population of configurations,
the target's in a sample; the rest of the target is drawn many times from what the sample leaves
possible, and the quantiles of the metric in the draws are the interval. In a draw the target is a
straight line over the source, on the original or on the log scale, with normal noise (Bayesian
linear regression with reference prior: Gelman et al. 2013, section 14.2). The scales are weighed
by their leave-one-out predictive density, but none is ruled out: the less of the source's
variance lies where the sample looked, the less the sample says of it. A few far outliers of the
source count as real in one half of the draws, as accidents of measuring in the other. M3 has the
interval of Fisher's z with the standard error of Bonett, Wright 2000. M4 and M5 are shares of the
few sampled configurations that are in the source's tail, so they have Wilson's interval, widened
by what is not known of where the target's tail begins.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import stats
from scipy.special import ndtri

from tl_adapt.models.kernel import Array
from tl_adapt.models.similarity.response import (
    TAIL,
    divergence,
    is_constant,
    pearson,
    spearman,
    tail_end,
)
from tl_adapt.models.threads import single_thread
from tl_adapt.statistics import wilson

FEWEST = 4  # pairs from which anything can be said of a correlation
_DRAWS = 200
_POPULATION = 600  # configurations of a draw: more change its metrics by little
_DOUBT = 0.2  # weight that each scale keeps, however well the other fits the sample
_BULK = (0.005, 0.995)  # quantiles between which values are no outliers
_PRIOR = 1e-3  # precision of the slope's prior, in pairs: it only keeps few pairs solvable


@dataclasses.dataclass(frozen=True)
class Range:
    """Hold an estimate and its interval, in the metric's unit."""

    value: float
    low: float
    high: float


def rank_interval(rho: float, n: int, level: float) -> tuple[float, float]:
    """
    Return the interval of a rank correlation `rho` of n >= 4 pairs.

    A perfect one counts as half a swap of two neighbours less, so that it has an interval.
    """
    edge = 1.0 - 6.0 / (n * (n * n - 1.0))
    z = float(np.arctanh(np.clip(rho, -edge, edge)))
    half = float(ndtri(0.5 + 0.5 * level) * np.sqrt((1.0 + 0.5 * rho**2) / (n - 3)))
    return float(np.tanh(z - half)), float(np.tanh(z + half))


def tail_range(
    population: Array, source: Array, target: Array, *, level: float, largest: bool = False
) -> Range | None:
    """
    Estimate M4 (or, with `largest`, M5) from a sample; None if it misses the source's tail.

    Shapes as in `estimate_response`. How many of the sampled targets are in the target's tail is
    itself a binomial number, of which the ends of its interval are taken.
    """
    sign, k = -1.0 if largest else 1.0, len(target)
    inside = sign * source <= tail_end(sign * population)
    if not inside.any():
        return None
    ordered = np.sort(sign * target)
    edge = 0.5 - 0.5 * level
    tails = [stats.binom.ppf(edge, k, TAIL), max(TAIL * k, 1.0), stats.binom.isf(edge, k, TAIL)]
    shares = []
    for size in tails:
        limit = ordered[min(int(np.ceil(size)), k) - 1] if size > 0 else -np.inf
        shares.append(wilson(int((inside & (sign * target <= limit)).sum()), int(inside.sum()),
                             level=level))
    return Range(shares[1].estimate, shares[0].low, shares[2].high)


@single_thread
def estimate_response(
    population: Array, source: Array, target: Array, *, level: float = 0.9, seed: int = 0,
    draws: int = _DRAWS,
) -> dict[str, Range]:
    """
    Estimate M1 to M5 from a sample.

    `population` (N,) holds the source's response wherever it is known, `source` and `target` (k,)
    both responses in the sample. A metric that can't be estimated is left out: all of them for
    less than 4 pairs or a constant response.
    """
    k = len(target)
    if k < FEWEST or is_constant(population) or is_constant(source) or is_constant(target):
        return {}
    rho = spearman(source, target)
    result = {'M3': Range(rho, *rank_interval(rho, k, level))}
    for name, largest in (('M4', False), ('M5', True)):
        one = tail_range(population, source, target, level=level, largest=largest)
        if one is not None:
            result[name] = one
    if len(population) > _POPULATION:
        # Spread evenly over the order, so that the two ends stay.
        kept = np.round(np.linspace(0, len(population) - 1, _POPULATION)).astype(int)
        population = np.sort(population)[kept]
    whole = np.concatenate([source, population])
    model = _Draws(whole, target, np.random.default_rng(seed))
    found = np.array([
        (pearson(whole, drawn), divergence(whole, drawn))
        for drawn in (model.draw() for _ in range(draws))
    ])
    for name, column in zip(('M1', 'M2'), found.T):
        low, middle, high = np.nanquantile(column, [0.5 - level / 2, 0.5, 0.5 + level / 2])
        result[name] = Range(float(middle), float(low), float(high))
    return result


def calmed(y: Array) -> Array:
    """Return values (n,) with the median in place of those half the bulk's width away from it."""
    low, high = np.quantile(y, _BULK)
    reach = 0.5 * (high - low)
    far = (y < low - reach) | (y > high + reach)
    return np.where(far, np.median(y), y)


def unseen(population: Array, sample: Array) -> float:
    """Return which share of a population's variance lies outside of a sample's range."""
    square = (population - population.mean()) ** 2
    outside = (population < sample.min()) | (population > sample.max())
    return float(square[outside].sum() / max(float(square.sum()), 1e-300))


def resolution(y: Array) -> float:
    """Return the step of values (n,) that a coarse instrument rounded, 0 if none is seen."""
    levels = np.unique(y)
    if len(levels) < 2 or 4 * len(levels) > len(y):
        return 0.0
    return float(np.diff(levels).min())


class _Draws:
    """Draw the target's response (k + N,) where the source's is known, the sample first."""

    def __init__(self, source: Array, target: Array, rng: np.random.Generator) -> None:
        self.rng, self.target = rng, target
        self.quantum = resolution(source)
        self.positive = float(min(source.min(), target.min())) > 0.0
        scales = (False, True) if self.positive else (False,)
        self.lines = [
            [_Line(values, target, log) for log in scales] for values in (source, calmed(source))
        ]
        doubt = max(_DOUBT, 0.5 * unseen(source, source[: len(target)]))
        self.weights = [self._weights(lines, doubt) for lines in self.lines]

    @staticmethod
    def _weights(lines: list[_Line], doubt: float) -> Array:
        """Return how often each scale is drawn (m,), by predictive density, none ruled out."""
        density = np.array([line.density for line in lines])
        weight = np.exp(density - density.max())
        weight = np.maximum(weight / weight.sum(), doubt)
        return np.asarray(weight / weight.sum())

    def draw(self) -> Array:
        """Return one possible response of the target."""
        which = int(self.rng.integers(2))
        line = self.lines[which][self.rng.choice(len(self.weights[which]), p=self.weights[which])]
        drawn = line.draw(self.rng)
        if self.quantum > 0.0:
            drawn = np.round(drawn / self.quantum) * self.quantum
            if self.positive:
                drawn = np.maximum(drawn, self.quantum)
        drawn[: len(self.target)] = self.target
        return drawn


class _Line:
    """Be the straight line of the target over the source, on one scale, with its uncertainty."""

    def __init__(self, source: Array, target: Array, log: bool) -> None:
        """Fit `target` (k,) to the first k of `source` (k + N,)."""
        k = len(target)
        self.log = log
        x, y = (np.log(source), np.log(target)) if log else (source, target)
        self.x = (x - x[:k].mean()) / (float(x.std()) or 1.0)
        A = np.column_stack([np.ones(k), self.x[:k]])
        self.V = np.linalg.inv(A.T @ A + np.diag([0.0, _PRIOR]))
        self.beta = self.V @ (A.T @ y)
        off = y - A @ self.beta
        self.freedom = k - 2
        # A line through all points of a small sample may still miss others a little.
        floor = 1e-8 * max(float(y.var()), 1e-300)
        self.variance = max(float(off @ off) / self.freedom, floor)
        hat = np.minimum(np.einsum('ij,jk,ik->i', A, self.V, A), 0.999)
        deviation = np.sqrt(self.variance / (1.0 - hat))
        density = stats.t.logpdf(off / (1.0 - hat) / deviation, self.freedom) - np.log(deviation)
        self.density = float(density.sum() - (y.sum() if log else 0.0))

    def draw(self, rng: np.random.Generator) -> Array:
        """Return one possible target (k + N,)."""
        variance = self.variance * self.freedom / rng.chisquare(self.freedom)
        root = np.linalg.cholesky(self.V)
        a, b = self.beta + np.sqrt(variance) * (root @ rng.standard_normal(2))
        found = a + b * self.x + np.sqrt(variance) * rng.standard_normal(len(self.x))
        return np.exp(np.clip(found, -80.0, 80.0)) if self.log else found
