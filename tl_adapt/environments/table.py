# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for environments that are a table of recorded measurements (CSV)."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import math
import pathlib
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tl_adapt.environments.base import Measurement
from tl_adapt.errors import InputError
from tl_adapt.expressions import Expression

if TYPE_CHECKING:
    from tl_adapt.parameter import Parameter
    from tl_adapt.space import Configuration
    from tl_adapt.study import EnvironmentSpec, Study

_KEYS = ('file', 'columns', 'valid', 'invalid', 'outside')
_TRUE = ('1', '1.0', 'true', 'yes', 'on')
_FALSE = ('0', '0.0', 'false', 'no', 'off')


@dataclasses.dataclass(frozen=True)
class TableOptions:
    """
    Hold the checked options of a table.

    `columns` maps each parameter and metric to its column's index.
    """

    path: pathlib.Path
    columns: Mapping[str, int]
    width: int
    valid: int | None
    invalid: Expression | None
    skip_outside: bool


@dataclasses.dataclass(frozen=True)
class _Row:
    line: int
    metrics: dict[str, float]
    reason: str


def validate_options(spec: EnvironmentSpec, study: Study) -> TableOptions:
    """
    Check the options of a table against the study and the file's header.

    `file` is relative to the study file that names it; `columns` maps names of parameters and
    metrics to columns (default: the same name); `valid` names a column of true and false;
    `invalid` is an expression over parameters and metrics; `outside: skip` leaves out rows that
    are not in the study's space, which are an error otherwise.

    Raises InputError for an unknown option, a missing file or column, or a bad expression.
    """
    where = f'environments.{spec.name}'

    def fail(key: str, rule: str, value: Any) -> InputError:
        key = f'{where}.{key}'
        return InputError(rule, file=study.sources.named(key), key=key, value=value)

    options = spec.options
    for key in sorted(set(options) - set(_KEYS)):
        rule = f'unknown option, known are {", ".join(_KEYS)}'
        raise InputError(rule, file=study.sources.named(where), key=where, value=key)
    file = options.get('file')
    if not isinstance(file, str) or not file:
        raise fail('file', 'must name a CSV file', file)
    path = study.folder(f'{where}.file') / file
    header = _header(path, lambda rule: fail('file', rule, file))
    names = [*study.space.names, *study.metrics]
    mapping = options.get('columns', {})
    if not isinstance(mapping, Mapping):
        raise fail('columns', 'must map parameters and metrics to columns', mapping)
    for name in mapping:
        if name not in names:
            raise fail('columns', 'not a parameter or metric of the study', name)
    columns = {}
    for name in names:
        column = str(mapping.get(name, name))
        if header.count(column) != 1:
            some = 'no' if column not in header else 'more than one'
            raise fail(f'columns.{name}', f'{path.name} has {some} column of this name', column)
        columns[name] = header.index(column)
    valid = options.get('valid')
    if valid is not None and header.count(str(valid)) != 1:
        raise fail('valid', f'{path.name} must have one column of this name', valid)
    outside = options.get('outside', 'refuse')
    if outside not in ('refuse', 'skip'):
        raise fail('outside', 'must be refuse or skip', outside)
    invalid = None
    if options.get('invalid') is not None:
        try:
            invalid = Expression(options['invalid'], names=names)
        except InputError as error:
            raise fail('invalid', error.rule, error.value) from None
    return TableOptions(
        path=path,
        columns=columns,
        width=len(header),
        valid=None if valid is None else header.index(str(valid)),
        invalid=invalid,
        skip_outside=outside == 'skip',
    )


def _header(path: pathlib.Path, fail: Any) -> list[str]:
    try:
        with open(path, newline='', encoding='utf-8-sig') as file:
            return [name.strip() for name in next(csv.reader(file), [])]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise fail(f'can not be read ({getattr(error, "strerror", None) or error})') from error


class TableEnvironment:
    """
    Look measurements up in a table; only its own configurations can be measured.

    Where a configuration has several rows, `seed` modulo their number chooses one, so that
    consecutive seeds visit all of them. A row with an empty or non-finite metric, or one that
    the options call invalid, gives an invalid measurement.
    """

    def __init__(self, study: Study, name: str, *, worker: int = 0) -> None:
        """Read the whole table. Raises InputError that names file, line and column."""
        self.name = name
        self._study = study
        self._spec = study.environment(name)
        self._options = validate_options(self._spec, study)
        self._rows: dict[tuple[Any, ...], list[_Row]] = {}
        self._configurations: list[Configuration] = []
        #: Number of rows left out because they are not in the study's space.
        self.skipped = 0
        self._read()

    def _read(self) -> None:
        options = self._options
        try:
            with open(options.path, newline='', encoding='utf-8-sig') as file:
                reader = csv.reader(file)
                next(reader, None)
                for cells in reader:
                    if cells:
                        self._add_row(reader.line_num, cells)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise InputError(f'can not be read ({error})', file=options.path) from error
        if not self._configurations:
            raise InputError(
                'holds no row of the space of the study', file=options.path, value=self.skipped
            )

    def _add_row(self, line: int, cells: list[str]) -> None:
        options = self._options
        file = f'{options.path}, line {line}'
        if len(cells) != options.width:
            raise InputError(
                f'must have {options.width} cells as the header has', file=file, value=len(cells)
            )
        raw = {}
        for parameter in self._study.space.parameters:
            text = cells[options.columns[parameter.name]].strip()
            if text or parameter.condition is None:
                raw[parameter.name] = _value(parameter, text, file)
        try:
            configuration = self._study.space.validate(raw, file=file)
        except InputError:
            if not options.skip_outside:
                raise
            self.skipped += 1
            return
        metrics, reason = self._metrics(cells, configuration, file)
        rows = self._rows.setdefault(self._index(configuration), [])
        if not rows:
            self._configurations.append(configuration)
        rows.append(_Row(line, metrics, reason))

    def _metrics(
        self, cells: list[str], configuration: Configuration, file: str
    ) -> tuple[dict[str, float], str]:
        """Return the finite metrics of a row and why it is invalid ('' if it is not)."""
        options = self._options
        metrics: dict[str, float] = {}
        reasons = []
        for name in self._study.metrics:
            text = cells[options.columns[name]].strip()
            try:
                number = float(text) if text else math.nan
            except ValueError:
                raise InputError('must be a number', file=file, key=name, value=text) from None
            if math.isfinite(number):
                metrics[name] = number
            else:
                reasons.append(f'metric {name} is {text or "empty"}')
        if options.valid is not None:
            cell = cells[options.valid].strip()
            if cell.lower() not in _TRUE + _FALSE:
                raise InputError('must be true or false', file=file, key='valid', value=cell)
            if cell.lower() in _FALSE:
                reasons.insert(0, 'marked as invalid')
        rule = options.invalid
        known = {**configuration, **metrics}
        if rule is not None and rule.names <= set(known) and bool(rule.evaluate(known)):
            reasons.insert(0, f'the rule {rule.text} holds')
        return metrics, '; '.join(reasons)

    def _index(self, configuration: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(configuration[name] for name in self._study.space.names)

    def configurations(self) -> list[Configuration]:
        """Return every configuration of the table once, in the order of the rows."""
        return [dict(configuration) for configuration in self._configurations]

    def measure(self, configuration: Mapping[str, Any], seed: int) -> Measurement:
        """Look a configuration up. Raises InputError if the table does not have it."""
        begin = time.monotonic()
        checked = self._study.space.validate(dict(configuration))
        rows = self._rows.get(self._index(checked))
        if rows is None:
            raise InputError(
                'the table has no such configuration', file=self._options.path, value=checked
            )
        row = rows[seed % len(rows)]
        return Measurement(
            environment=self.name,
            configuration=checked,
            seed=seed,
            metrics=dict(row.metrics),
            valid=not row.reason,
            reason=row.reason,
            cost=self._spec.cost,
            wall_time=time.monotonic() - begin,
            started=datetime.datetime.now(datetime.timezone.utc).isoformat(),
            provenance={'file': str(self._options.path), 'line': row.line},
        )

    def close(self) -> None:
        """Do nothing: a table holds no processes."""


def _value(parameter: Parameter, text: str, file: str) -> Any:
    """Return a cell as the parameter's type. Raises InputError if it is not of that type."""
    try:
        if parameter.type == 'string':
            return text
        if parameter.type == 'bool':
            if text.lower() in _TRUE + _FALSE:
                return text.lower() in _TRUE
        elif parameter.type == 'double':
            return float(text)
        else:
            number = float(text)
            if number.is_integer():
                return int(number)
    except (ValueError, OverflowError):
        pass
    raise InputError(f'must be {parameter.type}', file=file, key=parameter.name, value=text)

