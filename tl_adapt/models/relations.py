# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for what may relate a target environment to a source.

All hypotheses are cases of  target(x) = a + b source(x) + difference(x) + noise,  where a and b
have normal priors and the difference is a Gaussian process. Given the source's measurements,
source(x) is a normal process with posterior mean f and covariance C (see `forest` for what a
forest of the source adds to both). So each hypothesis is an
exact Gaussian process over the few target points alone, with prior mean b0 f and covariance
    var(a) + var(b) f f^T + share C + sum_s w_s exp(-s q / 2) + noise.
With the source's length scales in q this is the two-task process with intrinsic coregionalisation,
and co-kriging (Bonilla et al. 2008, Kennedy & O'Hagan 2000), at the cost of the few target points.
Parts of wide scale alone make a difference of influences that add up: the source's influences,
weighed anew.

Variances and noise are not fitted but tried on a grid: five points would fit anything.
"""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from tl_adapt.models.kernel import SCALES, Array, chunks, components, squared_distance
from tl_adapt.models.source import Seen, Source

COPY, SHIFT, INFLUENCES = 'source copy', 'linear shift', 'reweighted influences'
TASKS, RELEVANCE = 'two-task GP', 'relevance only'
RESIDUAL, ALONE = 'residual GP', 'target only'
NAMES = (COPY, SHIFT, INFLUENCES, TASKS, RESIDUAL, RELEVANCE, ALONE)

CONSTANT, SLOPE, INHERITED, PARTS = 0, 1, 2, 3  # places in the last axis of `weight`
WIDTH = PARTS + len(SCALES)

_CACHED = 2**15  # numbers that are worked on at once, so that they stay in the cache
# Of the target's variance: what the difference has, and what the noise has.
_DIFFERENCE = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_NOISE = (0.0005, 0.002, 0.006, 0.02, 0.06, 0.2, 0.6, 1.2)
# How the difference divides over the scales, from influences that add up to steps.
_MIXES = ((0.6, 0.4, 0.0, 0.0), (0.2, 0.3, 0.3, 0.2), (0.0, 0.2, 0.5, 0.3), (0.0, 0.0, 0.5, 0.5))


@dataclasses.dataclass(frozen=True)
class _Trend:
    """Hold what is known of a and b beforehand, and the log prior of the whole."""

    slope: float
    slope_variance: float
    shifted: bool
    share: float
    log_prior: float


_COPY = _Trend(1.0, 0.0, shifted=False, share=1.0, log_prior=2.0)
_TRENDS = (
    _COPY,
    _Trend(1.0, 0.0, shifted=True, share=1.0, log_prior=1.5),
    _Trend(1.0, 0.15, shifted=True, share=1.0, log_prior=-0.7),
    _Trend(0.0, 2.0, shifted=True, share=1.0, log_prior=-4.0),
    _Trend(0.0, 0.0, shifted=True, share=0.0, log_prior=-2.5),
)


@dataclasses.dataclass(frozen=True)
class Grid:
    """
    Hold H hypotheses.

    `names`, prior mean `slope` (H,) of b, `weight` (H, WIDTH) of the covariance's parts, `noise`
    (H,) variances, and `log_prior` (H,), normalised.
    """

    names: tuple[str, ...]
    slope: Array
    weight: Array
    noise: Array
    log_prior: Array

    def __len__(self) -> int:
        """Return H."""
        return len(self.names)

    def only(self, rows: NDArray[np.int_]) -> Grid:
        """Return some of the hypotheses, their priors as they are."""
        return Grid(
            tuple(self.names[int(row)] for row in rows), self.slope[rows], self.weight[rows],
            self.noise[rows], self.log_prior[rows],
        )


def make_grid(offset: float, variance: float, noise: float, *, known: bool = True) -> Grid:
    """
    Return the hypotheses that share the source's length scales.

    `offset` is the prior variance of a, `variance` that of the target's values, `noise` the noise
    variance to be expected; without any target value (`known` false) only the source is copied.
    """
    levels = variance * np.array(_NOISE)
    likely = -0.5 * (np.log(levels) - np.log(noise)) ** 2
    likely = likely - np.logaddexp.reduce(likely)
    rows: list[tuple[str, float, list[float], float]] = []
    for trend in _TRENDS if known else (_COPY,):
        base = [offset if trend.shifted else 0.0, trend.slope_variance, trend.share]
        related = trend.share > 0.0
        name = COPY if trend is _COPY else SHIFT if related else RELEVANCE
        cost = 0.0 if related else 0.5
        rows.append((name, trend.slope, [*base, *([0.0] * len(SCALES))], trend.log_prior - cost))
        for part in _DIFFERENCE:
            if (trend is _COPY and part > 0.03) or (not related and part < 0.1):
                continue
            for number, mix in enumerate(_MIXES):
                name = COPY if trend is _COPY else RELEVANCE
                if related and trend is not _COPY:
                    name = TASKS if number else INFLUENCES
                weight = [*base, *(variance * part * share for share in mix)]
                log_prior = trend.log_prior - np.log(len(_MIXES))
                rows.append((name, trend.slope, weight, float(log_prior)))
    count = len(levels)
    prior = np.repeat([row[3] for row in rows], count) + np.tile(likely, len(rows))
    return Grid(
        names=tuple(name for name, *_ in rows for _ in levels),
        slope=np.repeat([row[1] for row in rows], count),
        weight=np.repeat(np.array([row[2] for row in rows]), count, axis=0),
        noise=np.tile(levels, len(rows)),
        log_prior=prior - np.logaddexp.reduce(prior),
    )


@dataclasses.dataclass(frozen=True)
class Place:
    """
    Hold m points as a block of hypotheses sees them.

    `scaled` (m, D) are features divided by length scales, `mean` (m,) and `variance` (m,) the
    source's, `seen` all that the source says (None without a source).
    """

    scaled: Array
    mean: Array
    variance: Array
    seen: Seen | None


class Block:
    """
    Hold hypotheses that share a source (or have none) and length scales, and fit them.

    Everything is in standardised units: those of the source, or the target's own.
    """

    def __init__(
        self, grid: Grid, source: Source | None, lengths: Array, owner: NDArray[np.int_],
        location: float, spread: float,
    ) -> None:
        """Keep the hypotheses; `lengths` (d,) are logarithms, `owner` as in `Features`."""
        self.grid, self.source, self.lengths, self.owner = grid, source, lengths, owner
        self.location, self.spread = location, spread
        self.scale = np.exp(-lengths)[owner]

    def place(self, features: Array, seen: Seen | None) -> Place:
        """Return points with target features (m, D) as this block sees them."""
        nothing = np.zeros(len(features))
        mean, variance = (nothing, nothing) if seen is None else (seen.mean, seen.variance)
        return Place(features * self.scale, mean, variance, seen)

    def parts(self, left: Place, right: Place, inherited: Array | None = None) -> Array:
        """
        Return the covariance's parts (WIDTH, m1, m2) between two sets of points.

        `inherited` (m1, m2) is the source's covariance, if it is known already.
        """
        found = np.empty((WIDTH, len(left.scaled), len(right.scaled)))
        found[CONSTANT] = 1.0
        found[SLOPE] = left.mean[:, None] * right.mean
        if inherited is not None:
            found[INHERITED] = inherited
        elif self.source is not None and left.seen is not None and right.seen is not None:
            found[INHERITED] = self.source.covariance(left.seen, right.seen)
        else:
            found[INHERITED] = 0.0
        components(squared_distance(left.scaled, right.scaled), out=found[PARTS:])
        return found

    def fit(self, place: Place, y: Array) -> Block:
        """Learn from target points and their values y (n,) on the model's scale; n may be 0."""
        grid, n = self.grid, len(y)
        self.known = place
        self.z = (y - self.location) / self.spread
        self.residual = self.z - grid.slope[:, None] * place.mean
        covariance = np.tensordot(grid.weight, self.parts(place, place), 1)
        covariance[:, np.arange(n), np.arange(n)] += grid.noise[:, None]
        self.half = _halves(covariance)
        self.alpha = self.solve(self.residual)
        return self

    def extended(self, place: Place, y: float) -> Block:
        """Return the block that knows one more target point, by one more row of the factors."""
        grid, n = self.grid, len(self.z)
        other = copy.copy(self)
        cross = np.tensordot(grid.weight, self.parts(self.known, place)[:, :, 0], 1)
        own = grid.weight @ self.parts(place, place)[:, 0, 0] + grid.noise
        solved = _product(self.half, cross)
        left = np.sqrt(np.maximum(own - (solved * solved).sum(axis=1), 1e-10 * own))
        half = np.zeros((len(grid), n + 1, n + 1))
        half[:, :n, :n] = self.half
        half[:, n, :n] = -_transposed(self.half, solved) / left[:, None]
        half[:, n, n] = 1.0 / left
        other.half = half
        other.known = joined(self.known, place)
        value = (y - self.location) / self.spread
        other.z = np.append(self.z, value)
        last = value - grid.slope * place.mean[0]
        other.residual = np.hstack([self.residual, last[:, None]])
        other.alpha = other.solve(other.residual)
        return other

    def solve(self, vectors: Array, rows: NDArray[np.int_] | None = None) -> Array:
        """Return inverse covariances times vectors (H, n), of some hypotheses or all."""
        half = self.half if rows is None else self.half[rows]
        return _transposed(half, _product(half, vectors))

    def loo(self) -> tuple[Array, Array]:
        """
        Return leave-one-out mean and variance (H, n) of the values on the model's scale.

        All values at one point are left out together: the others there would give it away.
        """
        variance = 1.0 / np.einsum('hij,hij->hj', self.half, self.half)
        mean = self.z - self.alpha * variance
        for same in _repeats(self.known.scaled):
            some = self.half[:, :, same]
            left = np.linalg.inv(some.transpose(0, 2, 1) @ some)
            mean[:, same] = self.z[same] - np.einsum('hij,hj->hi', left, self.alpha[:, same])
            variance[:, same] = np.einsum('hii->hi', left)
        return self.location + self.spread * mean, self.spread**2 * variance

    def slopes(self) -> Array:
        """Return the posterior means (H,) of b."""
        grid = self.grid
        return np.asarray(grid.slope + grid.weight[:, SLOPE] * (self.alpha @ self.known.mean))

    def weighted(self, share: Array) -> Weighted:
        """Return the hypotheses' mean prediction; `share` (H,) are their weights."""
        coefficient = (share[:, None] * self.grid.weight).T @ self.alpha
        return Weighted(self, float(share.sum()), float(share @ self.grid.slope), coefficient)

    def each(self, place: Place, rows: NDArray[np.int_], parts: Array) -> tuple[Array, Array]:
        """Return mean and variance (len(rows), m) of the function by some hypotheses."""
        grid, n, m = self.grid, len(self.z), len(place.scaled)
        weight = grid.weight[rows]
        mean = grid.slope[rows, None] * place.mean
        variance = (
            weight[:, CONSTANT, None] + weight[:, SLOPE, None] * place.mean**2
            + weight[:, INHERITED, None] * place.variance
            + weight[:, PARTS:].sum(axis=1, keepdims=True)
        )
        if n and m:
            flat = parts.reshape(len(parts), -1)
            for some in chunks(len(rows), max(1, _CACHED // (n * max(n, m)))):
                own = rows[some]
                cross = (weight[some] @ flat).reshape(-1, n, m)
                mean[some] += np.matmul(self.alpha[own, None], cross)[:, 0]
                # Large ones come alone, and are not copied.
                half = self.half[own] if len(own) > 1 else self.half[own[0]]
                solved = half @ cross
                solved *= solved
                variance[some] -= solved.sum(axis=1)
        variance = np.maximum(variance, 1e-10)
        return self.location + self.spread * mean, self.spread**2 * variance


@dataclasses.dataclass(frozen=True)
class Weighted:
    """
    Predict by the weighted mean of a block's hypotheses, as cheaply as by one of them.

    `total` is the sum of their weights, `factor` that of the source's function, `coefficient`
    (WIDTH, n) those of the covariance's parts.
    """

    block: Block
    total: float
    factor: float
    coefficient: Array

    def __call__(self, place: Place, parts: Array | None = None) -> Array:
        """Return the means (m,), scaled by the weights' sum."""
        block = self.block
        found = self.factor * place.mean
        if len(block.z):
            parts = block.parts(block.known, place) if parts is None else parts
            found = found + np.ravel(self.coefficient) @ parts.reshape(self.coefficient.size, -1)
        return np.asarray(block.location * self.total + block.spread * found)


def _repeats(points: Array) -> list[NDArray[np.int_]]:
    """Return the rows of each point (n, D) that comes more than once."""
    if len(points) < 2:
        return []
    _, group, count = np.unique(points, axis=0, return_inverse=True, return_counts=True)
    return [np.flatnonzero(group.reshape(-1) == i) for i in np.flatnonzero(count > 1)]


def joined(left: Place, right: Place) -> Place:
    """Return the points of both."""
    seen = None
    if left.seen is not None and right.seen is not None:
        seen = Seen(
            np.append(left.seen.mean, right.seen.mean),
            np.append(left.seen.variance, right.seen.variance),
            np.vstack([left.seen.features, right.seen.features]),
            np.hstack([left.seen.V, right.seen.V]),
            np.append(left.seen.off, right.seen.off),
        )
    return Place(
        np.vstack([left.scaled, right.scaled]), np.append(left.mean, right.mean),
        np.append(left.variance, right.variance), seen,
    )


def _product(matrices: Array, vectors: Array) -> Array:
    """Return the products (H, n) of matrices (H, n, n) and vectors (H, n)."""
    return np.asarray(np.matmul(matrices, vectors[:, :, None])[:, :, 0])


def _transposed(matrices: Array, vectors: Array) -> Array:
    """Return the products (H, n) of transposed matrices (H, n, n) and vectors (H, n)."""
    return np.asarray(np.matmul(vectors[:, None], matrices)[:, 0])


def _halves(matrices: Array) -> Array:
    """
    Return the inverses (H, n, n) of covariances' lower Cholesky factors, with jitter if need be.

    Such a half W is as good as the inverse W^T W, and takes half its time.
    """
    n = matrices.shape[-1]
    if n == 0:
        return matrices
    scale = np.einsum('hii->hi', matrices).mean(axis=1)
    for jitter in (1e-12, 1e-9, 1e-6, 1e-3):
        matrices[:, np.arange(n), np.arange(n)] += jitter * scale[:, None]
        found = _all_halves(matrices)
        if found is not None:
            return found
    raise ArithmeticError('the covariance is not positive definite')


def _all_halves(matrices: Array) -> Array | None:
    """Return the halves (H, n, n) of symmetric matrices, None if one is not positive."""
    halves = matrices.copy()
    # One by one and in place: numpy has no inverse of stacks of triangles.
    for half in halves:
        upper, info = lapack.dpotrf(half.T, lower=0, clean=1, overwrite_a=1)
        if info == 0:
            upper, info = lapack.dtrtri(upper, lower=0, overwrite_c=1)
        if info != 0:
            return None
    return halves
