# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for several objectives, all to be minimised: front, hypervolume, expected improvement.

The region that no point of the front dominates falls into at most 2 n + 1 disjoint boxes (Lacour,
Klamroth & Fonseca 2017; Yang, Emmerich, Deutz & Baeck 2019). In each of them the improvement of
independent objectives is a product, so its expectation is a product of expectations with closed
forms: no draws are needed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from tl_adapt.acquisition import Term

Array = NDArray[np.float64]

BEYOND = 0.1  # of the front's range: how far the reference point lies beyond its nadir
_AT_ONCE = 2**20  # numbers of one array
_EXPONENT = 80.0  # exp(+-80) is far from every physical metric and far from overflow


def nondominated(values: ArrayLike) -> NDArray[np.bool_]:
    """
    Return which (n,) of the points `values` (n, m) no other one dominates.

    A point dominates another one if it is nowhere larger and somewhere smaller, so equal points
    stay together. Raises ValueError for nan and another shape.
    """
    points = _points(values)
    # In lexicographic order a point can be dominated by an earlier one only.
    ordered, inverse = np.unique(points, axis=0, return_inverse=True)
    kept = np.zeros(len(ordered), dtype=bool)
    left = np.arange(len(ordered))
    while len(left):
        first, left = left[0], left[1:]
        kept[first] = True
        left = left[(ordered[left] < ordered[first]).any(axis=1)]
    return np.asarray(kept[inverse.reshape(-1)])


def hypervolume(values: ArrayLike, reference: ArrayLike) -> float:
    """
    Return the volume that the points `values` (n, m), m = 2 or 3, dominate up to `reference` (m,).

    Points that do not lie below the reference in all objectives add nothing. Raises ValueError
    for nan, -inf, another shape and a reference that is not finite.
    """
    pieces = _sweep(*_front(values, reference))[0]
    return float(np.prod(pieces[:, 1] - pieces[:, 0], axis=1).sum())


@dataclasses.dataclass(frozen=True)
class Boxes:
    """Hold disjoint boxes, from `low` to `high` (k, m); `low` is -inf where a box has no end."""

    low: Array
    high: Array


def undominated_boxes(values: ArrayLike, reference: ArrayLike) -> Boxes:
    """
    Return boxes that fill what the points (n, m) leave undominated below the reference (m,).

    m is 2 or 3; without points it is one box. Raises ValueError as `hypervolume` does.
    """
    front, bound = _front(values, reference)
    dominated, columns = _sweep(front, bound)
    if len(bound) == 2:
        return Boxes(columns[:, 0, :2], columns[:, 1, :2])
    # What a point takes at its third value is undominated below it.
    dominated[:, 1, 2] = dominated[:, 0, 2]
    dominated[:, 0, 2] = -np.inf
    boxes = np.concatenate([dominated, columns])
    return Boxes(boxes[:, 0], boxes[:, 1])


def _sweep(front: Array, bound: Array) -> tuple[Array, Array]:
    """
    Return the dominated pieces (k, 2, 3) and the columns (l, 2, 3) that no point dominates.

    Both have a lower and an upper corner; two objectives are as three of which all points have
    0 in the third, up to 1. The points come in the order of their third values. What is not
    dominated by those so far is a row of columns: `begin` to `end` in the first objective, below
    `top` in the second. A point takes from each column what lies beyond it in both.
    """
    if len(bound) == 2:
        front = np.column_stack([front, np.zeros(len(front))])
        bound = np.append(bound, 1.0)
    pieces: list[list[list[float]]] = []
    columns = [(-np.inf, float(bound[0]), float(bound[1]))]
    for x, y, z in front[np.argsort(front[:, 2], kind='stable')].tolist():
        before = [(b, min(e, x), top) for b, e, top in columns if b < x]
        cut = [(max(b, x), e, top) for b, e, top in columns if e > x and top > y]
        after = [(b, e, top) for b, e, top in columns if e > x and top <= y]
        pieces += [[[b, y, z], [e, top, float(bound[2])]] for b, e, top in cut]
        columns = [*before, (x, cut[-1][1], y), *after]
    low = [[b, -np.inf, -np.inf] for b, e, top in columns]
    high = [[e, top, float(bound[2])] for b, e, top in columns]
    return np.array(pieces).reshape(-1, 2, 3), np.stack([low, high], axis=1)


def expected_improvement(terms: Sequence[Term], boxes: Boxes) -> Array:
    """
    Return by how much (n,) a point of independent objectives should enlarge the hypervolume.

    `terms` are the 2 or 3 objectives, each a factor times a normal or log-normal number; `boxes`
    are those that the present front leaves undominated.
    """
    found = np.empty(len(terms[0].mean))
    levels = [np.unique([boxes.low[:, j], boxes.high[:, j]]) for j in range(len(terms))]
    step = max(1, _AT_ONCE // len(boxes.high))
    for begin in range(0, len(found), step):
        part = slice(begin, begin + step)
        volume = np.ones((len(boxes.high), len(found[part])))
        for j, term in enumerate(terms):
            below = expected_shortfall(term, levels[j], part)
            volume *= (
                below[np.searchsorted(levels[j], boxes.high[:, j])]
                - below[np.searchsorted(levels[j], boxes.low[:, j])]
            )
        found[part] = volume.sum(axis=0)
    return np.maximum(found, 0.0)


def expected_shortfall(term: Term, levels: Array, part: slice = slice(None)) -> Array:
    """
    Return E[max(level - f, 0)] (k, n) of a normal or log-normal objective f for levels (k,).

    For a log-normal one it is the price of a put (Black & Scholes 1973), or of a call if its
    factor is negative. A level of -inf gives 0.
    """
    found = np.zeros((len(levels), len(term.mean[part])))
    finite = np.isfinite(levels)
    level = levels[finite, None]
    std = np.sqrt(np.maximum(term.variance[part], 0.0))
    if not term.log:
        found[finite] = _normal_put(level, term.factor * term.mean[part], abs(term.factor) * std)
    elif term.factor > 0:
        found[finite] = term.factor * _lognormal_put(level / term.factor, term.mean[part], std)
    else:
        strike = level / term.factor
        mean = np.exp(np.clip(term.mean[part] + 0.5 * std**2, -_EXPONENT, _EXPONENT))
        put = _lognormal_put(strike, term.mean[part], std)
        found[finite] = -term.factor * (put + mean - strike)  # put-call parity
    return found


def _normal_put(level: Array, mean: Array, std: Array) -> Array:
    """Return E[max(level - f, 0)] of a normal f, for shapes that broadcast."""
    off = level - mean
    z = off / np.maximum(std, 1e-300)
    with np.errstate(over='ignore'):
        density = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
    return np.asarray(np.where(std > 0, off * ndtr(z) + std * density, np.maximum(off, 0.0)))


def _lognormal_put(level: Array, mean: Array, std: Array) -> Array:
    """Return E[max(level - exp(f), 0)] of a normal f, for shapes that broadcast."""
    safe = np.maximum(std, 1e-12)
    z = (np.log(np.maximum(level, 1e-300)) - mean) / safe
    middle = np.exp(np.clip(mean + 0.5 * safe**2, -_EXPONENT, _EXPONENT))
    return np.asarray(np.where(level > 0, level * ndtr(z) - middle * ndtr(z - safe), 0.0))


def reference_point(front: ArrayLike) -> Array:
    """
    Return the point (m,) that lies BEYOND of the front's range behind its nadir.

    A little behind, so that the ends of the front count, but not for more than its middle
    (Ishibuchi et al. 2018). An objective in which the front has no range gets one: BEYOND of its
    absolute value.
    """
    points = _points(front)
    ideal, nadir = points.min(axis=0), points.max(axis=0)
    span = np.where(nadir > ideal, nadir - ideal, np.maximum(np.abs(nadir), 1e-9))
    return np.asarray(nadir + BEYOND * span)


def _front(values: ArrayLike, reference: ArrayLike) -> tuple[Array, Array]:
    """Return the front (n, m) below the reference, each point once, and the reference (m,)."""
    bound = np.asarray(reference, dtype=np.float64)
    if bound.shape not in ((2,), (3,)) or not np.isfinite(bound).all():
        raise ValueError(f'the reference must be 2 or 3 finite numbers, got {reference!r}')
    points = _points(values, len(bound))
    if np.isneginf(points).any():
        raise ValueError('points must not hold -inf')
    points = points[(points < bound).all(axis=1)]
    return np.unique(points[nondominated(points)], axis=0), bound


def _points(values: ArrayLike, m: int | None = None) -> Array:
    """Return points (n, m) of numbers; raise ValueError for nan and another shape."""
    points = np.asarray(values, dtype=np.float64)
    if points.size == 0 and m is not None:
        points = points.reshape(0, m)
    if points.ndim != 2 or (m is not None and points.shape[1] != m):
        raise ValueError(f'points must have shape (n, {m or "m"}), got {points.shape}')
    if np.isnan(points).any():
        raise ValueError('points must not hold nan')
    return points
