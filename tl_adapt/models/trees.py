# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for regression trees that are grown side by side.

Breiman et al. 1984: Classification and regression trees; the leaf whose split takes most off the
squared error is split first. Many trees take a step together, on rows that are kept sorted by
each column, so that numpy has long arrays to work on. scikit-learn grows the same trees no faster
if its import counts, which also takes 50 MiB for good.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from tl_adapt.models.kernel import Array

Ints = NDArray[np.int_]
LEAF, NOTHING = -1, -2  # instead of a node's column
_TIE = 1e-9  # share of a gain by which equal columns are told apart by chance
_FLAT = 1e-12  # share of the squared error that is no gain but rounding
_ROUNDING = 1e-14  # share of a value
_TOGETHER = 2**19  # numbers of an array at once


@dataclasses.dataclass(frozen=True)
class Nodes:
    """
    Hold T trees of up to M nodes, arrays (T, M).

    `feature` is the column that a node asks about, -1 at a leaf and -2 where a tree has no node;
    what is at most `threshold` goes to the node `left`, the rest to `right`, both behind their
    parent. `value` is the mean of a node's rows.
    """

    feature: Ints
    threshold: Array
    left: Ints
    right: Ints
    value: Array


def grow_trees(
    X: Array, z: Array, drawn: Ints, leaves: int, rng: np.random.Generator
) -> Nodes:
    """
    Return T trees of up to so many leaves, grown on rows `drawn` (T, m) of X (n, d), z (n,).

    A row may be drawn several times. `rng` decides between columns that split equally well.
    """
    trees, m = drawn.shape
    step = max(1, _TOGETHER // (m * X.shape[1]))
    grown = [_Growth(X, z, drawn[begin:begin + step], leaves, rng).nodes()
             for begin in range(0, trees, step)]
    names = [field.name for field in dataclasses.fields(Nodes)]
    whole = [np.vstack([getattr(one, name) for one in grown]) for name in names]
    used = (whole[0] != NOTHING).any(axis=0)
    return Nodes(*(array[:, used] for array in whole))


class _Growth:
    """
    Hold trees that grow.

    `rows` (d, T * m) are the drawn rows of all trees, one tree after the other; within a node,
    whose rows are `start` to `end`, each column has them in its own order.
    """

    def __init__(
        self, X: Array, z: Array, drawn: Ints, leaves: int, rng: np.random.Generator
    ) -> None:
        """Begin with roots."""
        self.z, self.rng, self.leaves = z, rng, leaves
        self.X = X
        trees, m = drawn.shape
        # Ranks, which are faster to sort and to compare than places.
        kind = np.int16 if len(X) < 2**15 else np.int32
        self.ranks = np.array(
            [np.unique(column, return_inverse=True)[1].reshape(-1) for column in X.T], dtype=kind
        )
        first, flat = m * np.arange(trees)[:, None], drawn.astype(np.int32).ravel()
        self.rows = np.array([
            flat[(ranks[drawn].argsort(axis=1, kind='stable') + first).ravel()]
            for ranks in self.ranks
        ])
        shape = trees, 2 * leaves - 1
        self.feature = np.full(shape, NOTHING)
        self.left, self.right, self.start, self.end, self._column, self._cut = np.zeros(
            (6, *shape), int)
        self.threshold, self.value, self._between = np.zeros((3, *shape))
        self._gain = np.full(shape, -np.inf)
        every = np.arange(trees)
        self.feature[:, 0] = LEAF
        self.start[:, 0], self.end[:, 0] = m * every, m * (every + 1)
        off = z[drawn] - z[drawn].mean(axis=1)[:, None]
        self._least = _FLAT * (off**2).sum(axis=1) + m * (_ROUNDING * np.abs(z).max()) ** 2
        self._judge(every, np.zeros(trees, int))

    def nodes(self) -> Nodes:
        """Split until all trees have their leaves, or nothing is left to split."""
        trees = np.arange(len(self.feature))
        for new in range(1, 2 * self.leaves - 1, 2):
            node = self._gain.argmax(axis=1)
            some = np.flatnonzero(self._gain[trees, node] > self._least)
            if len(some) == 0:
                break
            node = node[some]
            self._divide(some, node)
            self._gain[some, node] = -np.inf
            self.feature[some, node] = self._column[some, node]
            self.threshold[some, node] = self._between[some, node]
            self.left[some, node], self.right[some, node] = new, new + 1
            self.feature[some, new:new + 2] = LEAF
            middle = self._cut[some, node]
            self.start[some, new], self.end[some, new] = self.start[some, node], middle
            self.start[some, new + 1], self.end[some, new + 1] = middle, self.end[some, node]
            self._judge(np.tile(some, 2), np.repeat([new, new + 1], len(some)))
        return Nodes(self.feature, self.threshold, self.left, self.right, self.value)

    def _judge(self, tree: Ints, node: Ints) -> None:
        """Find the value of each node and the split that takes most off its squared error."""
        start, size = self.start[tree, node], self.end[tree, node] - self.start[tree, node]
        first = np.cumsum(size) - size
        place = np.arange(size.sum()) - np.repeat(first - start, size)
        mine = np.repeat(np.arange(len(size)), size)
        rows = self.rows[:, place]
        total = np.add.reduceat(self.z[rows[0]], first)
        self.value[tree, node] = total / size
        # Sums of what is off the node's mean: nothing is lost where all are far from 0.
        below = np.cumsum(self.z[rows] - (total / size)[mine], axis=1)
        below -= (below[:, first] - (self.z[rows[:, first]] - total / size))[:, mine]
        count = np.arange(1, len(mine) + 1) - first[mine]
        left = size[mine] - count
        ranks = np.take_along_axis(self.ranks, rows, axis=1)
        same = np.ones(rows.shape, bool)
        np.equal(ranks[:, 1:], ranks[:, :-1], out=same[:, :-1])
        same[:, first + size - 1] = True
        gain = below**2 * (size[mine] / (count * np.maximum(left, 1)))
        gain *= (1.0 + _TIE * self.rng.random((len(self.ranks), len(size))))[:, mine]
        gain[same] = -np.inf
        most = np.maximum.reduceat(gain, first, axis=1)
        column = most.argmax(axis=0)
        self._gain[tree, node] = best = most.max(axis=0)
        self._column[tree, node] = column
        # Of the node's places those with the largest gain in its column; the first of them.
        hits = np.flatnonzero(gain[column[mine], np.arange(len(mine))] == best[mine])
        hit = hits[np.searchsorted(hits, first)]
        self._cut[tree, node] = place[hit] + 1
        following = np.minimum(hit + 1, len(mine) - 1)
        ends = self.X[rows[column, hit], column], self.X[rows[column, following], column]
        self._between[tree, node] = 0.5 * (ends[0] + ends[1])

    def _divide(self, tree: Ints, node: Ints) -> None:
        """Let each column's order of the nodes' rows begin with those that go to the left."""
        start, size = self.start[tree, node], self.end[tree, node] - self.start[tree, node]
        first = np.cumsum(size) - size
        place = np.arange(size.sum()) - np.repeat(first - start, size)
        mine = np.repeat(np.arange(len(size)), size)
        rows = self.rows[:, place]
        below = self.X[rows, self._column[tree, node][mine]] <= self._between[tree, node][mine]
        ahead = np.cumsum(below, axis=1)
        ahead -= (ahead[:, first] - below[:, first])[:, mine]  # those to the left, up to here
        count = np.arange(1, len(mine) + 1) - first[mine]
        middle = self._cut[tree, node][mine]
        to = np.where(below, start[mine] + ahead - 1, middle + count - ahead - 1)
        np.put_along_axis(self.rows, to, rows, axis=1)
