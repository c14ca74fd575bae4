# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the covariance over configurations: ARD Matern 5/2 over mixed inputs.

Numeric columns enter the squared distance by their difference, categorical ones by the Hamming
distance (0 or 1), each with a length scale of its own. The Hamming distance is a squared Euclidean
distance of one-hot codes divided by sqrt(2), so the kernel stays positive definite and everything
is matrix products.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

_SQRT5 = float(np.sqrt(5.0))
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
            blocks.append(np.hstack([hit, unseen]) * np.sqrt(0.5))
        return np.hstack(blocks)


def squared_distance(A: Array, B: Array) -> Array:
    """Return the squared Euclidean distances (n, m) between rows of A (n, D) and B (m, D)."""
    squared = A @ (-2.0 * B.T)
    squared += (A * A).sum(axis=1)[:, None]
    squared += (B * B).sum(axis=1)[None, :]
    return np.maximum(squared, 0.0, out=squared)


def matern(squared: Array) -> Array:
    """Return the Matern 5/2 correlation of squared scaled distances (any shape)."""
    root = np.sqrt(squared)
    root *= _SQRT5
    result = root * (1.0 / 3.0)
    result += 1.0
    result *= root
    result += 1.0
    np.negative(root, out=root)
    np.exp(root, out=root)
    result *= root
    return result


def matern_with_slope(squared: Array) -> tuple[Array, Array]:
    """
    Return the correlation and its slope factor (both any shape).

    The derivative by log(length scale j) is slope * (difference j / length scale j)^2.
    """
    root = _SQRT5 * np.sqrt(squared)
    decay = np.exp(-root)
    slope = (1.0 + root) * decay
    correlation = slope + (root * root / 3.0) * decay
    slope *= 5.0 / 3.0
    return correlation, slope


def correlation(A: Array, B: Array, owner: NDArray[np.int_], log_lengths: Array) -> Array:
    """Return the correlations (n, m) of features A (n, D), B (m, D), log length scales (d,)."""
    weight = np.exp(-log_lengths)[owner]
    return matern(squared_distance(A * weight, B * weight))
