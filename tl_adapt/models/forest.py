# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for a random forest of a source, which sees what a stationary process misses.

Breiman 2001: Random forests. Each leaf is a box with sides along the axes, so the mean of the
trees is a sum over leaves of products of one indicator for each column. What a column leaves of
a tree's leaves is one machine word, and the leaf of a point the one bit that all columns leave
(Lucchese et al. 2015: QuickScorer). How much the forest counts beside the process is learnt from
the source's own rows: stacking (Wolpert 1992).
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from tl_adapt.models.gaussian_process import GaussianProcess
from tl_adapt.models.kernel import Array, chunks
from tl_adapt.models.trees import LEAF, Nodes, grow_trees

TREES, LEAVES = 50, 64  # a word has 64 bits
FEWEST = 40  # rows; fewer say nothing of which of the two is better
_LARGEST = 1e30  # of a place; trees compare places in single precision
_ROWS = 512  # seen at once: their words stay in the processor's cache
_NODES = ('feature', 'threshold', 'left', 'right', 'value')

# Before the rows are asked, forest and process count alike.
_SHARE, _DEVIATION = 0.5, 0.25
# Power of what the rows say: the process' errors keep hyperparameters learnt from the row left
# out, which flatters it; the forest's trees have not seen the row in any way.
_TRUST = 0.25
_LITTLE = 0.05  # share below which the forest is not worth its time

Words = NDArray[np.uint64]


class Forest:
    """
    Hold T trees of up to M nodes and 64 leaves as arrays (T, M).

    `feature` is the column that a node asks about, -1 at a leaf and -2 where a tree has no node;
    what is at most `threshold` goes to the node `left`, the rest to `right`, both behind their
    parent. `value` is the mean of a node's rows.
    """

    def __init__(
        self, feature: NDArray[np.int_], threshold: Array, left: NDArray[np.int_],
        right: NDArray[np.int_], value: Array,
    ) -> None:
        """Keep the nodes; raises ValueError where they are no trees."""
        self.feature, self.threshold, self.value = feature, threshold, value
        self.left, self.right = left, right
        trees, nodes = feature.shape
        leaf, inner = feature == LEAF, feature >= 0
        place = np.arange(nodes)
        behind = (left > place) & (right > place) & (np.maximum(left, right) < nodes)
        if not behind[inner].all() or not 1 <= leaf.sum(axis=1).max(initial=0) <= LEAVES \
                or not (feature[:, 0] >= LEAF).all():
            raise ValueError(f'trees need nodes in order and 1 to {LEAVES} leaves')
        number = np.cumsum(leaf, axis=1) - 1
        below = np.zeros((trees, nodes), np.uint64)
        below[leaf] = np.left_shift(np.uint64(1), number[leaf].astype(np.uint64))
        for node in range(nodes - 1, -1, -1):
            rows = np.flatnonzero(inner[:, node])
            ends = left[rows, node], right[rows, node]
            below[rows, node] = below[rows, ends[0]] | below[rows, ends[1]]
        self.whole = below[:, 0].copy()
        self.leaves = np.zeros((trees, LEAVES))  # values
        self.leaves[np.nonzero(leaf)[0], number[leaf]] = value[leaf]
        self._first = LEAVES * np.arange(trees)
        self._cuts = {
            int(column): self._column(int(column), below) for column in np.unique(feature[inner])
        }

    def _column(self, column: int, below: Words) -> tuple[Array, Words]:
        """Return where trees cut a column (k,), and the leaves (k + 1, T) left in between."""
        tree, node = np.nonzero(self.feature == column)
        cuts, place = np.unique(self.threshold[tree, node], return_inverse=True)
        low, high = np.full((2, len(cuts) + 1, len(self.whole)), ~np.uint64(0))
        np.bitwise_and.at(high, (place + 1, tree), ~below[tree, self.left[tree, node]])
        np.bitwise_and.at(low, (place, tree), ~below[tree, self.right[tree, node]])
        high = np.bitwise_and.accumulate(high, axis=0)
        low = np.bitwise_and.accumulate(low[::-1], axis=0)[::-1]
        return cuts, np.ascontiguousarray(low & high)

    @classmethod
    def grow(cls, X: Array, z: Array, seed: int = 0) -> tuple[Forest, Array]:
        """
        Return a forest of rows X (n, d), z (n,) and its out-of-bag predictions (n,).

        These are what the trees say of each row that were grown without it.
        """
        rng = np.random.default_rng(seed)
        drawn = rng.integers(len(z), size=(TREES, len(z)))
        forest = cls.of(grow_trees(_seen(X), z, drawn, LEAVES, rng))
        left = np.ones((len(z), TREES), dtype=bool)  # what a tree was grown without
        left[drawn, np.arange(TREES)[:, None]] = False
        each = forest.each(X)
        return forest, np.where(
            left.any(axis=1), (each * left).sum(axis=1) / np.maximum(left.sum(axis=1), 1),
            each.mean(axis=1),
        )

    @classmethod
    def of(cls, nodes: Nodes) -> Forest:
        """Return the forest of these trees."""
        return cls(nodes.feature, nodes.threshold, nodes.left, nodes.right, nodes.value)

    def __call__(self, X: Array) -> Array:
        """Return the mean (m,) of the trees at points X (m, d)."""
        found = np.empty(len(X))
        for part in chunks(len(X), _ROWS):
            found[part] = self.each(X[part]).sum(axis=1)
        return found / len(self.whole)

    def each(self, X: Array) -> Array:
        """Return what each tree says (m, T) of points X (m, d)."""
        leaf = np.frexp(self.reached(X).astype(np.float64))[1] - 1  # the one bit's number
        return np.asarray(self.leaves.ravel()[self._first + leaf])

    def reached(self, X: Array, columns: Iterable[int] | None = None) -> Words:
        """Return as bits which leaves (m, T) some columns (None: all) of X (m, d) leave."""
        points = _seen(X).T
        words = np.tile(self.whole, (len(X), 1))
        left = np.empty_like(words)
        for column in self._cuts if columns is None else columns:
            if column in self._cuts:
                cuts, table = self._cuts[column]
                np.take(table, cuts.searchsorted(points[column]), 0, left, 'clip')
                np.bitwise_and(words, left, words)
        return words

    def scaled(self, factor: float, added: float) -> Forest:
        """Return the forest whose predictions are `factor` times these plus `added`."""
        other = copy.copy(self)
        other.value = factor * self.value + added
        other.leaves = factor * self.leaves + added
        return other

    @staticmethod
    def spread_out(words: Words) -> NDArray[np.bool_]:
        """Return bits (m, T) as truth values (m, T * LEAVES)."""
        octets = np.ascontiguousarray(words.astype('<u8')).view(np.uint8)
        return np.unpackbits(octets, axis=1, bitorder='little').astype(bool)

    def to_arrays(self) -> dict[str, Array]:
        """Return all that is needed to have the same forest again."""
        return {name: np.asarray(getattr(self, name), dtype=np.float64) for name in _NODES}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Forest:
        """Make the forest that `to_arrays` described; raises KeyError or ValueError if broken."""
        feature, threshold, left, right, value = (arrays[name] for name in _NODES)
        shapes = {array.shape for array in (feature, threshold, left, right, value)}
        if len(shapes) != 1 or feature.ndim != 2 or feature.size == 0:
            raise ValueError(f'nodes must have one shape (trees, nodes), got {sorted(shapes)}')
        whole = (array.astype(int) for array in (feature, left, right))
        column, low, high = whole
        return cls(column, threshold, low, high, value)


def _seen(X: Array) -> Array:
    """Return points (m, d) as trees compare them: in single precision."""
    with np.errstate(over='ignore'):  # a place beyond single precision is beyond every cut
        return np.asarray(X.astype(np.float32).astype(np.float64))


@dataclasses.dataclass(frozen=True)
class Blend:
    """
    Say what a forest counts beside a process whose mean is f.

    The function is  f + w (forest - f) + what the process leaves uncertain,  and w is normal with
    mean `share` and `variance`.
    """

    forest: Forest
    share: float
    variance: float

    @classmethod
    def of(cls, process: GaussianProcess, seed: int = 0) -> Blend | None:
        """Return what a forest adds to a fitted process, None where that is too little."""
        z = process.z
        if len(z) < FEWEST or process.dim == 0 or np.abs(process.X).max() > _LARGEST:
            return None
        forest, outside = Forest.grow(process.X, z, seed)
        mean = (process.loo()[0] - process.location) / process.spread
        share, variance = stacked(z - mean, outside - mean)
        return cls(forest, share, variance) if share >= _LITTLE else None

    def moved(self, before: GaussianProcess, after: GaussianProcess) -> Blend:
        """Return the same in the standardised units of another process."""
        factor = before.spread / after.spread
        added = (before.location - after.location) / after.spread
        return dataclasses.replace(self, forest=self.forest.scaled(factor, added))

    def to_arrays(self) -> dict[str, Array]:
        """Return all that is needed to have the same again."""
        inner = {f'forest.{name}': array for name, array in self.forest.to_arrays().items()}
        return {**inner, 'forest.share': np.array([self.share, self.variance])}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Blend | None:
        """Make what `to_arrays` described, None where there is none of it."""
        if 'forest.share' not in arrays:
            return None
        begin = 'forest.'
        inner = {k.removeprefix(begin): a for k, a in arrays.items() if k.startswith(begin)}
        share, variance = (float(value) for value in arrays['forest.share'])
        if not np.isfinite([share, variance]).all() or variance < 0:
            raise ValueError(f'a share needs a variance >= 0, got {share}, {variance}')
        return cls(Forest.from_arrays(inner), share, variance)


def stacked(error: Array, off: Array) -> tuple[float, float]:
    """
    Return mean and variance of w in  error = w off + rest,  by n rows none of which it has seen.

    `error` (n,) is what the process leaves, `off` (n,) what the forest says beyond it.
    """
    total = float(off @ off)
    fitted = float(off @ error) / max(total, 1e-12)
    rest = float(np.mean((error - fitted * off) ** 2))
    told = _TRUST * total / max(rest, 1e-12)
    precision = 1.0 / _DEVIATION**2 + told
    mean = (_SHARE / _DEVIATION**2 + told * fitted) / precision
    return float(np.clip(mean, 0.0, 1.0)), 1.0 / precision
