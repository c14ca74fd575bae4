# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the tables that the terminal and the page share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def mean_rows(comparison: Mapping[str, Any], units: Mapping[str, str]) -> list[list[str]]:
    """Return each metric's mean per configuration as rows of text, the head first."""
    rows = comparison['rows']
    table = [['', *rows], ['success', *(_success(row) for row in rows.values())]]
    table.append(
        ['limits broken', *(f'{row["limits_broken"]} of {row["runs"]}' for row in rows.values())]
    )
    for name in _metrics(rows):
        means = [row['metrics'].get(name) for row in rows.values()]
        cells = ['-' if one is None else f'{one["mean"]:.4g}' for one in means]
        table.append([_labelled(name, units), *cells])
    return table


def difference_rows(comparison: Mapping[str, Any], units: Mapping[str, str]) -> list[list[str]]:
    """Return the intervals of the differences to the baseline as rows of text, the head first."""
    rows = {k: v for k, v in comparison['rows'].items() if k != comparison['baseline']}
    table = [['', *rows]]
    for name in _metrics(comparison['rows']):
        cells = [_difference(row['difference'].get(name)) for row in rows.values()]
        table.append([_labelled(name, units), *cells])
    return table


def adaptation_rows(adaptation: Mapping[str, Any]) -> list[list[str]]:
    """Return what happened mission by mission, the head first."""
    table = [['mission', 'environment', 'adapter', 'success', 'objective', 'what the adapter did']]
    for row in adaptation['missions']:
        objective = row['objective']
        table.append([
            str(row['mission']), row['environment'], row['state'],
            'yes' if row['valid'] else f'no: {row["reason"]}',
            '-' if objective is None else f'{objective:.3f}', row['note'],
        ])
    return table


def format_table(rows: Sequence[Sequence[str]], *, text: Sequence[int] = (0,)) -> str:
    """Lay rows out in columns: those in `text` begin to the left, the others end to the right."""
    columns = range(len(rows[0]))
    widths = [max(len(row[i]) for row in rows) for i in columns]
    lines = []
    for row in rows:
        cells = [
            row[i].ljust(widths[i]) if i in text else row[i].rjust(widths[i]) for i in columns
        ]
        lines.append('  '.join(cells).rstrip())
    return '\n'.join([lines[0], '-' * max(len(lines[0]), 60), *lines[1:]])


def _metrics(rows: Mapping[str, Any]) -> list[str]:
    names: list[str] = []
    for row in rows.values():
        names += [name for name in row['metrics'] if name not in names and name != 'success']
    return names


def _labelled(name: str, units: Mapping[str, str]) -> str:
    return f'{name} [{units[name]}]' if units.get(name, '1') not in ('1', '') else name


def _success(row: Mapping[str, Any]) -> str:
    share = row['success']
    if share is None:
        return '-'
    return f'{share["estimate"]:.0%} ({share["low"]:.0%}..{share["high"]:.0%})'


def _difference(difference: Mapping[str, Any] | None) -> str:
    if not difference or not difference['pairs']:
        return '-'
    mark = '~' if difference['verdict'] == 'inconclusive' else ''
    return f'{mark}{difference["low"]:+.3g} .. {difference["high"]:+.3g}'
