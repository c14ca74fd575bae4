# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for pairs of environments that were recorded in CSV files, without a study.

Two layouts are read. A folder with `pairs.json`, a list of pairs with `name`, `files`,
`same_configs` and, where there is one, `invalid_threshold`: options are the columns `opt_*`,
values the columns `source` and `target`, of one file if the configurations are the same; the same
file below `raw/`, where it is there, has the invalid rows, too. Or any two tables: options are the
columns that both have, values the last column or the one that is named.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tl_adapt.errors import InputError
from tl_adapt.expressions import Expression
from tl_adapt.models.similarity.pair import Pair, Side, repeats_joined

Array = NDArray[np.float64]
VALUE = 'value'  # what a rule of invalid rows calls the response
_LARGEST = 1e100  # size of an option's value
_TRUTH = {'true': 1.0, 'yes': 1.0, 'on': 1.0, 'false': 0.0, 'no': 0.0, 'off': 0.0}


@dataclasses.dataclass(frozen=True)
class Table:
    """Hold a CSV file: its columns by name, as text without spaces around."""

    path: Path
    columns: Mapping[str, tuple[str, ...]]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the columns in their order."""
        return tuple(self.columns)

    def values(self, name: str) -> Array:
        """
        Return a column of measured values (n,); empty and non-finite cells become NaN.

        Raises InputError for a cell that is no number.
        """
        found = []
        for line, cell in enumerate(self.columns[name], 2):
            try:
                number = float(cell) if cell else math.nan
            except ValueError:
                raise InputError(
                    'must be a number', file=f'{self.path}, row {line}', key=name, value=cell
                ) from None
            found.append(number if math.isfinite(number) else math.nan)
        return np.array(found, dtype=np.float64)


def read_table(path: Path) -> Table:
    """Read a CSV file with a header. Raises InputError that names file and row."""
    try:
        with open(path, newline='', encoding='utf-8-sig') as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, 'strerror', None) or error
        raise InputError(f'can not be read ({reason})', file=path) from None
    if not rows:
        raise InputError('must have a header', file=path)
    head = [name.strip() for name in rows[0]]
    for name in head:
        if not name or head.count(name) > 1:
            raise InputError('columns must have different names', file=path, value=name)
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(head):
            raise InputError(
                f'must have {len(head)} cells as the header has', file=f'{path}, row {number}',
                value=len(row),
            )
    columns = {
        name: tuple(row[i].strip() for row in rows[1:]) for i, name in enumerate(head)
    }
    return Table(path, columns)


def invalid_rule(text: str | None) -> Expression | None:
    """Return the rule that says which values are failed runs; raises InputError if it is none."""
    if text is None:
        return None
    try:
        rule = Expression(text, names=(VALUE,))
        result = rule.evaluate({VALUE: 1.0})
    except InputError as error:
        raise error.at(key='--invalid') from None
    if not isinstance(result, bool | np.bool_):
        raise InputError('a rule must give true or false', key='--invalid', value=text)
    return rule


def load_recorded(folder: Path, name: str, *, rule: Expression | None = None) -> Pair:
    """
    Read one pair of a folder with pairs.json.

    `rule` replaces the pair's own rule of invalid rows, which is: 0 or less, or its threshold and
    more, where the raw file is there. Raises InputError for a missing file, an unknown pair, or
    bad content.
    """
    entry = _entry(folder, name)
    files = entry.get('files')
    if not isinstance(files, list) or len(files) not in (1, 2):
        raise InputError(
            'must name one or two files', file=folder / 'pairs.json', key=f'{name}.files',
            value=files,
        )
    limit = entry.get('invalid_threshold')
    if isinstance(limit, bool) or not isinstance(limit, int | float | None):
        raise InputError(
            'must be a number or null', file=folder / 'pairs.json',
            key=f'{name}.invalid_threshold', value=limit,
        )
    if len(files) == 2:
        tables = [read_table(folder / str(file)) for file in files]
        return _two_tables(name, tables, ('source', 'target'), rule, own_range=True)
    path = folder / 'raw' / str(files[0])
    raw = path.is_file()
    table = read_table(path if raw else folder / str(files[0]))
    options = _options([table], lambda column: column.startswith('opt_'))
    X, categorical = _encode([table], options, own_range=False)
    sides = []
    for role in ('source', 'target'):
        if role not in table.columns:
            raise InputError('has no column of this name', file=table.path, value=role)
        y = table.values(role)
        valid = _kept(y, rule) if rule else _plausible(y, entry) if raw else np.isfinite(y)
        sides.append(Side.of(role, X[0], y, valid))
    return Pair(
        tuple(options), categorical, sides[0], sides[1], aligned=True, metric=name
    )


def load_tables(
    source: Path, target: Path, *, metric: str | None = None, rule: Expression | None = None
) -> Pair:
    """
    Read two tables of measurements of the same options.

    `metric` names the column of values (None: the last one of each). Rows with an empty value,
    or those for which `rule` holds, are failed runs. Raises InputError as `read_table` does, for
    a missing column, and if no option is common to both.
    """
    tables = [read_table(source), read_table(target)]
    for table in tables:
        if metric is not None and metric not in table.columns:
            known = ', '.join(table.names)
            raise InputError(
                f'has no column of this name; there are {known}', file=table.path,
                key='--metric', value=metric,
            )
    columns = tuple(table.names[-1] if metric is None else metric for table in tables)
    return _two_tables(metric or columns[0], tables, (columns[0], columns[1]), rule)


def _two_tables(
    metric: str, tables: Sequence[Table], columns: tuple[str, str], rule: Expression | None,
    *, own_range: bool = False,
) -> Pair:
    """Return the pair of two tables; `columns` name the values of each."""
    for table, column in zip(tables, columns):
        if column not in table.columns:
            raise InputError('has no column of this name', file=table.path, value=column)
    options = _options(tables, lambda name: name not in columns)
    X, categorical = _encode(tables, options, own_range=own_range)
    names = _different([table.path.stem for table in tables])
    sides = []
    for name, table, column, points in zip(names, tables, columns, X):
        y = table.values(column)
        valid = _kept(y, rule) if rule else np.isfinite(y)
        sides.append(repeats_joined(name, points, y, valid))
    return Pair(tuple(options), categorical, sides[0], sides[1], metric=metric)


def _different(names: list[str]) -> list[str]:
    return names if names[0] != names[1] else [f'{names[0]} (source)', f'{names[1]} (target)']


def _entry(folder: Path, name: str) -> Mapping[str, Any]:
    """Return a pair's entry in pairs.json."""
    path = folder / 'pairs.json'
    try:
        entries = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise InputError(f'can not be read ({reason})', file=path) from None
    known = {
        entry['name']: entry for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict) and isinstance(entry.get('name'), str)
    }
    if name not in known:
        rule = f'has no pair of this name; there are {", ".join(known) or "none"}'
        raise InputError(rule, file=path, key='--pair', value=name)
    return known[name]


def _options(tables: Sequence[Table], wanted: Any) -> list[str]:
    """Return the names of columns that all tables have and that are wanted as options."""
    names = [
        name for name in tables[0].names
        if wanted(name) and all(name in table.columns for table in tables)
    ]
    if not names:
        files = ' and '.join(str(table.path) for table in tables)
        columns = '; '.join(', '.join(table.names) for table in tables)
        raise InputError('must have columns of options', file=files, value=columns)
    return names


def _encode(
    tables: Sequence[Table], options: Sequence[str], *, own_range: bool
) -> tuple[list[Array], NDArray[np.bool_]]:
    """
    Return the points (n, d) of each table in the unit cube, and which options are categorical.

    Numeric options are scaled by the range in all tables, with `own_range` by that in their own;
    words are levels without an order.
    """
    points = [np.zeros((len(table.columns[options[0]]), len(options))) for table in tables]
    categorical = np.zeros(len(options), dtype=bool)
    for j, name in enumerate(options):
        cells = [[_option(table, name, i) for i in range(len(X))]
                 for table, X in zip(tables, points)]
        words = any(isinstance(cell, str) for column in cells for cell in column)
        if words:
            levels = sorted({str(cell) for column in cells for cell in column})
            place = {level: i / max(len(levels) - 1, 1) for i, level in enumerate(levels)}
            for X, column in zip(points, cells):
                X[:, j] = [place[str(cell)] for cell in column]
            categorical[j] = len(levels) > 2
            continue
        columns = [np.array(column, dtype=np.float64) for column in cells]
        for X, values in zip(points, columns):
            known = values if own_range else np.concatenate(columns)
            if len(values):
                low, high = known.min(), known.max()
                X[:, j] = (values - low) / (high - low) if high > low else 0.5
    return points, categorical


def _option(table: Table, name: str, row: int) -> float | str:
    """Return an option's cell: a number, 0 or 1 for words of truth, or the word itself."""
    cell = table.columns[name][row]
    where = f'{table.path}, row {row + 2}'
    if not cell:
        raise InputError('an option must have a value', file=where, key=name)
    if cell.lower() in _TRUTH:
        return _TRUTH[cell.lower()]
    try:
        number = float(cell)
    except ValueError:
        return cell
    if not abs(number) <= _LARGEST:
        huge = f'at most {_LARGEST:g} in size' if math.isfinite(number) else 'finite'
        raise InputError(f'an option must be {huge}', file=where, key=name, value=cell)
    return number


def _kept(y: Array, rule: Expression) -> NDArray[np.bool_]:
    """Return which values (n,) are there and not invalid by a rule."""
    kept = np.isfinite(y)
    try:
        bad = [bool(rule.evaluate({VALUE: float(v)})) for v in y[kept]]
    except InputError as error:
        raise error.at(key='--invalid') from None
    kept[np.flatnonzero(kept)] = ~np.array(bad, dtype=bool)
    return kept


def _plausible(y: Array, entry: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Return which values (n,) of a raw file are valid: positive, and below the threshold."""
    limit = entry.get('invalid_threshold')
    limit = math.inf if limit is None else float(limit)
    return np.isfinite(y) & (y > 0.0) & (np.nan_to_num(y, nan=math.inf) < limit)
