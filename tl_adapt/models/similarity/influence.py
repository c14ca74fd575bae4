# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for which options matter in two environments: M6 to M10 of Jamshidi et al. 2017 (ASE).

An option is influential if a test rejects that it changes nothing. Where configurations were
measured that differ in it alone, that is the paper's paired t-test; of a numeric option with more
levels, groups that differ in it alone give a slope each, scaled to the option's whole range.
Where too few are found, as in a random sample of a large space, main effects are regressed, with
standard errors for unequal variances (HC3: MacKinnon, White 1985); and where there are too few
rows for that, one option at a time: then a permutation test has to reject as well, as few values
are far from normal. False discoveries are controlled over options (Benjamini,
Hochberg 1995). M9 counts what the published table counts: influential in both, in opposite
directions.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.tree import DecisionTreeRegressor

from tl_adapt.models.kernel import Array
from tl_adapt.models.similarity.response import is_constant, pearson
from tl_adapt.models.similarity.terms import Coding

LEVEL = 0.05  # rate of false discoveries
_PAIRS = 8  # groups that differ in one option alone, from which the paired test is used
_PERMUTATIONS = 1999
_SPARE = 8  # residual degrees of freedom from which main effects are regressed together


@dataclasses.dataclass(frozen=True)
class Effect:
    """
    Hold what one option does in one environment.

    `change` is the response's change from the option's low to its high end; of a categorical
    option, the largest difference of two levels, from the lower to the higher one in order.
    `error` is its standard error, both in the metric's unit. `p` is the test's probability, NaN
    where the option was not varied; `test` is 'paired', 'regression' or 'single'. `influential`
    is what remains after control of false discoveries.
    """

    change: float
    error: float
    p: float
    test: str
    influential: bool = False
    contrast: tuple[float, float] = (0.0, 1.0)


def effects(
    X: Array, y: Array, categorical: NDArray[np.bool_], *, level: float = LEVEL,
    correct: bool = True,
) -> list[Effect]:
    """
    Return the effect of each option (d) on values y (n,) at points X (n, d).

    `level` bounds the share of false discoveries; without `correct` it bounds each option's own
    p, as in the paper.
    """
    d = X.shape[1]
    if len(y) < 4 or is_constant(y):
        return [Effect(0.0, float('nan'), float('nan'), 'none') for _ in range(d)]
    codes, hashes = _hashes(X)
    together = _regressed(X, y, categorical)
    found = []
    for j in range(d):
        one = _paired(X[:, j], y, codes[:, j], hashes[j], bool(categorical[j]))
        found.append(one or together[j])
    p = np.array([one.p for one in found])
    seen = np.isfinite(p)
    keep = np.zeros(d, dtype=bool)
    keep[seen] = discoveries(p[seen], level) if correct else p[seen] < level
    return [dataclasses.replace(one, influential=bool(k)) for one, k in zip(found, keep)]


def discoveries(p: Array, level: float) -> NDArray[np.bool_]:
    """Return which of the tests with probabilities p (m,) are discoveries at that false rate."""
    m = len(p)
    order = np.argsort(p)
    passed = np.flatnonzero(p[order] <= level * (np.arange(m) + 1) / max(m, 1))
    keep = np.zeros(m, dtype=bool)
    if len(passed):
        keep[order[: passed[-1] + 1]] = True
    return keep


def _hashes(X: Array) -> tuple[NDArray[np.int_], list[NDArray[np.uint64]]]:
    """Return level codes (n, d), and per option hashes (n,) of all the other options' codes."""
    codes = np.empty(X.shape, dtype=int)
    for j in range(X.shape[1]):
        codes[:, j] = np.unique(X[:, j], return_inverse=True)[1].reshape(-1)
    rng = np.random.default_rng(0)
    factors = rng.integers(1, 2**63, X.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    parts = codes.astype(np.uint64) * factors  # wraps around, which is what a hash may do
    total = parts.sum(axis=1, dtype=np.uint64)
    return codes, [total - parts[:, j] for j in range(X.shape[1])]


def _paired(
    x: Array, y: Array, code: NDArray[np.int_], others: NDArray[np.uint64], unordered: bool
) -> Effect | None:
    """Return the effect by configurations that differ in one option alone, None with too few."""
    levels = np.unique(x)
    if len(levels) < 2:
        return Effect(0.0, float('nan'), float('nan'), 'none')
    group = np.unique(others, return_inverse=True)[1].reshape(-1)
    cells, cell = np.unique(group * len(levels) + code, return_inverse=True)
    count = np.bincount(cell.reshape(-1))
    mean = np.bincount(cell.reshape(-1), weights=y) / count
    owner, place = cells // len(levels), cells % len(levels)
    if unordered and len(levels) > 2:
        return _contrasts(levels, owner, place, mean)
    value = levels[place]
    size = np.bincount(owner)
    middle = np.bincount(owner, weights=value) / size
    off = value - middle[owner]
    square = np.asarray(np.bincount(owner, weights=off**2), dtype=np.float64)
    slope = np.bincount(owner, weights=off * mean)
    usable = square > 1e-12
    if usable.sum() < _PAIRS:
        return None
    changes = slope[usable] / square[usable]
    if len(levels) > 2:
        # Groups that span little of the range say little of the slope.
        return _t_test(changes, square[usable])
    return _t_test(changes, np.ones(len(changes), dtype=np.float64))


def _t_test(changes: Array, weight: Array) -> Effect:
    """Return the effect of weighted changes (m,), tested against none by Student's t."""
    weight = weight / weight.sum()
    change = float(weight @ changes)
    effective = 1.0 / float(weight @ weight)
    spread = float(weight @ (changes - change) ** 2) * effective / max(effective - 1.0, 1e-9)
    error = float(np.sqrt(spread / effective))
    return Effect(change, error, _two_sided(change, error, effective - 1.0), 'paired')


def _two_sided(change: float, error: float, freedom: float) -> float:
    if error <= 1e-12 * max(abs(change), 1e-300):
        return 1.0 if change == 0.0 else 0.0
    return float(2.0 * stats.t.sf(abs(change) / error, max(freedom, 1.0)))


def _contrasts(
    levels: Array, owner: NDArray[np.int_], place: NDArray[np.int_], mean: Array
) -> Effect | None:
    """Return the clearest difference of two levels of an option without order."""
    k = len(levels)
    table = np.full((int(owner.max()) + 1, k), np.nan)
    table[owner, place] = mean
    best: Effect | None = None
    tests = 0
    for a in range(k):
        for b in range(a + 1, k):
            change = table[:, b] - table[:, a]
            change = change[np.isfinite(change)]
            if len(change) < _PAIRS:
                continue
            tests += 1
            one = _t_test(change, np.ones(len(change)))
            one = dataclasses.replace(one, contrast=(float(levels[a]), float(levels[b])))
            if best is None or one.p < best.p:
                best = one
    if best is None:
        return None
    return dataclasses.replace(best, p=min(1.0, best.p * tests))


def _regressed(X: Array, y: Array, categorical: NDArray[np.bool_]) -> list[Effect]:
    """Return the effects by regression: of all options together, or one at a time."""
    coding = Coding.of(categorical, X)
    owner, main = coding.owner, coding.main(X)
    n, p = main.shape
    found = [Effect(0.0, float('nan'), float('nan'), 'none') for _ in range(X.shape[1])]
    whole = _ols(main, y) if n - p - 1 >= _SPARE else None
    for j in np.unique(owner):
        columns = np.flatnonzero(owner == j)
        levels = coding.levels[j]
        if whole is not None:
            own = columns + 1
            beta, cov = whole[0][own], whole[1][np.ix_(own, own)]
            found[j] = _effect(levels, beta, cov, n - p - 1, 'regression')
            continue
        one = _ols(main[:, columns], y)
        if one is not None:
            beta, cov = one[0][1:], one[1][1:, 1:]
            effect = _effect(levels, beta, cov, n - len(columns) - 1, 'single')
            p = max(effect.p, _permuted(main[:, columns], y))
            found[j] = dataclasses.replace(effect, p=p)
    return found


def _permuted(columns: Array, y: Array) -> float:
    """Return the share of permutations of y (n,) that columns (n, p) explain as well as y."""
    basis = np.linalg.svd(columns - columns.mean(axis=0), full_matrices=False)
    kept = basis[0][:, basis[1] > 1e-9 * max(float(basis[1][0]), 1e-300)]
    off = y - y.mean()
    explained = float(((off @ kept) ** 2).sum())
    tried = np.random.default_rng(0).permuted(np.tile(off, (_PERMUTATIONS, 1)), axis=1)
    as_well = ((tried @ kept) ** 2).sum(axis=1) >= explained * (1.0 - 1e-9)
    return float(1 + as_well.sum()) / (_PERMUTATIONS + 1)


def _effect(levels: Array | None, beta: Array, cov: Array, freedom: int, test: str) -> Effect:
    if levels is None:
        change, error = 2.0 * float(beta[0]), 2.0 * float(np.sqrt(max(cov[0, 0], 0.0)))
        return Effect(change, error, _two_sided(change, error, freedom), test)
    # The last level's effect is minus the sum of the others'.
    lift = np.vstack([np.eye(len(beta)), -np.ones(len(beta))])
    effect, spread = lift @ beta, lift @ cov @ lift.T
    a, b = sorted((int(effect.argmin()), int(effect.argmax())))
    change = float(effect[b] - effect[a])
    error = float(np.sqrt(max(spread[a, a] + spread[b, b] - 2.0 * spread[a, b], 0.0)))
    wald = float(beta @ np.linalg.pinv(cov) @ beta) / len(beta)
    p = float(stats.f.sf(wald, len(beta), max(freedom, 1)))
    return Effect(change, error, p, test, contrast=(float(levels[a]), float(levels[b])))


def _ols(columns: Array, y: Array) -> tuple[Array, Array] | None:
    """Return coefficients (p + 1,) and their covariance (HC3); None if they are not determined."""
    A = np.column_stack([np.ones(len(y)), columns])
    if len(y) <= A.shape[1]:
        return None
    inverse = np.linalg.pinv(A.T @ A, hermitian=True)
    beta = inverse @ (A.T @ y)
    hat = np.clip(np.einsum('ij,jk,ik->i', A, inverse, A), 0.0, 1.0 - 1e-6)
    score = A * ((y - A @ beta) / (1.0 - hat))[:, None]
    return beta, inverse @ (score.T @ score) @ inverse


@dataclasses.dataclass(frozen=True)
class InfluenceCounts:
    """Hold M6 to M9 as numbers of options."""

    source: int
    target: int
    same: int
    opposite: int


def count_influences(source: list[Effect], target: list[Effect]) -> InfluenceCounts:
    """Return M6 to M9 of the effects of the same options (d)."""
    both = [(a, b) for a, b in zip(source, target) if a.influential and b.influential]
    same = sum(same_direction(a, b) for a, b in both)
    return InfluenceCounts(
        sum(one.influential for one in source), sum(one.influential for one in target),
        same, len(both) - same,
    )


def same_direction(a: Effect, b: Effect) -> bool:
    """Say whether two effects of one option go the same way."""
    return a.change * b.change > 0.0 and a.contrast == b.contrast


def importances(X: Array, y: Array, categorical: NDArray[np.bool_]) -> Array:
    """
    Return how much of the variance a regression tree explains by each option (d,), sum 1.

    Leaves hold 5 values at least, so that the tree's last splits do not follow the noise.
    """
    coding = Coding.of(categorical, X)
    owner, columns = coding.owner, coding.main(X)
    result = np.zeros(X.shape[1])
    if not len(owner) or len(y) < 10 or is_constant(y):
        return result
    scale = float(np.abs(y).max())
    tree = DecisionTreeRegressor(min_samples_leaf=5, random_state=0).fit(columns, y / scale)
    np.add.at(result, owner, tree.feature_importances_)
    return result


def importance_correlation(source: Array, target: Array) -> float:
    """Return M10 of importances (d,); NaN where a tree found nothing, or less than 3 options."""
    varied = (source > 0) | (target > 0)
    if not source.any() or not target.any() or varied.sum() < 1 or len(source) < 3:
        return float('nan')
    return pearson(source, target)
