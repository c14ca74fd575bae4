# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for one parameter: its values, its place in the unit cube, and its ROS targets."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import re
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from tl_adapt.errors import InputError
from tl_adapt.expressions import RESERVED, Expression
from tl_adapt.ros_target import LARGEST, MODES, RosTarget, Value

__all__ = ['MODES', 'TYPES', 'Parameter', 'RosTarget', 'Value', 'number_in_text']

TYPES = ('bool', 'int', 'double', 'string')

_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_]*')
# Doubles live on a decimal grid, so that a value survives the way to the cube and back exactly:
# a fine one (12 digits of the range, 11 significant digits on a log scale), but far coarser than
# the rounding errors of the way. These bounds keep it so.
_LARGEST_INT = 2**40
_LARGEST_ROS_INT = 2**63 - 1
_BITS_OF_DOUBLE = 1023  # a whole number of more has no double
_NARROWEST = 1e-6
_LIST_OF_POWERS = [float(f'1e{n}') for n in range(309)]
_POWERS = np.array(_LIST_OF_POWERS)


@dataclasses.dataclass(frozen=True)
class Parameter:
    """
    Hold one dimension of the configuration space.

    `low` and `high` are for ranges of int and double, `choices` for lists of values (numbers are
    kept in rising order). A parameter with a `condition` counts only where that holds; elsewhere
    it has its default.
    """

    name: str
    type: str
    low: float | None = None
    high: float | None = None
    choices: tuple[Value, ...] | None = None
    log: bool = False
    unit: str = ''
    default: Value = 0.0
    description: str = ''
    condition: Expression | None = None
    targets: tuple[RosTarget, ...] = ()

    def __post_init__(self) -> None:
        """Check the definition and make low, high, choices and default canonical."""
        if not _NAME.fullmatch(self.name) or self.name in RESERVED:
            self._fail('a name has letters, digits and _, and is no word of expressions', '')
        if self.type not in TYPES:
            self._fail(f'must be one of {", ".join(TYPES)}', 'type', self.type)
        ranged = self.low is not None or self.high is not None
        if self.type in ('bool', 'string') and ranged:
            self._fail(f'a {self.type} has no range', 'range', [self.low, self.high])
        if self.type == 'bool' and self.choices is not None:
            self._fail('a bool has no choices', 'choices', list(self.choices))
        if self.type == 'string' and self.choices is None:
            self._fail('a string needs choices', 'choices')
        if self.type in ('int', 'double') and ranged == (self.choices is not None):
            self._fail('give either a range or choices', '')
        if self.choices is not None:
            self._check_choices(self.choices)
        elif ranged:
            self._check_range(self.low, self.high)
        if self.log and not ranged:
            self._fail('a log scale needs a range', 'log', self.log)
        object.__setattr__(self, 'default', self.canonical(self.default, 'default'))
        for number, target in enumerate(self.targets):
            self._check_target(target, f'targets[{number}]')

    def _fail(self, rule: str, key: str, *value: Any) -> None:
        dotted = f'parameters.{self.name}' + (f'.{key}' if key else '')
        if value:
            raise InputError(rule, key=dotted, value=value[0])
        raise InputError(rule, key=dotted)

    def _check_choices(self, choices: Sequence[Value]) -> None:
        values = [self._typed(value, f'choices[{i}]') for i, value in enumerate(choices)]
        if not values:
            self._fail('must have an element', 'choices', list(choices))
        if len(set(values)) < len(values):
            self._fail('must not have one value twice', 'choices', list(choices))
        if self.type != 'string':
            values = sorted(values)
        object.__setattr__(self, 'choices', tuple(values))

    def _check_range(self, low: Any, high: Any) -> None:
        bounds = [low, high]
        low, high = self._typed(low, 'range[0]'), self._typed(high, 'range[1]')
        if not low <= high:
            self._fail('low <= high must hold', 'range', bounds)
        if self.log and low <= 0:
            self._fail('low > 0 must hold on a log scale', 'range', bounds)
        if self.type == 'int':
            if max(abs(low), abs(high)) > _LARGEST_INT:
                self._fail('an int must stay within 2**40', 'range', bounds)
        elif max(abs(low), abs(high)) > LARGEST or (
            0 < (low if self.log else high - low) < 1 / LARGEST
        ):
            self._fail('a double must stay within 1e-100 and 1e100', 'range', bounds)
        elif 0 < high - low < _NARROWEST * max(abs(low), abs(high)):
            self._fail('low and high must be equal or differ by a millionth', 'range', bounds)
        object.__setattr__(self, 'low', low)
        object.__setattr__(self, 'high', high)

    def _check_target(self, target: RosTarget, key: str) -> None:
        if target.plain:
            return
        if self.type in ('bool', 'string'):
            self._fail(f'a {self.type} can not be scaled', f'{key}.scale', target.scale)
        for part in ('scale', 'offset'):
            value = getattr(target, part)
            if self.type == 'int' and value != int(value):
                self._fail('must be a whole number for an int', f'{key}.{part}', value)
        ends = (self._low, self._high) if self.choices is None else self.choices
        there = [target.to_ros(end) for end in ends]
        largest = max(abs(float(end)) for end in there)
        if self.type == 'int':
            if any(abs(int(end)) > _LARGEST_ROS_INT for end in there):
                self._fail('an int must stay within 64 bits', f'{key}.scale', target.scale)
        elif self.choices is None:
            wide = abs(float(there[1]) - float(there[0]))
            if target.offset and self._low < self._high and wide < _NARROWEST * largest:
                rule = 'the scaled range must be wider than a millionth of its ends'
                self._fail(rule, f'{key}.offset', target.offset)
        elif any(
            float(b) - float(a) <= 2.0 * target.error(max(abs(float(a)), abs(float(b))))
            for a, b in zip(self.choices, self.choices[1:])
        ):
            rule = 'two choices must not become one value'
            self._fail(rule, f'{key}.offset', target.offset)

    def _typed(self, value: Any, key: str) -> Any:
        """Return `value` in the parameter's Python type; raise InputError if it is another."""
        if isinstance(value, np.generic):
            value = value.item()
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if isinstance(value, int) and value.bit_length() > _BITS_OF_DOUBLE:
            self._fail('is far too large', key, f'a whole number of {value.bit_length()} bits')
        if number and not math.isfinite(value):
            self._fail('must be finite', key, value)
        if self.type == 'double' and number:
            return float(value) + 0.0  # no -0.0
        if self.type == 'int' and number and value == int(value):
            return int(value)
        if self.type == 'bool' and isinstance(value, bool):
            return value
        if self.type == 'string' and isinstance(value, str):
            return value
        rule = {
            'double': 'must be a number',
            'int': 'must be a whole number',
            'bool': 'must be true or false',
            'string': 'must be text',
        }[self.type]
        if isinstance(value, bool) and self.type == 'string':
            rule += ' (YAML reads on, off, yes and no as true or false: put them in quotes)'
        elif isinstance(value, str) and number_in_text(value):
            rule += f' (YAML reads {value} as text: write it like 1.0e-3 and without quotes)'
        self._fail(rule, key, value)
        return None

    @property
    def categorical(self) -> bool:
        """Say whether the values have no order."""
        return self.type == 'string'

    @property
    def size(self) -> int | None:
        """Return the number of values, None for a range of doubles."""
        if self.type == 'bool':
            return 2
        if self.choices is not None:
            return len(self.choices)
        if self.type == 'int':
            return int(self._high - self._low) + 1
        return 1 if self._low == self._high else None

    @property
    def _low(self) -> float:
        return 0.0 if self.low is None else self.low

    @property
    def _high(self) -> float:
        return 1.0 if self.high is None else self.high

    def canonical(self, value: Any, key: str = '') -> Value:
        """
        Return `value` in the parameter's type and on its grid.

        Raises InputError if it is of another type, out of range, or none of the choices.
        """
        value = self._typed(value, key)
        if self.choices is not None:
            if value not in self.choices:
                listed = ', '.join(str(choice) for choice in self.choices)
                self._fail(f'must be one of {listed}', key, value)
        elif self.type != 'bool':
            if not self._low <= value <= self._high:
                self._fail(f'must be in [{self.low}, {self.high}]', key, value)
            if self.type == 'double':
                value = self._grid_one(value)
        result: Value = value
        return result

    def read(self, target: RosTarget, value: Any) -> Any:
        """
        Return what the value that a node has for one of the targets means; inverse of `to_ros`.

        It is canonical, but as it is where it is out of range, none of the choices, or of another
        type. Raises TypeError for what can't be scaled.
        """
        number = isinstance(value, int) and not isinstance(value, bool)
        if number and self.type == 'double':
            value = float(value)
        found: Any = target.from_ros(value)
        if not target.plain and self.type == 'double' and isinstance(found, float):
            found = self._snapped(found, target.error(found))
        elif not target.plain and self.type == 'int' and number and self.choices is None:
            # Half a step outside of the range is outside, too.
            whole = value - int(target.offset), int(target.scale)
            for part in (whole[0] // whole[1], -(-whole[0] // whole[1])):
                if not self._low <= part <= self._high:
                    return part
        with contextlib.suppress(InputError):
            return self.canonical(found)
        return found

    def _snapped(self, value: float, error: float) -> float:
        """Return the end of the range or the choice that a value is, but for rounding errors."""
        ends = (self._low, self._high) if self.choices is None else self.choices
        nearest = min((float(end) for end in ends), key=lambda end: abs(value - end))
        return nearest if abs(value - nearest) <= error < math.inf else value

    def array(self, values: Sequence[Value]) -> np.ndarray:
        """Return values (n,) as an array; text as objects, as NumPy's own cuts trailing zeros."""
        return np.array(values, dtype=object if self.type == 'string' else None)

    def encode(self, values: Sequence[Value]) -> np.ndarray:
        """
        Return the places (n,) in [0, 1] of values.

        Raises InputError for the first value that is out of range or of another type.
        """
        low, high = self._low, self._high
        kinds = {'bool': 'b', 'int': 'i'}.get(self.type, 'if')
        try:
            if self.choices is not None:
                place = {value: i for i, value in enumerate(self.choices)}
                return np.array([place[v] for v in values], dtype=float) / max(len(place) - 1, 1)
            x = np.asarray(values)
            sound = x.dtype.kind in kinds and bool(np.all((low <= x) & (x <= high)))
        except (KeyError, TypeError, ValueError):
            sound = False
        if not sound and len(values):  # one by one: slow, but the error names the value
            return self.encode([self.canonical(value) for value in values])
        x = x.astype(float)
        if low == high:
            return np.zeros(len(x))
        if self.log:
            u = (np.log(x) - math.log(low)) / (math.log(high) - math.log(low))
        else:
            u = (x - low) / (high - low)
        return np.minimum(np.maximum(u, 0.0), 1.0)

    def decode(self, u: np.ndarray) -> np.ndarray:
        """Return the values (n,) nearest to the places `u` (n,), which are clipped to [0, 1]."""
        u = np.asarray(u, dtype=float)
        u = np.minimum(np.maximum(np.where(np.isnan(u), 0.5, u), 0.0), 1.0)
        if self.choices is not None:
            index = np.rint(u * (len(self.choices) - 1)).astype(int)
            return self.array(self.choices)[index]
        if self.type == 'bool':
            return u >= 0.5
        low, high = self._low, self._high
        if self.log:
            x = np.exp(math.log(low) + u * (math.log(high) - math.log(low)))
        else:
            x = low + u * (high - low)
        if self.type == 'int':
            return np.clip(np.rint(x), low, high).astype(np.int64)
        return self._grid(x)

    def spread(self, u: np.ndarray) -> np.ndarray:
        """
        Return values (n,) for quantiles `u` (n,): equal shares of [0, 1] to all discrete values.

        `decode` gives the first and the last value only half a share.
        """
        size = self.size
        if size is None or (self.log and size > 1):
            return self.decode(u)
        index = np.clip(np.floor(np.asarray(u) * size), 0, size - 1)
        return self.decode(index / max(size - 1, 1))

    @functools.cached_property
    def _places(self) -> int:
        """Return the decimal places of the grid of a linear range."""
        low, high = self._low, self._high
        largest = _decade(max(abs(low), abs(high)))
        return min(11 - math.floor(math.log10(high - low)), 13 - largest, self._finest)

    @functools.cached_property
    def fineness(self) -> float | None:
        """Return how many values a linear range has in 1 of its unit, None for all else."""
        if self.low is None or self.low == self.high or self.log:
            return None
        if self.type == 'int':
            return 1.0
        return _LIST_OF_POWERS[self._places] if self._places >= 0 else None

    @functools.cached_property
    def _finest(self) -> int:
        """Return the decimal places that come back from all targets, as offsets cost some."""
        offset = max((abs(target.offset / target.scale) for target in self.targets), default=0.0)
        # Eight times what `RosTarget.error` says of it.
        return -math.ceil(math.log10(32.0 * sys.float_info.epsilon * offset)) if offset else 400

    def _grid_one(self, x: float) -> float:
        """Round one double as `_grid` does, bit for bit: arrays of one are slow."""
        low, high = self._low, self._high
        if low == high:
            return low
        digits = min(10 - math.floor(math.log10(x)), self._finest) if self.log else self._places
        power = _LIST_OF_POWERS[abs(digits)]
        x = round(x * power) / power if digits >= 0 else round(x / power) * power
        return min(max(x, low), high) + 0.0

    def _grid(self, x: np.ndarray) -> np.ndarray:
        """Round doubles (n,) to the parameter's decimal grid, and keep them in range."""
        low, high = self._low, self._high
        if low == high and not self.log:
            return np.full(np.shape(x), low)
        if self.log:
            digits = np.minimum(10 - np.floor(np.log10(x)).astype(int), self._finest)
            power = _POWERS[np.abs(digits)]
            with np.errstate(over='ignore'):
                up = np.rint(x * power) / power
                down = np.rint(x / power) * power
            x = np.where(digits >= 0, up, down)
        else:
            step = _LIST_OF_POWERS[abs(self._places)]
            x = np.rint(x * step) / step if self._places >= 0 else np.rint(x / step) * step
        return np.minimum(np.maximum(x, low), high) + 0.0


def _decade(value: float) -> int:
    return math.floor(math.log10(value)) if value else 0


def number_in_text(text: str) -> bool:
    """Say whether `text` is a number for people, though YAML 1.1 reads it as text."""
    return re.fullmatch(r'[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?', text.strip()) is not None
