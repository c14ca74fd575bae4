# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the configuration space and its unit cube."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tl_adapt import designs
from tl_adapt.errors import InputError
from tl_adapt.expressions import Expression
from tl_adapt.lattice import Lattice
from tl_adapt.parameter import MODES, TYPES, Parameter, RosTarget, Value

__all__ = ['MODES', 'TYPES', 'Configuration', 'Parameter', 'RosTarget', 'Space', 'Value']

Configuration = dict[str, Value]

_REMEMBERED = 1024  # configurations that were found valid; a tuner asks about its runs often


class Space:
    """
    Hold parameters and constraints, and map configurations to the unit cube and back.

    A configuration is canonical if it has a value for every parameter, in the parameter's type
    and on its grid, and the default for each parameter whose condition does not hold. Every
    configuration that a method returns is canonical; `decode(encode(c)) == c` holds exactly for
    those.
    """

    def __init__(
        self, parameters: Sequence[Parameter], constraints: Sequence[Expression] = ()
    ) -> None:
        """Raise InputError for a name given twice, or a condition with unknown names or a loop."""
        self.parameters = tuple(parameters)
        self.constraints = tuple(constraints)
        self.names = tuple(parameter.name for parameter in self.parameters)
        if not self.names:
            raise InputError('a space needs a parameter', key='parameters')
        for name in self.names:
            if self.names.count(name) > 1:
                raise InputError('a name may be used once', key='parameters', value=name)
        self.dim = len(self.parameters)
        self.categorical = np.array([p.categorical for p in self.parameters], dtype=bool)
        self._by_name = {parameter.name: parameter for parameter in self.parameters}
        self._conditional = self._order_conditions()
        self._checked: dict[tuple[Any, ...], Configuration] = {}
        self._lattice = Lattice(self.parameters)
        for number, constraint in enumerate(self.constraints):
            self._check_result(constraint, f'constraints[{number}]', 'a constraint')

    def __getitem__(self, name: str) -> Parameter:
        """Return the parameter of that name; raise InputError if there is none."""
        try:
            return self._by_name[name]
        except KeyError:
            known = ', '.join(self.names)
            rule = f'unknown parameter; known are {known}'
            raise InputError(rule, key='parameters', value=name) from None

    def _order_conditions(self) -> tuple[Parameter, ...]:
        """Return the conditional parameters so that each follows those it depends on."""
        waiting = [p for p in self.parameters if p.condition is not None]
        for parameter in waiting:
            key = f'parameters.{parameter.name}.condition'
            self._check_result(parameter.condition, key, 'a condition')
        ordered: list[Parameter] = []
        while waiting:
            blocked = {p.name for p in waiting}
            ready = [p for p in waiting if p.condition and not p.condition.names & blocked]
            if not ready:
                raise InputError(
                    'conditions must not depend on each other in a loop',
                    key=f'parameters.{waiting[0].name}.condition',
                    value=str(waiting[0].condition),
                )
            ordered += ready
            waiting = [p for p in waiting if p not in ready]
        return tuple(ordered)

    def _check_result(self, expression: Expression | None, key: str, what: str) -> None:
        """Raise InputError unless the expression has known names and gives true or false."""
        if expression is None:
            return
        unknown = sorted(expression.names - set(self.names))
        if unknown:
            rule = f'unknown name {unknown[0]!r}; known are {", ".join(self.names)}'
            raise InputError(rule, key=key, value=expression.text)
        try:
            result = expression.evaluate({p.name: p.default for p in self.parameters})
        except InputError as error:
            raise error.at(key=key) from None
        if not isinstance(result, (bool, np.bool_)):
            raise InputError(f'{what} must give true or false', key=key, value=expression.text)

    @functools.cached_property
    def combinations(self) -> int | None:
        """Return the number of combinations before constraints and conditions, None if endless."""
        sizes = [p.size for p in self.parameters]
        return None if any(s is None for s in sizes) else math.prod(s or 1 for s in sizes)

    @functools.cached_property
    def size(self) -> int | None:
        """
        Return the number of configurations, None if it is endless.

        Constraints and conditions are counted in up to 65,536 combinations; above that the
        result is the number of combinations.
        """
        if self.combinations is None or self.combinations > designs.ENUMERABLE:
            return self.combinations
        return len(self.enumerate())

    def enumerate(self) -> list[Configuration]:
        """Return all configurations of a space of up to 65,536 combinations, in order."""
        if self.combinations is None or self.combinations > designs.ENUMERABLE:
            rule = f'only up to {designs.ENUMERABLE} combinations can be listed'
            raise InputError(rule, key='parameters', value=self.combinations)
        levels = [np.arange(p.size or 1) / max((p.size or 1) - 1, 1) for p in self.parameters]
        # Not through decode: neighbouring values on a log scale may share a place in a grid.
        return designs.unique(self, designs.grid(self, levels))

    def default(self) -> Configuration:
        """Return the configuration of all defaults."""
        return {p.name: p.default for p in self.parameters}

    def validate(self, configuration: Mapping[str, Any], *, file: object = None) -> Configuration:
        """
        Return the canonical copy of a configuration.

        Raises InputError for an unknown or missing name, a wrong type, a value out of range, or a
        broken constraint. A parameter whose condition does not hold gets its default, and may be
        missing.
        """
        try:
            # True, 1 and 1.0 are equal, but not all of them may be right.
            key = tuple((name, type(v), v) for name, v in configuration.items())
            if key in self._checked:
                return dict(self._checked[key])
        except (AttributeError, TypeError):
            key = None
        result = self._validated(configuration, file)
        if key is not None:
            if len(self._checked) >= _REMEMBERED:
                self._checked.clear()
            self._checked[key] = dict(result)
        return result

    def _validated(self, configuration: Mapping[str, Any], file: object) -> Configuration:
        if not isinstance(configuration, Mapping):
            rule = 'a configuration maps names of parameters to values'
            raise InputError(rule, file=file, value=configuration)
        for name in configuration:
            if name not in self._by_name:
                rule = f'unknown parameter; known are {", ".join(self.names)}'
                raise InputError(rule, file=file, key=str(name), value=configuration[name])
        result: Configuration = {}
        for parameter in self.parameters:
            value = configuration.get(parameter.name, parameter.default)
            try:
                result[parameter.name] = parameter.canonical(value)
            except InputError as error:
                raise InputError(error.rule, file=file, key=parameter.name, value=value) from None
        active = self.active(result)
        for parameter in self.parameters:
            if not active[parameter.name]:
                result[parameter.name] = parameter.default
            elif parameter.name not in configuration:
                raise InputError('a value is missing', file=file, key=parameter.name)
        for constraint in self.constraints:
            if not _holds(constraint, result):
                value = {name: result[name] for name in sorted(constraint.names)}
                raise InputError(f'{constraint} must hold', file=file, value=value)
        return result

    def contains(self, configuration: Mapping[str, Any]) -> bool:
        """Say whether `validate` accepts the configuration."""
        try:
            self.validate(configuration)
        except InputError:
            return False
        return True

    def active(self, configuration: Mapping[str, Any]) -> dict[str, bool]:
        """Say for each parameter whether its condition holds (true without a condition)."""
        values = dict(configuration)
        result = dict.fromkeys(self.names, True)
        for parameter in self._conditional:
            condition = parameter.condition
            if condition is None:
                continue
            holds = all(result[n] for n in condition.names) and _holds(condition, values)
            result[parameter.name] = holds
            if not holds:
                values[parameter.name] = parameter.default
        return result

    def satisfied(self, configuration: Mapping[str, Any]) -> bool:
        """Say whether all constraints hold; one that can't be evaluated does not hold."""
        return all(_holds(constraint, configuration) for constraint in self.constraints)

    def encode(self, configurations: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """
        Return the places (n, d) in the unit cube.

        Inactive parameters are at the place of their default. Raises InputError for a missing
        value and for one that is out of range. Constraints are not looked at.
        """
        places = np.empty((len(configurations), self.dim))
        try:
            columns = {name: [c[name] for c in configurations] for name in self.names}
        except KeyError as error:
            raise InputError('a value is missing', key=str(error.args[0])) from None
        if self._conditional:
            for row, configuration in enumerate(configurations):
                for name, active in self.active(configuration).items():
                    if not active:
                        columns[name][row] = self._by_name[name].default
        for column, parameter in enumerate(self.parameters):
            places[:, column] = parameter.encode(columns[parameter.name])
        return places

    def decode(self, places: np.ndarray) -> list[Configuration]:
        """
        Return the canonical configurations (n) nearest to places (n, d) in the unit cube.

        Every place gives values in range (places outside of the cube are clipped); constraints
        are not looked at.
        """
        places = self._places(places)
        return self.rows(self._lattice.decode(places))

    def _places(self, places: np.ndarray) -> np.ndarray:
        places = np.atleast_2d(np.asarray(places, dtype=float))
        if places.ndim != 2 or places.shape[1] != self.dim:
            rule = f'places must have the shape (n, {self.dim})'
            raise InputError(rule, value=places.shape)
        return places

    def rows(self, columns: Mapping[str, np.ndarray]) -> list[Configuration]:
        """Return configurations (n) from one array (n,) of values per parameter."""
        return self._listed(self._conditioned(columns))

    def _listed(self, columns: Mapping[str, np.ndarray]) -> list[Configuration]:
        lists = [columns[name].tolist() for name in self.names]
        return [dict(zip(self.names, row)) for row in zip(*lists)]

    def _conditioned(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the values (n,) per parameter, defaults where its condition does not hold."""
        columns = {name: np.asarray(columns[name]) for name in self.names}
        if self._conditional:
            active = dict.fromkeys(self.names, np.array(True))
            for parameter in self._conditional:
                condition = parameter.condition
                if condition is None:
                    continue
                holds = np.asarray(designs.evaluate(condition, columns))
                for name in condition.names:
                    holds = holds & active[name]
                active[parameter.name] = holds
                values, default = columns[parameter.name], np.asarray(parameter.default)
                columns[parameter.name] = np.where(holds, values, default)
        return columns

    def settle(
        self, places: np.ndarray
    ) -> tuple[list[Configuration], np.ndarray, np.ndarray]:
        """
        Return those nearest to places (n, d) that keep all constraints.

        These are m configurations, their own places (m, d), and which of the n they belong to
        (m,): what `decode`, `satisfied` and `encode` give, for many places at once.
        """
        places = self._places(places)
        columns = self._conditioned(self._lattice.decode(places))
        found = self._lattice.encode(columns)
        rows = self._listed(columns)
        keep = np.arange(len(rows))
        if self.constraints:
            may = np.flatnonzero(designs.may_hold(self, columns)).tolist()
            keep = np.array([i for i in may if self.satisfied(rows[i])], dtype=int)
        return [rows[i] for i in keep.tolist()], found[keep], keep

    def sample(self, n: int, *, seed: int, method: str = 'sobol') -> list[Configuration]:
        """
        Return a design of `n` configurations that keep all constraints.

        `method` is 'sobol' (scrambled; a longer design begins with the shorter ones), 'lhs',
        'random' or 'factorial' (the finest full grid of at most `n` points, less those that
        break a constraint). No configuration comes twice, unless the space has fewer than `n`:
        then all of them come before any is repeated. Raises InputError if the constraints leave
        (almost) nothing.
        """
        return designs.sample(self, n, seed, method)

    def neighbours(
        self,
        configuration: Mapping[str, Any],
        rng: np.random.Generator,
        n: int,
        scale: float = 0.1,
    ) -> list[Configuration]:
        """
        Return up to `n` different configurations near one, which keep all constraints.

        Each moves some of the parameters by a normal step of standard deviation `scale` in the
        unit cube; discrete ones move by one value at least.
        """
        return designs.neighbours(self, configuration, rng, n, scale)


def _holds(expression: Expression, values: Mapping[str, Any]) -> bool:
    try:
        return bool(expression.evaluate(values))
    except InputError:
        return False
