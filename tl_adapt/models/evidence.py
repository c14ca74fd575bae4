# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for how much each hypothesis of a transfer counts.

Pseudo Bayesian model averaging with the Bayesian bootstrap over leave-one-out predictive densities
(Yao et al. 2018), times a prior.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tl_adapt.models.kernel import Array
from tl_adapt.models.relations import COPY, NAMES, SHIFT, Block, Grid

_OUTLIERS = 0.03  # share of target measurements that may come from nowhere
_BOOTSTRAPS = 100
_TRUST = 0.5  # power of the evidence: leave-one-out errors of few points depend on each other
_ENOUGH, _MOST = 0.98, 32  # weight and number of the hypotheses that variances come from
MANY = 100  # target points from which on the grid of hypotheses is thinned out
_FEWEST = 16  # hypotheses of a grid that are kept at least
_LOG_2PI = float(np.log(2.0 * np.pi))


def log_normal(y: Array, mean: Array, var: Array) -> Array:
    """Return the log density of y under normal distributions (shapes that broadcast)."""
    return np.asarray(-0.5 * ((y - mean) ** 2 / var + np.log(var) + _LOG_2PI))


def weigh(blocks: Sequence[Block], y: Array, spread: float, seed: int) -> list[Array]:
    """
    Return the weights of every block's hypotheses, which all sum to 1, for target values y (n,).

    `spread` is what the values usually deviate by, `seed` that of the bootstrap.
    """
    n = len(y)
    evidence = [_densities(block, y, spread) for block in blocks]
    log_prior = np.concatenate([block.grid.log_prior for block in blocks])
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(n), _BOOTSTRAPS) * n if n else np.zeros((1, 0))
    score = _TRUST * shares @ np.vstack(evidence).T + log_prior  # (bootstraps, hypotheses)
    score -= score.max(axis=1, keepdims=True)
    weight = np.exp(score)
    weight = (weight / weight.sum(axis=1, keepdims=True)).mean(axis=0)
    ends = np.cumsum([len(block.grid) for block in blocks])
    return np.split(weight, ends[:-1])


def _densities(block: Block, y: Array, spread: float) -> Array:
    """Return the log leave-one-out densities (H, n) of y (n,), any of which may be an outlier."""
    n = len(y)
    middle = float(np.median(y)) if n else 0.0
    reach = (3.0 * spread + (float(np.abs(y - middle).max()) if n else 0.0)) ** 2
    broad = log_normal(y, np.full(n, middle), np.full(n, reach))
    return np.logaddexp(
        np.log1p(-_OUTLIERS) + log_normal(y, *block.loo()), np.log(_OUTLIERS) + broad
    )


def thinned(block: Block, A: Array, X: Array, y: Array, spread: float, seed: int) -> Grid:
    """
    Return those of a block's hypotheses that a sample of many target points speaks for.

    `A` (n, D) are features of the points X (n, d). Each hypothesis costs the square of n in memory
    and its cube in time, so their number falls with its square; the best of each kind is kept.
    """
    grid, n = block.grid, len(y)
    some = np.random.default_rng(seed).permutation(n)[:MANY]
    seen = None if block.source is None else block.source.at(X[some])
    block.fit(block.place(A[some], seen), y[some])
    told = _densities(block, y[some], spread).sum(axis=1)
    order = np.argsort(-(_TRUST * n / len(some) * told + grid.log_prior), kind='stable')
    count = max(int(len(grid) * (MANY / n) ** 2), _FEWEST)
    best = {grid.names[row]: int(row) for row in order[::-1]}
    return grid.only(np.union1d(order[:count], list(best.values())))


def by_name(blocks: Sequence[Block], shares: Sequence[Array]) -> dict[str, float]:
    """Return the weight of each kind of hypothesis."""
    total: dict[str, float] = {}
    for block, share in zip(blocks, shares):
        for name, part in zip(block.grid.names, share):
            total[name] = total.get(name, 0.0) + float(part)
    return {name: total[name] for name in NAMES if name in total}


def heaviest(shares: Sequence[Array]) -> list[tuple[NDArray[np.int_], Array]]:
    """Return which hypotheses variances come from: rows and weights for each block."""
    weight = np.concatenate(shares)
    order = np.argsort(-weight, kind='stable')
    count = int(np.searchsorted(np.cumsum(weight[order]), _ENOUGH)) + 1
    kept = np.sort(order[: min(count, _MOST)])
    total = float(weight[kept].sum())
    members = []
    start = 0
    for share in shares:
        end = start + len(share)
        rows = kept[(kept >= start) & (kept < end)]
        members.append((rows - start, weight[rows] / total))
        start = end
    return members


def plausible(
    blocks: Sequence[Block], shares: Sequence[Array], y: Array, spread: float
) -> tuple[float, float]:
    """Return the range outside of which no prediction is plausible; `spread` as in `weigh`."""
    seen = [y]
    for block, share in zip(blocks, shares):
        source = block.source
        shift = np.array([name in (COPY, SHIFT) for name in block.grid.names])
        if source is None or not shift.any():
            continue
        part = share[shift] + 1e-300
        b = float(part @ block.slopes()[shift] / part.sum())
        z = block.z
        level = float(np.mean(z - b * block.known.mean)) if len(z) else 0.0
        ends = np.array([source.process.z.min(), source.process.z.max()])
        seen.append(source.location + source.spread * (level + b * ends))
        spread = max(spread, source.spread) if len(y) < 2 else spread
    values = np.concatenate(seen)
    reach = 0.5 * float(np.ptp(values)) + 0.5 * spread
    return float(values.min() - reach), float(values.max() + reach)
