# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for showing a journal: who did what, why, and with what effect."""

from __future__ import annotations

import datetime
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tl_adapt.exact_json import to_plain
from tl_adapt.journal_table import BEGIN, END, RECORD, Entry
from tl_adapt.report.tables import format_table

_LEAST = 12  # characters that a column keeps however narrow the terminal is
_WRAPPED = ('why', 'effect', 'configuration')
_CHANGES = ('change', 'rollback')
_RIGHT = ('change', 'sim [s]')


def journal_rows(
    entries: Sequence[Entry], *, starts: Mapping[str, datetime.datetime] = MappingProxyType({})
) -> list[list[str]]:
    """
    Return the lines that people read as rows of text, the head first.

    A change's begin and end are one line, or none where a record of its own tells of it.
    A configuration is shown as what differs from the one before: its own, or that of the entries
    above, which must lack none then. Columns that are empty all the way down are left out.
    `starts` are the times [UTC] at which the runs began, for entries of which the runs are to be
    told apart.
    """
    ends = {entry.intent: entry for entry in entries if entry.kind == END}
    begun = {entry.intent for entry in entries if entry.kind == BEGIN}
    told = {
        (entry.run, entry.change) for entry in entries
        if entry.kind == RECORD and entry.what in _CHANGES
    }
    places = {(entry.study, entry.environment) for entry in entries}
    latest: dict[tuple[str, str], Mapping[str, Any]] = {}
    lines = []
    for entry in entries:
        place = (entry.study, entry.environment)
        before = entry.before if entry.before is not None else latest.get(place)
        if entry.configuration is not None:
            latest[place] = entry.configuration
        if entry.kind != RECORD and (entry.run, entry.change) in told:
            continue
        if entry.kind == END and entry.intent in begun:
            continue
        end = ends.get(entry.intent) if entry.kind == BEGIN else entry
        lines.append({
            'time (UTC)': _time(entry.time),
            'adapter since': _time(starts[entry.run]) if entry.run in starts else '',
            'sim [s]': '' if entry.sim_time is None else f'{entry.sim_time:.1f}',
            'where': f'{entry.study}/{entry.environment}' if len(places) > 1 else '',
            'context': entry.context,
            'change': '' if entry.change is None else str(entry.change),
            'who': entry.who,
            'what': entry.what,
            'why': entry.why if entry.kind != END else '',
            'effect': entry.effect if entry.kind == RECORD else _ended(end),
            'configuration': _difference(before, entry.configuration),
        })
    if not lines:
        return []
    heads = [
        head for head in lines[0]
        if head in ('why', 'effect') or any(line[head] for line in lines)
    ]
    return [heads, *([_printable(line[head]) for head in heads] for line in lines)]


def _time(time: datetime.datetime) -> str:
    return f'{time:%Y-%m-%d %H:%M:%S}'


def _ended(end: Entry | None) -> str:
    if end is None:
        return 'no end yet'
    return end.effect + (f': {end.why}' if end.why and not end.ok else '')


def _difference(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    if after is None:
        return ''
    if before is None:
        return ', '.join(f'{name} {_value(value)}' for name, value in after.items())
    names = dict.fromkeys([*after, *before])
    changes = [
        f'{name} {_value(before.get(name, "-"))} -> {_value(after.get(name, "-"))}'
        for name in names
        if name not in before or name not in after or before[name] != after[name]
    ]
    return ', '.join(changes) or 'as before'


def _value(value: Any) -> str:
    return f'{value:.6g}' if isinstance(value, float) else str(value)


def _printable(text: str) -> str:
    """Return text that does nothing to a terminal and is one line."""
    return ''.join(
        char if char.isprintable() else char.encode('unicode_escape').decode() for char in text
    )


def journal_table(rows: Sequence[Sequence[str]], *, width: int = 0) -> str:
    """Lay the rows out in columns; long cells go on below if `width` (0: any) asks for it."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    room = {i for i, head in enumerate(rows[0]) if head in _WRAPPED and widths[i] > _LEAST}
    while width and room and sum(widths) + 2 * (len(widths) - 1) > width:
        widest = max(room, key=lambda i: widths[i])
        widths[widest] -= 1
        room = {i for i in room if widths[i] > _LEAST}
    text = [i for i, head in enumerate(rows[0]) if head not in _RIGHT]
    return format_table(list(_wrapped(rows, widths)), text=text)


def _wrapped(rows: Iterable[Sequence[str]], widths: Sequence[int]) -> Iterable[list[str]]:
    for row in rows:
        cells = [
            textwrap.wrap(cell, size) or [''] if len(cell) > size else [cell]
            for cell, size in zip(row, widths)
        ]
        for i in range(max(len(cell) for cell in cells)):
            yield [cell[i] if i < len(cell) else '' for cell in cells]


def journal_object(entry: Entry) -> dict[str, Any]:
    """Return an entry for JSON, all that it holds; see `exact_json` for what JSON has not."""
    return {
        **vars(entry), 'time': entry.time.isoformat(),
        **{
            name: to_plain(getattr(entry, name))
            for name in ('configuration', 'before', 'node_values')
        },
    }
