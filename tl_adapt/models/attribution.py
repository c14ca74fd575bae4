# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for dividing the predicted difference of two configurations among their options.

Shapley values (Shapley 1953; for predictions Strumbelj & Kononenko 2014) of the options in which
the two differ, against one reference configuration ('baseline Shapley', Sundararajan & Najmi
2020), and the Shapley interaction index of pairs (Grabisch & Roubens 1999). All subsets are taken
for up to 10 differing options, above that random orders, each with its reverse (Castro et al.
2009; Mitchell et al. 2022), whose standard error enters the intervals.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tl_adapt.models.draws import Belief
from tl_adapt.models.effects import conclusive, interval
from tl_adapt.models.kernel import Array
from tl_adapt.models.threads import single_thread
from tl_adapt.statistics import Interval

_EXACT = 10  # options; 2^10 points are predicted together
_ORDERS = 24  # and as many reversed
_CONTEXTS = 24  # random subsets that a pair of many options is looked at in
_PAIRED = 5  # options whose pairs are looked at


@dataclasses.dataclass(frozen=True)
class Share:
    """
    Hold what one option, or a pair beyond its two, adds to the difference, in the number's unit.

    `likelihood` is the probability that no other option (or pair) adds more in the bad direction.
    """

    names: tuple[str, ...]
    amount: Interval
    likelihood: float
    conclusive: bool

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Attribution:
    """
    Hold the predicted difference and its parts, those that add most in the bad direction first.

    The options' amounts add up to the difference; the pairs' are parts of them.
    """

    difference: Interval
    options: tuple[Share, ...]
    pairs: tuple[Share, ...]
    exact: bool


@single_thread
def attribute(
    belief: Belief,
    point: Array,
    reference: Array,
    names: Sequence[str],
    *,
    sign: float = 1.0,
    seed: int = 0,
) -> Attribution:
    """
    Divide belief(point) - belief(reference), both points of shape (d,), among their options.

    `sign` is 1 where more is worse and -1 where less is worse.
    """
    differing = np.flatnonzero(np.asarray(point) != np.asarray(reference))
    if len(differing) == 0:
        nothing = Interval(0.0, 0.0, 0.0)
        return Attribution(nothing, (), (), True)
    labels = [names[int(j)] for j in differing]
    game = _Game(belief, np.asarray(point), np.asarray(reference), differing)
    if len(differing) <= _EXACT:
        return _exact(game, labels, sign)
    return _sampled(game, labels, sign, np.random.default_rng(seed))


class _Game:
    """Give the draws of configurations that have some options as the point, others as before."""

    def __init__(
        self, belief: Belief, point: Array, reference: Array, differing: NDArray[np.int_]
    ) -> None:
        self.belief, self.point, self.reference = belief, point, reference
        self.differing = differing

    def values(self, taken: NDArray[np.bool_]) -> Array:
        """Return draws (m, n) for subsets (n, k) of the differing options."""
        points = np.repeat(self.reference[None, :], len(taken), axis=0)
        points[:, self.differing] = np.where(
            taken, self.point[self.differing], self.reference[self.differing]
        )
        unique, inverse = np.unique(points, axis=0, return_inverse=True)
        return self.belief(unique)[:, np.ravel(inverse)]


def _exact(game: _Game, labels: Sequence[str], sign: float) -> Attribution:
    k = len(labels)
    taken = np.array(list(itertools.product((False, True), repeat=k)))
    size = taken.sum(axis=1)
    values = game.values(taken)
    single = np.array([1.0 / (k * math.comb(k - 1, s)) for s in range(k)])
    # An option's weight is that of the subset without it, plus in those that have it.
    options = np.stack(
        [values @ np.where(taken[:, j], single[size - taken[:, j]], -single[np.minimum(
            size, k - 1)]) for j in range(k)], axis=1,
    )
    pairs = np.empty((len(values), 0))
    if k > 1:
        double = np.array([1.0 / ((k - 1) * math.comb(k - 2, s)) for s in range(k - 1)])
        columns = []
        for i, j in itertools.combinations(range(k), 2):
            others = size - taken[:, i] - taken[:, j]
            direction = np.where(taken[:, i] == taken[:, j], 1.0, -1.0)
            columns.append(values @ (direction * double[others]))
        pairs = np.stack(columns, axis=1)
    zero = np.zeros(k)
    names = [(label,) for label in labels]
    both = list(itertools.combinations(labels, 2))
    return Attribution(
        interval(values[:, -1] - values[:, 0]), _ranked(names, options, zero, sign),
        _ranked(both, pairs, np.zeros(len(both)), sign), True,
    )


def _sampled(
    game: _Game, labels: Sequence[str], sign: float, rng: np.random.Generator
) -> Attribution:
    k = len(labels)
    orders = [rng.permutation(k) for _ in range(_ORDERS)]
    orders = [order for one in orders for order in (one, one[::-1])]
    ranks = np.array([np.argsort(order) for order in orders])  # (orders, k)
    # The subsets of an order: the first 0, 1, ... k of its options.
    taken = (ranks[:, None, :] < np.arange(k + 1)[None, :, None]).reshape(-1, k)
    values = game.values(taken).reshape(-1, len(orders), k + 1)
    steps = np.diff(values, axis=2)
    each = np.take_along_axis(steps, ranks[None, :, :], axis=2)  # (m, orders, k)
    options = each.mean(axis=1)
    halves = np.median(each, axis=0).reshape(_ORDERS, 2, k).mean(axis=1)
    error = halves.std(axis=0, ddof=1) / math.sqrt(_ORDERS)
    shares = _ranked([(label,) for label in labels], options, error, sign)
    chosen = [labels.index(share.names[0]) for share in shares[:_PAIRED]]
    both = list(itertools.combinations(sorted(chosen), 2))
    pairs, doubt = _sampled_pairs(game, both, k, rng)
    return Attribution(
        interval(values[:, 0, -1] - values[:, 0, 0]), shares,
        _ranked([(labels[i], labels[j]) for i, j in both], pairs, doubt, sign), False,
    )


def _sampled_pairs(
    game: _Game, pairs: Sequence[tuple[int, int]], k: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Return draws (m, pairs) of the interaction index and its standard errors (pairs,)."""
    blocks = []
    for i, j in pairs:
        # The index weighs all sizes of the other options' subset alike.
        size = rng.integers(0, k - 1, _CONTEXTS)
        order = np.argsort(rng.random((_CONTEXTS, k - 2)), axis=1).argsort(axis=1)
        context = np.zeros((_CONTEXTS, k), dtype=bool)
        context[:, [c for c in range(k) if c not in (i, j)]] = order < size[:, None]
        for first, second in ((True, True), (True, False), (False, True), (False, False)):
            block = context.copy()
            block[:, i], block[:, j] = first, second
            blocks.append(block)
    values = game.values(np.vstack(blocks)).reshape(-1, len(pairs), 4, _CONTEXTS)
    each = values[:, :, 0] - values[:, :, 1] - values[:, :, 2] + values[:, :, 3]
    error = np.median(each, axis=0).std(axis=1, ddof=1) / math.sqrt(_CONTEXTS)
    return each.mean(axis=2), error


def _ranked(
    names: Sequence[tuple[str, ...]], draws: Array, error: Array, sign: float
) -> tuple[Share, ...]:
    """Return the shares (draws (m, k)), those that add most in the bad direction first."""
    if not names:
        return ()
    blurred = draws + error * np.random.default_rng(len(names)).standard_normal(draws.shape)
    first = np.argmax(sign * blurred, axis=1)
    sure = conclusive(blurred)
    shares = [
        Share(
            name, interval(draws[:, i], float(error[i])), float(np.mean(first == i)),
            bool(sure[i]),
        )
        for i, name in enumerate(names)
    ]
    return tuple(sorted(shares, key=lambda share: -sign * share.amount.estimate))
