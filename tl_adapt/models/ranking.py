# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for ranking a whole finite space by what a transfer model predicts, however large it is.

The kernels are products over columns. So the table of kernels of all configurations and centres
falls into one table of the first columns' settings and one of the last ones', and the predictions
of a whole slab of configurations are one product of two matrices (the mixed-product rule of
Kronecker products; Saatci 2011, Scalable inference for structured Gaussian process models,
chapter 5, uses the same structure for inference). The boxes of a forest's leaves are such
products, too: a configuration is in one if its first and its last columns are.
All are computed, none is skipped or bounded.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix

from tl_adapt.designs import every_value
from tl_adapt.errors import InputError
from tl_adapt.models.collapsed import Kernels, Leaves, collapse
from tl_adapt.models.forest import Forest, Words
from tl_adapt.models.kernel import Array, chunks, components, squared_distance
from tl_adapt.models.threads import single_thread
from tl_adapt.models.transfer import TransferModel

if TYPE_CHECKING:
    from tl_adapt.space import Configuration

LARGEST = 2**32  # configurations; more take hours
_LEVELS = 4096  # of one column
_TABLE = 2**27  # bytes of the table that stays
_LOW, _HIGH = 2048, 256  # settings of the last columns, and of the first ones at a time
_SPARE = 64  # more than is asked for is kept, so that rounding can not push out the last ones

Codes = NDArray[np.int64]
Allowed = Callable[[Array], ArrayLike]
Report = Callable[[int, int], None]


def rank_binary(
    model: TransferModel, dim: int, top: int = 100, workers: int = 2, *,
    progress: Report | None = None,
) -> tuple[NDArray[np.uint8], Array]:
    """
    Return the best of all 2^dim configurations of binary options, and their predictions.

    These are 0 or 1 of shape (top, dim) and medians (top,) on the original scale, the smallest
    first. See `rank_grid` for the rest.
    """
    points, predicted = rank_grid(
        model, [np.array([0.0, 1.0])] * dim, top, workers, progress=progress
    )
    return points.astype(np.uint8), predicted


def rank_space(
    model: TransferModel, top: int = 100, workers: int = 2, *, progress: Report | None = None,
) -> tuple[list[Configuration], Array]:
    """
    Return the best configurations of the model's space that keep its constraints, and predictions.

    See `rank_grid`. Raises InputError for a model without a space, or a space with a range of
    doubles.
    """
    space = model.space
    if space is None:
        raise InputError('a model of points has no space to rank; rank_grid ranks a grid')
    for parameter in space.parameters:
        if parameter.size is None:
            rule = 'only finite spaces can be ranked; this parameter has a range of doubles'
            raise InputError(rule, key=f'parameters.{parameter.name}.range')
        if parameter.size > _LEVELS:
            rule = f'a column needs 1 to {_LEVELS} places'
            raise InputError(
                rule, key=f'parameters.{parameter.name}.range', value=parameter.size
            )
    levels = [p.encode(every_value(p).tolist()) for p in space.parameters]

    def allowed(points: Array) -> NDArray[np.bool_]:
        rows = space.decode(points)
        # An inactive parameter is at its default alone, so that nothing comes twice.
        same = np.abs(space.encode(rows) - points).max(axis=1) < 1e-9
        return same & np.array([space.satisfied(row) for row in rows], dtype=bool)

    points, predicted = rank_grid(model, levels, top, workers, allowed=allowed, progress=progress)
    return space.decode(points), predicted


@single_thread
def rank_grid(
    model: TransferModel, levels: Sequence[ArrayLike], top: int = 100, workers: int = 2, *,
    allowed: Allowed | None = None, progress: Report | None = None,
) -> tuple[Array, Array]:
    """
    Return the best points of a full grid, and the model's predictions of them.

    `levels` are the places in the unit cube of each column, d arrays. The points are (top, d), the
    predictions medians (top,) on the original scale, the smallest first; where the model holds
    predictions in its bounds, the one that is farther out comes first. `allowed` says which (m,)
    of some points (m, d) count; it is asked only about points that would be among the best, and
    by several threads. Memory is bounded (about 0.3 GiB, and 30 MiB for each of the `workers`).
    `progress` is called with the configurations done and their number; an exception that it
    raises, and a keyboard interrupt, end the work within a part of a second.

    Raises ValueError for a model without a fit and InputError for a grid that does not fit to it
    or is too large.
    """
    whole = isinstance(top, int | np.integer) and isinstance(workers, int | np.integer)
    if not whole or top < 1 or workers < 1:
        raise InputError('whole numbers top >= 1 and workers >= 1 must hold', value=[top, workers])
    collapsed = collapse(model)
    grid = _Grid(_checked(levels, model.X.shape[1]))
    parts = []
    for said in collapsed.sources:
        parts += [said.spelled_mean(), said.spelled_prior(), said.spelled_pull()]
    constant, kernels = collapsed.spelled(*parts)
    leaves = [said.leaves for said in collapsed.sources if said.leaves is not None]
    tables = _Tables(grid, constant, kernels, leaves)
    best = _Best(min(top + _SPARE, grid.size), grid, allowed)
    _run(tables, best, workers, progress)
    points = grid.points(best.codes)
    predicted = np.asarray(model.predict(points)) if len(points) else np.empty(0)
    order = np.lexsort((best.codes, best.values, predicted))[:top]
    return points[order], predicted[order]


def _checked(levels: Sequence[ArrayLike], dim: int) -> list[Array]:
    """Return the levels as arrays; raise InputError for what can not be ranked."""
    if len(levels) != dim:
        rule = f'the grid must have the {dim} columns of the model'
        raise InputError(rule, value=len(levels))
    found = []
    for column, places in enumerate(levels):
        array = np.asarray(places, dtype=np.float64)
        if array.ndim != 1 or not 1 <= len(array) <= _LEVELS or not np.isfinite(array).all():
            rule = f'a column needs 1 to {_LEVELS} finite places'
            raise InputError(rule, key=f'levels[{column}]', value=array.shape)
        found.append(array)
    size = math.prod(len(places) for places in found)
    if size > LARGEST:
        raise InputError(f'at most {LARGEST} configurations can be ranked', value=size)
    return found


class _Grid:
    """Number the points of a full grid; the last column changes fastest."""

    def __init__(self, levels: list[Array]) -> None:
        """Keep the levels (k_j,) of each column."""
        self.levels = levels
        self.shape = tuple(len(places) for places in levels)
        self.size = math.prod(self.shape)

    def split_at(self, most: int) -> int:
        """Return the first of the last columns that have at most `most` settings (or are one)."""
        at, count = len(self.shape), 1
        while at and (count == 1 or count * self.shape[at - 1] <= most):
            at -= 1
            count *= self.shape[at]
        return at

    def points(self, codes: Codes) -> Array:
        """Return the points (m, d) of their numbers (m,)."""
        digits = np.unravel_index(codes, self.shape)
        return np.stack(
            [places[digit] for places, digit in zip(self.levels, digits)], axis=1
        )


class _Columns(NamedTuple):
    """Hold squared distances `steps[j]` (k_j, m) of each column's levels, `common` (m,) to all."""

    steps: list[Array]
    common: Array

    @classmethod
    def of(cls, kernels: Kernels, levels: list[Array]) -> _Columns:
        """Measure how far the levels of each column are from the centres."""
        start = np.array([[places[0] for places in levels]])

        def distance(X: Array) -> Array:
            return squared_distance(kernels.view.see(X) * kernels.view.scale, kernels.centres)

        common = distance(start)[0]
        steps = []
        for column, places in enumerate(levels):
            probes = np.repeat(start, len(places), axis=0)
            probes[:, column] = places
            steps.append(distance(probes) - common)
        # From each column's nearest level on: no part of the distance is negative then, and no
        # factor of a kernel above 1.
        nearest = [step.min(axis=0) for step in steps]
        return cls(
            [step - near for step, near in zip(steps, nearest)],
            np.maximum(common + np.sum(nearest, axis=0), 0.0),
        )


def _added(steps: Sequence[Array], centres: int) -> Array:
    """Return the sums (settings, m) of one level's distances of each column."""
    total = np.zeros((1, centres))
    for step in steps:
        total = (total[:, None, :] + step[None, :, :]).reshape(-1, centres)
    return total


class _Boxes:
    """Hold which of a forest's leaves the levels of each column are in."""

    def __init__(self, leaves: Leaves, levels: list[Array], split: int) -> None:
        """Look at the levels; the columns from `split` on are the last ones."""
        forest, columns = leaves.forest, leaves.columns
        start = np.array([[places[0] for places in levels]])
        see = (lambda X: X) if columns is None else columns
        own = columns.shared if columns is not None else {j: j for j in range(len(levels))}
        self.words: list[Words] = []  # (k_j, T) of each column
        for column, places in enumerate(levels):
            probes = np.repeat(start, len(places), axis=0)
            probes[:, column] = places
            asked = [own[column]] if column in own else []
            self.words.append(forest.reached(see(probes), asked))
        there = see(start)
        rest = set(range(there.shape[1])) - set(own.values())
        self.common = forest.reached(there, rest)
        # Leaves that the first columns never tell apart share a row.
        alike = np.packbits(Forest.spread_out(np.vstack([self.common, *self.words[:split]])), 0)
        _, self.shown, group = np.unique(alike, axis=1, return_index=True, return_inverse=True)
        value = leaves.factor / len(forest.leaves) * forest.leaves.ravel()
        count = len(value)
        self.weight = csr_matrix((value, (group.reshape(-1), np.arange(count))))

    def last(self, split: int) -> Iterator[tuple[slice, Array]]:
        """Yield settings of the last columns, and their values (rows, settings) of each row."""
        total = np.full((1, self.common.shape[1]), ~np.uint64(0))
        for words in self.words[split:]:
            total = (total[:, None, :] & words[None, :, :]).reshape(-1, total.shape[1])
        for part in chunks(len(total), _HIGH):
            yield part, self.weight @ Forest.spread_out(total[part]).T.astype(np.float64)

    def first(self, digits: Sequence[Codes], count: int) -> Array:
        """Return the rows' indicators (count, rows) for settings of the first columns."""
        total = np.repeat(self.common, count, axis=0)
        for words, digit in zip(self.words, digits):
            total &= words[digit]
        return Forest.spread_out(total)[:, self.shown].astype(np.float64)


class _Tables:
    """Predict slabs of the grid: all settings of the last columns with some of the first ones."""

    def __init__(
        self, grid: _Grid, constant: float, kernels: list[Kernels], leaves: list[Leaves]
    ) -> None:
        """Make the table of the last columns, which has the coefficients in it."""
        width = sum(one.coefficient.size for one in kernels)
        width = max(width + sum(one.forest.leaves.size for one in leaves), 1)
        most = min(_LOW, max(_TABLE // (8 * width), 1))
        self.split = grid.split_at(most)
        self.shape = grid.shape[: self.split]
        self.highs = math.prod(self.shape)
        self.lows = grid.size // self.highs
        self.constant = constant
        self.columns = [_Columns.of(one, grid.levels) for one in kernels]
        self.boxes = [_Boxes(one, grid.levels, self.split) for one in leaves]
        width = sum(one.coefficient.size for one in kernels)
        width += sum(len(one.shown) for one in self.boxes)
        self.low = np.empty((width, self.lows))
        row = 0
        for one, columns in zip(kernels, self.columns):
            shared = components(columns.common)
            tables = components(_added(columns.steps[self.split :], len(columns.common)))
            for table, coefficient, factor in zip(tables, one.coefficient, shared):
                end = row + len(coefficient)
                self.low[row:end] = (table * (coefficient * factor)).T
                row = end
        for boxes in self.boxes:
            end = row + len(boxes.shown)
            for part, values in boxes.last(self.split):
                self.low[row:end, part] = values
            row = end

    def predict(self, begin: int, end: int) -> Array:
        """Return the means (end - begin, lows) on the model's scale, not yet held in bounds."""
        digits = np.unravel_index(np.arange(begin, end), self.shape) if self.shape else ()
        high = np.empty((end - begin, len(self.low)))
        column = 0
        for one in self.columns:
            total = np.zeros((end - begin, len(one.common)))
            for step, digit in zip(one.steps, digits):
                total += step[digit]
            for part in components(total):
                high[:, column : column + part.shape[1]] = part
                column += part.shape[1]
        for boxes in self.boxes:
            part = boxes.first(digits, end - begin)
            high[:, column : column + part.shape[1]] = part
            column += part.shape[1]
        found = high @ self.low
        found += self.constant
        return found


class _Best:
    """Keep the `count` smallest values and their numbers, of what several threads offer."""

    def __init__(self, count: int, grid: _Grid, allowed: Allowed | None) -> None:
        """Begin with nothing."""
        self.count, self.grid, self.allowed = count, grid, allowed
        self.values, self.codes = np.empty(0), np.empty(0, dtype=np.int64)
        self._limit = np.inf
        self._lock = threading.Lock()

    def offer(self, values: Array, first: int) -> None:
        """Look at values (m,) of the configurations from number `first` on."""
        found = np.flatnonzero(values <= self._limit)
        if len(found) > self.count or self.allowed is not None:
            found = found[np.argsort(values[found], kind='stable')]
        found = found[: self.count] if self.allowed is None else self._filtered(found, first)
        with self._lock:
            values = np.concatenate([self.values, values[found]])
            codes = np.concatenate([self.codes, first + found])
            # By the number where values are equal, so that the threads' order does not matter.
            kept = np.lexsort((codes, values))[: self.count]
            self.values, self.codes = values[kept], codes[kept]
            if len(kept) == self.count:
                self._limit = float(self.values[-1])

    def _filtered(self, ranked: Codes, first: int) -> Codes:
        """Return the first `count` that are allowed, asking about few beyond those."""
        kept, begin, size, known = [ranked[:0]], 0, 2 * self.count, 0
        while begin < len(ranked) and known < self.count and self.allowed is not None:
            some = ranked[begin : begin + size]
            mask = np.asarray(self.allowed(self.grid.points(first + some)), dtype=bool)
            if mask.shape != some.shape:
                raise ValueError(f'allowed must return shape {some.shape}, got {mask.shape}')
            fine = some[mask]
            kept.append(fine)
            known += len(fine)
            begin += size
            size = min(2 * size, 16384)
        return np.concatenate(kept)[: self.count]


def _run(tables: _Tables, best: _Best, workers: int, progress: Report | None) -> None:
    """Let threads go over all slabs; NumPy's products run beside each other."""

    def work(begin: int) -> int:
        end = min(begin + _HIGH, tables.highs)
        best.offer(tables.predict(begin, end).ravel(), begin * tables.lows)
        return (end - begin) * tables.lows

    done = 0
    pool = ThreadPoolExecutor(workers)
    try:
        waiting = [pool.submit(work, begin) for begin in range(0, tables.highs, _HIGH)]
        for future in as_completed(waiting):
            done += future.result()
            if progress is not None:
                progress(done, tables.highs * tables.lows)
    finally:
        pool.shutdown(cancel_futures=True)
