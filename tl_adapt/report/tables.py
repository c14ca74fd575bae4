# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the tables that the terminal and the page share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def comparison_rows(comparison: Mapping[str, Any], units: Mapping[str, str]) -> list[list[str]]:
    """
    Return a comparison as rows of text, the head first.

    A cell holds the mean, and for rows other than the baseline the difference to it with its
    95 % interval; `~` marks an inconclusive one.
    """
    rows = comparison['rows']
    names: list[str] = []
    for row in rows.values():
        names += [name for name in row['metrics'] if name not in names and name != 'success']
    head = ['configuration', 'success', 'broken limits']
    head += [f'{n} [{units[n]}]' if units.get(n, '1') != '1' else n for n in names]
    table = [head]
    for label, row in rows.items():
        share = row['success']
        cells = [label]
        cells.append(
            f'{share["estimate"]:.0%} ({share["low"]:.0%}..{share["high"]:.0%})' if share else '-'
        )
        cells.append(f'{row["limits_broken"]}/{row["runs"]}')
        for name in names:
            cells.append(_cell(row, name))
        table.append(cells)
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


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Lay rows out in columns: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        lines.append('  '.join(cells).rstrip())
        if number == 0:
            lines.append('-' * len(lines[0]))
    return '\n'.join(lines)


def _cell(row: Mapping[str, Any], name: str) -> str:
    if name not in row['metrics']:
        return '-'
    text = f'{row["metrics"][name]["mean"]:.3g}'
    difference = row['difference'].get(name)
    if difference and difference['pairs']:
        mark = '~' if difference['verdict'] == 'inconclusive' else ''
        text += f' ({mark}{difference["low"]:+.2g}..{difference["high"]:+.2g})'
    return text
