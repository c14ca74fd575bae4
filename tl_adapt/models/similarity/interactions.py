# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for pairwise interactions in two environments: M11 to M14 of Jamshidi et al. 2017 (ASE).

The paper's step-wise linear regression: beside all main effects, the interaction that improves
the criterion most enters, or the one that is worth least leaves, until neither helps. The
criterion here is the extended BIC (Chen, Chen 2008), which grows stricter with the number of rows
and of candidates, and is BIC where those are fewer than the root of the rows; with entry by
p < 0.05 and exit by p > 0.1, the rule of common packages, one in twenty of pure noise enters. The
steps are sweeps of the matrix of cross products (Goodnight 1979), so each costs the square of the
number of columns, not a new regression.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tl_adapt.models.kernel import Array
from tl_adapt.models.similarity.response import is_constant, pearson
from tl_adapt.models.similarity.terms import Coding
from tl_adapt.models.threads import single_thread

_ALIASED = 1e-6  # share of a column's variance that others leave: less is no column of its own
_WORK = 3e10  # multiplications that the cross products may cost; rows are drawn above that
COLUMNS = 4000  # interaction columns that are searched at most


@dataclasses.dataclass(frozen=True)
class Stepwise:
    """
    Hold the chosen interactions of one environment.

    `pairs` (q, 2) are columns of the coding, `chosen` (q,) those that are in the model and
    `coefficients` (q,) theirs, 0 for the others, in the metric's unit. `explained` is R^2.
    """

    pairs: NDArray[np.int_]
    chosen: NDArray[np.bool_]
    coefficients: Array
    explained: float


class _Sweeper:
    """Keep cross products of candidates and response, and sweep columns in and out."""

    def __init__(self, A: Array, y: Array) -> None:
        self.n, self.p = A.shape
        M = np.column_stack([A, y])
        self.G = M.T @ M / self.n
        self.inside = np.zeros(self.p, dtype=bool)
        self.usable = np.diag(self.G)[: self.p] > 0.0

    def sweep(self, k: int) -> None:
        """Take column k into the model, or out of it."""
        G, sign = self.G, -1.0 if self.inside[k] else 1.0
        pivot, column = G[k, k], G[:, k].copy()
        G -= np.outer(column, column / pivot)
        G[k] = G[:, k] = sign * column / pivot
        G[k, k] = -1.0 / pivot
        self.inside[k] = not self.inside[k]

    @property
    def left(self) -> float:
        """Return the response's variance that the model leaves."""
        return max(float(self.G[-1, -1]), 1e-15)

    def gain(self) -> Array:
        """Return how much of the variance each column outside would explain (p,)."""
        diagonal = np.diag(self.G)[: self.p]
        open_ = self.usable & ~self.inside & (diagonal > _ALIASED)
        return np.where(open_, self.G[: self.p, -1] ** 2 / np.where(open_, diagonal, 1.0), 0.0)

    def loss(self) -> Array:
        """Return how much of the variance each column inside explains alone (p,)."""
        diagonal = np.diag(self.G)[: self.p]
        shut = self.inside
        return np.where(
            shut, self.G[: self.p, -1] ** 2 / np.where(shut, -diagonal, 1.0), np.inf
        )


def rows_needed(mains: int) -> int:
    """Return the rows without which a regression on that many main effects only fits noise."""
    return 2 * mains + 10


@single_thread
def stepwise(
    X: Array, y: Array, coding: Coding, *, rule: str = 'bic', seed: int = 0
) -> Stepwise | None:
    """
    Choose the pairwise interactions of values y (n,) at points X (n, d).

    `rule` is 'bic' or 'p'. Returns None where rows are too few for the main effects, or
    interactions too many to search. Raises ValueError for another rule.
    """
    if rule not in ('bic', 'p'):
        raise ValueError(f"rule must be 'bic' or 'p', got {rule!r}")
    pairs = coding.pairs()
    mains = len(coding.owner)
    columns = mains + len(pairs)
    if len(y) < rows_needed(mains) or is_constant(y) or len(pairs) > COLUMNS:
        return None
    most = max(int(_WORK / columns**2), 500)
    if len(y) > most:
        kept = np.random.default_rng(seed).choice(len(y), most, replace=False)
        X, y = X[kept], y[kept]
    main = coding.main(X)
    A = np.hstack([main, main[:, pairs[:, 0]] * main[:, pairs[:, 1]]])
    A -= A.mean(axis=0)
    size = A.std(axis=0)
    A /= np.where(size > 1e-9, size, np.inf)
    spread = float(y.std())
    work = _Sweeper(A, (y - y.mean()) / spread)
    for k in range(mains):
        if work.usable[k] and work.G[k, k] > _ALIASED:
            work.sweep(k)
    limit = mains + min(len(pairs), (len(y) - mains - 1) // 3)
    for _ in range(4 * columns):
        step = _next(work, mains, limit, rule)
        if step is None:
            break
        work.sweep(step)
    chosen = work.inside[mains:]
    raw = work.G[mains:-1, -1] * spread / np.where(size > 1e-9, size, np.inf)[mains:]
    return Stepwise(pairs, chosen, np.where(chosen, raw, 0.0), 1.0 - work.left)


def _next(work: _Sweeper, mains: int, limit: int, rule: str) -> int | None:
    """Return the column to sweep next, None at the end."""
    n, inside = work.n, int(work.inside.sum())
    gain, loss = work.gain(), work.loss()
    loss[:mains] = np.inf
    enter, leave = int(gain.argmax()), int(loss.argmin())
    freedom = n - 1 - inside
    full = inside >= limit or freedom < 3 or work.left <= 1e-14
    left = work.left
    after = max(left - float(gain[enter]), 1e-15)
    if rule == 'p':
        if np.isfinite(loss[leave]) and stats.f.sf(loss[leave] / left * freedom, 1, freedom) > 0.1:
            return leave
        ratio = float(gain[enter]) / after * (freedom - 1)
        return enter if not full and stats.f.sf(ratio, 1, freedom - 1) < 0.05 else None
    candidates = max(work.p - mains, 1)
    # Chen and Chen's bound from which the criterion finds the true terms among n^k candidates.
    share = max(0.0, 1.0 - 0.5 * np.log(n) / max(np.log(candidates), 1e-9))
    price = float(np.log(n) + 2.0 * share * np.log(candidates))
    entering = n * np.log(after / left) + price
    leaving = n * np.log((left + float(loss[leave])) / left) - price
    if leaving < 0.0 and leaving <= entering:
        return leave
    return enter if not full and entering < 0.0 else None


@dataclasses.dataclass(frozen=True)
class Interaction:
    """Hold one interaction of two options: its coefficient in each environment, 0 if none."""

    first: int
    second: int
    source: float
    target: float


@dataclasses.dataclass(frozen=True)
class Interactions:
    """
    Hold M11 to M14.

    `found` are the interactions chosen in either environment. M14, `correlation`, is that of the
    coefficients of all of them, with both environments regressed on the same terms.
    """

    found: tuple[Interaction, ...]
    source: int
    target: int
    same: int
    opposite: int
    correlation: float


def compare_interactions(
    source: tuple[Array, Array],
    target: tuple[Array, Array],
    categorical: NDArray[np.bool_],
    *,
    rule: str = 'bic',
) -> Interactions | None:
    """
    Return M11 to M14 of points and values of two environments; None where one has too few rows.

    An interaction of categorical options counts once, with its largest coefficient, however many
    contrasts it has.
    """
    coding = Coding.of(categorical, source[0], target[0])
    fits = [stepwise(X, y, coding, rule=rule) for X, y in (source, target)]
    a, b = fits
    if a is None or b is None:
        return None
    owner = coding.owner[a.pairs] if len(a.pairs) else np.empty((0, 2), dtype=int)
    table: dict[tuple[int, int], list[float]] = {}
    for side, fit in enumerate((a, b)):
        for q in np.flatnonzero(fit.chosen):
            entry = table.setdefault((int(owner[q, 0]), int(owner[q, 1])), [0.0, 0.0])
            if abs(fit.coefficients[q]) > abs(entry[side]):
                entry[side] = float(fit.coefficients[q])
    found = tuple(
        Interaction(i, j, *values) for (i, j), values in
        sorted(table.items(), key=lambda item: -abs(item[1][0]))
    )
    both = [one.source * one.target for one in found if one.source and one.target]
    return Interactions(
        found, sum(one.source != 0 for one in found), sum(one.target != 0 for one in found),
        sum(v > 0 for v in both), sum(v < 0 for v in both),
        _correlation(source, target, coding, a.pairs[a.chosen | b.chosen]),
    )


def _correlation(
    source: tuple[Array, Array], target: tuple[Array, Array], coding: Coding,
    pairs: NDArray[np.int_],
) -> float:
    """Return the correlation of the coefficients of the same interactions (q, 2) in both."""
    coefficients = []
    for X, y in (source, target):
        main = coding.main(X)
        A = np.hstack([np.ones((len(y), 1)), main, main[:, pairs[:, 0]] * main[:, pairs[:, 1]]])
        if len(y) <= A.shape[1]:
            return float('nan')
        coefficients.append(np.linalg.lstsq(A, y / np.abs(y).max(), rcond=None)[0][-len(pairs):])
    return pearson(*coefficients) if len(pairs) >= 3 else float('nan')
