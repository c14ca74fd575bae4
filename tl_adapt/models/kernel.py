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

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

SCALES = (0.03, 0.3, 3.0, 30.0)  # of the squared distance; each ten times the one before
LEVEL = float(np.sqrt(0.5))  # of a level's feature: two levels are at distance 1 then
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


def components(squared: Array) -> tuple[Array, ...]:
    """Return the parts exp(-s q / 2) for each of SCALES at squared scaled distances q."""
    parts = [np.exp((-0.5 * SCALES[0]) * squared)]
    for _ in SCALES[1:]:
        # Each scale is ten times the one before: a tenth power is cheaper than an exponential.
        second = parts[-1] * parts[-1]
        fourth = second * second
        tenth = fourth * fourth
        tenth *= second
        parts.append(tenth)
    return tuple(parts)


def radial(squared: Array) -> Array:
    """Return the correlation at squared scaled distances (any shape)."""
    total, *rest = components(squared)
    for part in rest:
        total += part
    total *= 1.0 / len(SCALES)
    return total


def radial_with_slope(squared: Array) -> tuple[Array, Array]:
    """
    Return the correlation and its slope factor (both any shape).

    The derivative by log(length scale j) is slope * (difference j / length scale j)^2.
    """
    parts = components(squared)
    total, slope = parts[0].copy(), SCALES[0] * parts[0]
    for scale, part in zip(SCALES[1:], parts[1:]):
        total += part
        slope += scale * part
    share = 1.0 / len(SCALES)
    return share * total, share * slope


def correlation(A: Array, B: Array, owner: NDArray[np.int_], log_lengths: Array) -> Array:
    """Return the correlations (n, m) of features A (n, D), B (m, D), log length scales (d,)."""
    weight = np.exp(-log_lengths)[owner]
    return radial(squared_distance(A * weight, B * weight))
