# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the covariance over configurations: a scale mixture of Gaussians over mixed inputs.

Numeric columns enter the squared distance q by their difference, categorical ones by the Hamming
distance (0 or 1), each with a length scale of its own. The Hamming distance is a squared Euclidean
distance of one-hot codes divided by sqrt(2), so the kernel stays positive definite and everything
is matrix products.

The correlation is the mean of exp(-s q / 2) over a few scales s, as the Matern kernels are
mixtures over endlessly many (Rasmussen & Williams 2006, section 4.2). The wide parts see
influences that nearly add up, the narrow ones steps and interactions of many options. Each part is
a product over columns, which makes whole spaces of discrete options cheap to predict.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

SCALES = (0.03, 0.3, 3.0, 30.0)  # of the squared distance; each ten times the one before
LEVEL = float(np.sqrt(0.5))  # of a level's feature: two levels are at distance 1 then
CHUNK = 1024  # rows predicted at once: the matrices of one chunk stay in the cache
# Powers are worked out in blocks: what is in between stays in the cache, and is memory that is
# there already. New pages for each step would take longer than the exponential.
_BLOCK = 2**13
_UNSEEN = 8  # buckets for unseen levels; the places i / (k - 1) of k <= 8 levels never share one


def as_points(X: ArrayLike, dim: int | None = None) -> Array:
    """
    Return `X` as a finite float array of shape (n, d).

    Raises ValueError if it has another number of axes or columns, or holds a NaN.
    """
    points = np.asarray(X, dtype=np.float64)
    if points.ndim != 2 or (dim is not None and points.shape[1] != dim):
        raise ValueError(f'X must have shape (n, {dim or "d"}), got {points.shape}')
    if not np.isfinite(points).all():
        raise ValueError('X must be finite')
    return points


def chunks(n: int, size: int = CHUNK) -> Iterator[slice]:
    """Yield slices of at most `size` that cover range(n)."""
    for begin in range(0, n, size):
        yield slice(begin, min(begin + size, n))


class Features:
    """
    Turn columns of the unit cube into columns whose Euclidean distance is the wanted one.

    `categorical` is a boolean mask of shape (d,), `reference` the points (n, d) that give the
    levels of each categorical column. `owner` says which input column each feature belongs to.
    """

    def __init__(self, categorical: NDArray[np.bool_], reference: Array) -> None:
        """Find the levels."""
        self.categorical = categorical
        self.numeric = np.flatnonzero(~categorical)
        self.levels = [np.unique(reference[:, j]) for j in np.flatnonzero(categorical)]
        counts = [len(levels) + _UNSEEN for levels in self.levels]
        self.owner = np.concatenate(
            [self.numeric, np.repeat(np.flatnonzero(categorical), counts)]
        ).astype(int)

    def __call__(self, X: Array) -> Array:
        """Return the features (n, D) of points (n, d)."""
        if not self.levels:
            return X - 0.5  # centred, because the distance comes from a difference of squares
        blocks = [X[:, self.numeric] - 0.5]
        for levels, j in zip(self.levels, np.flatnonzero(self.categorical)):
            hit = X[:, j, None] == levels[None, :]
            # Levels that the reference never shows share some buckets by their place.
            bucket = np.round((_UNSEEN - 1) * X[:, j]).astype(int) % _UNSEEN
            unseen = (bucket[:, None] == np.arange(_UNSEEN)) & ~hit.any(axis=1, keepdims=True)
            blocks.append(np.hstack([hit, unseen]) * LEVEL)
        return np.hstack(blocks)


def squared_distance(A: Array, B: Array) -> Array:
    """Return the squared Euclidean distances (n, m) between rows of A (n, D) and B (m, D)."""
    squared = A @ (-2.0 * B.T)
    squared += (A * A).sum(axis=1)[:, None]
    squared += (B * B).sum(axis=1)[None, :]
    return np.maximum(squared, 0.0, out=squared)


def components(squared: Array, out: Array | None = None) -> Array:
    """
    Return the parts exp(-s q / 2) (S, ...) for the S SCALES at squared scaled distances q (...).

    They are written into `out`, if it is given; raises ValueError unless that is contiguous.
    """
    if out is not None and not out.flags.c_contiguous:
        raise ValueError('out must be contiguous')
    found = np.empty((len(SCALES), *squared.shape)) if out is None else out
    flat, parts = np.ravel(squared), found.reshape(len(SCALES), -1)
    for block in chunks(flat.size, _BLOCK):
        _powers(flat[block], parts[:, block])
    return found


def radial(squared: Array) -> Array:
    """Return the correlation at squared scaled distances (any shape)."""
    total = np.empty(squared.size)
    for block, parts in _passing(squared):
        np.add.reduce(parts, axis=0, out=total[block])
        total[block] *= 1.0 / len(SCALES)
    return total.reshape(squared.shape)


def radial_with_slope(squared: Array) -> tuple[Array, Array]:
    """
    Return the correlation and its slope factor (both any shape).

    The derivative by log(length scale j) is slope * (difference j / length scale j)^2.
    """
    total, slope = np.empty((2, squared.size))
    for block, parts in _passing(squared):
        np.add.reduce(parts, axis=0, out=total[block])
        parts *= np.array(SCALES)[:, None]
        np.add.reduce(parts, axis=0, out=slope[block])
        for found in (total, slope):
            found[block] *= 1.0 / len(SCALES)
    return total.reshape(squared.shape), slope.reshape(squared.shape)


def _passing(squared: Array) -> Iterator[tuple[slice, Array]]:
    """Yield blocks of the flat distances with their parts (S, m), which hold until the next."""
    flat = np.ravel(squared)
    work = np.empty((len(SCALES), min(_BLOCK, flat.size)))
    for block in chunks(flat.size, _BLOCK):
        parts = work[:, : len(flat[block])]
        _powers(flat[block], parts)
        yield block, parts


def _powers(squared: Array, out: Array) -> None:
    """Write exp(-s q / 2) for each of SCALES into `out` (S, m) for q (m,)."""
    first, *rest = out
    np.multiply(squared, -0.5 * SCALES[0], out=first)
    np.exp(first, out=first)
    for part in rest:
        # Each scale is ten times the one before: a tenth power is cheaper than an exponential.
        second = first * first
        np.multiply(second, second, out=part)
        np.multiply(part, part, out=part)
        np.multiply(part, second, out=part)
        first = part


def correlation(A: Array, B: Array, owner: NDArray[np.int_], log_lengths: Array) -> Array:
    """Return the correlations (n, m) of features A (n, D), B (m, D), log length scales (d,)."""
    weight = np.exp(-log_lengths)[owner]
    return radial(squared_distance(A * weight, B * weight))
