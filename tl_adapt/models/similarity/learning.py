# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for how the transfer's error falls with target measurements, and how many to plan.

With a fully measured target the transfer model learns from random samples of it and is tested on
the rest; with few measurements it is tested by cross-validation on those, and a power law (the
usual form of learning curves: Viering, Loog 2023) goes on from there. The error is the root mean
square one relative to the spread of the target (0: perfect, 1: no better than the mean), on the
logarithm where the model takes it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tl_adapt.models.kernel import Array
from tl_adapt.models.scale import forward
from tl_adapt.models.similarity.pair import Pair
from tl_adapt.models.similarity.response import is_constant
from tl_adapt.models.transfer import TransferModel

SIZES = (5, 10, 20, 40, 80)
GOOD = 0.1  # error from which more measurements are not worth planning: 99 % is explained
POOR = 0.8  # error above which a model says little
GAIN = 0.03  # what twice the measurements have to take off the error
FEWEST = 5  # valid target measurements for cross-validation
_REPEATS = 3
_SOURCE_ROWS = 200
_TEST_ROWS = 500
_USUAL = 0.25  # exponent of a learning curve, of which a few folds can't say much


Rows = NDArray[np.int_]


@dataclasses.dataclass(frozen=True)
class Point:
    """
    Hold the errors after `size` target measurements.

    `transfer` is the transfer model's, `alone` that of a model without the source; NaN for what
    was not measured but carried on by the power law (`measured` False).
    """

    size: int
    transfer: float
    alone: float
    measured: bool = True


@dataclasses.dataclass(frozen=True)
class Plan:
    """Hold the number of target measurements to plan, the error expected then, and why so many."""

    size: int
    error: float
    why: str


def steps(pair: Pair) -> int:
    """Return how many times `learning_curve` will call `on_step`."""
    return len(_tasks(pair, 0))


def learning_curve(
    pair: Pair, *, seed: int = 0, on_step: Callable[[], None] | None = None
) -> tuple[Point, ...]:
    """
    Return the errors by number of target measurements; nothing where they can't be found.

    That is where a side is constant, or has less than 5 valid measurements.
    """
    Xs, ys = pair.source.measured
    Xt, yt = pair.target.measured
    tasks = _tasks(pair, seed)
    if not tasks:
        return ()
    rng = np.random.default_rng(seed)
    if len(ys) > _SOURCE_ROWS:
        kept = rng.choice(len(ys), _SOURCE_ROWS, replace=False)
        Xs, ys = Xs[kept], ys[kept]
    with_source = TransferModel(categorical=pair.categorical, log='auto', seed=seed)
    without = TransferModel(categorical=pair.categorical, log='auto', seed=seed)
    positive = bool((yt > 0).all() and (ys > 0).all())
    errors: dict[int, list[tuple[float, float]]] = {}
    for size, known, rest in tasks:
        target = (Xt[known], yt[known])
        with_source.fit(source=(Xs, ys), target=target)
        without.fit(source=None, target=target)
        log = positive and bool(with_source.log_scale)
        spread = float(forward(yt, log).var())
        both = [
            _squared(model.predict(Xt[rest]), yt[rest], log) / spread
            for model in (with_source, without)
        ]
        errors.setdefault(size, []).append((both[0], both[1]))
        if on_step is not None:
            on_step()
    points = []
    for size, found in sorted(errors.items()):
        mean = np.sqrt(np.mean(found, axis=0))
        points.append(Point(size, float(mean[0]), float(mean[1])))
    return tuple(points) + (() if pair.complete else _carried_on(points))


def _squared(predicted: Array, truth: Array, log: bool) -> float:
    """Return the mean squared error on the model's scale."""
    if log:
        # A model on a linear scale may predict less than nothing: that is wrong, not infinitely.
        predicted = np.where(predicted > 0.0, predicted, 0.5 * truth.min())
        predicted, truth = np.log(predicted), np.log(truth)
    return float(np.mean((predicted - truth) ** 2))


def _tasks(pair: Pair, seed: int) -> list[tuple[int, Rows, Rows]]:
    """Return (size, rows to learn from, rows to test on) of each fit."""
    ys, yt = pair.source.measured[1], pair.target.measured[1]
    n = len(yt)
    if min(len(ys), n) < FEWEST or is_constant(ys) or is_constant(yt):
        return []
    rng = np.random.default_rng(seed)
    found: list[tuple[int, Rows, Rows]] = []
    if pair.complete:
        sizes = [size for size in SIZES if 2 * size <= n]
        for _ in range(_REPEATS):
            order = rng.permutation(n)
            found += [(size, order[:size], order[size:][-_TEST_ROWS:]) for size in sizes]
        return found
    order = rng.permutation(n)
    folds = np.array_split(order, min(n, 10))
    for fold in folds:
        found.append((n - len(folds[0]), np.setdiff1d(order, fold), fold))
    half = n // 2
    for _ in range(5 if half >= 3 else 0):
        order = rng.permutation(n)
        found.append((half, order[:half], order[half:]))
    return found


def _carried_on(points: list[Point]) -> tuple[Point, ...]:
    """Return the sizes beyond the last measured one by the power law through the measured ones."""
    last = points[-1]
    slope = _USUAL
    if len(points) > 1 and points[0].transfer > 0 and last.transfer > 0:
        fall = np.log(points[0].transfer / last.transfer) / np.log(last.size / points[0].size)
        slope = 0.5 * (_USUAL + float(np.clip(fall, 0.0, 0.5)))
    return tuple(
        Point(size, last.transfer * (last.size / size) ** slope, float('nan'), False)
        for size in SIZES if size > last.size
    )


def plan(points: tuple[Point, ...], present: int = 0) -> Plan | None:
    """
    Return how many target measurements to plan, at least those `present`; None without a curve.

    The last size that was measured stands for all that are present.
    """
    if not points:
        return None
    error = np.minimum.accumulate([point.transfer for point in points])
    for i, point in enumerate(points):
        if present and point.measured and any(later.measured for later in points[i + 1:]):
            continue
        size = max(point.size, present) if point.measured else point.size
        if error[i] <= GOOD:
            return Plan(size, float(error[i]), 'that is nearly all there is to explain')
        later = [j for j in range(i + 1, len(points)) if points[j].size <= 2.5 * point.size]
        # Where nothing is learnt yet, a flat curve does not say that nothing will be.
        if later and error[i] <= POOR and error[i] - error[later[-1]] < GAIN:
            why = f'twice as many take less than {GAIN:g} off it'
            return Plan(size, float(error[i]), why)
    last = points[-1]
    why = 'and more may still help' if error[-1] > POOR else 'and it still falls there'
    return Plan(max(last.size, present), float(error[-1]), why)


def saved(points: tuple[Point, ...]) -> float:
    """
    Return which share of the error the transfer saves with up to 20 target measurements.

    Negative if it does harm; NaN without a curve. It is against a model of the target alone, or
    against the target's mean (error 1) where that is better.
    """
    ratios = [
        np.log(max(p.transfer, 1e-9) / max(min(p.alone, 1.0), 1e-9))
        for p in points if p.measured and p.size <= max(20, points[0].size)
    ]
    return float(1.0 - np.exp(np.mean(ratios))) if ratios else float('nan')
