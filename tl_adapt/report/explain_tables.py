# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the tables of an explanation, which the terminal and the page share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tl_adapt.parameter_file import value_text

#: A title, a table (its head first) and a note below it; either may be empty.
Section = tuple[str, list[list[str]], str]

_TIMES = ' x '  # between the names of an interaction


def sections(result: Mapping[str, Any], *, top: int = 10) -> list[Section]:
    """Return an explanation as titled tables of at most `top` rows; see `explanation.result`."""
    found: list[Section] = []
    number = result['number']
    for one in result['environments']:
        found += _of_environment(one, number, top)
    for change in result['changes']:
        found.append(_of_change(change, number, top))
    for run in result['runs']:
        found += _of_run(run, number, top)
    return found


def _of_environment(one: Mapping[str, Any], number: Mapping[str, Any], top: int) -> list[Section]:
    counted = f'{one["used"]} of {one["measurements"]} measurements'
    if one['transferred_from']:
        counted += f', transferred from {one["transferred_from"]}'
    title = f'{_labelled(number)} in {one["name"]} ({counted})'
    found: list[Section] = []
    if one['effects'] is None:
        found.append((title, [], one['note']))
    else:
        effects = one['effects']
        note = (
            f'Mean over the space {_interval(effects["mean"])}, standard deviation '
            f'{_interval(effects["deviation"])}; {_percent(effects["rest"])} of the variance is '
            'neither of one parameter nor of a pair.'
        )
        found.append((f'Influence on {title}', _effect_rows(effects['parameters'], top), note))
        pairs = _effect_rows(effects['interactions'], top, sure=True)
        none = '' if len(pairs) > 1 else 'No interaction is sure.'
        found.append((f'Interactions in {one["name"]}', pairs if not none else [], none))
    if one['unexplained']:
        rows = [['run', 'value', 'standard deviations off']] + [
            [entry['run'][:10], _short(entry['value']), f'{entry["residual"]:+.1f}']
            for entry in one['unexplained'][:top]
        ]
        found.append((
            f'Runs in {one["name"]} that no configuration explains: the environment or chance',
            rows, '',
        ))
    if one['failures'] is not None:
        failed = one['measurements'] - one['valid']
        found.append((
            f'Influence on the probability of failure in {one["name"]} '
            f'({failed} of {one["measurements"]} runs failed)',
            _effect_rows(one['failures']['parameters'], top), '',
        ))
    return found


def _effect_rows(
    effects: Sequence[Mapping[str, Any]], top: int, *, sure: bool = False
) -> list[list[str]]:
    """Return rows of effects, with `sure` the conclusive ones alone."""
    shown = [one for one in effects if one['conclusive'] or not sure][:top]
    factors = any(one['factor'] is not None for one in shown)
    table = [['', 'from', 'to', 'change', '90 % interval']]
    table[0] += ['factor'] if factors else []
    table[0].append('share of variance')
    for one in shown:
        row = [
            _TIMES.join(one['names']), _values(one['from']), _values(one['to']),
            _marked(one['change'], one['conclusive']), _bounds(one['change']),
        ]
        if factors:
            row.append('-' if one['factor'] is None else f'x {_short(one["factor"]["estimate"])}')
        table.append([*row, _percent(one['share'])])
    return table


def _of_change(change: Mapping[str, Any], number: Mapping[str, Any], top: int) -> Section:
    before, after = change['from'], change['to']
    title = f'What changed in {_labelled(number)} from {before} to {after}'
    sure = [one for one in change['terms'] if one['kind'] in ('turned', 'stronger', 'weaker')]
    if not sure:
        return (title, [], 'No change of an influence or an interaction is sure.')
    factors = any(one['ratio'] is not None for one in sure)
    table = [['', 'what', before, after, 'difference', '90 % interval']]
    table[0] += ['ratio of factors'] if factors else []
    for one in sure[:top]:
        row = [
            _TIMES.join(one['names']), one['kind'], _signed(one['before']), _signed(one['after']),
            _signed(one['difference']), _bounds(one['difference']),
        ]
        if factors:
            row.append('-' if one['ratio'] is None else f'x {_short(one["ratio"]["estimate"])}')
        table.append(row)
    more = len(sure) - top
    notes = ['Stronger or weaker is judged by the factors.'] if factors else []
    notes += [f'{more} more are sure.'] if more > 0 else []
    return (title, table, ' '.join(notes))


def _of_run(run: Mapping[str, Any], number: Mapping[str, Any], top: int) -> list[Section]:
    unit = number['unit']
    name = f'run {run["run"][:10]} in {run["environment"]}'
    failure = run['explained'] != 'value'
    if failure:
        title = f'Why {name} failed ({run["reason"]})'
        head = (
            f'Predicted probability of failure {run["predicted"]:.0%}; of the {run["against"]} '
            f'{run["reference_predicted"]:.0%}.'
        )
    else:
        title = f'Why {name} gave {_with_unit(run["measured"], unit)}'
        head = _surprise(run, unit) + (
            f' Predicted for the {run["against"]}: '
            f'{_with_unit(run["reference_predicted"], unit)}.'
        )
    rows = [['', f'in the {run["against"]}', 'in this run', 'adds', '90 % interval',
             'likeliest cause']]
    for one in [*run['options'][:top], *(p for p in run['pairs'][:3] if p['conclusive'])]:
        rows.append([
            _TIMES.join(one['names']), _values(one['from']), _values(one['to']),
            _marked(one['amount'], one['conclusive']), _bounds(one['amount']),
            f'{one["likelihood"]:.0%}' if len(one['names']) == 1 else '',
        ])
    if len(rows) == 1:
        head += f' It is the {run["against"]} itself: there is nothing to compare.'
    return [(title, rows if len(rows) > 1 else [], f'{head} {_remedy(run, unit, failure)}')]


def _surprise(run: Mapping[str, Any], unit: str) -> str:
    found = run['surprise']
    if found is None:
        return 'There is no other run to judge it by.'
    return (
        f'Predicted without it: {_with_unit(found["median"], unit)} '
        f'({_short(found["low"])} .. {_short(found["high"])}), so it is '
        f'{found["residual"]:+.1f} standard deviations off: {found["verdict"]}.'
    )


def _remedy(run: Mapping[str, Any], unit: str, failure: bool) -> str:
    remedy = run['remedy']
    aim = 'a valid run' if failure else f'the typical {_with_unit(remedy["goal"], unit)}'
    changes = ', '.join(f'{name} = {value_text(v)}' for name, v in remedy['changes'].items())
    if remedy['reached'] and not changes:
        return (
            f'The model expects {aim} of this configuration as it is '
            f'({remedy["chance"]:.0%} sure).'
        )
    if remedy['reached']:
        return f'Fewest changes to {aim}: {changes} ({remedy["chance"]:.0%} sure).'
    if not changes:
        return f'No change makes {aim} likelier than {remedy["chance"]:.0%}.'
    return f'Best found towards {aim}: {changes} ({remedy["chance"]:.0%} sure).'


def _labelled(number: Mapping[str, Any]) -> str:
    return f'{number["name"]} [{number["unit"]}]' if number['unit'] else str(number['name'])


def _with_unit(value: float | None, unit: str) -> str:
    return f'{_short(value)} {unit}'.rstrip()


def _short(value: float | None) -> str:
    return '-' if value is None else f'{value:.3g}'


def _signed(one: Mapping[str, Any]) -> str:
    return '-' if one['estimate'] is None else f'{one["estimate"]:+.3g}'


def _marked(one: Mapping[str, Any], conclusive: bool) -> str:
    return ('' if conclusive else '~') + _signed(one)


def _bounds(one: Mapping[str, Any]) -> str:
    if one['low'] is None or one['high'] is None:
        return '-'
    return f'{one["low"]:+.3g} .. {one["high"]:+.3g}'


def _interval(one: Mapping[str, Any]) -> str:
    return f'{_short(one["estimate"])} ({_short(one["low"])} .. {_short(one["high"])})'


def _percent(one: Mapping[str, Any]) -> str:
    if one['estimate'] is None:
        return '-'
    return f'{one["estimate"]:.1%} ({one["low"]:.1%} .. {one["high"]:.1%})'


def _values(values: Sequence[Any]) -> str:
    return ', '.join('-' if value is None else value_text(value) for value in values)
