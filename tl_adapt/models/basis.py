# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the basis in which a function's main effects and pairwise interactions are separate.

Each option has orthonormal functions over its own values (polynomials, or contrasts where values
have no order), a pair has their products. A function's coefficients in it are its functional ANOVA
over independent, uniformly distributed options (Sobol' 1993; Sudret 2008: Global sensitivity
analysis using polynomial chaos expansions): a term's share of the variance is the sum of its
squared coefficients.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tl_adapt.models.kernel import Array, as_points
from tl_adapt.models.likelihood import factorise, inverse
from tl_adapt.models.threads import single_thread
from tl_adapt.space import Space

GRID = 17  # levels of an option with many values
_HIGHEST = 4  # degree of an option's own polynomials
_FACTORIAL = 1024  # spaces of up to so many points are taken whole
_POINTS = 2048
_TERMS_PER_POINT = 0.4
_CATEGORIES = 8  # contrasts of an option without order that enter its interactions


@dataclasses.dataclass(frozen=True)
class Axis:
    """Hold an option's name, its levels (k,) in the unit cube (rising), and if they lack order."""

    name: str
    levels: Array
    categorical: bool = False

    @property
    def binary(self) -> bool:
        """Say whether there are two levels."""
        return len(self.levels) == 2


def axes_of(X: Array, names: Sequence[str], categorical: NDArray[np.bool_] | None = None
            ) -> list[Axis]:
    """Return an axis per column of measured points X (n, d): few values as they are, or a grid."""
    points = as_points(X)
    found = []
    for j, name in enumerate(names):
        values = np.unique(points[:, j])
        mask = categorical is not None and bool(categorical[j])
        if len(values) > GRID and not mask:
            values = np.linspace(values[0], values[-1], GRID)
        found.append(Axis(name, values, mask))
    return found


def axes_of_space(space: Space) -> list[Axis]:
    """Return an axis per parameter of a space."""
    found = []
    for parameter in space.parameters:
        size = parameter.size
        if size is None or (size > GRID and parameter.choices is None):
            levels = np.linspace(0.0, 1.0, GRID)
        elif parameter.choices is not None:
            levels = parameter.encode(parameter.choices)
        else:
            low = int(parameter.low or 0)
            levels = parameter.encode(
                [False, True] if parameter.type == 'bool' else
                [parameter.low or 0.0] if size == 1 else range(low, low + size)
            )
        found.append(Axis(parameter.name, np.asarray(levels), parameter.categorical))
    return found


@dataclasses.dataclass(frozen=True)
class Term:
    """Name a main effect (one column) or an interaction (two), and its place in the basis."""

    columns: tuple[int, ...]
    begin: int
    end: int


class Basis:
    """
    Hold probing points (n, d) and the basis over them.

    Spaces of up to 1024 points are taken whole, where the decomposition is exact; of larger
    ones a Latin hypercube, and coefficients by least squares.
    """

    @single_thread
    def __init__(self, axes: Sequence[Axis], *, seed: int = 0, points: int = _POINTS) -> None:
        """Choose the points and the terms. Axes of one level have no effects."""
        self.axes = tuple(axes)
        self.active = [j for j, axis in enumerate(self.axes) if len(axis.levels) > 1]
        index = self._design(seed, points)
        self.points = np.column_stack(
            [axis.levels[column] for axis, column in zip(self.axes, index.T)]
        )
        self.own = [_orthonormal(axis) for axis in self.axes]  # (levels, degrees) each
        self.degree = self._affordable()
        self.terms: list[Term] = []
        blocks = [np.ones((len(index), 1))]
        width = 1
        for columns in [
            *((j,) for j in self.active), *itertools.combinations(self.active, 2)
        ]:
            block = self._block(columns, index)
            if block.shape[1] == 0:
                continue
            blocks.append(block)
            self.terms.append(Term(columns, width, width + block.shape[1]))
            width += block.shape[1]
        self.matrix = np.hstack(blocks)
        inner = inverse(factorise(self.matrix.T @ self.matrix))
        self._solve = inner @ self.matrix.T
        self._inner = inner

    def _design(self, seed: int, points: int) -> NDArray[np.int_]:
        """Return the level's index of each point and axis (n, d)."""
        sizes = [len(axis.levels) for axis in self.axes]
        self.exact = float(np.prod([float(size) for size in sizes])) <= _FACTORIAL
        if self.exact:
            return np.stack(np.meshgrid(*map(np.arange, sizes), indexing='ij'), -1).reshape(
                -1, len(sizes)
            )
        if len(self.active) > 40:
            points += points // 2  # their pairs are many
        # A Latin hypercube over the levels. No Sobol' sequence: of a net's points the first bits
        # are sums of each other, so options of two values could not be told from interactions.
        rng = np.random.default_rng(seed)
        return np.stack([rng.permutation(points) % size for size in sizes], axis=1)

    def _affordable(self) -> int:
        """Return the highest total degree of a pair whose terms the points can tell apart."""
        for degree in (4, 3, 2):
            count = 1 + sum(self.own[j].shape[1] for j in self.active)
            for a, b in itertools.combinations(self.active, 2):
                count += len(self._degrees(a, b, degree))
            if count <= (1.0 if self.exact else _TERMS_PER_POINT) * len(self.points):
                return degree
        return 2

    def _degrees(self, a: int, b: int, most: int) -> list[tuple[int, int]]:
        """Return which products of own functions a pair has; contrasts count as degree 1."""
        def degree(axis: Axis, i: int) -> int:
            return 1 if axis.categorical else i + 1

        sizes = [self.own[j].shape[1] for j in (a, b)]
        if self.exact:
            return list(itertools.product(range(sizes[0]), range(sizes[1])))
        few = [range(min(size, _CATEGORIES)) for size in sizes]
        pairs = itertools.product(few[0], few[1])
        return [
            (i, k) for i, k in pairs
            if degree(self.axes[a], i) + degree(self.axes[b], k) <= most
        ]

    def _block(self, columns: tuple[int, ...], index: NDArray[np.int_]) -> Array:
        if len(columns) == 1:
            return self.own[columns[0]][index[:, columns[0]]]
        return self._pair(columns, *(self.own[j][index[:, j]] for j in columns))

    def _pair(self, columns: tuple[int, ...], left: Array, right: Array) -> Array:
        """Return products (n, terms) of the rows of left and right."""
        chosen = self._degrees(columns[0], columns[1], self.degree)
        return np.stack([left[:, i] * right[:, k] for i, k in chosen], axis=1) if chosen else (
            np.empty((len(left), 0))
        )

    def coefficients(self, values: Array) -> tuple[Array, Array]:
        """
        Return coefficients (m, terms) of functions with values (m, n), and what is left (m,).

        The latter is the variance per point that no term explains: interactions of three and more
        options, and shapes beyond the polynomials.
        """
        found = values @ self._solve.T
        left = values - found @ self.matrix.T
        free = len(self.points) - self.matrix.shape[1]
        # Taken whole, the space has no points beside these: nothing is estimated.
        rest = np.einsum('ij,ij->i', left, left) / max(
            len(self.points) if self.exact else free, 1
        )
        return found, rest

    def variance(self, term: Term, coefficients: Array, rest: Array) -> Array:
        """Return the variance (m,) of a term, less what chance alone would give it."""
        part = slice(term.begin, term.end)
        raw = (coefficients[:, part] ** 2).sum(axis=1)
        if self.exact:
            return np.asarray(raw)
        return np.maximum(raw - rest * float(np.trace(self._inner[part, part])), 0.0)

    def error(self, term: Term, weights: Array, rest: Array) -> Array:
        """
        Return the standard error (m,) of a weighted sum of a term's coefficients.

        It is what the other terms, seen at these points only, may have left in them.
        """
        if self.exact:
            return np.zeros(len(rest))
        part = slice(term.begin, term.end)
        return np.sqrt(np.maximum(rest * float(weights @ self._inner[part, part] @ weights), 0.0))

    def curve(self, term: Term, coefficients: Array) -> Array:
        """Return a main effect (m, levels) over its axis, of mean 0."""
        own = self.own[term.columns[0]]
        return np.asarray(coefficients[:, term.begin:term.end] @ own.T)

    def contrast(self, term: Term, ends: Sequence[tuple[int, int]]) -> Array:
        """
        Return the weights of a term's coefficients in its change.

        `ends` are the indices of the low and the high level of each option. An option's change is
        f(high) - f(low), a pair's the difference of the changes of one at both ends of the other.
        """
        steps = [self.own[j][b] - self.own[j][a] for j, (a, b) in zip(term.columns, ends)]
        if len(steps) == 1:
            return steps[0]
        # The difference of products is the product of differences.
        return self._pair(term.columns, steps[0][None, :], steps[1][None, :])[0]

    def surface(self, term: Term, coefficients: Array) -> Array:
        """Return an interaction (m, levels of the first, levels of the second), of mean 0."""
        left, right = (self.own[j] for j in term.columns)
        rows = self._pair(
            term.columns, np.repeat(left, len(right), axis=0), np.tile(right, (len(left), 1))
        )
        values = coefficients[:, term.begin:term.end] @ rows.T
        return np.asarray(values.reshape(len(values), len(left), len(right)))


def _orthonormal(axis: Axis) -> Array:
    """Return functions (k, degrees), orthonormal and of mean 0 over the axis' k levels."""
    k = len(axis.levels)
    if k == 1:
        return np.empty((1, 0))
    if axis.categorical:
        raw = np.eye(k)[:, : k - 1]
    else:
        span = 2.0 * (axis.levels - axis.levels[0]) / (axis.levels[-1] - axis.levels[0]) - 1.0
        raw = np.polynomial.legendre.legvander(span, min(k - 1, _HIGHEST))[:, 1:]
    Q, R = np.linalg.qr(np.hstack([np.ones((k, 1)), raw]))
    return np.asarray(Q[:, 1:] * np.sign(np.diag(R)[1:]) * np.sqrt(k))
