# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for seeded, constraint-aware designs over a configuration space."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tl_adapt.errors import InputError
from tl_adapt.expressions import Expression

if TYPE_CHECKING:
    from tl_adapt.parameter import Parameter
    from tl_adapt.space import Configuration, Space

METHODS = ('sobol', 'lhs', 'random', 'factorial')
ENUMERABLE = 65536
_BLOCK = 256
# Rejection gives up after this many candidates without one new configuration.
_PATIENCE = 2**17


def evaluate(expression: Expression, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """
    Return where (n,) an expression holds for arrays (n,) of values.

    An upper bound only: an element that fails for scalars (a division by zero) may pass here.
    """
    # Floats hold every int of a space exactly, and their products don't wrap around.
    values = {
        name: np.asarray(columns[name], dtype=float)
        if np.asarray(columns[name]).dtype.kind in 'iu'
        else np.asarray(columns[name])
        for name in expression.names
    }
    length = len(next(iter(columns.values())))
    try:
        return np.broadcast_to(np.asarray(expression.evaluate(values), dtype=bool), (length,))
    except InputError:
        return np.zeros(length, dtype=bool)


def may_hold(space: Space, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return where (n,) all constraints hold; an upper bound as in `evaluate`."""
    mask = np.ones(len(columns[space.names[0]]), dtype=bool)
    for constraint in space.constraints:
        mask &= evaluate(constraint, columns)
    return mask


def unique(
    space: Space, columns: Mapping[str, np.ndarray], seen: set[str] | None = None
) -> list[Configuration]:
    """Return the configurations of `columns` that keep all constraints and are not in `seen`."""
    seen = set() if seen is None else seen
    if not space.constraints:
        kept = space.rows(columns)
    else:
        rows = space.rows(columns)
        canonical = {p.name: p.array([row[p.name] for row in rows]) for p in space.parameters}
        mask = may_hold(space, canonical)
        kept = [row for row, keep in zip(rows, mask) if keep and space.satisfied(row)]
    result = []
    for row in kept:
        key = fingerprint(row)
        if key not in seen:
            seen.add(key)
            result.append(row)
    return result


def fingerprint(configuration: Mapping[str, Any]) -> str:
    """Return a text that equal configurations share."""
    return json.dumps(configuration, sort_keys=True)


def grid(space: Space, levels: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Return the values (n,) per parameter of a full grid over places per parameter."""
    columns = []
    for parameter, places in zip(space.parameters, levels):
        if parameter.size is not None and len(places) == parameter.size:
            columns.append(every_value(parameter))
        else:
            columns.append(parameter.decode(places))
    indices = np.indices([len(column) for column in columns]).reshape(len(columns), -1)
    return {
        parameter.name: column[index]
        for parameter, column, index in zip(space.parameters, columns, indices)
    }


def every_value(parameter: Parameter) -> np.ndarray:
    """Return all values of a discrete parameter in order."""
    if parameter.type == 'bool':
        return np.array([False, True])
    if parameter.choices is not None:
        return parameter.array(parameter.choices)
    if parameter.type == 'int':
        return np.arange(parameter.size or 1) + int(parameter.low or 0)
    return np.array([parameter.low])


def sample(space: Space, n: int, seed: int, method: str) -> list[Configuration]:
    """Return a design; see `Space.sample`."""
    if method not in METHODS:
        raise InputError(f'a design is one of {", ".join(METHODS)}', value=method)
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0:
        raise InputError('a design has 0 or more configurations', value=n)
    if n == 0:
        return []
    if method == 'factorial':
        return factorial(space, n)
    finite = space.combinations is not None and space.combinations <= ENUMERABLE
    if finite and n >= (space.size or 0):
        return _all_of(space, n, seed)
    found: list[Configuration] = []
    seen: set[str] = set()
    barren = 0
    for places in _cubes(space.dim, n, seed, method):
        columns = {p.name: p.spread(places[:, i]) for i, p in enumerate(space.parameters)}
        new = unique(space, columns, seen)
        found += new
        if len(found) >= n:
            break
        barren = 0 if new else barren + len(places)
        if barren >= _PATIENCE:
            found += _rest(space, seen, n - len(found), seed) if finite else _refuse(space, found)
            break
    return found[:n]


def _all_of(space: Space, n: int, seed: int) -> list[Configuration]:
    everything = space.enumerate()
    if not everything:
        _refuse(space, [])
    order = np.random.default_rng(seed).permutation(len(everything))
    return [dict(everything[i]) for i in itertools.islice(itertools.cycle(order), n)]


def _rest(space: Space, seen: set[str], n: int, seed: int) -> list[Configuration]:
    unseen = [c for c in space.enumerate() if fingerprint(c) not in seen]
    order = np.random.default_rng(seed).permutation(len(unseen))
    return [unseen[i] for i in order[:n]]


def _refuse(space: Space, found: Sequence[Any]) -> list[Any]:
    texts = [constraint.text for constraint in space.constraints]
    raise InputError(
        f'unsatisfiable or nearly so: {_PATIENCE} candidates gave no configuration '
        f'beyond the {len(found)} found',
        key='constraints',
        value=texts,
    )


def _cubes(dim: int, n: int, seed: int, method: str) -> Iterator[np.ndarray]:
    """Yield blocks of places (m, dim) without an end."""
    rng = np.random.default_rng(seed)
    if method == 'random':
        while True:
            yield rng.random((_BLOCK, dim))
    from scipy.stats import qmc  # it takes seconds to import, and not every command needs it

    if method == 'lhs':
        size = n
        while True:
            yield _engine(qmc.LatinHypercube, dim, rng).random(size)
            size = max(n, _BLOCK)  # what rejection took away is topped up in larger blocks
    while True:  # a Sobol sequence has an end (2**30 points), so begin a new one then
        engine = _engine(qmc.Sobol, dim, rng)
        for _ in range(2**20):
            yield engine.random(_BLOCK)


def _engine(make: Callable[..., Any], dim: int, rng: np.random.Generator) -> Any:
    try:
        return make(dim, rng=rng)
    except TypeError:  # scipy < 1.15 calls it seed
        return make(dim, seed=rng)


def factorial(space: Space, n: int) -> list[Configuration]:
    """Return the finest full grid of at most `n` points, less those that break a constraint."""

    def counts(level: int) -> list[int]:
        sizes = (p.size for p in space.parameters)
        return [level if size is None else min(level, size) for size in sizes]

    def total(level: int) -> int:
        result = 1
        for count in counts(level):
            result *= count
        return result

    if total(2) > n:
        rule = f'a full factorial design of this space needs at least {total(2)} configurations'
        raise InputError(rule, value=n)
    level = 2
    while total(level) < total(level + 1) <= n:
        level += 1
    result = unique(space, grid(space, [np.linspace(0, 1, c) for c in counts(level)]))
    return result or _refuse(space, [])


def neighbours(
    space: Space,
    configuration: Mapping[str, Any],
    rng: np.random.Generator,
    n: int,
    scale: float,
) -> list[Configuration]:
    """Return configurations near one; see `Space.neighbours`."""
    start = space.encode([configuration])
    seen = {fingerprint(space.decode(start)[0])}
    steps = [1 / max(p.size - 1, 1) if p.size else 0.0 for p in space.parameters]
    found: list[Configuration] = []
    share = max(0.2, 1.5 / space.dim)
    tries = 0
    while len(found) < n and tries < 64:
        tries += 1
        block = max(32, 2 * (n - len(found)))
        moved = rng.random((block, space.dim)) < share
        moved[np.arange(block), rng.integers(space.dim, size=block)] = True
        noise = rng.normal(0.0, scale, (block, space.dim))
        # A step of less than one value would decode to where it began.
        noise = np.where(np.abs(noise) < steps, np.copysign(steps, noise), noise)
        places = np.where(moved, start + noise, start)
        places = np.where((places < 0) | (places > 1), start - moved * noise, places)
        jump = moved & space.categorical
        places = np.where(jump, rng.random((block, space.dim)), np.clip(places, 0, 1))
        columns = {p.name: p.decode(places[:, i]) for i, p in enumerate(space.parameters)}
        found += unique(space, columns, seen)
    return found[:n]


class Candidates:
    """
    Hold the only configurations that can be measured, as the rows of a table are.

    `configurations` are canonical, each once; `places` (n, d) are theirs in the unit cube.
    """

    def __init__(self, space: Space, configurations: Sequence[Mapping[str, Any]]) -> None:
        """
        Keep the configurations.

        Raises InputError for one outside of the space, ValueError if there is none.
        """
        if not configurations:
            raise ValueError('candidates must not be empty')
        checked = (space.validate(configuration) for configuration in configurations)
        by_key = {fingerprint(configuration): configuration for configuration in checked}
        self.keys = list(by_key)
        self._index = {key: index for index, key in enumerate(self.keys)}
        self.configurations = list(by_key.values())
        self.places = space.encode(self.configurations)
        self._space = space

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, configuration: Mapping[str, Any]) -> bool:
        return fingerprint(configuration) in self._index

    def sample(self, n: int, *, seed: int, method: str = 'sobol') -> list[Configuration]:
        """
        Return up to `n` candidates, none twice; a longer sample begins with the shorter.

        'random' takes them in a random order, 'sobol' those nearest to the points of a Sobol
        sequence one by one: also an unevenly filled table is covered evenly then.
        """
        n = min(n, len(self))
        if method == 'random':
            order = np.random.default_rng(seed).permutation(len(self))[:n].tolist()
        else:
            order = self._nearest(n, seed)
        return [dict(self.configurations[index]) for index in order]

    def _nearest(self, n: int, seed: int) -> list[int]:
        """Return the indices of the candidates nearest to points of a Sobol sequence."""
        space = self._space
        free = np.ones(len(self), dtype=bool)
        order: list[int] = []
        blocks = _cubes(space.dim, n, seed, 'sobol')
        while len(order) < n:
            wanted = next(blocks)[: n - len(order)]
            for place in space.encode(space.decode(wanted)):
                index = int(np.argmin(np.where(free, self._apart(place), np.inf)))
                free[index] = False
                order.append(index)
        return order

    def nearest(self, configuration: Mapping[str, Any], seen: Iterable[str]) -> Configuration:
        """Return the candidate nearest to a configuration, of those not in `seen` if any is."""
        apart = self._apart(self._space.encode([configuration])[0])
        taken = [self._index[key] for key in seen if key in self._index]
        if len(taken) < len(self):
            apart[taken] = np.inf
        return dict(self.configurations[int(np.argmin(apart))])

    def _apart(self, place: np.ndarray) -> np.ndarray:
        """Return the squared distances (n,) of the candidates to a place (d,)."""
        apart = self.places - place
        # Words are equal or not: their order in the study means nothing.
        apart = np.where(self._space.categorical, apart != 0, apart)
        return np.asarray(np.square(apart).sum(axis=1))
