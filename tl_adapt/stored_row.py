# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for reading a store's row: a database holds whatever somebody wrote into it."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tl_adapt.environments.base import Measurement
from tl_adapt.errors import InputError, StoreError

if TYPE_CHECKING:
    from tl_adapt.space import Space

JSON_FIELDS = ('configuration', 'metrics', 'provenance')
_TEXTS = ('key', 'environment', 'purpose', 'reason', 'started')
_NUMBERS = ('cost', 'sim_time', 'wall_time')
_SHOWN = 80  # letters of a key in a message


def measurement_of(row: Mapping[str, Any], name: str) -> Measurement:
    """Return the measurement in a row; raises StoreError, with a store's `name`, if it is none."""
    values = dict(row)
    field = ''
    try:
        for field in JSON_FIELDS:
            values[field] = _mapping(json.loads(row[field]))
        field = 'metrics'
        for metric, value in values[field].items():
            _finite(value, f'{metric} ')
        field = 'configuration'
        for parameter, value in values[field].items():
            if not isinstance(value, (bool, int, float, str)):
                raise ValueError(f'{parameter} must be a number, text, true or false')
        for field in _TEXTS:
            if not isinstance(row[field], str):
                raise ValueError(f'must be text, got {row[field]!r:.60}')
        for field in _NUMBERS:
            _finite(row[field])
        field = 'seed'
        if not isinstance(row[field], int):
            raise ValueError(f'must be a whole number, got {row[field]!r:.60}')
    except (ValueError, TypeError, RecursionError) as error:
        raise _damaged(name, field, row['key'], error) from error
    values['valid'] = bool(row['valid'])
    return Measurement(**values)


def check_configurations(rows: Sequence[Measurement], space: Space, name: str) -> None:
    """Raise StoreError for a configuration that lacks a value of a space, or is out of range."""
    with contextlib.suppress(InputError):
        space.encode([row.configuration for row in rows])
        return
    for row in rows:
        try:
            space.encode([row.configuration])
        except InputError as error:
            raise _damaged(name, 'configuration', row.key, error) from error


def _damaged(name: str, field: str, key: object, reason: object) -> StoreError:
    return StoreError(f'{name}: {field} of measurement {str(key)[:_SHOWN]} is damaged: {reason}')


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f'must map names to values, got {value!r:.60}')
    return value


def _finite(value: Any, what: str = '') -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    try:
        if number and math.isfinite(value):
            return
    except OverflowError:
        pass
    raise ValueError(f'{what}must be a finite number, got {value!r:.60}')
