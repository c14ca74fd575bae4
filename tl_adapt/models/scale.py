# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the scale on which a metric is modelled: linear or logarithmic, and back again."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

_EXPONENT = 80.0  # exp(+-80) is far from every physical metric and far from overflow
_SKEWED = 0.5  # moment skewness from which a sample counts as skewed
_MISTAKES = 0.03  # share of values that may be mistakes
_VARIANCE = 2.0  # a wider log-normal says 'unknown'; its mean would be an artefact of its tail


def _skew(y: Array) -> float:
    """Return the moment skewness of y (n,), 0 for a constant."""
    off = y - y.mean()
    std = float(np.sqrt(np.mean(off**2)))
    if std <= 1e-12 * max(1.0, float(np.abs(y).max())):
        return 0.0
    return float(np.mean((off / std) ** 3))


def choose_log(log: bool | str, *samples: Array) -> bool:
    """
    Decide whether values are modelled on a log scale.

    'auto' takes it if all samples are positive, one is clearly skewed, and the logarithm is less
    so; a given True needs positive values. Raises ValueError otherwise, and for another word.
    """
    values = [np.asarray(sample, dtype=np.float64) for sample in samples if len(sample)]
    positive = all((sample > 0).all() for sample in values)
    if log == 'auto':
        if not values or not positive:
            return False
        # Each sample is judged in itself: two environments differ in level without being skewed.
        plain = max(abs(_skew(sample)) for sample in values)
        logged = max(abs(_skew(np.log(sample))) for sample in values)
        return plain > _SKEWED and logged < plain
    if not isinstance(log, bool | np.bool_):
        raise ValueError(f"log must be True, False or 'auto', got {log!r}")
    if log and not positive:
        raise ValueError('a log scale needs positive values')
    return bool(log)


def as_values(y: ArrayLike, n: int) -> Array:
    """Return y as a finite float array of shape (n,); raise ValueError if it is not."""
    values = np.asarray(y, dtype=np.float64)
    if values.shape != (n,):
        raise ValueError(f'y must have shape ({n},), got {values.shape}')
    if not np.isfinite(values).all():
        raise ValueError('y must be finite')
    return values


def forward(y: Array, log: bool) -> Array:
    """Return y (n,) on the model's scale."""
    return np.log(y) if log else y


def tame(y: Array) -> Array:
    """
    Pull values of y (n,) that can only be mistakes in to the edge of what is plausible.

    A heavy tail is real, and often what matters; a broken stop-watch is not. So a value counts as
    a mistake only if it lies farther from all but 3 % of the others than twice their whole range.
    Fewer than 34 values stay as they are.
    """
    few = int(_MISTAKES * len(y))
    if few == 0:
        return y
    ranked = np.sort(y)
    low, high = float(ranked[0]), float(ranked[-1])
    for cut in range(1, few + 1):
        # The narrowest window that holds all but `cut` values, which may be at either end.
        width = ranked[len(y) - cut - 1 :] - ranked[: cut + 1]
        at = int(np.argmin(width))
        bottom, top = float(ranked[at]), float(ranked[at + len(y) - cut - 1])
        if top - bottom <= 1e-9 * max(1.0, abs(top)):
            continue  # a rare event is no mistake because nothing happens otherwise
        reach = 2.0 * (top - bottom)
        outside = y[(y < bottom) | (y > top)]
        if np.all((outside < bottom - reach) | (outside > top + reach)):
            low, high = bottom - 0.5 * reach, top + 0.5 * reach
    return np.clip(y, low, high)


def median_and_std(mean: Array, var: Array, log: bool) -> tuple[Array, Array]:
    """
    Return median and standard deviation on the original scale.

    `mean`, `var` (n,) belong to a normal distribution on the model's scale. Exponentials are
    bounded, so that a wide extrapolation stays a finite number.
    """
    if not log:
        return mean, np.sqrt(var)
    middle = np.exp(np.clip(mean, -_EXPONENT, _EXPONENT))
    bounded = np.minimum(var, _VARIANCE)
    return middle, middle * np.exp(0.5 * bounded) * np.sqrt(np.expm1(bounded))


def mean_and_std(mean: Array, var: Array, log: bool) -> tuple[Array, Array]:
    """Return mean and standard deviation on the original scale; see `median_and_std`."""
    middle, std = median_and_std(mean, var, log)
    if not log:
        return middle, std
    return middle * np.exp(0.5 * np.minimum(var, _VARIANCE)), std


class OnOriginalScale:
    """Give the predictions of a model that has `latent` and `log_scale` on the original scale."""

    log_scale: bool

    def latent(self, X: ArrayLike, *, noise: bool = True) -> tuple[Array, Array]:
        """Return mean and variance (n,) on the model's scale."""
        raise TypeError(f'{type(self).__name__} has no latent predictions')

    def predict(self, X: ArrayLike, return_std: bool = False, *, noise: bool = True) -> Any:
        """
        Return the median (n,) on the original scale, with `return_std` also the deviation (n,).

        On a linear scale the median is the mean. `noise` as in `latent`.
        """
        median, std = median_and_std(*self.latent(X, noise=noise), self.log_scale)
        return (median, std) if return_std else median

    def moments(self, X: ArrayLike, *, noise: bool = True) -> tuple[Array, Array]:
        """Return mean and standard deviation (n,) on the original scale."""
        return mean_and_std(*self.latent(X, noise=noise), self.log_scale)
