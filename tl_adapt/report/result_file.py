# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for reading a result file: only what the page can show gets through."""

from __future__ import annotations

import functools
import json
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema

from tl_adapt.errors import InputError
from tl_adapt.study_file import MISSING, dotted, explain, rank

_DEEPEST = 24
_LARGEST_NUMBER = 1e150  # its square is a float still

_TEXT = {'type': 'string'}
_NUMBER = {'type': 'number'}
_NUMBER_OR_NULL = {'type': ['number', 'null']}
_COUNT = {'type': 'integer', 'minimum': 0}


def _table(*required: str, **properties: Any) -> dict[str, Any]:
    """Return the schema of a mapping with these keys; it may have others, too."""
    return {
        'type': 'object', 'properties': properties,
        'required': sorted(properties) if not required else list(required),
    }


def _map(entry: Any, **more: Any) -> dict[str, Any]:
    """Return the schema of a mapping from any name to an entry."""
    return {'type': 'object', 'additionalProperties': entry, **more}


_DIFFERENCE = {
    'type': 'object',
    'properties': {'pairs': _COUNT, 'low': _NUMBER, 'high': _NUMBER, 'verdict': _TEXT},
    'required': ['pairs'],
    'if': {'properties': {'pairs': {'const': 0}}},
    'else': {'required': ['low', 'high', 'verdict']},
}
_ROW = _table(
    success={
        'type': ['object', 'null'],
        'properties': {'estimate': _NUMBER, 'low': _NUMBER, 'high': _NUMBER},
        'required': ['estimate', 'low', 'high'],
    },
    runs=_COUNT,
    limits_broken=_COUNT,
    metrics=_map(_table(mean=_NUMBER, std=_NUMBER, n={'type': 'integer', 'minimum': 1})),
    difference=_map(_DIFFERENCE),
)
_COMPARISON = _table(baseline=_TEXT, rows=_map(_ROW, minProperties=1))
_MISSION = _table(
    mission={'type': ['integer', 'string']}, environment=_TEXT, state=_TEXT,
    valid={'type': 'boolean'}, reason=_TEXT, objective=_NUMBER_OR_NULL, note=_TEXT,
)
_POINT = {'type': 'array', 'items': _NUMBER, 'minItems': 2, 'maxItems': 2}
_SCHEMA = _table(
    'study', 'comparison',
    study=_TEXT,
    summary=_TEXT,
    units=_map(_TEXT),
    comparison=_COMPARISON,
    saved=_table(text=_TEXT),
    gap={
        'type': ['object', 'null'],
        'additionalProperties': _table(rank_correlation=_NUMBER_OR_NULL, pairs=_COUNT),
    },
    adaptation={
        'type': ['object', 'null'],
        'properties': {
            'missions': {'type': 'array', 'items': _MISSION}, 'comparison': _COMPARISON,
        },
        'if': {'type': 'object', 'minProperties': 1},
        'then': {'required': ['missions']},
    },
    curves={
        'type': ['object', 'null'],
        'additionalProperties': {'type': 'array', 'items': _NUMBER_OR_NULL},
    },
    pareto={
        'type': ['object', 'null'],
        'properties': {
            'axes': {'type': 'array', 'items': _TEXT, 'minItems': 2, 'maxItems': 2},
            'groups': _map({'type': 'array', 'items': _POINT}),
        },
        'required': ['axes', 'groups'],
    },
    influence={
        'type': ['object', 'null'],
        'additionalProperties': _map(_table(span=_NUMBER, change=_NUMBER)),
    },
)


class _Shortened:
    """Show a value in an error on one line, however long it is."""

    def __init__(self, value: Any) -> None:
        self._text = reprlib.repr(value)

    def __repr__(self) -> str:
        return self._text


def load_result(path: Path) -> dict[str, Any]:
    """
    Read a result file.

    Raises InputError that names file, key, rule and value for the first mistake.
    """
    try:
        data = json.loads(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise InputError(f'the result can not be read ({error.strerror})', file=path) from error
    except ValueError as error:
        raise InputError(f'the result must be JSON ({error})', file=path) from error
    except RecursionError:
        raise InputError('the result is nested too deeply', file=path) from None
    check_result(data, path)
    found: dict[str, Any] = data
    return found


def check_result(data: Any, path: Path) -> None:
    """Raise InputError for the first mistake in the content of a result file."""
    try:
        _refuse_strange(data)
        error = next(iter(sorted(_validator().iter_errors(data), key=rank)), None)
        if error is not None:
            explain(error, path)
        _check_names(data)
    except InputError as error:
        rule = _one_line(error.rule.partition(' (YAML')[0])  # a hint for who writes studies
        key = _one_line(error.key or 'the result')
        if rule == MISSING:
            raise InputError(rule, file=path, key=key) from None
        raise InputError(rule, file=path, key=key, value=_Shortened(error.value)) from None


def _one_line(text: str) -> str:
    """Return a text, names from the file in it, so that it can be one line's part."""
    line = ''.join(c if c.isprintable() else repr(c)[1:-1] for c in text[:200])
    return line if len(text) <= 200 else f'{line}...'


@functools.lru_cache(maxsize=1)
def _validator() -> Any:
    jsonschema.Draft7Validator.check_schema(_SCHEMA)
    return jsonschema.Draft7Validator(_SCHEMA)


def _refuse_strange(data: Any) -> None:
    """Raise InputError for what no page can show, in one walk without recursion."""
    waiting: list[tuple[tuple[Any, ...], Any]] = [((), data)]
    while waiting:
        parts, value = waiting.pop()
        if len(parts) > _DEEPEST:
            raise InputError('is nested too deeply', key=dotted(parts[:3]), value='...')
        if isinstance(value, str):
            _refuse_half_characters(value, parts)
        elif isinstance(value, (int, float)) and not abs(value) <= _LARGEST_NUMBER:  # also nan
            rule = f'must be a number within +-{_LARGEST_NUMBER:g}'
            raise InputError(rule, key=dotted(parts), value=value)
        waiting += _children(value, parts)


def _children(value: Any, parts: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict):
        for key, child in value.items():
            _refuse_half_characters(key, parts)
            yield (*parts, key), child
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield (*parts, index), child


def _refuse_half_characters(text: str, parts: tuple[Any, ...]) -> None:
    """Raise InputError for half of a surrogate pair: JSON can escape it, no file can hold it."""
    try:
        text.encode('utf-8')
    except UnicodeEncodeError:
        raise InputError('must be Unicode', key=dotted(parts), value=text) from None


def _check_names(data: dict[str, Any]) -> None:
    """Raise InputError where one part of the result names what another lacks."""
    comparisons = [('comparison', data['comparison'])]
    later = (data.get('adaptation') or {}).get('comparison')
    if later is not None:
        comparisons.append(('adaptation.comparison', later))
    for key, comparison in comparisons:
        if comparison['baseline'] not in comparison['rows']:
            raise InputError(
                'must be one of the rows', key=f'{key}.baseline', value=comparison['baseline']
            )
    tables = list((data.get('influence') or {}).items())
    for label, table in tables[1:]:
        if set(table) != set(tables[0][1]):
            raise InputError(
                f'must have the parameters of {tables[0][0]}', key=f'influence.{label}',
                value=sorted(table),
            )
