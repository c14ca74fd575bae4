# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the page of an explanation: its tables and plots, in one file."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tl_adapt.errors import try_import
from tl_adapt.report.explain_tables import sections
from tl_adapt.report.html_page import html_figures, html_table, write_page

_COLOURS = ('#E69F00', '#0072B2', '#009E73', '#CC79A7', '#56B4E9', '#D55E00')
_SHOWN = 12


def write_explanation(result: Mapping[str, Any], path: Path, *, top: int = 10) -> Path:
    """
    Write the page for an explanation as `explanation.result` has it, and return its path.

    Without plotly the page has the tables only and says so.
    """
    parts = [
        f'<h1>{html.escape(result["study"])}: explained</h1>',
        '<p class="note">Intervals hold 90 %; ~ marks what is not sure.</p>',
    ]
    parts += html_figures(lambda: _figures(result))
    for title, rows, note in sections(result, top=top):
        parts.append(f'<h2>{html.escape(title)}</h2>')
        if rows:
            parts.append(html_table(rows))
        if note:
            parts.append(f'<p>{html.escape(note)}</p>')
    return write_page(path, f'{result["study"]}: explained', parts)


def _figures(result: Mapping[str, Any]) -> list[Any]:
    figures = []
    explained = [one for one in result['environments'] if one['effects'] is not None]
    number = result['number']
    label = f'{number["name"]} [{number["unit"]}]' if number['unit'] else number['name']
    if explained:
        figures.append(_influences(explained, label))
        figures += [_interactions(one, label) for one in explained]
        figures.append(_curves(explained, label))
    figures += [_causes(run, label) for run in result['runs'] if run['options']]
    return figures


def _error(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return plotly's error bars for figures with intervals."""
    return {
        'type': 'data', 'symmetric': False,
        'array': [one['high'] - one['estimate'] for one in entries],
        'arrayminus': [one['estimate'] - one['low'] for one in entries],
    }


def _influences(explained: list[Mapping[str, Any]], label: str) -> Any:
    """Draw each parameter's change of the number, per environment."""
    figure = try_import('plotly.graph_objects', 'report').Figure()
    tables = [{e['names'][0]: e for e in one['effects']['parameters']} for one in explained]
    names = sorted(
        tables[0], key=lambda name: max(table[name]['share']['estimate'] for table in tables)
    )[-_SHOWN:]
    for one, table, colour in zip(explained, tables, _COLOURS):
        changes = [table[name]['change'] for name in names]
        figure.add_bar(
            name=one['name'], y=names, x=[c['estimate'] for c in changes], orientation='h',
            error_x=_error(changes), marker_color=colour,
        )
    figure.update_layout(
        title=f'Change of {label} from the low to the high value, over all others (90 %)',
        xaxis_title=label, height=max(420, 28 * len(names) * len(explained)),
    )
    return figure


def _interactions(one: Mapping[str, Any], label: str) -> Any:
    """Draw the sure interactions of one environment as a map."""
    figure = try_import('plotly.graph_objects', 'report').Figure()
    names = [e['names'][0] for e in one['effects']['parameters']][:_SHOWN]
    place = {name: i for i, name in enumerate(names)}
    cells: list[list[float | None]] = [[None] * len(names) for _ in names]
    for effect in one['effects']['interactions']:
        first, second = (place.get(name) for name in effect['names'])
        if effect['conclusive'] and first is not None and second is not None:
            cells[first][second] = cells[second][first] = effect['change']['estimate']
    figure.add_heatmap(
        x=names, y=names, z=cells, colorscale='RdBu', zmid=0.0, reversescale=True,
        colorbar={'title': label},
    )
    figure.update_layout(title=f'Sure interactions in {one["name"]}', height=560)
    return figure


def _curves(explained: list[Mapping[str, Any]], label: str) -> Any:
    """Draw the number over the values of the most influential parameters."""
    figure = try_import('plotly.subplots', 'report').make_subplots(
        rows=2, cols=3, subplot_titles=[
            e['names'][0] for e in explained[0]['effects']['parameters'][:6]
        ],
    )
    for one, colour in zip(explained, _COLOURS):
        curves = {curve['parameter']: curve for curve in one['effects']['curves']}
        for i, effect in enumerate(explained[0]['effects']['parameters'][:6]):
            curve = curves[effect['names'][0]]
            values = [
                v if isinstance(v, (int, float)) and not isinstance(v, bool) else str(v)
                for v in curve['values']
            ]
            spread = [
                {'estimate': m, 'low': a, 'high': b}
                for m, a, b in zip(curve['mean'], curve['low'], curve['high'])
            ]
            figure.add_scatter(
                name=one['name'], legendgroup=one['name'], showlegend=i == 0, x=values,
                y=curve['mean'], error_y=_error(spread), mode='lines+markers',
                line_color=colour, row=i // 3 + 1, col=i % 3 + 1,
            )
    figure.update_layout(title=f'{label} over single parameters (mean of all others)', height=640)
    return figure


def _causes(run: Mapping[str, Any], label: str) -> Any:
    """Draw what each option adds to the difference of a run to its reference."""
    figure = try_import('plotly.graph_objects', 'report').Figure()
    shown = run['options'][:_SHOWN][::-1]
    amounts = [one['amount'] for one in shown]
    figure.add_bar(
        y=[one['names'][0] for one in shown], x=[a['estimate'] for a in amounts],
        orientation='h', error_x=_error(amounts), marker_color=_COLOURS[1],
    )
    what = label if run['explained'] == 'value' else run['explained']
    figure.update_layout(
        title=f'Run {run["run"][:10]} in {run["environment"]}: what each option adds to the '
              f'{run["against"]}',
        xaxis_title=what, height=max(360, 28 * len(shown)),
    )
    return figure
