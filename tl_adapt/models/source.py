# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for a source environment as a transfer sees it: its model at the target's points."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import solve_triangular

from tl_adapt.models.forest import Blend
from tl_adapt.models.gaussian_process import GaussianProcess
from tl_adapt.models.kernel import Array, chunks
from tl_adapt.models.likelihood import factorise

if TYPE_CHECKING:
    from tl_adapt.parameter import Parameter, Value
    from tl_adapt.space import Space

# Rows that the source's uncertainty is computed from; its mean comes from all. More rows cost time
# with every candidate, and make a variance smaller that is small already.
ROWS = 256
_CACHED = 2**17  # numbers of a matrix that stays in the processor's cache
_KEPT = 64 * 2**20  # bytes of what is remembered of points


@dataclasses.dataclass(frozen=True)
class Seen:
    """
    Hold what a source says of m points, in its own standardised units.

    `mean` (m,), `variance` (m,) of its function, `features` (m, D), and `V` (r, m): the posterior
    covariance of two sets of points is their prior covariance minus V1^T V2. `off` (m,) is by
    how much its forest and its process disagree, which adds a variance of its own.
    """

    mean: Array
    variance: Array
    features: Array
    V: Array
    off: Array


_FEW = 8  # rows from which on hyperparameters are kept for a while


def milestone(n: int) -> int:
    """Return from how many of a growing source's n rows its hyperparameters are learnt."""
    if n < _FEW:
        return n
    found = following = _FEW
    while following <= n:
        found, following = following, following + following // 2
    return found


class Learner:
    """
    Learn a source's process, and what a forest adds to it.

    The hyperparameters and the forest of `growing` sources are learnt at milestones.
    """

    def __init__(self, seed: int, growing: bool) -> None:
        """Keep the settings."""
        self.seed, self.growing = seed, growing
        self._grown: tuple[tuple[Any, ...], GaussianProcess, Blend | None] | None = None

    def __call__(
        self, X: Array, y: Array, mask: Array | None, log: bool
    ) -> tuple[GaussianProcess, Blend | None]:
        """Return both for rows X (n, d), y (n,), the same whatever was learnt before."""
        n = milestone(len(y)) if self.growing else len(y)
        key = (log, X[:n].tobytes(), y[:n].tobytes())
        if self._grown is None or self._grown[0] != key or not self.growing:
            process = GaussianProcess(mask, log=log, seed=self.seed).fit(X[:n], y[:n])
            self._grown = key, process, Blend.of(process, self.seed)
        _, process, blend = self._grown
        if n < len(y):
            grown = process.extended(X[n:], y[n:])
            blend = blend and blend.moved(process, grown)
            process = grown
        return process, blend


class Source:
    """Hold a source's process, and say where the target's points are in the source's cube."""

    def __init__(
        self, process: GaussianProcess, columns: Columns | None = None,
        blend: Blend | None = None,
    ) -> None:
        """
        Keep the process; `columns` is None where both environments have the same ones.

        `blend` says what a forest of the source counts, None that it counts nothing.
        """
        self.process = process
        self.columns = columns
        self.blend = blend
        rows = np.arange(len(process.z))
        if len(rows) > ROWS:
            rows = np.sort(np.random.default_rng(process.seed).permutation(rows)[:ROWS])
            K = process.covariance(process.A[rows], process.A[rows])
            K.flat[:: len(rows) + 1] += process.noise
            self.L = factorise(K)
        else:
            self.L = process.L
        self.rows, self.A = rows, process.A[rows]
        self._kept: dict[bytes, Seen] = {}
        self._room = _KEPT

    @property
    def location(self) -> float:
        """Return what is 0 in the standardised units, on the model's scale."""
        return self.process.location

    @property
    def spread(self) -> float:
        """Return what is 1 in the standardised units, on the model's scale."""
        return self.process.spread

    def lengths(self, dim: int) -> Array:
        """Return the log length scales (dim,) of the target's columns."""
        if self.columns is None:
            return self.process.lengths
        found = np.full(dim, float(np.median(self.process.lengths)))
        for target, own in self.columns.shared.items():
            found[target] = self.process.lengths[own]
        return found

    def at(self, X: Array, *, keep: bool = False) -> Seen:
        """
        Return what the source says of the target's points X (m, d).

        With `keep` it is remembered for the next time, up to some MiB: no target point changes it.
        """
        if not keep:
            return self._look(X)
        key = X.tobytes()
        seen = self._kept.get(key)
        if seen is None:
            seen = self._look(X)
            size = seen.V.nbytes + seen.features.nbytes + len(key)
            if size <= self._room:
                self._room -= size
                self._kept[key] = seen
        return seen

    def release(self) -> None:
        """Forget what was remembered of points."""
        self._kept.clear()
        self._room = _KEPT

    def _look(self, X: Array) -> Seen:
        process = self.process
        own = X if self.columns is None else self.columns(X)
        features = process.features(own)
        mean, V = np.empty(len(X)), np.empty((len(self.A), len(X)))
        # A few points at once: matrices of all would leave the processor's cache.
        for part in chunks(len(X), max(16, _CACHED // len(process.A))):
            cross = process.covariance(process.A, features[part])
            mean[part] = process.alpha @ cross
            some = cross if len(self.A) == len(cross) else cross[self.rows]
            V[:, part] = solve_triangular(self.L, some, lower=True, check_finite=False)
        variance = np.maximum(process.signal + 1.0 - np.einsum('ij,ij->j', V, V), 0.0)
        off = np.zeros(len(X))
        if self.blend is not None:
            off = self.blend.forest(own) - mean
            mean += self.blend.share * off
            variance += self.blend.variance * off**2
        return Seen(mean, variance, features, V, off)

    def covariance(self, left: Seen, right: Seen) -> Array:
        """Return the posterior covariance (m1, m2) of the source's function."""
        found = self.process.covariance(left.features, right.features) - left.V.T @ right.V
        if self.blend is not None:
            found += (self.blend.variance * left.off)[:, None] * right.off
        return np.asarray(found)

    def to_arrays(self) -> dict[str, Array]:
        """Return all that is needed to have the same source again, but for `columns`."""
        return self.process.to_arrays() | (self.blend.to_arrays() if self.blend else {})

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], seed: int) -> Source:
        """Make what `to_arrays` described; raises KeyError or ValueError if broken."""
        process = GaussianProcess.from_arrays(arrays, seed=seed)
        return cls(process, blend=Blend.from_arrays(arrays))


class Columns:
    """
    Map points of the target's cube to a source's cube of other columns or ranges.

    A parameter that both have keeps its value (pulled into the source's range), one that only the
    source has stays at its default there. `shared` maps the target's columns to the source's.
    """

    def __init__(self, target: Space, source: Space) -> None:
        """Find the columns that both have."""
        self.target, self.source = target, source
        self.shared = {
            target.names.index(name): source.names.index(name)
            for name in source.names
            if name in target.names and target[name].type == source[name].type
        }
        self.fixed = source.encode([source.default()])[0]

    def __call__(self, X: Array) -> Array:
        """Return points (m, ds) for points X (m, dt)."""
        points = np.repeat(self.fixed[None, :], len(X), axis=0)
        for at, own in self.shared.items():
            mine, theirs = self.target.parameters[at], self.source.parameters[own]
            if _scale(mine) == _scale(theirs):
                points[:, own] = X[:, at]
            else:
                values = mine.decode(X[:, at]).tolist()
                points[:, own] = _places(theirs, values, float(self.fixed[own]))
        return points


def _scale(parameter: Parameter) -> tuple[Any, ...]:
    """Return what decides where a value is in the cube."""
    return parameter.low, parameter.high, parameter.choices, parameter.log


def _places(parameter: Parameter, values: list[Value], default: float) -> Array:
    """Return the places (m,) of values; those that the parameter does not know get `default`."""
    if parameter.choices is not None:
        known = {choice: parameter.encode([choice])[0] for choice in parameter.choices}
        return np.array([known.get(value, default) for value in values])
    if parameter.low is None:
        return np.asarray(parameter.encode(values))
    inside = np.clip(np.array(values, dtype=float), parameter.low, parameter.high).tolist()
    return np.asarray(parameter.encode([parameter.canonical(value) for value in inside]))
