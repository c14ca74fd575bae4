# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what is compared: the measurements of two environments, and which belong together."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tl_adapt.errors import InputError
from tl_adapt.models.gaussian_process import GaussianProcess
from tl_adapt.models.kernel import Array, as_points
from tl_adapt.statistics import rank_correlation

_SMALLEST, _LARGEST = 1e-100, 1e100  # sizes of which squares are still numbers
_ENOUGH = 5  # valid source measurements from which a model of the source may predict


@dataclasses.dataclass(frozen=True)
class Side:
    """
    Hold one environment's measurements of one metric.

    Points `X` (n, d) are in the unit cube, values `y` (n,) in the metric's unit, NaN where there
    is none; `valid` (n,) says which runs were. One without a finite value counts as invalid.
    """

    name: str
    X: Array
    y: Array
    valid: NDArray[np.bool_]

    @classmethod
    def of(
        cls, name: str, X: ArrayLike, y: ArrayLike, valid: ArrayLike | None = None
    ) -> Side:
        """Make a side of plain arrays; raises ValueError for shapes that do not fit."""
        points = as_points(np.asarray(X, dtype=np.float64))
        values = np.asarray(y, dtype=np.float64)
        good = np.ones(len(points), dtype=bool) if valid is None else np.asarray(valid, bool)
        if values.shape != (len(points),) or good.shape != (len(points),):
            shapes = f'{points.shape}, {values.shape}, {good.shape}'
            raise ValueError(f'X (n, d), y (n,) and valid (n,) must agree, got {shapes}')
        return cls(name, points, values, good & np.isfinite(values))

    @property
    def measured(self) -> tuple[Array, Array]:
        """Return the points (m, d) and values (m,) of the valid runs."""
        return self.X[self.valid], self.y[self.valid]


@dataclasses.dataclass(frozen=True)
class Pair:
    """
    Hold the measurements of a source and a target environment over the same options.

    `names` (d) are the options', `categorical` (d,) says which have levels without an order.
    `maximize` says that more is better. `aligned` says that row i is the same configuration in
    both; otherwise rows belong together whose points are equal. Raises ValueError for columns
    that do not agree.
    """

    names: tuple[str, ...]
    categorical: NDArray[np.bool_]
    source: Side
    target: Side
    aligned: bool = False
    metric: str = 'performance'
    unit: str = ''
    maximize: bool = False

    def __post_init__(self) -> None:
        """Check the shapes."""
        d = len(self.names)
        columns = (self.source.X.shape[1], self.target.X.shape[1], len(self.categorical))
        if columns != (d, d, d):
            raise ValueError(f'both sides need a column for each of {d} names, got {columns}')
        if self.aligned and len(self.source.y) != len(self.target.y):
            raise ValueError('aligned sides must have as many rows')

    @functools.cached_property
    def rows(self) -> NDArray[np.int_]:
        """Return the rows (m, 2) of source and target that are the same configuration."""
        if self.aligned:
            index = np.arange(len(self.source.y))
            return np.column_stack([index, index])
        seen = {row.tobytes(): i for i, row in enumerate(self.source.X + 0.0)}
        found = [
            (seen[key], j) for j, row in enumerate(self.target.X + 0.0)
            if (key := row.tobytes()) in seen
        ]
        return np.array(found, dtype=int).reshape(-1, 2)

    @functools.cached_property
    def joint(self) -> Joint:
        """Return both responses at the target's valid configurations."""
        return _join(self)

    @functools.cached_property
    def complete(self) -> bool:
        """
        Say whether the target was measured about as fully as the source.

        That is, validly in 30 configurations and half as many as the source. Otherwise metrics
        are estimates from a sample.
        """
        count = int(self.target.valid.sum())
        return count >= max(30, 0.5 * float(self.source.valid.sum()))

    @functools.cached_property
    def used(self) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """
        Return points and values of each environment for models of its own.

        Where the target is complete and shares the source's configurations, both get the same
        ones, so that what differs is the environment alone.
        """
        joint = self.joint
        if self.complete and joint.predicted == 0:
            return (joint.X, joint.source), (joint.X, joint.target)
        return self.source.measured, self.target.measured


@dataclasses.dataclass(frozen=True)
class Joint:
    """
    Hold both responses at m configurations that ran validly in the target.

    `source` (m,) is measured, or predicted by a model of the source where that was not; then
    `quality` is the rank correlation of the source's measurements with what that model says of
    each from the others. `predicted` counts those, `why` says why there are none at all.
    """

    X: Array
    source: Array
    target: Array
    predicted: int = 0
    quality: float = float('nan')
    why: str = ''


def _join(pair: Pair) -> Joint:
    source, target = pair.source, pair.target
    rows = pair.rows
    partner = np.full(len(target.y), -1)
    partner[rows[:, 1]] = rows[:, 0]
    good = target.valid.copy()
    # A configuration that is known to crash in the source has no response there to predict.
    good &= ~((partner >= 0) & ~source.valid[partner])
    index = np.flatnonzero(good)
    known = partner[index] >= 0
    missing = index[~known]
    if len(missing) and int(source.valid.sum()) < _ENOUGH:
        index, missing, known = index[known], missing[:0], known[known]
        if not len(index):
            why = 'no configuration was measured in both, and the source has too few for a model'
            return Joint(target.X[:0], target.y[:0], target.y[:0], why=why)
    values = np.where(known, source.y[partner[index]], 0.0) if len(source.y) else np.zeros(0)
    quality = float('nan')
    if len(missing):
        X, y = source.measured
        model = GaussianProcess(pair.categorical, log='auto').fit(X, y)
        values[~known] = model.predict(target.X[missing], noise=False)
        quality = rank_correlation(model.loo()[0].tolist(), model.y.tolist())
    why = '' if len(index) else 'no configuration ran validly in both'
    return Joint(target.X[index], values, target.y[index], len(missing), quality, why)


def repeats_joined(
    name: str, X: ArrayLike, y: ArrayLike, valid: ArrayLike | None = None
) -> Side:
    """
    Make a side in which repeated configurations are one row.

    Its value is the mean of the valid runs; it is valid if at least half of its runs are.
    """
    side = Side.of(name, X, y, valid)
    if not len(side.y):
        return side
    points, first, group = np.unique(
        side.X, axis=0, return_index=True, return_inverse=True
    )
    group = np.asarray(group).reshape(-1)
    order = np.argsort(first)  # rows keep the order in which they were measured
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    group = place[group]
    total = np.bincount(group)
    good = np.bincount(group, weights=side.valid.astype(float))
    sums = np.bincount(group, weights=np.where(side.valid, side.y, 0.0))
    kept = good * 2 >= total
    values = np.where(good > 0, sums / np.maximum(good, 1.0), np.nan)
    return Side(name, points[order], values, kept & (good > 0))


def check_enough(pair: Pair) -> None:
    """Raise InputError if nothing can be compared: no measurements, or numbers beyond squaring."""
    for role, side in (('source', pair.source), ('target', pair.target)):
        if not len(side.y):
            raise InputError(f'the {role} environment has no measurements', key=side.name)
        sizes = np.abs(side.measured[1])
        if len(sizes) and not _SMALLEST <= float(sizes.max()) <= _LARGEST:
            if float(sizes.max()) == 0.0:
                continue
            raise InputError(
                f'the largest value must be {_SMALLEST:g} to {_LARGEST:g}', key=side.name,
                value=float(sizes.max()),
            )
