# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the active choice of target measurements: the points that a transfer learns most from.

What the transfer model holds possible gives the target a covariance before anything of it is
measured: a shift and a slope of the source's function, a smooth link between the two, what the
source leaves uncertain, and a difference with the source's length scales. One after the other
those points are chosen that leave the least posterior variance on average over the candidates
(integrated mean squared error, Sacks et al. 1989: Design and analysis of computer experiments).
That variance depends on no value, so a whole batch can be planned before the target is there, and
chance in a first value can not mislead the choice of the next.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve_triangular

from tl_adapt.models.kernel import Array, as_points, components, squared_distance
from tl_adapt.models.likelihood import LENGTH, factorise
from tl_adapt.models.source import Seen, Source
from tl_adapt.models.threads import single_thread
from tl_adapt.models.transfer import Data, TransferModel

_POPULATION = 300  # candidates that the variance is averaged over
_REMEMBERED = 500  # known points that count

# Prior variances in units of the source's: of a constant, the slope, a smooth link, a difference
# by its scales (from influences that add up to steps), noise. They need no care: a third or three
# times of the difference and more noise gave designs as good within chance; a link of 0.03 worse.
_CONSTANT, _SLOPE, _LINK, _NOISE = 9.0, 0.25, 0.1, 0.02
_DIFFERENCE = (0.08, 0.09, 0.08, 0.05)


@dataclasses.dataclass(frozen=True)
class _View:
    """Hold m points as a source sees them; `source` and `seen` are None without a source."""

    source: Source | None
    scaled: Array  # (m, D)
    seen: Seen | None


class _Covariance:
    """Be the target's covariance before it is measured, between rows of points (m, d)."""

    def __init__(self, model: TransferModel, points: Array) -> None:
        """Let every source of a fitted model see the points."""
        dim = points.shape[1]
        features = model.features
        places = features(points)
        self.views = []
        for source in model.sources:
            scale = np.exp(-source.lengths(dim))[features.owner]
            self.views.append(_View(source, places * scale, source.at(points)))
        if not self.views:
            places = places * (np.exp(-LENGTH[0]) / np.sqrt(max(dim, 1)))
            self.views.append(_View(None, places, None))

    def between(self, left: NDArray[np.int_], right: NDArray[np.int_]) -> Array:
        """Return the covariance (m1, m2) of two sets of rows, the mean over the sources."""
        total = np.zeros((len(left), len(right)))
        for view in self.views:
            parts = components(squared_distance(view.scaled[left], view.scaled[right]))
            for weight, part in zip(_DIFFERENCE, parts):
                part *= weight
                total += part
            if view.source is not None and view.seen is not None:
                one, two = _some(view.seen, left), _some(view.seen, right)
                total += view.source.covariance(one, two)
                total += _SLOPE * np.outer(one.mean, two.mean)
                total += _LINK * np.exp(-0.5 * (one.mean[:, None] - two.mean) ** 2)
        return _CONSTANT + total / len(self.views)

    def variance(self) -> Array:
        """Return the variance (m,) of every point."""
        total = np.full(len(self.views[0].scaled), _CONSTANT + sum(_DIFFERENCE))
        for view in self.views:
            if view.seen is not None:
                own = view.seen.variance + _SLOPE * view.seen.mean**2 + _LINK
                total += own / len(self.views)
        return total


def _some(seen: Seen, rows: NDArray[np.int_]) -> Seen:
    """Return what a source says of some of the points."""
    return Seen(
        seen.mean[rows], seen.variance[rows], seen.features[rows], seen.V[:, rows], seen.off[rows]
    )


class _Remaining:
    """Hold what the points measured so far leave uncertain of n candidates, the first rows."""

    def __init__(self, prior: _Covariance, n: int, given: NDArray[np.int_]) -> None:
        """Condition on the rows `given`; the candidates must be in random order."""
        self.prior = prior
        self.rows = np.arange(n)
        population = self.rows[:_POPULATION]
        self.cross = prior.between(self.rows, population)
        self.variance = prior.variance()[:n]
        self.columns = np.zeros((0, n))  # the posterior is the prior minus columns^T columns
        if len(given):
            K = prior.between(given, given)
            K.flat[:: len(given) + 1] += _NOISE
            self._subtract(
                solve_triangular(factorise(K), prior.between(given, self.rows), lower=True)
            )

    def _subtract(self, columns: Array) -> None:
        """Condition on what has these columns (r, n)."""
        self.cross -= columns.T @ columns[:, : self.cross.shape[1]]
        self.variance = np.maximum(self.variance - (columns**2).sum(axis=0), 0.0)
        self.columns = np.vstack([self.columns, columns])

    def gain(self) -> Array:
        """Return by how much (n,) the mean variance falls if a candidate is measured."""
        fall = np.einsum('ij,ij->i', self.cross, self.cross) / self.cross.shape[1]
        return np.asarray(fall / (self.variance + _NOISE))

    def measure(self, row: int) -> None:
        """Condition on a candidate, too."""
        column = self.prior.between(self.rows, self.rows[row : row + 1])[:, 0]
        column -= self.columns.T @ self.columns[:, row]
        self._subtract(column[None, :] / np.sqrt(self.variance[row] + _NOISE))


@single_thread
def choose_for_transfer(
    source: Data | Sequence[Data] | None, candidates: ArrayLike, k: int, *,
    costs: ArrayLike | None = None, known: tuple[ArrayLike, ArrayLike] | None = None,
    seed: int = 0, categorical: ArrayLike | None = None, log: bool | str = 'auto',
    model: TransferModel | None = None,
) -> list[int]:
    """
    Return k different rows of `candidates` (n, d), the ones to measure next, in that order.

    `candidates` are points of the unit cube, as a study's space encodes them. `source` is (Xs, ys)
    or a list of such, as in `TransferModel.fit`. `known` are the target's points (m, d) measured
    so far and their values (m,), nan for a run that failed; these are not chosen again, and what
    they tell counts by their place alone. One of several equal candidates stands for all as long
    as there are others. With `costs` (n,) > 0 what a candidate tells is divided by what it costs.
    Where runs have failed, it is multiplied by the probability that the candidate's does not.
    `categorical` (d,) and `log` are those of the transfer model; a `model` fitted to the source
    before saves doing so again. The same seed gives the same rows. Raises ValueError for shapes
    that do not fit, costs that are not positive, and if fewer than k candidates are left.
    """
    points = as_points(candidates)
    n, dim = points.shape
    order = np.random.default_rng(seed).permutation(n)
    points = points[order]
    worth = np.ones(n) if costs is None else 1.0 / _as_costs(costs, n)[order]
    Xk, yk = _as_known(known, dim)
    _, label = np.unique(np.vstack([points, Xk]), axis=0, return_inverse=True)
    twin, measured = np.split(label.reshape(-1), [n])
    free = ~np.isin(twin, measured)
    if not 0 <= k <= free.sum():
        raise ValueError(f'0 <= k <= {free.sum()} must hold, the candidates not measured yet, '
                         f'got {k}')
    if model is None:
        model = TransferModel(log=log, seed=seed, categorical=categorical)
        model.fit(source, (Xk, yk) if len(yk) else None)
    if not model.weights:
        raise ValueError('the model must be fitted first')
    if model.X.shape[1] != dim:
        raise ValueError(f'candidates must have {model.X.shape[1]} columns, got {dim}')
    worth = worth * np.maximum(model.probability_valid(points), 1e-3)
    # A failed run has told nothing of the value.
    given = n + np.flatnonzero(~np.isnan(yk))[-_REMEMBERED:]
    remaining = _Remaining(_Covariance(model, np.vstack([points, Xk])), n, given)
    chosen: list[int] = []
    for _ in range(k):
        gain = np.where(free, remaining.gain() * worth, -1.0)
        new = free & ~np.isin(twin, twin[chosen])
        row = int(np.argmax(np.where(new, gain, -1.0) if new.any() else gain))
        chosen.append(row)
        free[row] = False
        remaining.measure(row)
    return [int(row) for row in order[chosen]]


def _as_costs(costs: ArrayLike, n: int) -> Array:
    """Return costs (n,); raises ValueError if they are not positive and finite."""
    values = np.asarray(costs, dtype=np.float64)
    if values.shape != (n,):
        raise ValueError(f'costs must have shape ({n},), got {values.shape}')
    if not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(f'costs must be positive and finite, got {values.min()}')
    return values


def _as_known(known: tuple[ArrayLike, ArrayLike] | None, dim: int) -> tuple[Array, Array]:
    """Return known points (m, dim) and values (m,)."""
    if known is None or len(np.atleast_1d(np.asarray(known[1], dtype=np.float64))) == 0:
        return np.empty((0, dim)), np.empty(0)
    X, y = as_points(known[0], dim), np.asarray(known[1], dtype=np.float64)
    if y.shape != (len(X),):
        raise ValueError(f'known values must have shape ({len(X)},), got {y.shape}')
    if np.isinf(y).any():
        raise ValueError('known values must be finite, or nan for runs that failed')
    return X, y
